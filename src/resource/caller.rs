//! One kept HTTP connection of a blocking client.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use socket2::Socket;

use crate::base::time::Span;
use crate::http::exchange::{Part, ResponseReader};
use crate::reactor::beyond::{Beyond, unproved};
use crate::reactor::blocking::Waiting;
use crate::reactor::url::Server;

/// Bytes of an answer at most: a line of a batch takes under 200 of them.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// How long the server asks to stay away.
    pub retry_after: Span,
    /// Whether the server keeps the connection and goes on reading requests.
    pub persistent: bool,
    /// The body.
    pub body: Vec<u8>,
}

/// A socket that blocks, and never raises a signal, whatever the embedding program makes of it.
#[derive(Debug)]
struct Quiet(Socket);

impl Read for Quiet {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(buffer)
    }
}

impl Write for Quiet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send_with_flags(bytes, libc::MSG_NOSIGNAL)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
enum Stream {
    Plain(Quiet),
    Tls(Box<Waiting<Quiet>>),
}

impl Stream {
    fn socket(&self) -> &Socket {
        match self {
            Self::Plain(quiet) => &quiet.0,
            Self::Tls(waiting) => &waiting.sock.0,
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(quiet) => quiet.read(buffer),
            Self::Tls(waiting) => waiting.read(buffer),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(quiet) => quiet.write_all(bytes),
            Self::Tls(waiting) => {
                waiting.write_all(bytes)?;
                // What it has taken is on its way only then.
                waiting.flush()
            }
        }
    }
}

/// One connection: requests go out, answers come back in their order.
#[derive(Debug)]
pub struct Caller {
    stream: Stream,
    /// Who is spoken to by TLS.
    beyond: Option<Beyond>,
    /// Why it is no use to try again: one side could not prove who it is.
    unproved: Option<String>,
    reader: ResponseReader,
    /// The answer that is being read.
    current: Response,
    /// Whole answers that nobody has asked for yet.
    whole: VecDeque<Response>,
}

impl Caller {
    /// Connects to the first address of `server` that answers, and that proves by TLS who it is
    /// where `beyond` is given. Reading and writing fail when nothing moves for `timeout`.
    ///
    /// # Errors
    /// From the resolver or the last address.
    pub fn connect(server: &Server, beyond: Option<Beyond>, timeout: Span) -> io::Result<Self> {
        if let Some(file) = server.socket() {
            let named = |error: io::Error| {
                io::Error::new(error.kind(), format!("{}: {error}", file.display()))
            };
            return Self::over(UnixStream::connect(file).map_err(named)?.into(), None, timeout);
        }
        let mut error = io::Error::from(io::ErrorKind::NotFound);
        for address in server.resolve()? {
            match TcpStream::connect_timeout(&address, timeout.to_std()) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Self::over(stream.into(), beyond, timeout);
                }
                Err(failed) => error = failed,
            }
        }
        Err(error)
    }

    fn over(socket: Socket, beyond: Option<Beyond>, timeout: Span) -> io::Result<Self> {
        socket.set_read_timeout(Some(timeout.to_std()))?;
        socket.set_write_timeout(Some(timeout.to_std()))?;
        let quiet = Quiet(socket);
        let stream = match &beyond {
            None => Stream::Plain(quiet),
            Some(beyond) => {
                let mut waiting = beyond.over(quiet)?;
                while waiting.conn.is_handshaking() {
                    waiting.conn.complete_io(&mut waiting.sock)?;
                }
                Stream::Tls(Box::new(waiting))
            }
        };
        Ok(Self {
            stream,
            beyond,
            unproved: None,
            reader: ResponseReader::new(ANSWER_BYTES_MAX),
            current: Response::default(),
            whole: VecDeque::new(),
        })
    }

    /// Whether the server has closed the connection, or sent what nobody asked for.
    pub fn is_stale(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let socket = self.stream.socket();
        let quiet = socket.set_nonblocking(true).and_then(|()| socket.peek(&mut byte));
        let blocks = quiet.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        !(blocks && socket.set_nonblocking(false).is_ok())
    }

    /// Writes a whole request.
    ///
    /// # Errors
    /// From the socket. Then the server cannot have the whole request.
    pub fn write(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request)
    }

    /// Why it is no use to try again, if one side could not prove who it is. Nothing that was
    /// written has reached whoever reads requests then.
    pub fn unproved(&self) -> Option<&str> {
        self.unproved.as_deref()
    }

    /// The next answer; blocks until it is whole.
    ///
    /// # Errors
    /// In words, when the connection ends before that or what comes is no HTTP.
    pub fn read(&mut self) -> Result<Response, String> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            if let Some(response) = self.whole.pop_front() {
                return Ok(response);
            }
            let count = match self.stream.read(&mut buffer) {
                Ok(0) if self.reader.ends_with_connection() => {
                    self.reader = ResponseReader::new(ANSWER_BYTES_MAX);
                    return Ok(std::mem::take(&mut self.current));
                }
                Ok(0) => return Err("the server closed the connection".into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err("no answer in time".into());
                }
                Err(error) => {
                    let beyond = self.beyond.as_ref();
                    self.unproved = beyond.and_then(|beyond| unproved(beyond, &error));
                    return Err(self.unproved.clone().unwrap_or_else(|| error.to_string()));
                }
            };
            let (current, whole) = (&mut self.current, &mut self.whole);
            self.reader.push(&buffer[..count], |part| match part {
                Part::Head { status, retry_after, persistent } => {
                    let retry_after = retry_after.unwrap_or(Span::ZERO);
                    *current = Response { status, retry_after, persistent, body: Vec::new() };
                }
                Part::Body(bytes) => current.body.extend_from_slice(bytes),
                Part::End => whole.push_back(std::mem::take(current)),
            })?;
        }
    }
}
