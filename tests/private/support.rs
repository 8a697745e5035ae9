//! A server with private listeners, and the plainest possible peer on any kind of socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ahm::server::builder::{Builder, Server};
use ahm::server::config::{Config, RegistryConfig, ResourceConfig, ResourceKind};

/// How long a peer waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A server with the resources `fx` (a feed) and `board`.
pub fn server(shards: usize, change: impl FnOnce(&mut Config)) -> Server {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let mut config = Config {
        listen: vec![any.into()],
        private_listen: vec![any.into()],
        registry: RegistryConfig::off(),
        shards,
        resources: vec![
            ResourceConfig::new("fx", ResourceKind::Feed),
            ResourceConfig::new("board", ResourceKind::Board),
        ],
        ..Config::default()
    };
    change(&mut config);
    Builder::new(config).start().unwrap()
}

/// A directory that goes with its last use.
#[derive(Debug)]
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir();
        let path = path.join(format!("ahm-private-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().into()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Any stream.
pub trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

/// A peer on one connection.
pub struct Peer(BufReader<Box<dyn Stream>>);

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

impl Peer {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(Box::new(stream)))
    }

    pub fn open(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(Box::new(stream)))
    }

    pub fn send(&mut self, bytes: &str) {
        self.0.get_mut().write_all(bytes.as_bytes()).unwrap();
    }

    pub fn get(&mut self, target: &str) -> Answer {
        self.ask("GET", target, "", None)
    }

    pub fn post(&mut self, target: &str, body: &str) -> Answer {
        self.ask("POST", target, "", Some(body))
    }

    /// A request with these fields, each with its line end.
    pub fn ask(&mut self, method: &str, target: &str, fields: &str, body: Option<&str>) -> Answer {
        let length = body.map(|body| format!("Content-Length: {}\r\n", body.len()));
        let (length, body) = (length.unwrap_or_default(), body.unwrap_or_default());
        let host = if fields.contains("Host:") { "" } else { "Host: localhost\r\n" };
        self.send(&format!("{method} {target} HTTP/1.1\r\n{host}{fields}{length}\r\n{body}"));
        self.answer()
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        let count = self.0.read_line(&mut line).unwrap();
        assert!(count > 0, "the connection has ended");
        line
    }

    pub fn answer(&mut self) -> Answer {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head += &self.line();
        }
        let status = head[9..12].parse().unwrap();
        let lengths = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let mut body = vec![0; lengths.map_or(0, |length| length.parse().unwrap())];
        self.0.read_exact(&mut body).unwrap();
        Answer { status, head, body: String::from_utf8(body).unwrap() }
    }

    /// The next frame of a document.
    pub fn frame(&mut self) -> String {
        loop {
            let line = self.line();
            if line.starts_with("<p ") {
                return line.trim_end().to_string();
            }
        }
    }
}

/// The value of a counter.
pub fn counter(server: &Server, name: &str, fields: &str) -> u64 {
    let address = server.private_addrs()[0];
    let body = Peer::connect(address).ask("GET", "/metrics", fields, None).body;
    let line = body.lines().find_map(|line| line.strip_prefix(&format!("ahm_{name}_total ")));
    line.unwrap_or_else(|| panic!("no {name} in {body}")).parse().unwrap()
}
