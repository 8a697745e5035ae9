//! Connections that others open.

use std::fs::File;
use std::io;
use std::net::SocketAddr;

use mio::net::TcpListener;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::base::time::Span;
use crate::reactor::transport::{self, Transport};

/// Bytes of a document that the kernel may hold unsent. More would be old news by the time it is
/// sent; less would starve a fast reader.
pub const DOCUMENT_UNSENT_BYTES: u32 = 16 * 1024;

/// Connections that one call of [`Listener::accept`] turns away or passes over before it lets
/// others have a turn.
pub(crate) const PASSED_PER_CALL_MAX: u32 = 64;

/// A listening socket. Every shard binds one to the same address and the kernel spreads the
/// connections over them.
///
/// When the process runs out of descriptors, a connection cannot be accepted and so cannot be
/// refused either: it would stay in the kernel's queue, its client waiting, and being
/// edge-triggered we would not hear of it again. So each listener keeps one descriptor in reserve.
/// It is given up to accept such a connection, which is reset at once, and then taken back. The
/// client sees quickly that it should come back later, or go elsewhere.
///
/// ```
/// use ahm::reactor::listener::Listener;
/// use ahm::reactor::poller::Poller;
/// use mio::Token;
///
/// let mut poller = Poller::new(16)?;
/// let mut listener = Listener::bind("[::1]:0".parse().unwrap(), 1024)?;
/// listener.register(poller.registry(), Token(1))?;
/// let client = std::net::TcpStream::connect(listener.local_addr()?)?;
/// let (transport, peer) = loop {
///     poller.poll(None)?;
///     if let Some(accepted) = listener.accept()? {
///         break accepted;
///     }
/// };
/// assert_eq!(peer, client.local_addr()?);
/// # drop(transport);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    /// Any open descriptor; `None` while it could not be taken back.
    reserve: Option<File>,
    shed: u64,
}

impl Listener {
    /// Listens on `address`; port 0 picks a free port, which the other shards then bind by name.
    /// The kernel keeps up to `backlog` connections that were not accepted yet. An IPv6 address
    /// takes no IPv4 connections, so that both can be bound side by side.
    ///
    /// The port is shared with whoever else of the same user binds it this way, another copy of
    /// this server included: see [`Listener::probe`].
    ///
    /// # Errors
    ///
    /// `AddrInUse`, `AddrNotAvailable`, `PermissionDenied` for ports below 1024, or no descriptor
    /// left.
    pub fn bind(address: SocketAddr, backlog: u32) -> io::Result<Self> {
        Self::listen(bound(address, true)?, backlog)
    }

    /// The same for connections that are to carry documents. The kernel says that they have room
    /// only while less than [`DOCUMENT_UNSENT_BYTES`] are unsent, so that a slow reader falls
    /// behind in its cursors and not in old bytes; and it drops them when what was sent has not
    /// been acknowledged for `patience`, as [`Transport::set_user_timeout`] says.
    ///
    /// # Errors
    ///
    /// As [`Listener::bind`].
    pub fn bind_for_documents(
        address: SocketAddr,
        backlog: u32,
        patience: Span,
    ) -> io::Result<Self> {
        let socket = bound(address, true)?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_notsent_lowat(DOCUMENT_UNSENT_BYTES)?;
        transport::set_user_timeout(SockRef::from(&socket), patience)?;
        Self::listen(socket, backlog)
    }

    /// Listens on `socket`, whose options all accepted ones inherit: that spares a system call for
    /// each.
    fn listen(socket: Socket, backlog: u32) -> io::Result<Self> {
        socket.set_tcp_nodelay(true)?;
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        let socket = TcpListener::from_std(socket.into());
        Ok(Self { socket, reserve: Some(reserve()?), shed: 0 })
    }

    /// Checks that nobody listens on `address` yet. Without asking first, a second server on the
    /// same port would start without complaint and take half of the connections.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if somebody does, and what [`Listener::bind`] says.
    pub fn probe(address: SocketAddr) -> io::Result<()> {
        bound(address, false)?.listen(1)
    }

