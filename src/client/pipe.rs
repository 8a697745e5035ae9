//! One connection of a client, by TLS or not: what is to be written, what was read, without
//! blocking.

use std::io::{self, IoSlice};
use std::net::SocketAddr;

use mio::{Registry, Token};
use zeroize::Zeroize as _;

use crate::client::event::{Failure, Request};
use crate::client::raw::put_line;
use crate::client::reader::{Got, Reader};
use crate::http::exchange::{Part, put_body, put_head};
use crate::reactor::beyond::{Beyond, is_no_tls, unproved};
use crate::reactor::dialer;
use crate::reactor::tls_shake::Shaken;
use crate::reactor::transport::{Io, Transport};
use crate::reactor::url::Server;

/// Reads of one connection before the others have their turn.
const READS_MAX: usize = 16;

/// What a round of reading came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Everything there was; an edge will tell of more.
    Blocked,
    /// There may be more, and no edge will tell.
    More,
    /// The connection is over, for this reason.
    Over(Failure),
}

/// Somebody to connect to: the place, what must be proved there by TLS, and one of its addresses.
#[derive(Clone, Copy, Debug)]
pub struct Peer<'a> {
    /// The place.
    pub server: &'a Server,
    /// Of a place that is spoken to by TLS.
    pub beyond: Option<&'a Beyond>,
    /// The address.
    pub address: SocketAddr,
}

fn broken(what: &str) -> Failure {
    Failure::Broken(what.to_owned())
}

