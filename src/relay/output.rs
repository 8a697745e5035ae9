//! What a relay asks of those who drive it.

use crate::base::id::{ConnKey, Key};
use crate::http::status::Refusal;
use crate::link::address::Address;

/// One thing for the shell to do with a connection to a web server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Begin to connect, by TLS if so: it is connected once that is set up.
    Dial(Key, Address, bool),
    /// The connection has something to send.
    Send(Key),
    /// The connection is read again: do so without waiting for an edge.
    Receive(Key),
    /// All is sent that will be: close the writing side.
    Finish(Key),
    /// The connection is forgotten: close it.
    Close(Key),
}

/// What becomes of a client's connection, from which a request was relayed.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Input that had to wait is taken again.
    Input(ConnKey),
    /// The answer is whole, in the bytes that were given out so far.
    Done {
        /// Whose.
        client: ConnKey,
        /// Whether the connection closes behind it.
        close: bool,
    },
    /// Nothing of an answer was given out; this is one.
    Answer {
        /// Whose.
        client: ConnKey,
        /// The whole of it.
        bytes: Vec<u8>,
        /// Whether the connection closes behind it.
        close: bool,
    },
    /// Nothing of an answer was given out, and the request is refused.
    Refused(ConnKey, Refusal),
    /// The answer was cut short, and must look cut short.
    Cut {
        /// Whose.
        client: ConnKey,
        /// Whether the end of the connection alone would look like the end of the answer, so that
        /// it must be reset.
        reset: bool,
    },
    /// The client took nothing for too long.
    Stale(ConnKey),
}
