//! One TCP connection of a client: what is to be written, what was read, without blocking.

use std::io::{self, IoSlice};
use std::net::SocketAddr;

use mio::{Registry, Token};

use crate::client::event::Request;
use crate::client::raw::put_line;
use crate::client::reader::{Got, Reader};
use crate::http::exchange::{Part, put_body, put_head};
use crate::reactor::dialer;
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
    Over(String),
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
    put_body(out, request.body.as_deref());
    1
}

/// One connection.
#[derive(Debug)]
pub struct Pipe {
    transport: Transport,
    connected: bool,
    out: Vec<u8>,
    written: usize,
    reader: Reader,
}

impl Pipe {
    /// Begins to connect to `server` at that address of it; the token is told when something
    /// happens. Answers may have `body_bytes_max` bytes of body.
    ///
    /// # Errors
    /// From the operating system.
    pub fn dial(
        address: SocketAddr,
        server: &Server,
        (registry, token): (&Registry, Token),
        body_bytes_max: u64,
    ) -> io::Result<Self> {
        let mut transport = dialer::dial(address)?;
        transport.register(registry, token)?;
        Ok(Self {
            transport,
            connected: false,
            out: Vec::new(),
            written: 0,
            reader: Reader::new(server.is_raw(), body_bytes_max),
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

    /// Writes as much as goes.
    ///
    /// # Errors
    /// Why the connection is over, in words.
    pub fn flush(&mut self) -> Result<(), String> {
        if !self.connected {
            self.connected = dialer::finish(&self.transport).map_err(|error| error.to_string())?;
            if !self.connected {
                return Ok(());
            }
        }
        while self.written < self.out.len() {
            match self.transport.write_vectored(&[IoSlice::new(&self.out[self.written..])]) {
                Io::Bytes(count) | Io::All(count) => self.written += count,
                Io::Blocked => return Ok(()),
                Io::Closed => return Err("the server closed the connection".into()),
                Io::Failed(error) => return Err(error.to_string()),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads what there is, within bounds, and gives it piece by piece. `buffer` is scratch.
    pub fn read(&mut self, buffer: &mut [u8], mut each: impl FnMut(Got<'_>)) -> Read {
        for _ in 0..READS_MAX {
            match self.transport.read(buffer) {
                Io::Bytes(count) | Io::All(count) => {
                    if let Err(error) = self.reader.push(&buffer[..count], &mut each) {
                        return Read::Over(error);
                    }
                }
                Io::Blocked => return Read::Blocked,
                Io::Closed if self.reader.ends_with_connection() => {
                    each(Got::Part(Part::End));
                    return Read::Over("the answer ended".into());
                }
                Io::Closed => return Read::Over("the server closed the connection".into()),
                Io::Failed(error) => return Read::Over(error.to_string()),
            }
        }
        Read::More
    }
}
