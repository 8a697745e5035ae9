//! The thread that sends files: one poller, a connection for each reader, and nothing held of a
//! file but the piece on its way.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, DirBuilder};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::SystemTime;

use mio::Token;

use crate::base::time::Span;
use crate::files::answer::{Body, answer, refused};
use crate::http::request::{Limits, parse_head};
use crate::reactor::poller::{Poller, Ready};
use crate::reactor::transport::{Io, Transport};
use crate::reactor::unix::UnixListener;

const WAKE: Token = Token(0);
const DOOR: Token = Token(1);
/// Connections have tokens from here on.
const FIRST: usize = 2;
/// Edges taken from the kernel at once.
const EVENTS_MAX: usize = 256;
/// Bytes of a file that are read at once.
const PIECE_BYTES: usize = 128 * 1024;
/// Pieces that one connection sends before others have their turn.
const PIECES_PER_TURN: usize = 4;
/// Bytes that are read of requests at once.
const READ_BYTES: usize = 16 * 1024;
/// Connections at a time; others wait.
const CONNECTIONS_MAX: usize = 4_096;
/// How long a listener that could not accept is left alone.
const ACCEPT_RETRY: Span = Span::from_millis(20);

/// A directory that is served on a socket of its own, for processes of the same user. Dropping it
/// ends that.
///
/// ```
/// use std::io::{Read, Write};
/// use ahm::files::server::FileServer;
/// let folder = std::env::temp_dir().join(format!("ahm-files-example-{}", std::process::id()));
/// std::fs::create_dir_all(&folder)?;
/// std::fs::write(folder.join("index.html"), "hello")?;
/// let server = FileServer::start(&folder)?;
/// let mut stream = std::os::unix::net::UnixStream::connect(server.path())?;
/// stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
/// let mut answer = String::new();
/// stream.read_to_string(&mut answer)?;
/// assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"));
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct FileServer {
    /// The directory of the socket, which goes when all is over.
    home: PathBuf,
    path: PathBuf,
    stop: Arc<AtomicBool>,
    waker: Arc<mio::Waker>,
    thread: Option<JoinHandle<()>>,
}

impl FileServer {
    /// Serves what is in `root`.
    ///
    /// # Errors
    ///
    /// When there is no such directory, or the process has no descriptor, thread, or place for the
    /// socket.
    pub fn start(root: &Path) -> io::Result<Self> {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", root.display()));
        let canonical = root.canonicalize().map_err(named)?;
        if !canonical.is_dir() {
            return Err(named(io::ErrorKind::NotADirectory.into()));
        }
        let mark = getrandom::u64().map_err(io::Error::other)?;
        let home = std::env::temp_dir().join(format!("ahm-{mark:016x}"));
        DirBuilder::new().mode(0o700).create(&home)?;
        let path = home.join("files");
        let started = Self::run(&canonical, &path);
        let (stop, waker, thread) = started.inspect_err(|_| drop(fs::remove_dir_all(&home)))?;
        Ok(Self { home, path, stop, waker, thread: Some(thread) })
    }

    fn run(
        root: &Path,
        path: &Path,
    ) -> io::Result<(Arc<AtomicBool>, Arc<mio::Waker>, JoinHandle<()>)> {
        let mut door = UnixListener::bind(path)?;
        let poller = Poller::new(EVENTS_MAX)?;
        let waker = poller.waker(WAKE)?;
        door.register(poller.registry(), DOOR)?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut desk = Desk {
            root: root.into(),
            poller,
            door,
            waiting: true,
            connections: HashMap::new(),
            next: FIRST,
            again: Vec::new(),
            piece: vec![0; PIECE_BYTES],
            stop: Arc::clone(&stop),
        };
        let thread = std::thread::Builder::new().name("ahm-files".into()).spawn(move || {
            if let Err(error) = desk.serve() {
                log::error!("files are served no longer: {error}");
            }
        })?;
        Ok((stop, waker, thread))
    }

    /// The socket where it is found.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Err(error) = self.waker.wake() {
            log::warn!("the files' thread cannot be told to end: {error}");
            return;
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::error!("the files' thread has panicked");
        }
        if let Err(error) = fs::remove_dir_all(&self.home) {
            log::warn!("{}: stays there: {error}", self.home.display());
        }
    }
}

impl fmt::Debug for FileServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileServer").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A connection: reads a request, sends its answer, reads the next one.
struct Connection {
    transport: Transport,
    /// Bytes of requests that were not used yet.
    input: Vec<u8>,
    /// The head of the answer under way, and how much of it is out.
    out: Vec<u8>,
    sent: usize,
    body: Option<Body>,
    /// Whether it closes behind that answer.
    last: bool,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// An edge will tell when it goes on.
    Waits,
    /// It has had its turn.
    Again,
    /// It is over.
    Over,
}

