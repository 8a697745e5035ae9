//! One channel of the agent: what was asked for, and how far that has come in each session.

use crate::base::backoff::Backoff;
use crate::base::id::Cid;
use crate::base::reason::ChannelEnd;
use crate::base::time::Instant;
use crate::client::outbox::Outbox;
use crate::wire::command::{Mode, OpenRequest};

/// How far the opening of a channel has come in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// To be asked for from this moment on.
    Wanted(Instant),
    /// Asked for; at this moment it is asked for again.
    Asked(Instant),
    /// Open.
    Open,
    /// This server will not have it, and is not asked again.
    Refused,
    /// It is a conversation with a resource, which is held in the main session alone.
    Elsewhere,
}

/// A channel of a session on the wire: its number, and which of the channels of that number.
pub type Which = (Cid, u32);

/// A channel in one session.
#[derive(Debug)]
pub struct Seat {
    /// How far it has come.
    pub status: Status,
    /// The channel's number in the session.
    pub cid: Option<Cid>,
    /// Which of the session's channels of that number it is.
    pub life: u32,
    /// The waits between attempts to open it.
    pub backoff: Backoff,
}

impl Seat {
    /// A channel to be opened.
    pub fn new(backoff: Backoff, now: Instant) -> Self {
        Self { status: Status::Wanted(now), cid: None, life: 0, backoff }
    }

    /// The channel in the session, once it has a number there.
    pub fn which(&self) -> Option<Which> {
        Some((self.cid?, self.life))
    }

    /// The session is over.
    pub fn forget(&mut self) {
        self.cid = None;
        if matches!(self.status, Status::Open | Status::Asked(_)) {
            self.status = Status::Wanted(Instant::ZERO);
        }
    }

    /// When the channel must be asked for (again).
    pub fn due_at(&self) -> Option<Instant> {
        match self.status {
            Status::Wanted(at) | Status::Asked(at) => Some(at),
            Status::Open | Status::Refused | Status::Elsewhere => None,
        }
    }
}

/// Whether a channel that ended so is asked for again. `closed` without our asking: it ended while
/// no document told of it, as it may when a session is found again. `expired`: the session
/// ends with it, and the next one is somebody's who can prove anew who it is.
pub(crate) fn comes_back(end: ChannelEnd) -> bool {
    matches!(end, ChannelEnd::Gone | ChannelEnd::Closed | ChannelEnd::Expired)
}

/// One channel.
#[derive(Debug)]
pub struct Channel {
    /// What the consumer asked for.
    pub request: OpenRequest,
    /// Whether it has ended and is not opened again.
    pub over: bool,
    /// What the consumer sends.
    pub outbox: Outbox,
}

impl Channel {
    /// A channel to be opened.
    pub fn new(request: OpenRequest) -> Self {
        Self { request, over: false, outbox: Outbox::default() }
    }

    /// Whether a jump in offsets is conflation and not a gap.
    pub fn folds(request: &OpenRequest) -> bool {
        request.mode == Mode::Latest || request.rate.is_some()
    }
}
