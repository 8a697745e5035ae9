//! A server on free ports, and the plainest possible peer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ahm::server::builder::{Builder, Server};
use ahm::server::config::{Config, RegistryConfig, ResourceConfig, ResourceKind};

/// How long a peer waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A server with the resources `fx` (a feed), `echo` and `board`.
pub fn server(shards: usize, change: impl FnOnce(&mut Config)) -> Server {
    try_server(shards, change).unwrap()
}

/// The same, or why it cannot start.
pub fn try_server(shards: usize, change: impl FnOnce(&mut Config)) -> std::io::Result<Server> {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let mut feed = ResourceConfig::new("fx", ResourceKind::Feed);
    feed.state = true;
    let mut config = Config {
        listen: vec![any.into(), "[::1]:0".parse().unwrap()],
        private_listen: vec![any.into()],
        registry: RegistryConfig::off(),
        shards,
        resources: vec![
            feed,
            ResourceConfig::new("echo", ResourceKind::Echo),
            ResourceConfig::new("board", ResourceKind::Board),
        ],
        ..Config::default()
    };
    change(&mut config);
    Builder::new(config).start()
}

/// A peer on one connection.
#[derive(Debug)]
pub struct Peer {
    reader: BufReader<TcpStream>,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Peer {
    pub fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { reader: BufReader::new(stream) }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.reader.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    pub fn get(&mut self, target: &str) -> Answer {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        self.answer()
    }

    pub fn post(&mut self, target: &str, body: impl AsRef<[u8]>) -> Answer {
        let body = body.as_ref();
        let length = body.len();
        self.send(format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
        ));
        self.send(body);
        self.answer()
    }

    /// Asks for a document and reads its head.
    pub fn document(&mut self, target: &str) -> String {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        self.head()
    }

    /// Reads the head of an answer.
    pub fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let count = self.reader.read_line(&mut head).unwrap();
            assert!(count > 0, "the connection ended within a head: {head:?}");
        }
        head
    }

    /// Reads an answer with `Content-Length`.
    pub fn answer(&mut self) -> Answer {
        let head = self.head();
        let status = head[9..12].parse().unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).unwrap();
        Answer { status, head, body: String::from_utf8(body).unwrap() }
    }

    /// The next frame of a chunked document: chunk sizes and empty lines are passed over.
    pub fn frame(&mut self) -> String {
        loop {
            let mut line = String::new();
            let count = self.reader.read_line(&mut line).unwrap();
            assert!(count > 0, "the document has ended");
            if line.starts_with("<p ") {
                return line.trim_end().to_string();
            }
        }
    }

    /// Whatever comes until the peer closes.
    pub fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        // A reset is an end too.
        let _ = self.reader.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// How much comes until the peer closes, or how it ends otherwise.
    pub fn rest_or_error(&mut self) -> std::io::Result<usize> {
        self.reader.read_to_end(&mut Vec::new())
    }
}

/// The value of an attribute of a frame.
pub fn attribute(frame: &str, name: &str) -> String {
    let start = format!(" {name}=");
    let at = frame.find(&start).unwrap_or_else(|| panic!("no {name} in {frame}"));
    frame[at + start.len()..].split([' ', '>']).next().unwrap().to_string()
}
