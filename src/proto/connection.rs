//! A connection's life: `Head -> Body -> Head`, `Head -> Stream -> Head`, `Head -> Relay -> Head`,
//! and `Drain` at the end; `Head -> Asking -> Head` where a request waits for who has sent it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::auth::certificate::Secured;
use crate::base::hidden::HiddenBytes;
use crate::base::id::{Key, Mid};
use crate::base::reason::CloseReason;
use crate::base::time::{Instant, Millis};
use crate::http::body::BodyDecoder;
use crate::mem::lent::Lent;
use crate::proto::exchange::Exchanges;
use crate::proto::porter::Standing;

/// Which listener a connection came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// For clients.
    Public,
    /// For clients whose commands are lines, and whose frames travel without HTTP.
    Raw,
    /// For publishers and operators in the private network.
    Private,
    /// The same through a socket in the file system, whose mode says who may open it.
    Local,
}

/// A listener, as far as it matters to the connections that come through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Whom it is for.
    pub door: Door,
    /// How long messages wait for more on documents that say nothing else; `None`: as long as
    /// [`Settings::flush`](crate::proto::settings::Settings::flush) says.
    pub flush: Option<Millis>,
    /// Whether a load balancer stands before it, which says first who the client is.
    pub introduced: bool,
    /// Whether TLS protects its connections, which is set up before their first byte.
    pub secure: bool,
}

impl From<Door> for Gate {
    /// A listener with nothing of its own.
    fn from(door: Door) -> Self {
        Self { door, flush: None, introduced: false, secure: false }
    }
}

/// A request whose body is on its way.
pub struct Body {
    /// The request's head as it came, to be read again when the body is complete.
    pub head: Box<[u8]>,
    /// Finds the end of the body.
    pub decoder: BodyDecoder,
    /// What has arrived of it.
    pub content: Vec<u8>,
    /// When its first byte could come.
    pub began: Instant,
    /// Who has sent it.
    pub(crate) standing: Standing,
}

/// Without what has come, in which keys and cookies stand.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HiddenBytes(self.head.len() + self.content.len()).fmt(f)
    }
}

/// Where a connection is in its life.
#[derive(Debug)]
pub enum Phase {
    /// Waits for a load balancer to say who the client is. Next: `Head`.
    Introduction,
    /// Waits for a request, or for the rest of its head. Next: `Body`, `Stream`, `Relay`, `Drain`,
    /// or the same again after an answer.
    Head,
    /// Waits for the rest of a request's body. Next: `Head`, `Stream`, `Drain`.
    Body(Box<Body>),
    /// Carries the document in this slot; where commands are lines, they are carried out meanwhile.
    /// Next: `Head` or `Drain` when the document has ended.
    Stream(u32),
    /// Waits for a web server's answer to a request, or carries it: the exchange of that key. Next:
    /// `Head` or `Drain` when the answer is whole.
    Relay(Key),
    /// A request waits, in the input, until it is known who has sent it: the question of that
    /// number is asked. May become `Head`.
    Asking(u32),
    /// All is sent; input is thrown away until the peer closes, or says nothing for a moment, or
    /// the second moment has come.
    Drain(CloseReason, Instant),
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    /// Where it is in its life.
    pub phase: Phase,
    /// Received bytes that were not yet used.
    pub input: Lent,
    /// Answers under way; `None` while there are none.
    pub exchanges: Option<Box<Exchanges>>,
    /// Where it comes from: a `SocketAddr` takes 12 bytes more.
    peer: (IpAddr, u16),
    /// The first session that it named. Where commands are lines: the session of those that name
    /// none, which is the first that was made or proved on it.
    pub session: Option<Mid>,
    /// When the present phase takes too long.
    pub deadline: Instant,
    /// The moment of its timer that counts; others are stale.
    pub timer_at: Instant,
    /// The flush span of the listener that it came through, if that has one of its own.
    pub flush: Option<Millis>,
    /// `None` where TLS does not protect it.
    pub secured: Option<Arc<Secured>>,
    /// Which listener it came through.
    pub door: Door,
    /// True exactly when it waits to be written.
    pub named: bool,
    /// Whether the socket takes nothing until it says so.
    pub blocked: bool,
    /// Whether the shell was told to stop reading.
    pub paused: bool,
    /// Whether the peer has closed its side.
    pub eof: bool,
    /// Whether it named a second session, so that it stays on this shard.
    pub pinned: bool,
    /// Whether it goes to another shard as soon as the shell takes it.
    pub moving: bool,
    /// Whether the request under way is the last; what follows is thrown away.
    pub last_taken: bool,
}

impl Connection {
    /// A new connection.
    pub fn new(peer: SocketAddr, gate: Gate) -> Self {
        Self {
            phase: if gate.introduced { Phase::Introduction } else { Phase::Head },
            input: Lent::default(),
            exchanges: None,
            peer: (peer.ip(), peer.port()),
            session: None,
            deadline: Instant::NEVER,
            timer_at: Instant::NEVER,
            flush: gate.flush,
            secured: None,
            door: gate.door,
            named: false,
            blocked: false,
            paused: false,
            eof: false,
            pinned: false,
            moving: false,
            last_taken: false,
        }
    }

    /// A load balancer says where it comes from.
    pub fn introduce(&mut self, client: SocketAddr) {
        self.peer = (client.ip(), client.port());
    }

    /// Where it comes from.
    pub fn address(&self) -> SocketAddr {
        self.peer.into()
    }

    /// Whether its commands are lines.
    pub fn is_raw(&self) -> bool {
        self.door == Door::Raw
    }

    /// Takes out the answers that wait for the socket; says whether nothing comes behind them.
    pub fn take_answers(&mut self) -> (Vec<u8>, bool) {
        let Some(exchanges) = &mut self.exchanges else { return (Vec::new(), false) };
        let (bytes, closing) = (exchanges.take_unsent(), exchanges.is_closing());
        self.exchanges.take_if(|exchanges| exchanges.is_idle());
        (bytes, closing)
    }

    /// Whether answers wait for the socket.
    #[inline]
    pub fn has_answers(&self) -> bool {
        self.exchanges.as_ref().is_some_and(|exchanges| !exchanges.unsent().is_empty())
    }

    /// Whether no answer is waited for and none unsent.
    pub fn is_idle(&self) -> bool {
        self.exchanges.as_ref().is_none_or(|exchanges| exchanges.is_idle())
    }

    /// The answers under way.
    pub fn exchanges(&mut self) -> &mut Exchanges {
        self.exchanges.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_stays_small() {
        assert_eq!((size_of::<Phase>(), size_of::<Connection>()), (16, 96));
    }
}
