//! Connections that we open.

use std::io;
use std::net::SocketAddr;

use mio::net::TcpStream;

use crate::reactor::transport::Transport;

/// Begins to connect to `address`, without waiting. Register the transport; when it is writable,
/// [`finish`] tells the outcome. Nagle's delay is off.
///
/// # Errors
///
/// What the operating system says at once: no descriptor or port left, no route. A refusal mostly
/// comes later, from [`finish`].
pub fn dial(address: SocketAddr) -> io::Result<Transport> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(Transport::Plain(stream))
}

/// Whether a connect is done: true, or false while it is still under way (edges may be spurious).
///
/// # Errors
///
/// Why it failed. A connection that has met itself counts as refused: with nobody listening on a
/// local port from the range of ephemeral ones, a connect to it may be given that same port as its
/// own, and TCP lets it succeed.
pub fn finish(transport: &Transport) -> io::Result<bool> {
    if let Some(error) = transport.take_error()? {
        return Err(error);
    }
    match transport.peer_addr() {
        Ok(peer) if transport.local_addr()? == peer => {
            Err(io::Error::from(io::ErrorKind::ConnectionRefused))
        }
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}
