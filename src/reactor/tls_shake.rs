//! Handshakes, and what comes before those of clients: their first message, which says whom they
//! want.

use std::io::{self, IoSlice};

use rustls::server::UnbufferedServerConnection;

use crate::reactor::front::{Choice, Passed};
use crate::reactor::tls::{End, LENT, Secure, Side, broken};
use crate::reactor::transport::Io;

/// What somebody is told who speaks HTTP here.
const NOT_PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 59\r\nConnection: close\r\n\r\n\
    400 Bad Request: this port speaks TLS: use https:// for it\n";

/// How far a handshake is.
#[derive(Debug)]
pub enum Shaken {
    /// More must come, or the socket take more: an edge will tell.
    Pending,
    /// It is done, and the peer has shown this certificate (DER). Bytes of the peer may be there
    /// already, and no edge will tell of them.
    Done(Option<Box<[u8]>>),
    /// The client wants somebody else: its connection as it is, and what it has sent.
    Passed(Passed),
}

impl Secure {
    /// Goes on with the handshake as far as it goes.
    ///
    /// # Errors
    ///
    /// Why there will be no connection; the peer was told, if it can be.
    pub fn shake(&mut self) -> io::Result<Shaken> {
        if !self.flush()? {
            return Ok(Shaken::Pending);
        }
        loop {
            if let Side::Hello(_) = self.side {
                match self.hear_hello()? {
                    Some(passed) => return Ok(Shaken::Passed(passed)),
                    None if matches!(self.side, Side::Hello(_)) => return Ok(Shaken::Pending),
                    None => {}
                }
            }
            let moved = LENT.with_borrow_mut(|lent| self.advance(&mut [], lent));
            if !self.is_handshaking() {
                return Ok(Shaken::Done(self.shown()));
            }
            match moved {
                Io::Blocked => return Ok(Shaken::Pending),
                Io::Bytes(_) | Io::All(_) => {}
                Io::Closed => return Err(io::ErrorKind::UnexpectedEof.into()),
                Io::Failed(error) => return Err(error),
            }
        }
    }

    /// Reads until it is known whom the client wants. Somebody else: that is returned.
    fn hear_hello(&mut self) -> io::Result<Option<Passed>> {
        let Side::Hello(hello) = &mut self.side else { return Ok(None) };
        let mut piece = [0; 2048];
        let choice = loop {
            match self.under.read(&mut piece) {
                Io::Bytes(count) | Io::All(count) => match hello.push(&piece[..count]) {
                    Ok(None) => {}
                    Ok(Some(choice)) => break choice,
                    Err(error) => {
                        if hello.is_plain() {
                            // It is told so in its own words, as far as the socket takes them.
                            let _ = self.under.write_vectored(&[IoSlice::new(NOT_PLAIN)]);
                        } else {
                            let alert = hello.alert();
                            let _ = self.under.write_vectored(&[IoSlice::new(&alert)]);
                        }
                        self.end = End::Broken;
                        return Err(broken(error));
                    }
                },
                Io::Blocked => return Ok(None),
                Io::Closed => return Err(io::ErrorKind::UnexpectedEof.into()),
                Io::Failed(error) => return Err(error),
            }
        };
        let heard = hello.take();
        match choice {
            Choice::Serve(config) => {
                let server = UnbufferedServerConnection::new(config).map_err(broken)?;
                self.side = Side::Server(Box::new(server));
                (self.incoming, self.unread) = (heard, true);
                Ok(None)
            }
            Choice::Pass(name, target) => Ok(Some(Passed { name, target, heard })),
        }
    }

    /// The certificate that the peer has shown, verified.
    fn shown(&self) -> Option<Box<[u8]>> {
        let chain = match &self.side {
            Side::Hello(_) => None,
            Side::Server(server) => server.peer_certificates(),
            Side::Client(client) => client.peer_certificates(),
        };
        chain.and_then(<[_]>::first).map(|one| one.as_ref().into())
    }
}
