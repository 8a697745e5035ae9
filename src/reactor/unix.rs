//! Connections that others open through a socket in the file system, within this machine.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener as Socket;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mio::{Interest, Registry, Token};
use socket2::{Domain, SockAddr, Type};

use crate::reactor::dialer::dial_unix;
use crate::reactor::listener::{PASSED_PER_CALL_MAX, Verdict};
use crate::reactor::transport::Transport;

/// Connections that the kernel holds for us while we are busy.
const BACKLOG: i32 = 1_024;

/// A listening Unix socket. Its file goes with the last that listens on it, unless another has
/// taken its place.
///
/// ```
/// use ahm::reactor::poller::Poller;
/// use ahm::reactor::unix::UnixListener;
/// use mio::Token;
///
/// let path = std::env::temp_dir().join(format!("ahm-doc-{}", std::process::id()));
/// let mut poller = Poller::new(16)?;
/// let mut listener = UnixListener::bind(&path)?;
/// listener.register(poller.registry(), Token(1))?;
/// assert!(UnixListener::bind(&path).is_err(), "somebody listens there");
/// let client = std::os::unix::net::UnixStream::connect(&path)?;
/// let transport = loop {
///     poller.poll(None)?;
///     if let Some(accepted) = listener.accept()? {
///         break accepted;
///     }
/// };
/// drop((client, transport, listener));
/// assert!(!path.exists());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct UnixListener {
    socket: mio::net::UnixListener,
    file: Arc<SocketFile>,
}

/// The file of a listening socket.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    /// Its device and number.
    identity: (u64, u64),
}

impl UnixListener {
    /// Listens at `path`. A socket that is there already is replaced if nobody listens on it, as
    /// after a crash; any other file stays.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if somebody listens there, `AlreadyExists` if there is a file that is no socket,
    /// `NotFound` if there is no such directory, and what else the operating system says.
    pub fn bind(path: &Path) -> io::Result<Self> {
        Self::bind_as(path, None)
    }

    /// The same with the permissions of `mode`, as in `chmod`; without one they are what the
    /// process gives to any new file. Nobody can connect before they hold.
    ///
    /// # Errors
    ///
    /// As [`UnixListener::bind`].
    ///
    /// ```
    /// use std::os::unix::fs::PermissionsExt as _;
    /// use ahm::reactor::unix::UnixListener;
    ///
    /// let path = std::env::temp_dir().join(format!("ahm-doc-mode-{}", std::process::id()));
    /// let listener = UnixListener::bind_as(&path, Some(0o600))?;
    /// assert_eq!(std::fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
    /// let other = listener.try_clone()?;
    /// drop(listener);
    /// assert!(path.exists());
    /// drop(other);
    /// assert!(!path.exists());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn bind_as(path: &Path, mode: Option<u32>) -> io::Result<Self> {
        let socket = match listen(path, mode) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => replace(path, mode)?,
            outcome => outcome?,
        };
        let socket = mio::net::UnixListener::from_std(socket);
        let file = SocketFile { path: path.into(), identity: identity(path)? };
        Ok(Self { socket, file: Arc::new(file) })
    }

    /// Another that accepts from the same queue: whoever comes first gets a connection.
    ///
    /// # Errors
    ///
    /// When the process has no descriptor left.
    pub fn try_clone(&self) -> io::Result<Self> {
        let socket = self.socket.as_fd().try_clone_to_owned()?;
        let socket = mio::net::UnixListener::from_std(Socket::from(socket));
        Ok(Self { socket, file: Arc::clone(&self.file) })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Accepts a connection; `None` when there is none, and then an edge tells of the next. Without
    /// a free descriptor those who wait are left waiting, not reset: they are processes of this
    /// machine, which gain nothing from trying again.
    ///
    /// # Errors
    ///
    /// As [`Listener::accept`](crate::reactor::listener::Listener::accept): call again by a timer.
    pub fn accept(&mut self) -> io::Result<Option<Transport>> {
        for _ in 0..PASSED_PER_CALL_MAX {
            let error = match self.socket.accept() {
                Ok((stream, _)) => return Ok(Some(Transport::Unix(stream))),
                Err(error) => error,
            };
            match Verdict::on(&error) {
                Verdict::NoneWaits => return Ok(None),
                Verdict::TryNext => {}
                Verdict::NoDescriptor | Verdict::Later => return Err(error),
            }
        }
        Err(io::Error::other("many connections in a row could not be accepted"))
    }

    /// Has every edge of the listener reported as `token`.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.socket, token, Interest::READABLE)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::warn!("{}: the socket stays there: {error}", self.path.display());
        }
    }
}

/// Listens at a path where there is a file already.
fn replace(path: &Path, mode: Option<u32>) -> io::Result<Socket> {
    // Of two that start at once, each could find the other's socket before it is listened on, and
    // remove it. Where the file system knows no locks that stays possible.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or_else(|| Path::new("."))).ok();
    let _locked = folder.as_ref().map(File::lock);
    let is_socket = match fs::symlink_metadata(path) {
        Ok(file) => file.file_type().is_socket(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(error),
    };
    if !is_socket {
        let what = "there is a file of that name, and it is no socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
    }
    match dial_unix(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        _ => return Err(io::ErrorKind::AddrInUse.into()),
    }
    listen(path, mode)
}

/// Listens at a path where there is no file.
fn listen(path: &Path, mode: Option<u32>) -> io::Result<Socket> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Before it listens: until then every connect is refused.
    let permitted = match mode {
        Some(mode) => fs::set_permissions(path, fs::Permissions::from_mode(mode)),
        None => Ok(()),
    };
    if let Err(error) = permitted.and_then(|()| socket.listen(BACKLOG)) {
        let _ = fs::remove_file(path);
        return Err(error);
    }
    Ok(socket.into())
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}
