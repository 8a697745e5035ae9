//! A connection's bytes, in and out. There is one way to read and one way to write, whatever the
//! kind of socket, and whether TLS protects it.

use std::io::{self, IoSlice, Read};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use socket2::SockRef;

use crate::base::time::Span;
use crate::reactor::tls::Secure;

/// Slices that the kernel takes in one call.
const SLICES_KERNEL_MAX: usize = 1024;

/// What came of an attempt to read or write.
#[derive(Debug)]
pub enum Io {
    /// So many bytes were moved, at least one unless nothing was asked for; maybe fewer than asked
    /// for. More may be possible at once.
    Bytes(usize),
    /// So many bytes were read, and they are all that there were: what comes later brings an edge,
    /// as it does after [`Io::Blocked`]. Only an end that came with the last edge
    /// ([`Ready::closed`](crate::reactor::poller::Ready::closed)) is still to be read.
    All(usize),
    /// Nothing can be moved now; an edge will tell when to try again.
    Blocked,
    /// The peer has ended its side in order: nothing more will be read.
    Closed,
    /// The connection is lost.
    Failed(io::Error),
}

impl Io {
    /// Whether bytes were read, and no more are there.
    pub const fn is_all(&self) -> bool {
        matches!(self, Self::All(_))
    }

    fn from_outcome(outcome: io::Result<usize>) -> Self {
        match outcome {
            Ok(count) => Self::Bytes(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Self::Blocked,
            Err(error) => Self::Failed(error),
        }
    }
}

/// A connection. Dropping it closes it in order, unless unread bytes make the kernel reset it.
///
/// A connection may go to another thread: `deregister` it from the one poller and `register` it
/// with the other, which reports at once what is ready.
///
/// ```
/// use std::io::{IoSlice, Read};
/// use ahm::reactor::dialer;
/// use ahm::reactor::poller::Poller;
/// use ahm::reactor::transport::Io;
/// use mio::Token;
///
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let mut poller = Poller::new(16)?;
/// let mut transport = dialer::dial(listener.local_addr()?)?;
/// transport.register(poller.registry(), Token(7))?;
/// let mut written = 0;
/// while written == 0 {
///     poller.poll(None)?;
///     match transport.write_vectored(&[IoSlice::new(b"he"), IoSlice::new(b"llo")]) {
///         Io::Bytes(count) => written = count,
///         Io::Blocked => {}
///         lost => panic!("{lost:?}"),
///     }
/// }
/// drop(transport);
/// let mut text = String::new();
/// listener.accept()?.0.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub enum Transport {
    /// TCP as it is.
    Plain(TcpStream),
    /// A socket in the file system, within this machine.
    Unix(UnixStream),
    /// TLS over one of those. Until [`Secure::shake`] says that its handshake is done it takes and
    /// gives nothing.
    Tls(Box<Secure>),
}

