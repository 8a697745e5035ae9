//! One channel of the agent: what was asked for, and how far that has come in this session.

use crate::base::backoff::Backoff;
use crate::base::id::Cid;
use crate::base::time::Instant;
use crate::client::outbox::Outbox;
use crate::wire::command::{Mode, OpenRequest};

/// How far the opening of a channel has come in the session of now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// To be asked for from this moment on.
    Wanted(Instant),
    /// Asked for; at this moment it is asked for again.
    Asked(Instant),
    /// Open.
    Open,
    /// Ended, and not to be opened again.
    Ended,
}

/// One channel.
#[derive(Debug)]
pub struct Channel {
    /// What the consumer asked for.
    pub request: OpenRequest,
    /// How far that has come.
    pub status: Status,
    /// The channel's number in the session of now.
    pub cid: Option<Cid>,
    /// The waits between attempts to open it.
    pub backoff: Backoff,
    /// What the consumer sends.
    pub outbox: Outbox,
}

impl Channel {
    /// A channel to be opened.
    pub fn new(request: OpenRequest, backoff: Backoff, now: Instant) -> Self {
        let status = Status::Wanted(now);
        Self { request, status, cid: None, backoff, outbox: Outbox::default() }
    }

    /// Whether a jump in offsets is conflation and not a gap.
    pub fn folds(request: &OpenRequest) -> bool {
        request.mode == Mode::Latest || request.rate.is_some()
    }

    /// When the channel must be asked for (again).
    pub fn due_at(&self) -> Option<Instant> {
        match self.status {
            Status::Wanted(at) | Status::Asked(at) => Some(at),
            Status::Open | Status::Ended => None,
        }
    }
}
