//! TLS for whoever waits: over a socket that blocks, for as long as its owner lets it.

use std::io::{self, Read, Write};

use rustls::{ClientConnection, StreamOwned};

use crate::reactor::beyond::Beyond;
use crate::reactor::tls::broken;

/// A connection that TLS protects, over a socket that blocks. Where a wait of the socket ends
/// without a byte, the next call goes on where it stopped.
pub type Waiting<S> = StreamOwned<ClientConnection, S>;

impl Beyond {
    /// TLS over a connection that is made. Its handshake begins with the first byte that is read or
    /// written.
    ///
    /// # Errors
    ///
    /// When it cannot begin.
    pub fn over<S: Read + Write>(&self, socket: S) -> io::Result<Waiting<S>> {
        let (config, name) = self.parts();
        let client = ClientConnection::new(config, name).map_err(broken)?;
        Ok(StreamOwned::new(client, socket))
    }
}