/// All that the thread has.
struct Desk {
    root: PathBuf,
    poller: Poller,
    door: UnixListener,
    /// Whether connections may wait that no edge will tell of.
    waiting: bool,
    connections: HashMap<usize, Connection>,
    next: usize,
    again: Vec<usize>,
    piece: Vec<u8>,
    stop: Arc<AtomicBool>,
}

impl Desk {
    fn serve(&mut self) -> io::Result<()> {
        while !self.stop.load(Ordering::Acquire) {
            let busy = !self.again.is_empty();
            let retry = (self.waiting && self.has_room()).then_some(ACCEPT_RETRY);
            self.poller.poll(if busy { Some(Span::ZERO) } else { retry })?;
            let ready: Vec<Ready> = self.poller.events().collect();
            self.waiting |= ready.iter().any(|ready| ready.token == DOOR);
            let mut due = std::mem::take(&mut self.again);
            due.extend(ready.iter().map(|ready| ready.token.0).filter(|token| *token >= FIRST));
            due.sort_unstable();
            due.dedup();
            due.into_iter().for_each(|token| self.go_on(token));
            self.accept();
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.connections.len() < CONNECTIONS_MAX
    }

    fn accept(&mut self) {
        while self.waiting && self.has_room() {
            let mut transport = match self.door.accept() {
                Ok(Some(transport)) => transport,
                Ok(None) => {
                    self.waiting = false;
                    return;
                }
                Err(error) => return log::warn!("files: accept: {error}"),
            };
            let token = self.next;
            self.next += 1;
            if let Err(error) = transport.register(self.poller.registry(), Token(token)) {
                log::warn!("files: register: {error}");
                continue;
            }
            let (input, out, sent) = (Vec::new(), Vec::new(), 0);
            let connection = Connection { transport, input, out, sent, body: None, last: false };
            self.connections.insert(token, connection);
            self.again.push(token);
        }
    }

    fn go_on(&mut self, token: usize) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        match connection.go_on(&self.root, &mut self.piece) {
            Fate::Waits => {}
            Fate::Again => self.again.push(token),
            Fate::Over => drop(self.connections.remove(&token)),
        }
    }
}

impl Connection {
    fn go_on(&mut self, root: &Path, piece: &mut [u8]) -> Fate {
        for _ in 0..PIECES_PER_TURN {
            let fate = if self.sent < self.out.len() || self.body.is_some() {
                self.send(piece)
            } else if self.last {
                Some(Fate::Over)
            } else {
                self.take(root, piece)
            };
            if let Some(fate) = fate {
                return fate;
            }
        }
        Fate::Again
    }

    /// Answers the next request, or reads more of it.
    fn take(&mut self, root: &Path, piece: &mut [u8]) -> Option<Fate> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let unix_seconds = now.map_or(0, |now| now.as_secs());
        match parse_head(&self.input, &Limits::default()) {
            Ok(Some((head, used))) => {
                let answer = answer(root, &head, unix_seconds);
                (self.out, self.sent, self.body) = (answer.head, 0, answer.body);
                self.last = answer.close;
                self.input.drain(..used);
                return None;
            }
            Ok(None) => {}
            Err(why) => {
                (self.out, self.sent, self.last) = (refused(why, unix_seconds), 0, true);
                return None;
            }
        }
        match self.transport.read(&mut piece[..READ_BYTES]) {
            Io::Bytes(count) | Io::All(count) => {
                self.input.extend_from_slice(&piece[..count]);
                None
            }
            Io::Blocked => Some(Fate::Waits),
            Io::Closed | Io::Failed(_) => Some(Fate::Over),
        }
    }

    /// Sends the head, or a piece of the file behind what is left of the head.
    fn send(&mut self, piece: &mut [u8]) -> Option<Fate> {
        let mut count = 0;
        if let Some(body) = &self.body {
            let want = usize::try_from(body.end - body.at).unwrap_or(usize::MAX).min(piece.len());
            count = match body.file.read_at(&mut piece[..want], body.at) {
                // It has become shorter. Who reads it must see that something is missing.
                Ok(0) => return Some(Fate::Over),
                Ok(count) => count,
                Err(error) => {
                    log::warn!("files: read: {error}");
                    return Some(Fate::Over);
                }
            };
        }
        let head = &self.out[self.sent..];
        let slices = [IoSlice::new(head), IoSlice::new(&piece[..count])];
        let slices = if head.is_empty() { &slices[1..] } else { &slices[..] };
        match self.transport.write_vectored(slices) {
            Io::Bytes(written) | Io::All(written) => {
                let of_head = written.min(head.len());
                self.sent += of_head;
                if let Some(body) = &mut self.body {
                    body.at += (written - of_head) as u64;
                    if body.at == body.end {
                        self.body = None;
                    }
                }
                None
            }
            Io::Blocked => Some(Fate::Waits),
            Io::Closed | Io::Failed(_) => Some(Fate::Over),
        }
    }
}
