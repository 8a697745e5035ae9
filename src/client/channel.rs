//! One channel of the agent: what was asked for, and how far that has come in this session.

use crate::base::backoff::Backoff;
use crate::base::id::Cid;
use crate::base::time::Instant;
use crate::client::event::{Fate, SendId};
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
    /// The channel number that the numbers of its sends belong to.
    pub numbered: Option<Cid>,
}

impl Channel {
    /// A channel to be opened.
    pub fn new(request: OpenRequest, backoff: Backoff, now: Instant) -> Self {
        let status = Status::Wanted(now);
        let (cid, numbered) = (None, None);
        Self { request, status, cid, backoff, outbox: Outbox::default(), numbered }
    }

    /// The server calls the channel `cid` from now on, and `next` is the first number of its that
    /// no send of this session has borne. Numbers belong to the channel number: where that is
    /// another than before, as after a private channel was opened again, sends that bear one end
    /// `Unknown`.
    pub fn name(&mut self, cid: Cid, next: u64) -> Vec<(SendId, Fate)> {
        self.cid = Some(cid);
        let moved = self.numbered.replace(cid).is_some_and(|before| before != cid);
        let fates = if moved { self.outbox.lose_session() } else { Vec::new() };
        self.outbox.expect(next);
        fates
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