    /// The address that it listens on.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts a connection, with Nagle's delay off; `None` when there is none, and then an edge
    /// tells of the next. Connections that died while they waited are passed over.
    ///
    /// # Errors
    ///
    /// When descriptors or memory have run out, or very many connections in a row were not to be
    /// had. Others may still be waiting and no edge tells of them: call again by a timer, some
    /// milliseconds later, when something may have been freed.
    pub fn accept(&mut self) -> io::Result<Option<(Transport, SocketAddr)>> {
        if self.reserve.is_none() {
            self.reserve = reserve().ok();
        }
        for _ in 0..PASSED_PER_CALL_MAX {
            let error = match self.socket.accept() {
                Ok((stream, peer)) => return Ok(Some((Transport::Plain(stream), peer))),
                Err(error) => error,
            };
            match Verdict::on(&error) {
                Verdict::NoneWaits => return Ok(None),
                Verdict::TryNext => continue,
                Verdict::Later => return Err(error),
                Verdict::NoDescriptor => {}
            }
            match self.shed_one() {
                Shed::One => {}
                Shed::NoneWaits => return Ok(None),
                Shed::Failed => return Err(error),
            }
        }
        Err(io::Error::other("many connections in a row could not be accepted"))
    }

    /// Connections that were reset because the process had no descriptor left for them.
    pub fn shed(&self) -> u64 {
        self.shed
    }

    /// Has every edge of the listener reported as `token`.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.socket, token, Interest::READABLE)
    }

    /// Has no more edges reported.
    ///
    /// # Errors
    ///
    /// `NotFound` if it was not registered.
    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        registry.deregister(&mut self.socket)
    }

    /// Resets the connection that waits longest, using the reserve.
    fn shed_one(&mut self) -> Shed {
        // What was in reserve is free from here to the next attempt to take it back, and another
        // thread may be quicker.
        if self.reserve.take().is_none() {
            return Shed::Failed;
        }
        let outcome = match self.socket.accept() {
            Ok((stream, _)) => {
                Transport::Plain(stream).reset();
                self.shed += 1;
                Shed::One
            }
            Err(error) => match Verdict::on(&error) {
                Verdict::NoneWaits => Shed::NoneWaits,
                Verdict::TryNext => Shed::One,
                Verdict::NoDescriptor | Verdict::Later => Shed::Failed,
            },
        };
        self.reserve = reserve().ok();
        outcome
    }
}

/// What came of turning a connection away.
enum Shed {
    One,
    /// There was none: without a free descriptor the kernel does not even look.
    NoneWaits,
    Failed,
}

fn bound(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // A server that is started again must not wait for the old one's connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    if domain == Domain::IPV6 {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn reserve() -> io::Result<File> {
    File::open("/dev/null")
}

/// What an error of the accept call asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is none; an edge tells of the next.
    NoneWaits,
    /// It was about that one connection, or a signal came.
    TryNext,
    /// The process, or the machine, has none left.
    NoDescriptor,
    /// Memory, or something unknown: to go on at once might be to go on for ever.
    Later,
}

impl Verdict {
    /// What to do after that error.
    pub(crate) fn on(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::WouldBlock {
            return Self::NoneWaits;
        }
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => Self::NoDescriptor,
            // Linux hands over errors that the network already has for the new connection.
            Some(
                libc::EINTR
                | libc::ECONNABORTED
                | libc::ECONNRESET
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::ETIMEDOUT,
            ) => Self::TryNext,
            _ => Self::Later,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_listener_leaves_ipv4_alone() {
        let listener = Listener::bind("[::1]:0".parse().unwrap(), 8).unwrap();
        assert!(SockRef::from(&listener.socket).only_v6().unwrap());
    }

    #[test]
    fn errors_of_one_connection_do_not_stop_the_others() {
        let verdict = |code| Verdict::on(&io::Error::from_raw_os_error(code));
        assert_eq!(verdict(libc::EAGAIN), Verdict::NoneWaits);
        for code in [libc::EINTR, libc::ECONNABORTED, libc::EPROTO, libc::EHOSTUNREACH] {
            assert_eq!(verdict(code), Verdict::TryNext);
        }
        assert_eq!(verdict(libc::EMFILE), Verdict::NoDescriptor);
        assert_eq!(verdict(libc::ENFILE), Verdict::NoDescriptor);
        for code in [libc::ENOBUFS, libc::ENOMEM, libc::EINVAL, libc::EPERM] {
            assert_eq!(verdict(code), Verdict::Later);
        }
    }
}
