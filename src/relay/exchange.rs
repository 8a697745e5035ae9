//! One request on its way, with its answer.

use crate::base::id::{ConnKey, Key};
use crate::base::time::Instant;
use crate::http::head::Version;
use crate::relay::answer::Terms;
use crate::relay::entry::{Entry, RequestId};
use crate::relay::links::Journey;
use crate::relay::outgoing::Outgoing;
use crate::relay::transcode::Transcoder;

/// Bytes that may wait for either end before the other end is read no more.
pub const BEHIND_MAX: usize = 64 * 1024;
/// Once no more than this wait, it is read again.
pub const BEHIND_LOW: usize = BEHIND_MAX / 2;

/// How far a request is.
#[derive(Debug)]
pub enum Stage {
    /// The body is still coming, and less of it is here than may wait: no web server is bothered
    /// with it yet. Next: `Waiting`, `Connecting`, `Asking`, or it is refused.
    Gathering,
    /// All connections that may be are in use. Next: `Connecting`, `Asking`, or 503.
    Waiting,
    /// A connection is being made for it. Next: `Asking`; with another web server, the same again;
    /// or 502, or 504.
    Connecting,
    /// It is being sent, or was; no head of a final answer has come. Next: `Answering`, `Tunnel`;
    /// on another connection, `Connecting` again; or 502, or 504.
    Asking,
    /// The answer is coming. Next: it is over, whole or cut short.
    Answering(Transcoder),
    /// The connection was upgraded: bytes go both ways as they are. Next: it is over.
    Tunnel,
}

/// One request on its way.
#[derive(Debug)]
pub struct Exchange {
    /// The connection that it came on.
    pub client: ConnKey,
    /// How far it is.
    pub stage: Stage,
    /// Whether it is no request but a connection that is passed on as it came.
    pub pass: bool,
    /// What goes to the web server: its head, and then its body.
    pub up: Outgoing,
    /// Bytes of that head.
    pub head_len: usize,
    /// Its body.
    pub request: Transcoder,
    /// The connection that it goes over.
    pub upstream: Option<Key>,
    /// Its id.
    pub id: RequestId,
    /// Its version.
    pub version: Version,
    /// Which of the site's upgrades it asks for.
    pub upgrade: Option<usize>,
    /// Web servers that connections were made to for it, a bit each.
    pub tried: u64,
    /// The last of them, or the one whose connection it took.
    pub server: Option<usize>,
    /// Whether it is HEAD.
    pub head_only: bool,
    /// Whether a method lets it be sent twice.
    pub repeatable: bool,
    /// Whether the client waits for 100 before it sends the body.
    pub expects: bool,
    /// Whether the client's connection closes behind the answer.
    pub close: bool,
    /// Whether it was sent again already.
    pub retried: bool,
    /// Whether any byte of it was sent on the present connection.
    pub begun: bool,
    /// Whether any byte of an answer has come.
    pub answered: bool,
    /// Whether the web server keeps the connection after the answer.
    pub kept: bool,
    /// Whether the end of the web server's connection is the end of the answer.
    pub ends_above: bool,
    /// Whether the end of the client's connection is the end of the answer.
    pub until_close: bool,
    /// Whether the client's bytes had to wait.
    pub starved: bool,
    /// Whether the client has ended its side of a tunnel.
    pub client_ended: bool,
    /// When the present stage takes too long.
    pub deadline: Instant,
    /// When its head was read.
    pub began: Instant,
    /// The status of its answer; 0 before there is one.
    pub status: u16,
    /// Bytes of a tunnel that came from the web server.
    pub tunnelled: u64,
    /// What the access log will say, where there is one.
    pub entry: Option<Box<Entry>>,
    /// How its URLs are mapped, where any are.
    pub journey: Option<Box<Journey>>,
}

impl Exchange {
    /// Whether all of the request was sent.
    pub fn is_sent(&self) -> bool {
        self.request.is_done() && self.up.unsent().is_empty()
    }

    /// Whether it may be sent once more should its connection die now: nothing of its body was
    /// given out, and no byte of an answer has come.
    pub fn may_repeat(&self) -> bool {
        let head_alone = self.up.len() == self.head_len;
        !self.retried && !self.answered && (!self.begun || (self.repeatable && head_alone))
    }

    /// Whether what was sent must be kept, to be sent once more perhaps.
    pub fn keeps_head(&self) -> bool {
        let head_alone = self.up.len() == self.head_len;
        !self.retried && !self.answered && self.repeatable && head_alone
    }

    /// Whether nothing of a final answer was given out.
    pub const fn is_unanswered(&self) -> bool {
        !matches!(self.stage, Stage::Answering(_) | Stage::Tunnel)
    }

    /// What of the request shapes its answer.
    pub fn terms(&self, unix_seconds: u64) -> Terms {
        Terms {
            version: self.version,
            head_only: self.head_only,
            // What has not come by now may never come, and nobody would know where it ends.
            close: self.close || !self.request.is_done(),
            unix_seconds,
        }
    }
}
