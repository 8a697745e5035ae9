//! A server that relays, on free ports, and the plainest possible client.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ahm::server::builder::{Builder, Server};
use ahm::server::config::{Config, RegistryConfig};

/// How long a peer waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A server of one shard before the web servers at these addresses.
pub fn server(to: &[SocketAddr], change: impl FnOnce(&mut Config)) -> Server {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let mut config = Config {
        listen: vec![any.into()],
        private_listen: vec![any.into()],
        registry: RegistryConfig::off(),
        shards: 1,
        ..Config::default()
    };
    config.relay.to = to.iter().map(|address| format!("http://{address}")).collect();
    change(&mut config);
    Builder::new(config).start().unwrap()
}

/// A client on one connection.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<TcpStream>,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// The value of a field in a head.
pub fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (this, value) = line.split_once(": ")?;
        this.eq_ignore_ascii_case(name).then_some(value)
    })
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { reader: BufReader::new(stream) }
    }

    pub fn stream(&mut self) -> &mut TcpStream {
        self.reader.get_mut()
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.reader.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    pub fn get(&mut self, target: &str) -> Answer {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: example.org\r\n\r\n"));
        self.answer()
    }

    /// Reads the head of an answer; what came instead, if the connection has ended.
    pub fn try_head(&mut self) -> Result<String, String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            match self.reader.read_line(&mut head) {
                Ok(0) | Err(_) => return Err(head),
                Ok(_) => {}
            }
        }
        Ok(head)
    }

    pub fn head(&mut self) -> String {
        self.try_head().unwrap()
    }

    pub fn answer(&mut self) -> Answer {
        let head = self.head();
        self.try_body(head, false).unwrap()
    }

    /// Reads the body of an answer with that head; an error where it is cut short.
    pub fn try_body(&mut self, head: String, head_only: bool) -> io::Result<Answer> {
        let status = head[9..12].parse().unwrap();
        let mut body = Vec::new();
        if head_only || status == 204 || status == 304 || status < 200 {
            return Ok(Answer { status, head, body });
        }
        if field(&head, "Transfer-Encoding").is_some() {
            while let Some(chunk) = self.chunk()? {
                body.extend_from_slice(&chunk);
            }
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                if self.reader.read_line(&mut line)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        } else if let Some(length) = field(&head, "Content-Length") {
            body.resize(length.parse().unwrap(), 0);
            self.reader.read_exact(&mut body)?;
        } else {
            self.reader.read_to_end(&mut body)?;
        }
        Ok(Answer { status, head, body })
    }

    /// A chunk; `None` for the last one.
    pub fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let len = usize::from_str_radix(line.trim_end(), 16).unwrap();
        if len == 0 {
            return Ok(None);
        }
        let mut chunk = vec![0; len + 2];
        self.reader.read_exact(&mut chunk)?;
        assert!(chunk.ends_with(b"\r\n"));
        chunk.truncate(len);
        Ok(Some(chunk))
    }

    /// So many bytes.
    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Whatever comes until the peer closes, or how it ends otherwise.
    pub fn rest(&mut self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader.read_to_end(&mut bytes).map(|_| bytes)
    }
}
