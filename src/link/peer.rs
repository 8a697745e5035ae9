//! One connection of the resource protocol: who is at the other end, what waits to be sent, and
//! when silence has lasted too long.

use std::collections::VecDeque;
use std::fmt;

use crate::base::limits;
use crate::base::time::{Instant, Span};
use crate::link::address::Address;
use crate::wire::resource::{InstanceId, Role};
use crate::wire::resource_decode::Decoder;

/// Bytes of a frame beside its payload, at most.
const FRAME_EXTRA_BYTES: usize = 64 * 1024;
/// Heartbeats of the other end that may be missing.
const SILENT_INTERVALS: u64 = 3;

/// Why a connection is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// None of its addresses could be reached.
    Unreachable,
    /// The other end has closed it, or the network has.
    Lost,
    /// Nothing was heard for three of the other end's heartbeats, or no greeting came.
    Silent,
    /// What came is not of the protocol.
    Broken(String),
    /// The other end said why it ends.
    Bye(String),
    /// This end has ended it.
    Left,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("no address answers"),
            Self::Lost => f.write_str("the connection was lost"),
            Self::Silent => f.write_str("nothing was heard for too long"),
            Self::Broken(what) => write!(f, "it does not speak the protocol: {what}"),
            Self::Bye(reason) => write!(f, "it ended the connection: {reason}"),
            Self::Left => f.write_str("this end has left"),
        }
    }
}

/// What this process says of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Me {
    /// What it is.
    pub role: Role,
    /// Which process.
    pub instance: InstanceId,
    /// Its name, for logs and lists.
    pub name: String,
    /// It lets itself be heard at least so often.
    pub heartbeat: Span,
    /// The key that it shows; empty for none.
    pub key: String,
    /// The key that others must show; empty for none.
    pub demands: String,
}

/// Without the keys.
impl fmt::Debug for Me {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Me")
            .field("role", &self.role)
            .field("instance", &self.instance)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Who is at the other end, by its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// What it is.
    pub role: Role,
    /// Which process.
    pub instance: InstanceId,
    /// Its name.
    pub name: String,
}

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waits for the outcome of a connect. Next: `Greeting`, or over.
    Dialing,
    /// Waits for the other end's first frame. Next: `Open`, `Leaving`, or over.
    Greeting,
    /// Frames go both ways. Next: `Leaving`, or over.
    Open,
    /// Over for everybody but the last bytes of this end. Next: over.
    Leaving,
}

/// One connection.
#[derive(Debug)]
pub struct Peer {
    /// Where it is in its life.
    pub phase: Phase,
    /// Who is at the other end; `None` before its greeting.
    pub other: Option<Other>,
    /// The part of a consumer that it was dialled for, which is told with the greeting.
    pub(crate) part: Option<u32>,
    /// Whether the connection was made within the process.
    pub(crate) is_adopted: bool,
    /// Addresses that were not tried yet.
    pub(crate) addresses: VecDeque<Address>,
    /// `None` while it is lent.
    pub(crate) decoder: Option<Decoder>,
    /// Frames, and how many of their bytes are out.
    pub(crate) out: Vec<u8>,
    pub(crate) sent: usize,
    /// True exactly when the shell was asked to send.
    pub(crate) named: bool,
    pub(crate) blocked: bool,
    /// The other end's heartbeat.
    pub(crate) heartbeat: Span,
    /// When the present phase, or the silence, has lasted too long.
    pub(crate) patience: Instant,
    /// When bytes last came.
    pub(crate) heard_at: Instant,
    /// When this end last put something out.
    pub(crate) spoke_at: Instant,
    /// The moment of its timer that counts; others are stale.
    pub(crate) timer_at: Instant,
}

impl Peer {
    /// A connection in `phase`, which may take until `patience`.
    pub(crate) fn new(phase: Phase, decoder: Decoder, patience: Instant) -> Self {
        Self {
            phase,
            other: None,
            part: None,
            is_adopted: false,
            addresses: VecDeque::new(),
            decoder: Some(decoder),
            out: Vec::new(),
            sent: 0,
            named: false,
            blocked: false,
            heartbeat: Span::ZERO,
            patience,
            heard_at: Instant::ZERO,
            spoke_at: Instant::ZERO,
            timer_at: Instant::NEVER,
        }
    }

    /// What waits to be sent.
    pub fn unsent(&self) -> &[u8] {
        &self.out[self.sent..]
    }

    /// Bytes have come: the silence begins anew.
    pub(crate) fn hear(&mut self, now: Instant) {
        self.heard_at = now;
        if self.phase == Phase::Open {
            self.patience = now + self.heartbeat.times(SILENT_INTERVALS);
        }
    }

    /// When it is to be looked at again, if this end's heartbeat is `own`.
    pub(crate) fn next_moment(&self, own: Span) -> Instant {
        match self.phase {
            Phase::Open => self.patience.min(self.spoke_at + own.fraction(3, 4)),
            Phase::Dialing | Phase::Greeting | Phase::Leaving => self.patience,
        }
    }
}

/// What reads the frames of a connection.
pub(crate) fn decoder() -> Decoder {
    Decoder::new(limits::PAYLOAD_BYTES_MAX + FRAME_EXTRA_BYTES)
}

/// Whether two keys are the same, found out in a time that tells nothing of where they differ.
pub(crate) fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}