impl Transport {
    /// The two ends of a connection within this process.
    ///
    /// # Errors
    ///
    /// When the process has no descriptor left.
    ///
    /// ```
    /// use std::io::IoSlice;
    /// use ahm::reactor::transport::{Io, Transport};
    /// let (mut one, mut other) = Transport::pair()?;
    /// assert!(matches!(one.write_vectored(&[IoSlice::new(b"hello")]), Io::Bytes(5)));
    /// let mut buffer = [0; 8];
    /// assert!(matches!(other.read(&mut buffer), Io::All(5)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = UnixStream::pair()?;
        Ok((Self::Unix(one), Self::Unix(other)))
    }

    /// Reads into `buffer`, once.
    pub fn read(&mut self, buffer: &mut [u8]) -> Io {
        if buffer.is_empty() {
            return Io::Bytes(0); // which from the system call would look like the end
        }
        let outcome = match self {
            Self::Plain(stream) => uninterrupted(|| stream.read(buffer)),
            Self::Unix(stream) => uninterrupted(|| stream.read(buffer)),
            Self::Tls(secure) => return secure.read(buffer),
        };
        match Io::from_outcome(outcome) {
            Io::Bytes(0) => Io::Closed,
            Io::Bytes(count) if count < buffer.len() => Io::All(count),
            other => other,
        }
    }

    /// Reads into `buffer` without taking anything, if it is TCP.
    pub fn peek(&self, buffer: &mut [u8]) -> Io {
        let Self::Plain(stream) = self else {
            return Io::Failed(io::ErrorKind::Unsupported.into());
        };
        match Io::from_outcome(uninterrupted(|| stream.peek(buffer))) {
            Io::Bytes(0) => Io::Closed,
            other => other,
        }
    }

    /// Writes what `slices` hold, in one system call, as far as there is room. Gives
    /// [`Io::Blocked`] also while a connect is under way. Never raises SIGPIPE, whatever the
    /// embedding process makes of that signal.
    pub fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> Io {
        if let Self::Tls(secure) = self {
            return match secure.send(slices) {
                Ok((0, true)) => Io::Blocked,
                Ok((count, _)) => Io::Bytes(count),
                Err(error) => Io::Failed(error),
            };
        }
        let socket = self.socket();
        Io::from_outcome(uninterrupted(|| match slices {
            [] => Ok(0),
            // Cheaper in the kernel than a vector of one.
            [slice] => socket.send_with_flags(slice, libc::MSG_NOSIGNAL),
            slices => {
                let slices = &slices[..slices.len().min(SLICES_KERNEL_MAX)];
                socket.send_vectored_with_flags(slices, libc::MSG_NOSIGNAL)
            }
        }))
    }

    /// The same in the words of whoever has more to send: how many bytes were taken, and whether
    /// the socket takes no more until an edge says so, and [`Transport::flush`] too. Less than all
    /// means that it is full.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    pub fn send(&mut self, slices: &[IoSlice<'_>]) -> io::Result<(usize, bool)> {
        if let Self::Tls(secure) = self {
            return secure.send(slices);
        }
        match self.write_vectored(slices) {
            Io::Bytes(count) | Io::All(count) => {
                let total = slices.iter().map(|slice| slice.len()).sum();
                Ok((count, count < total))
            }
            Io::Blocked => Ok((0, true)),
            Io::Closed => Err(io::ErrorKind::WriteZero.into()),
            Io::Failed(error) => Err(error),
        }
    }

    /// Sends what was taken and is still here, when an edge has said that there is room; false if
    /// that was not enough, and there is nothing more to be had before the next edge.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    pub fn flush(&mut self) -> io::Result<bool> {
        match self {
            Self::Tls(secure) => secure.flush(),
            Self::Plain(_) | Self::Unix(_) => Ok(true),
        }
    }

    /// Lets the kernel drop the connection when what was sent has not been acknowledged for `span`,
    /// rounded up to whole milliseconds; zero means its own, much longer, time-out.
    ///
    /// # Errors
    ///
    /// What the operating system says, which does not know it for Unix sockets; the connection
    /// works on without.
    pub fn set_user_timeout(&self, span: Span) -> io::Result<()> {
        set_user_timeout(self.socket(), span)
    }

    /// Has every edge of the connection reported as `token`, for reading and writing, from now
    /// until it is deregistered or closed.
    ///
    /// # Errors
    ///
    /// What the operating system says, as when its memory for this is used up.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        match self {
            Self::Plain(stream) => registry.register(stream, token, both),
            Self::Unix(stream) => registry.register(stream, token, both),
            Self::Tls(secure) => secure.under_mut().register(registry, token),
        }
    }

    /// Has no more edges reported. Those that were already taken from the poller still come.
    ///
    /// # Errors
    ///
    /// `NotFound` if it was not registered.
    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Plain(stream) => registry.deregister(stream),
            Self::Unix(stream) => registry.deregister(stream),
            Self::Tls(secure) => secure.under_mut().deregister(registry),
        }
    }

    /// Ends our side in order: what was written still arrives, and then the end.
    ///
    /// # Errors
    ///
    /// `NotConnected` if the peer is gone already.
    pub fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            Self::Tls(secure) => secure.shutdown_write(),
            Self::Plain(_) | Self::Unix(_) => self.socket().shutdown(Shutdown::Write),
        }
    }

    /// Closes without order: what is unsent is thrown away and the peer gets a reset.
    pub fn reset(self) {
        self.discard();
    }

    /// Has the connection closed without order when it is dropped, as [`Transport::reset`] does.
    pub fn discard(&self) {
        // Where this fails the connection is gone already.
        let _ = self.socket().set_linger(Some(Duration::ZERO));
    }

    /// The error that the kernel holds for the connection, which this clears.
    ///
    /// # Errors
    ///
    /// What the operating system says when it is asked.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket().take_error()
    }

    /// Our address.
    ///
    /// # Errors
    ///
    /// What the operating system says; `Unsupported` for a Unix socket, which has none.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Plain(stream) => stream.local_addr(),
            Self::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
            Self::Tls(secure) => secure.under().local_addr(),
        }
    }

    /// The peer's address.
    ///
    /// # Errors
    ///
    /// `NotConnected` before a connect is done and after the peer is gone; `Unsupported` for a Unix
    /// socket, which has none.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Plain(stream) => stream.peer_addr(),
            Self::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
            Self::Tls(secure) => secure.under().peer_addr(),
        }
    }

    /// The round trip to the peer as the kernel reckons it (smoothed, RFC 6298); `None` where there
    /// is no network between, or nothing was acknowledged yet.
    pub fn round_trip(&self) -> Option<Span> {
        match self {
            Self::Plain(_) => imp::round_trip(&self.socket()),
            Self::Unix(_) => None,
            Self::Tls(secure) => secure.under().round_trip(),
        }
    }

    /// The descriptor, for measuring; it stays the transport's own.
    pub fn raw_fd(&self) -> RawFd {
        self.socket().as_raw_fd()
    }

    fn socket(&self) -> SockRef<'_> {
        match self {
            Self::Plain(stream) => SockRef::from(stream),
            Self::Unix(stream) => SockRef::from(stream),
            Self::Tls(secure) => secure.under().socket(),
        }
    }
}

