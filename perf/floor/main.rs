//! The floor of the comparison: what the kernel allows one thread, without a server around it.
//!
//! One epoll loop that holds streams and passes messages on. `each` sends every delivery by itself,
//! `batch` gathers and sends once per turn of the loop and stream, `tick MS` at most once in so
//! many milliseconds. It knows as much HTTP as the load driver speaks with it
//! (`ahm bench --peer floor`) and keeps no more of a stream than its socket and a buffer.

mod request;

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::request::{Request, request};

const HELP: &str = "\
floor each              sends every delivery by itself
floor batch             gathers, and sends once per turn of the loop
floor tick MILLISECONDS gathers, and sends at most once in so long

With --listen ADDRESS last, it listens there [default: 127.0.0.1:0]. When it is ready it says where:
  listening http://ADDRESS
GET /sub/TOPIC,TOPIC,... is a stream of the messages that POST /pub/TOPIC brings, as they are.";

const LISTENER: Token = Token(usize::MAX);
/// Bytes of the buffer that everything is read into.
const BUFFER_BYTES: usize = 256 * 1024;
/// A stream that is so many bytes behind, beyond what the kernel holds for it, is closed.
const BACKLOG_BYTES_MAX: usize = 16 * 1024 * 1024;
const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
const TAKEN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// When deliveries are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sends {
    Each,
    Batch,
    Tick(Duration),
}

/// A connection: the socket, and what it has not taken yet.
#[derive(Debug)]
struct Connection {
    socket: TcpStream,
    out: Vec<u8>,
    /// The socket is full; its edge will tell when it is not.
    full: bool,
}

