//! One kept HTTP connection of a blocking client.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use socket2::Socket;

use crate::base::time::Span;
use crate::http::exchange::{Part, ResponseReader};
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

/// One connection: requests go out, answers come back in their order.
#[derive(Debug)]
pub struct Caller {
    stream: Socket,
    reader: ResponseReader,
    /// The answer that is being read.
    current: Response,
    /// Whole answers that nobody has asked for yet.
    whole: VecDeque<Response>,
}

impl Caller {
    /// Connects to the first address of `server` that answers. Reading and writing fail when
    /// nothing moves for `timeout`.
    ///
    /// # Errors
    /// From the resolver or the last address.
    pub fn connect(server: &Server, timeout: Span) -> io::Result<Self> {
        if let Some(file) = server.socket() {
            let named = |error: io::Error| {
                io::Error::new(error.kind(), format!("{}: {error}", file.display()))
            };
            return Self::over(UnixStream::connect(file).map_err(named)?.into(), timeout);
        }
        if server.is_secure() {
            let detail = "https:// is not spoken here";
            return Err(io::Error::new(io::ErrorKind::Unsupported, detail));
        }
        let mut error = io::Error::from(io::ErrorKind::NotFound);
        for address in server.resolve()? {
            match TcpStream::connect_timeout(&address, timeout.to_std()) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Self::over(stream.into(), timeout);
                }
                Err(failed) => error = failed,
            }
        }
        Err(error)
    }

    fn over(stream: Socket, timeout: Span) -> io::Result<Self> {
        stream.set_read_timeout(Some(timeout.to_std()))?;
        stream.set_write_timeout(Some(timeout.to_std()))?;
        Ok(Self {
            stream,
            reader: ResponseReader::new(ANSWER_BYTES_MAX),
            current: Response::default(),
            whole: VecDeque::new(),
        })
    }

    /// Whether the server has closed the connection, or sent what nobody asked for.
    pub fn is_stale(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let quiet = self.stream.set_nonblocking(true).and_then(|()| self.stream.peek(&mut byte));
        let blocks = quiet.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        !(blocks && self.stream.set_nonblocking(false).is_ok())
    }

    /// Writes a whole request.
    ///
    /// # Errors
    /// From the socket. Then the server cannot have the whole request.
    pub fn write(&mut self, mut request: &[u8]) -> io::Result<()> {
        while !request.is_empty() {
            // Never a signal, whatever the embedding program makes of it.
            match self.stream.send_with_flags(request, libc::MSG_NOSIGNAL) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => request = request.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
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
                Err(error) => return Err(error.to_string()),
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
