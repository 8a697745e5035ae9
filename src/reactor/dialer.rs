//! Connections that we open.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use mio::net::{TcpStream, UnixStream};
use socket2::Socket;

use crate::reactor::tls_shake::Shaken;
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

/// Connects to the socket in the file system at `path`. It is done at once; that [`finish`] says so
/// at the first edge lets whoever dials do the same for every kind of address.
///
/// # Errors
///
/// `NotFound` if there is no such file, `ConnectionRefused` if nobody listens there, `WouldBlock`
/// if whoever does has too many waiting.
pub fn dial_unix(path: &Path) -> io::Result<Transport> {
    UnixStream::connect(path).map(Transport::Unix)
}

/// Has `socket` connect from `source`. Its port is chosen by the connect, which needs one that is
/// free towards that one peer; to bind one takes a port that is free towards all, and where a
/// hundred thousand connections have just ended the kernel looks for it for a millisecond.
///
/// # Errors
///
/// `AddrNotAvailable` if this machine has no such address.
pub fn bind_source(socket: &Socket, source: IpAddr) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    imp::leave_the_port_open(socket)?;
    socket.bind(&SocketAddr::new(source, 0).into())
}

#[cfg(target_os = "linux")]
mod imp {
    use std::io;
    use std::os::fd::AsRawFd;

    use socket2::Socket;

    pub(super) fn leave_the_port_open(socket: &Socket) -> io::Result<()> {
        let on: libc::c_int = 1;
        let length = size_of::<libc::c_int>() as libc::socklen_t;
        let (level, name) = (libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT);
        // SAFETY: `on` is readable for the length that is given, and outlives the call; the
        // descriptor is that of an open socket.
        let outcome = unsafe {
            libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const on).cast(), length)
        };
        if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// Whether a connect is done, TLS included where the transport has it; `shaking` is false at first,
/// and says on which half of that it is. To be asked at each edge; `writable` is what that says.
///
/// # Errors
///
/// Why there will be no connection, or no TLS on it.
pub fn finish_all(
    transport: &mut Transport,
    shaking: &mut bool,
    writable: bool,
) -> io::Result<bool> {
    if !*shaking {
        if !writable || !finish(transport)? {
            return Ok(false);
        }
        *shaking = matches!(transport, Transport::Tls(_));
    }
    let Transport::Tls(secure) = transport else { return Ok(true) };
    secure.shake().map(|shaken| matches!(shaken, Shaken::Done(_)))
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
    if let Transport::Unix(_) = transport {
        return Ok(true);
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
