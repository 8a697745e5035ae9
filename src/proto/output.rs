//! What the core asks of its shell, and what the shell reports of a write.

use std::fmt;

use crate::base::hidden::HiddenBytes;
use crate::base::id::{ConnKey, Key, ShardId};
use crate::base::reason::CloseReason;
use crate::proto::parcel::Parcel;

/// One thing for the shell to do. The core never touches readiness: it names a connection that has
/// output, and the shell calls `Hub::transmit` for it when its turn comes.
#[derive(Debug)]
pub enum Output {
    /// The connection has something to send.
    Send(ConnKey),
    /// The connection takes input again: read it without waiting for an edge.
    Receive(ConnKey),
    /// The connection carries a document from now on: keep the kernel's queue short, and give up on
    /// a peer that acknowledges nothing for this many milliseconds.
    Stream(ConnKey, u32),
    /// All is sent that will be: close the writing side.
    Finish(ConnKey),
    /// The core has forgotten the connection: close it.
    Close(ConnKey, CloseReason),
    /// Hand the parcel to another shard. It must not be dropped.
    Post(ShardId, Parcel),
    /// Take the connection out with `Hub::depart` and hand it to another shard.
    Move(ConnKey, ShardId),
    /// The round trip of the connection is wanted: see `Hub::handle_round_trip`.
    Measure(ConnKey, Key),
    /// Find out, without keeping anybody waiting, and tell it by `Hub::handle_finding`.
    Ask(Box<crate::auth::office::Question>),
    /// Something about a connection to a registry or a resource server.
    Link(crate::link::links::Output),
    /// Something about a connection to a web server.
    Relay(crate::relay::output::Output),
}

/// What became of one vectored write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes that the socket took.
    pub bytes: usize,
    /// Whether it would take no more now, and will report when it does.
    pub blocked: bool,
}

/// A connection on its way to another shard.
pub struct Traveller {
    /// Where the client's connection comes from.
    pub peer: std::net::SocketAddr,
    /// The session it belongs to.
    pub session: Option<crate::base::id::Mid>,
    /// The flush span of the listener that it came through, if that has one of its own.
    pub flush: Option<crate::base::time::Millis>,
    /// `None` where TLS does not protect it.
    pub secured: Option<std::sync::Arc<crate::auth::certificate::Secured>>,
    /// Bytes that were received and not yet used.
    pub input: Vec<u8>,
}

/// Without what it has sent already.
impl fmt::Debug for Traveller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traveller")
            .field("peer", &self.peer)
            .field("session", &self.session)
            .field("input", &HiddenBytes(self.input.len()))
            .finish_non_exhaustive()
    }
}