/// See [`Transport::set_user_timeout`]; a listener hands it on to what it accepts.
pub(crate) fn set_user_timeout(socket: SockRef<'_>, span: Span) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let millis = span.as_nanos().div_ceil(1_000_000).min(i32::MAX as u64);
        socket.set_tcp_user_timeout(Some(Duration::from_millis(millis)))?;
    }
    Ok(())
}

/// Repeats a call that a signal broke off before it had done anything.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "socket2 does not know this option")]
mod imp {
    use std::mem::MaybeUninit;
    use std::os::fd::AsRawFd;

    use socket2::SockRef;

    use crate::base::time::Span;

    pub(super) fn round_trip(socket: &SockRef<'_>) -> Option<Span> {
        let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
        let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
        let (level, name) = (libc::IPPROTO_TCP, libc::TCP_INFO);
        // SAFETY: `info` is writable for the length that is given, and outlives the call; the
        // descriptor is that of an open socket.
        let outcome = unsafe {
            let into = info.as_mut_ptr().cast();
            libc::getsockopt(socket.as_raw_fd(), level, name, into, &raw mut length)
        };
        // SAFETY: it consists of integers, for which zeros are values too.
        let info = unsafe { info.assume_init() };
        let micros = u64::from(info.tcpi_rtt);
        (outcome == 0 && micros > 0).then(|| Span::from_micros(micros))
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use socket2::SockRef;

    use crate::base::time::Span;

    pub(super) const fn round_trip(_socket: &SockRef<'_>) -> Option<Span> {
        None
    }
}

fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}
