//! Asking a script on the web server, by one request over a connection of its own.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use zeroize::Zeroizing;

use crate::auth::answer::ANSWER_BYTES_MAX;
use crate::auth::evidence::Evidence;
use crate::http::exchange::{Part, ResponseReader, put_head};
use crate::link::address::Address;
use crate::reactor::beyond::unproved;
use crate::reactor::blocking::Waiting;
use crate::server::desk::{DeskSettings, Said, Until};

/// A script.
pub(crate) struct Script<'a> {
    /// Its path, maybe with a query.
    pub(crate) target: &'a str,
    /// Whether it gets the body of a form.
    pub(crate) post: bool,
    /// Where it is.
    pub(crate) settings: &'a DeskSettings,
}

/// A connection whose waits are bounded.
trait Line: Read + Write {
    fn bound(&self, wait: Duration) -> std::io::Result<()>;
}

impl Line for TcpStream {
    fn bound(&self, wait: Duration) -> std::io::Result<()> {
        self.set_read_timeout(Some(wait))?;
        self.set_write_timeout(Some(wait))
    }
}

impl Line for UnixStream {
    fn bound(&self, wait: Duration) -> std::io::Result<()> {
        self.set_read_timeout(Some(wait))?;
        self.set_write_timeout(Some(wait))
    }
}

impl Line for Waiting<Box<dyn Line>> {
    fn bound(&self, wait: Duration) -> std::io::Result<()> {
        self.sock.bound(wait)
    }
}

impl Script<'_> {
    /// Asks it.
    ///
    /// # Errors
    ///
    /// Why there is no answer, without anything of what was asked or answered.
    pub(crate) fn ask(&self, evidence: &Evidence, until: Until<'_>) -> Result<Said, String> {
        let mut line = self.connect(until)?;
        let request = self.request(evidence);
        let answered = send(line.as_mut(), &request, until)
            .and_then(|()| receive(line.as_mut(), until))
            .map_err(|lost| self.why(lost));
        let (status, body) = answered?;
        match status {
            200 => Ok(Said::Answer(body)),
            401 => Ok(Said::Refused(body, true)),
            403 => Ok(Said::Refused(body, false)),
            _ => Err(format!("the script answers with status {status}")),
        }
    }

    /// The first web server that lets us in.
    fn connect(&self, until: Until<'_>) -> Result<Box<dyn Line>, String> {
        let mut failure = String::from("there is no web server to ask");
        for address in &self.settings.servers {
            let limit = Duration::from_nanos(self.settings.connect_timeout.as_nanos());
            let wait = limit.min(until.left());
            if wait.is_zero() {
                return Err("there was no time left to connect".into());
            }
            let line = dial(address, wait).and_then(|line| -> std::io::Result<Box<dyn Line>> {
                match &self.settings.beyond {
                    None => Ok(line),
                    Some(beyond) => Ok(Box::new(beyond.over(line)?)),
                }
            });
            match line {
                Ok(line) => return Ok(line),
                Err(error) => failure = format!("{address}: {error}"),
            }
        }
        Err(failure)
    }

    /// Why there is no answer, in words.
    fn why(&self, lost: Lost) -> String {
        match lost {
            Lost::Said(what) => what,
            Lost::Failed(error) => {
                let beyond = self.settings.beyond.as_deref();
                let words = beyond.and_then(|beyond| unproved(beyond, &error));
                words.unwrap_or_else(|| error.to_string())
            }
        }
    }

    fn request(&self, evidence: &Evidence) -> Zeroizing<Vec<u8>> {
        let form = if self.post { evidence.form() } else { evidence.query() };
        let target = match (self.post, self.target.contains('?')) {
            (true, _) => Zeroizing::new(self.target.to_owned()),
            (false, true) => Zeroizing::new(format!("{}&{}", self.target, *form)),
            (false, false) => Zeroizing::new(format!("{}?{}", self.target, *form)),
        };
        let host = self.settings.host.as_deref().or(evidence.host.as_deref());
        let method = if self.post { "POST" } else { "GET" };
        let mut out = Zeroizing::new(Vec::with_capacity(form.len() + 4_096));
        put_head(&mut out, method, &target, host.unwrap_or("localhost"));
        let mut field = |name: &str, value: &str| {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        };
        field("Connection", "close");
        field("Accept", "application/json, application/x-www-form-urlencoded");
        field("X-Forwarded-For", &evidence.address.ip().to_string());
        field("X-Forwarded-Proto", if evidence.secured.is_some() { "https" } else { "http" });
        // So that the web server's own sessions are found as they always are.
        if let Some(cookie) = &evidence.cookie {
            field("Cookie", cookie.expose());
        }
        if self.post {
            field("Content-Type", "application/x-www-form-urlencoded");
            field("Content-Length", &form.len().to_string());
        }
        out.extend_from_slice(b"\r\n");
        if self.post {
            out.extend_from_slice(form.as_bytes());
        }
        out
    }
}

fn dial(address: &Address, wait: Duration) -> std::io::Result<Box<dyn Line>> {
    match address {
        Address::Tcp(address) | Address::Tls(address) => {
            let stream = TcpStream::connect_timeout(address, wait)?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream))
        }
        Address::Unix(path) => {
            // A full backlog would keep a plain connect waiting for as long as it likes.
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.connect_timeout(&SockAddr::unix(path)?, wait)?;
            socket.set_nonblocking(false)?;
            Ok(Box::new(UnixStream::from(socket)))
        }
    }
}

/// Why an exchange came to nothing.
enum Lost {
    /// In words.
    Said(String),
    /// The connection is lost.
    Failed(std::io::Error),
}

impl From<&str> for Lost {
    fn from(what: &str) -> Self {
        Self::Said(what.into())
    }
}

impl From<String> for Lost {
    fn from(what: String) -> Self {
        Self::Said(what)
    }
}

impl From<std::io::Error> for Lost {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Bounds the next wait.
fn bound(line: &dyn Line, until: Until<'_>) -> Result<(), Lost> {
    let wait = until.wait().ok_or("the script has not answered in time")?;
    Ok(line.bound(wait)?)
}

/// Whether a wait is only to be begun again.
fn is_pause(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn send(line: &mut dyn Line, mut bytes: &[u8], until: Until<'_>) -> Result<(), Lost> {
    while !bytes.is_empty() {
        bound(line, until)?;
        match line.write(bytes) {
            Ok(0) => return Err("the web server takes no more".into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if is_pause(error.kind()) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn receive(line: &mut dyn Line, until: Until<'_>) -> Result<(u16, Vec<u8>), Lost> {
    let mut reader = ResponseReader::new(ANSWER_BYTES_MAX as u64);
    let (mut status, mut body, mut ended) = (0, Vec::new(), false);
    let mut buffer = [0; 4_096];
    while !ended {
        bound(line, until)?;
        let count = match line.read(&mut buffer) {
            Ok(0) if reader.ends_with_connection() => break,
            Ok(0) => return Err("the web server has ended before its answer has".into()),
            Ok(count) => count,
            Err(error) if is_pause(error.kind()) => continue,
            Err(error) => return Err(error.into()),
        };
        reader.push(buffer.get(..count).unwrap_or_default(), |part| match part {
            // What comes behind the first answer is none of ours.
            _ if ended => {}
            Part::Head { status: code, .. } => status = code,
            Part::Body(bytes) => body.extend_from_slice(bytes),
            Part::End => ended = true,
        })?;
    }
    Ok((status, body))
}
