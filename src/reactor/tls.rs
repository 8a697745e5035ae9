//! TLS over any socket. No buffer stays with a connection on which nothing is under way: what is
//! read and written passes through memory that the thread lends, and only a record that is not
//! whole yet, or ciphertext that the socket did not take, is kept.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IoSlice};
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, Error};

use crate::reactor::front::{Front, Hello};
use crate::reactor::records::{Plain, Reached, Step, Write, step};
use crate::reactor::transport::{Io, Transport};

/// Ciphertext that is read, and plaintext that is written, in one go.
const LENT_BYTES: usize = 64 * 1024;
/// A record at most: its head, its plaintext and what encryption adds (RFC 5246 section 6.2.3,
/// RFC 8446 section 5.2).
const RECORD_BYTES_MAX: usize = 5 + 16 * 1024 + 2048;
const _: () = assert!(LENT_BYTES > 2 * RECORD_BYTES_MAX);

/// What a thread lends to whichever connection it serves at the moment.
#[derive(Debug, Default)]
pub(crate) struct Lent {
    read: Vec<u8>,
    plain: Vec<u8>,
    out: Vec<u8>,
}

thread_local! {
    pub(crate) static LENT: RefCell<Lent> = RefCell::default();
}

/// A connection that TLS protects.
pub struct Secure {
    pub(crate) under: Transport,
    pub(crate) side: Side,
    /// Ciphertext that was read and not used yet.
    pub(crate) incoming: Vec<u8>,
    /// Ciphertext that the socket has not taken, from `sent` on.
    outgoing: Vec<u8>,
    sent: usize,
    /// Plaintext that had no room where it was asked for.
    plain: Vec<u8>,
    /// Whether `incoming` may hold whole records.
    pub(crate) unread: bool,
    /// Whether our side ends once `outgoing` is sent.
    closing: bool,
    pub(crate) end: End,
}

pub(crate) enum Side {
    /// Which of the server's names the client wants is not known yet.
    Hello(Box<Hello>),
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    None,
    /// The peer has said that it will send no more.
    Orderly,
    /// The connection has ended without that, or something broke.
    Broken,
}

impl fmt::Debug for Secure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secure").field("under", &self.under).field("end", &self.end).finish()
    }
}

impl Secure {
    /// The server's side of a connection that was accepted.
    pub fn accept(under: Transport, front: Arc<Front>) -> Self {
        Self::new(under, Side::Hello(Box::new(Hello::new(front))))
    }