/// Appends `request` to `server`, as HTTP/1.1 or as lines; returns how many answers it will have.
pub fn put_request(out: &mut Vec<u8>, server: &Server, request: &Request) -> usize {
    if server.is_raw() {
        return put_line(out, request);
    }
    let method = if request.body.is_some() { "POST" } else { "GET" };
    put_head(out, method, &format!("{}{}", server.path(), request.target), server.authority());
    if let Some(key) = &request.key {
        out.extend_from_slice(format!("AHM-Key: {key}\r\n").as_bytes());
    }
    if let Some(shown) = &request.authorization {
        for part in ["Authorization: ", shown.expose(), "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    put_body(out, request.body.as_deref());
    1
}

/// One connection.
#[derive(Debug)]
pub struct Pipe {
    transport: Transport,
    connected: bool,
    /// Whether a handshake is under way.
    shaking: bool,
    /// Whether bytes may be there of which no edge tells.
    unread: bool,
    /// Whom it leads to, where that must be proved.
    beyond: Option<Beyond>,
    out: Vec<u8>,
    written: usize,
    reader: Reader,
}

impl Pipe {
    /// Begins to connect to `peer`; the token is told when something happens. Answers may have
    /// `body_bytes_max` bytes of body.
    ///
    /// # Errors
    /// From the operating system; a place for TLS without what must be proved there.
    pub fn dial(
        peer: Peer<'_>,
        (registry, token): (&Registry, Token),
        body_bytes_max: u64,
    ) -> io::Result<Self> {
        let mut transport = dialer::dial(peer.address)?;
        if peer.server.is_secure() {
            transport = peer.beyond.ok_or(io::ErrorKind::Unsupported)?.protect(transport)?;
        }
        transport.register(registry, token)?;
        Ok(Self {
            shaking: peer.server.is_secure(),
            transport,
            connected: false,
            unread: false,
            beyond: peer.beyond.filter(|_| peer.server.is_secure()).cloned(),
            out: Vec::new(),
            written: 0,
            reader: Reader::new(peer.server.is_raw(), body_bytes_max),
        })
    }

    /// Where to append what is to be written; [`Pipe::flush`] then writes it.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Whether everything was written.
    pub fn is_flushed(&self) -> bool {
        self.out.is_empty()
    }

    /// Whether the last answer was read to its end and no other has begun.
    pub fn is_idle(&self) -> bool {
        self.reader.is_idle()
    }

    /// Whether it carries a document without HTTP, beside which commands may go.
    pub fn has_begun_raw(&self) -> bool {
        self.reader.has_begun_raw()
    }

    /// An edge has told of the connection: connects, shakes hands and writes as far as that goes,
    /// and says whether there may be something to read.
    ///
    /// # Errors
    /// Why the connection is over.
    pub fn ready(&mut self, (readable, writable): (bool, bool)) -> Result<bool, Failure> {
        if writable || self.shaking {
            self.flush()?;
        }
        Ok(!self.shaking && (std::mem::take(&mut self.unread) || readable))
    }

    /// Writes as much as goes.
    ///
    /// # Errors
    /// Why the connection is over.
    pub fn flush(&mut self) -> Result<(), Failure> {
        if !self.connected {
            self.connected =
                dialer::finish(&self.transport).map_err(|error| broken(&error.to_string()))?;
            if !self.connected {
                return Ok(());
            }
        }
        if self.shaking && !self.shake()? {
            return Ok(());
        }
        while self.written < self.out.len() {
            match self.transport.write_vectored(&[IoSlice::new(&self.out[self.written..])]) {
                Io::Bytes(count) | Io::All(count) => self.written += count,
                Io::Blocked => return Ok(()),
                Io::Closed => return Err(broken("the server closed the connection")),
                Io::Failed(error) => return Err(self.reason(&error)),
            }
        }
        wipe(&mut self.out);
        self.written = 0;
        match self.transport.flush() {
            Ok(_) => Ok(()),
            Err(error) => Err(self.reason(&error)),
        }
    }

    /// Goes on with the handshake; says whether it is done.
    fn shake(&mut self) -> Result<bool, Failure> {
        let Transport::Tls(secure) = &mut self.transport else { return Ok(true) };
        match secure.shake() {
            Ok(Shaken::Done(_)) => {
                // What came with the end of the handshake is here already.
                (self.shaking, self.unread) = (false, true);
                Ok(true)
            }
            Ok(Shaken::Pending | Shaken::Passed(_)) => Ok(false),
            Err(error) => Err(self.failure(&error)),
        }
    }

    /// Why nothing can be written. What the other has said before it closed says more than that it
    /// has closed: by TLS 1.3 a client hears only then that its certificate was refused (RFC 8446
    /// section 4.4.2.4).
    fn reason(&mut self, error: &io::Error) -> Failure {
        if matches!(self.transport, Transport::Tls(_)) {
            let mut buffer = [0; 1024];
            for _ in 0..READS_MAX {
                match self.transport.read(&mut buffer) {
                    Io::Bytes(_) | Io::All(_) => {}
                    Io::Failed(said) => return self.failure(&said),
                    Io::Blocked | Io::Closed => break,
                }
            }
        }
        self.failure(error)
    }

    fn failure(&self, error: &io::Error) -> Failure {
        if let Some(detail) = self.beyond.as_ref().and_then(|beyond| unproved(beyond, error)) {
            return Failure::Untrusted(detail);
        }
        match error.kind() {
            _ if self.shaking && is_no_tls(error) => broken("the server does not speak TLS there"),
            io::ErrorKind::UnexpectedEof => broken("the server cut the connection off"),
            _ => Failure::Broken(error.to_string()),
        }
    }

    /// Reads what there is, within bounds, and gives it piece by piece. `buffer` is scratch.
    pub fn read(&mut self, buffer: &mut [u8], mut each: impl FnMut(Got<'_>)) -> Read {
        for _ in 0..READS_MAX {
            match self.transport.read(buffer) {
                Io::Bytes(count) | Io::All(count) => {
                    if let Err(error) = self.reader.push(&buffer[..count], &mut each) {
                        return Read::Over(Failure::Broken(error));
                    }
                }
                Io::Blocked => return Read::Blocked,
                Io::Closed if self.reader.ends_with_connection() => {
                    each(Got::Part(Part::End));
                    return Read::Over(broken("the answer ended"));
                }
                Io::Closed => return Read::Over(broken("the server closed the connection")),
                Io::Failed(error) => return Read::Over(self.failure(&error)),
            }
        }
        Read::More
    }
}

/// Empties what was written: a password may have been in it.
fn wipe(written: &mut Vec<u8>) {
    written.as_mut_slice().zeroize();
    written.clear();
}