impl Connection {
    /// Sends `bytes` now, or as soon as the socket takes them; false: the stream is over.
    fn send(&mut self, bytes: &[u8]) -> bool {
        if self.full || !self.out.is_empty() {
            self.out.extend_from_slice(bytes);
            return self.out.len() <= BACKLOG_BYTES_MAX;
        }
        match self.socket.write(bytes) {
            Ok(count) if count == bytes.len() => true,
            Ok(count) => self.keep(&bytes[count..]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.keep(bytes),
            Err(_) => false,
        }
    }

    fn keep(&mut self, rest: &[u8]) -> bool {
        self.full = true;
        self.out.extend_from_slice(rest);
        true
    }

    /// Sends what has been gathered; false: the stream is over.
    fn flush(&mut self) -> bool {
        if self.full || self.out.is_empty() {
            return self.out.len() <= BACKLOG_BYTES_MAX;
        }
        match self.socket.write(&self.out) {
            Ok(count) if count == self.out.len() => self.out.clear(),
            Ok(count) => {
                self.full = true;
                self.out.drain(..count);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.full = true,
            Err(_) => return false,
        }
        true
    }
}

#[derive(Debug)]
struct Floor {
    sends: Sends,
    poll: Poll,
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// The streams of each topic.
    topics: HashMap<Vec<u8>, Vec<u32>>,
    /// Beginnings of requests whose ends have not come.
    heads: HashMap<usize, Vec<u8>>,
    /// Streams with something gathered.
    gathered: Vec<u32>,
    flushed: Instant,
}

impl Floor {
    fn new(sends: Sends, address: &str) -> io::Result<Self> {
        let address = address.parse().map_err(|_| io::Error::other("not an address and port"))?;
        let mut listener = TcpListener::bind(address)?;
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        println!("listening http://{}", listener.local_addr()?);
        Ok(Self {
            sends,
            poll,
            listener,
            connections: Vec::new(),
            free: Vec::new(),
            topics: HashMap::new(),
            heads: HashMap::new(),
            gathered: Vec::new(),
            flushed: Instant::now(),
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let timeout = match self.sends {
                Sends::Tick(every) if !self.gathered.is_empty() => {
                    Some(every.saturating_sub(self.flushed.elapsed()))
                }
                _ => None,
            };
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                let at = event.token().0;
                if event.token() == LISTENER {
                    self.accept()?;
                    continue;
                }
                if event.is_writable() {
                    self.writable(at);
                }
                if event.is_readable() || event.is_error() {
                    // Only who knows that no end is waiting behind the bytes may stop early.
                    self.read(at, &mut buffer, event.is_read_closed() || event.is_error());
                }
            }
            events.clear();
            self.flush();
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            socket.set_nodelay(true)?;
            let at = self.free.pop().unwrap_or(self.connections.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut socket, Token(at), interest)?;
            let connection = Some(Connection { socket, out: Vec::new(), full: false });
            match self.connections.get_mut(at) {
                Some(place) => *place = connection,
                None => self.connections.push(connection),
            }
        }
    }

    fn writable(&mut self, at: usize) {
        let Some(connection) = &mut self.connections[at] else { return };
        let was_full = std::mem::take(&mut connection.full);
        if was_full && !connection.flush() {
            self.close(at);
        }
    }

    /// Reads until there is nothing more, and does what the requests ask.
    fn read(&mut self, at: usize, buffer: &mut [u8], to_the_end: bool) {
        loop {
            let Some(connection) = &mut self.connections[at] else { return };
            let count = match connection.socket.read(buffer) {
                Ok(count) if count > 0 => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Ok(_) | Err(_) => return self.close(at),
            };
            let taken = match self.heads.remove(&at) {
                None => self.requests(at, &buffer[..count]),
                Some(mut head) => {
                    head.extend_from_slice(&buffer[..count]);
                    self.requests(at, &head)
                }
            };
            if taken.is_err() {
                return self.close(at);
            }
            if count < buffer.len() && !to_the_end {
                return;
            }
        }
    }

    fn requests(&mut self, at: usize, mut bytes: &[u8]) -> Result<(), &'static str> {
        let mut answers = Vec::new();
        while let Some((request, length)) = request(bytes)? {
            bytes = &bytes[length..];
            match request {
                Request::Subscribe(topics) => {
                    for topic in topics.split(|byte| *byte == b',') {
                        self.topics.entry(topic.to_vec()).or_default().push(at as u32);
                    }
                    answers.extend_from_slice(STREAM);
                }
                Request::Publish(topic, message) => {
                    self.publish(topic, message);
                    answers.extend_from_slice(TAKEN);
                }
            }
        }
        if !bytes.is_empty() {
            self.heads.insert(at, bytes.to_vec());
        }
        let connection = self.connections[at].as_mut().ok_or("closed meanwhile")?;
        if answers.is_empty() || connection.send(&answers) { Ok(()) } else { Err("broken") }
    }

    fn publish(&mut self, topic: &[u8], message: &[u8]) {
        let mut over = Vec::new();
        for at in self.topics.get(topic).into_iter().flatten() {
            let Some(connection) = &mut self.connections[*at as usize] else { continue };
            if self.sends == Sends::Each {
                if !connection.send(message) {
                    over.push(*at as usize);
                }
                continue;
            }
            if connection.out.is_empty() {
                self.gathered.push(*at);
            }
            connection.out.extend_from_slice(message);
        }
        over.into_iter().for_each(|at| self.close(at));
    }

    /// Sends what has been gathered, if it is time.
    fn flush(&mut self) {
        if let Sends::Tick(every) = self.sends {
            if self.flushed.elapsed() < every {
                return;
            }
            self.flushed = Instant::now();
        }
        for at in std::mem::take(&mut self.gathered) {
            let at = at as usize;
            if self.connections[at].as_mut().is_some_and(|connection| !connection.flush()) {
                self.close(at);
            }
        }
    }

    fn close(&mut self, at: usize) {
        self.heads.remove(&at);
        if self.connections[at].take().is_some() {
            // A stream that ends is rare here, so that nothing about it needs to be remembered.
            self.topics.values_mut().for_each(|streams| streams.retain(|one| *one != at as u32));
            self.gathered.retain(|one| *one != at as u32);
            self.free.push(at);
        }
    }
}

/// What the words of the command line ask for.
fn asked(words: &[String]) -> Option<(Sends, String)> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (words, address) = match &words[..] {
        [words @ .., "--listen", address] => (words, *address),
        words => (words, "127.0.0.1:0"),
    };
    let sends = match words {
        ["each"] => Sends::Each,
        ["batch"] => Sends::Batch,
        ["tick", ms] => Sends::Tick(Duration::from_millis(ms.parse().ok().filter(|ms| *ms > 0)?)),
        _ => return None,
    };
    Some((sends, address.to_owned()))
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((sends, address)) = asked(&words) else {
        eprintln!("{HELP}");
        return ExitCode::from(2);
    };
    if let Err(error) = ahm::reactor::rlimit::raise_open_files() {
        eprintln!("floor: limit of open files: {error}");
    }
    match Floor::new(sends, &address).and_then(|mut floor| floor.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_read_or_refused() {
        let asked = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            super::asked(&words)
        };
        let anywhere = "127.0.0.1:0".to_owned();
        assert_eq!(asked("each"), Some((Sends::Each, anywhere.clone())));
        let tick = Sends::Tick(Duration::from_millis(20));
        assert_eq!(asked("tick 20"), Some((tick, anywhere)));
        assert_eq!(asked("batch --listen 127.0.0.1:9").unwrap().1, "127.0.0.1:9");
        for line in ["", "tick", "tick 0", "tick x", "each 3", "--listen 127.0.0.1:9"] {
            assert_eq!(asked(line), None, "{line}");
        }
    }
}