    /// The client's side of a connection that is made or being made, to whoever proves to be
    /// `name`.
    ///
    /// # Errors
    ///
    /// When the configuration cannot be used.
    pub fn dial(
        under: Transport,
        config: &Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<Self> {
        let client = UnbufferedClientConnection::new(Arc::clone(config), name).map_err(broken)?;
        // It speaks first, before anything is read.
        let unread = true;
        Ok(Self { unread, ..Self::new(under, Side::Client(Box::new(client))) })
    }

    fn new(under: Transport, side: Side) -> Self {
        Self {
            under,
            side,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            sent: 0,
            plain: Vec::new(),
            unread: false,
            closing: false,
            end: End::None,
        }
    }

    /// The socket.
    pub fn under(&self) -> &Transport {
        &self.under
    }

    /// The socket.
    pub fn under_mut(&mut self) -> &mut Transport {
        &mut self.under
    }

    /// The socket, of a client that is passed on.
    pub fn into_under(self) -> Transport {
        self.under
    }

    /// Whether application data has to wait.
    pub fn is_handshaking(&self) -> bool {
        match &self.side {
            Side::Hello(_) => true,
            Side::Server(server) => server.is_handshaking(),
            Side::Client(client) => client.is_handshaking(),
        }
    }

    /// See [`Transport::read`].
    pub fn read(&mut self, buffer: &mut [u8]) -> Io {
        if buffer.is_empty() {
            return Io::Bytes(0);
        }
        if !self.plain.is_empty() {
            let count = self.plain.len().min(buffer.len());
            buffer[..count].copy_from_slice(&self.plain[..count]);
            self.plain.drain(..count);
            if self.plain.is_empty() {
                self.plain = Vec::new();
            }
            return Io::Bytes(count);
        }
        LENT.with_borrow_mut(|lent| self.advance(buffer, lent))
    }

    /// Reads what the socket has and decrypts it, until there is plaintext, or nothing more.
    pub(crate) fn advance(&mut self, buffer: &mut [u8], lent: &mut Lent) -> Io {
        loop {
            match self.end {
                End::None => {}
                End::Orderly => return Io::Closed,
                End::Broken => return Io::Failed(io::ErrorKind::InvalidData.into()),
            }
            lent.read.resize(LENT_BYTES, 0);
            let mut filled = self.incoming.len();
            lent.read[..filled].copy_from_slice(&self.incoming);
            let (mut drained, mut cut) = (false, false);
            if !std::mem::take(&mut self.unread) {
                match self.under.read(&mut lent.read[filled..]) {
                    Io::Bytes(count) => filled += count,
                    Io::All(count) => (filled, drained) = (filled + count, true),
                    Io::Blocked => return Io::Blocked,
                    Io::Closed => cut = true,
                    Io::Failed(error) => return Io::Failed(error),
                }
            }
            let mut rest = Vec::new();
            let mut plain = Plain { buffer: &mut *buffer, filled: 0, rest: &mut rest };
            let (reached, used) =
                self.run(&mut lent.read[..filled], &mut plain, &mut lent.out, None);
            let count = plain.filled;
            self.plain = rest;
            self.incoming = lent.read[used..filled].to_vec();
            if let Err(error) = self.give(&mut lent.out) {
                return Io::Failed(error);
            }
            match reached {
                Ok(Reached::Full) => (self.unread, drained) = (true, false),
                Ok(Reached::PeerClosed) => (self.end, drained) = (End::Orderly, false),
                Ok(Reached::Starved | Reached::Traffic) if cut => {
                    // A request says itself where it ends; what a server says may not.
                    let whole = matches!(self.side, Side::Server(_)) && self.incoming.is_empty();
                    self.end = if whole { End::Orderly } else { End::Broken };
                    if self.end == End::Broken && count == 0 {
                        return Io::Failed(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Ok(Reached::Starved | Reached::Traffic) => {}
                Err(error) => {
                    self.end = End::Broken;
                    if count == 0 {
                        return Io::Failed(broken(error));
                    }
                }
            }
            if count > 0 || !self.plain.is_empty() {
                return if drained { Io::All(count) } else { Io::Bytes(count) };
            }
            // Of a record that is not whole yet one must not say that this was all: the end may
            // stand right behind it, and no other edge tells of that.
            if buffer.is_empty() && !self.is_handshaking() {
                return Io::Bytes(0);
            }
        }
    }

    /// Runs the protocol over `incoming`, of which it says how much was used; appends what is to be
    /// sent to `out`, `write` among it once that may be.
    fn run(
        &mut self,
        incoming: &mut [u8],
        plain: &mut Plain<'_>,
        out: &mut Vec<u8>,
        mut write: Option<Write<'_>>,
    ) -> (Result<Reached, Error>, usize) {
        let (mut used, before) = (0, plain.rest.len());
        loop {
            let (outcome, discard) = self.step(&mut incoming[used..], plain, out, &mut write);
            used += discard;
            match outcome {
                Ok(Step::Again) if plain.rest.len() == before => {}
                Ok(Step::Again) => return (Ok(Reached::Full), used),
                Ok(Step::Reached(reached)) => return (Ok(reached), used),
                Err(error) => {
                    // What the peer is told of it, and not a step more, which would take up again
                    // what was wrong.
                    self.end = End::Broken;
                    while self.has_to_say()
                        && let (Ok(Step::Again), _) = self.step(&mut [], plain, out, &mut None)
                    {
                    }
                    return (Err(error), used);
                }
            }
        }
    }

    /// Whether messages of the protocol wait that a step would give.
    fn has_to_say(&self) -> bool {
        match &self.side {
            Side::Hello(_) => false,
            Side::Server(server) => server.wants_write(),
            Side::Client(client) => client.wants_write(),
        }
    }

    fn step(
        &mut self,
        incoming: &mut [u8],
        plain: &mut Plain<'_>,
        out: &mut Vec<u8>,
        write: &mut Option<Write<'_>>,
    ) -> (Result<Step, Error>, usize) {
        match &mut self.side {
            Side::Hello(_) => (Ok(Step::Reached(Reached::Starved)), 0),
            Side::Server(server) => step(server.process_tls_records(incoming), plain, out, write),
            Side::Client(client) => step(client.process_tls_records(incoming), plain, out, write),
        }
    }

    /// Sends `out`, or keeps what the socket does not take; leaves it empty.
    fn give(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if self.outgoing.is_empty() {
            let taken = match out.is_empty() {
                true => 0,
                false => self.under.send(&[IoSlice::new(out)])?.0,
            };
            self.outgoing = out[taken..].to_vec();
            self.sent = 0;
        } else {
            self.outgoing.extend_from_slice(out);
        }
        out.clear();
        Ok(())
    }

    /// Sends what waits; false while the socket takes no more. Whoever has heard that the socket is
    /// writable calls it before anything else.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    pub fn flush(&mut self) -> io::Result<bool> {
        if !self.outgoing.is_empty() {
            let (taken, _) = self.under.send(&[IoSlice::new(&self.outgoing[self.sent..])])?;
            self.sent += taken;
            if self.sent < self.outgoing.len() {
                return Ok(false);
            }
            (self.outgoing, self.sent) = (Vec::new(), 0);
        }
        if std::mem::take(&mut self.closing) {
            self.under.shutdown_write()?;
        }
        Ok(true)
    }

    /// See [`Transport::send`]. What was taken and does not fit into the socket is kept, and
    /// nothing else is taken before that has gone.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    pub fn send(&mut self, slices: &[IoSlice<'_>]) -> io::Result<(usize, bool)> {
        if !self.flush()? || self.is_handshaking() {
            return Ok((0, true));
        }
        LENT.with_borrow_mut(|lent| {
            let (mut taken, mut rest) = (0, slices);
            let mut offset = 0;
            loop {
                lent.plain.clear();
                while let Some(slice) = rest.first() {
                    let room = LENT_BYTES - lent.plain.len();
                    let piece = &slice[offset..slice.len().min(offset + room)];
                    lent.plain.extend_from_slice(piece);
                    if offset + piece.len() < slice.len() {
                        offset += piece.len();
                        break;
                    }
                    (rest, offset) = (&rest[1..], 0);
                }
                if lent.plain.is_empty() {
                    return Ok((taken, false));
                }
                self.write(Write::Data(&lent.plain), &mut lent.out)?;
                taken += lent.plain.len();
                self.give(&mut lent.out)?;
                if !self.outgoing.is_empty() {
                    return Ok((taken, true));
                }
            }
        })
    }

    /// Ends our side in order, once everything that was taken is sent.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    pub fn shutdown_write(&mut self) -> io::Result<()> {
        if !self.is_handshaking() {
            LENT.with_borrow_mut(|lent| {
                self.write(Write::End, &mut lent.out)?;
                self.give(&mut lent.out)
            })?;
        }
        self.closing = true;
        self.flush().map(|_| ())
    }

    fn write(&mut self, what: Write<'_>, out: &mut Vec<u8>) -> io::Result<()> {
        if self.end == End::Broken {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let mut incoming = std::mem::take(&mut self.incoming);
        let mut kept = std::mem::take(&mut self.plain);
        let mut plain = Plain { buffer: &mut [], filled: 0, rest: &mut kept };
        let reached = loop {
            let (reached, used) = self.run(&mut incoming, &mut plain, out, Some(what));
            incoming.drain(..used);
            match reached {
                // It is read later, and stands in the way of nothing here.
                Ok(Reached::Full) => {}
                Ok(Reached::PeerClosed) => self.end = End::Orderly,
                reached => break reached,
            }
        };
        self.unread |= !incoming.is_empty();
        (self.incoming, self.plain) = (incoming, kept);
        match reached {
            Ok(Reached::Traffic) => Ok(()),
            Ok(_) => Err(io::ErrorKind::NotConnected.into()),
            Err(error) => Err(broken(error)),
        }
    }
}

pub(crate) fn broken(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
