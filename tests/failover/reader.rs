//! A client: one document, and what it has brought.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::processes::{PATIENCE, SUBJECTS};

/// A document with one subject, and what it has brought.
pub struct Reader {
    stream: TcpStream,
    bytes: Vec<u8>,
}

/// What a document has of its subject in one epoch.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// The epoch.
    pub epoch: String,
    /// The messages: offset, round, and whether it is a snapshot.
    pub messages: Vec<(u64, usize, bool)>,
}

impl Reader {
    /// Opens one of the feed's subjects.
    pub fn open(server: &str, subject: usize) -> Self {
        Self::open_all(server, &[format!("rates/s{subject}")])
    }

    /// Opens whatever that names.
    pub fn open_all(server: &str, names: &[String]) -> Self {
        let mut stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let opens: Vec<String> = names.iter().map(|name| format!("open={name}")).collect();
        let opens = opens.join("&");
        let request = format!("GET /ahm/mux.html?{opens} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        Self { stream, bytes: Vec::new() }
    }

    /// Readers of all subjects, one after the other.
    pub fn many(servers: &[&str], count: usize) -> Vec<Self> {
        let open = |at| Self::open(servers[at % servers.len()], at / servers.len() % SUBJECTS);
        let mut readers: Vec<Self> = (0..count).map(open).collect();
        readers.iter_mut().for_each(|reader| reader.until("<p c="));
        readers
    }

    /// Reads until `end` has come.
    pub fn until(&mut self, end: &str) {
        let mut from = 0;
        while !self.bytes[from..].windows(end.len()).any(|part| part == end.as_bytes()) {
            from = self.bytes.len().saturating_sub(end.len());
            self.read();
        }
    }

    /// Reads until a text that `is_there` likes.
    pub fn until_all(&mut self, is_there: impl Fn(&str) -> bool) {
        while !is_there(&self.text()) {
            self.read();
        }
    }

    fn read(&mut self) {
        let mut buffer = [0; 16 * 1024];
        let count = self.stream.read(&mut buffer).unwrap();
        assert!(count > 0, "it has ended: {}", self.text());
        self.bytes.extend_from_slice(&buffer[..count]);
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// All that came so far, epoch by epoch.
    pub fn lives(&self) -> Vec<Life> {
        let text = self.text();
        assert!(!text.contains("<p g ") && !text.contains("<p x "), "{text}");
        let mut lives: Vec<Life> = Vec::new();
        for line in text.lines().filter(|line| line.starts_with("<p ")) {
            let (head, payload) = line.split_once('>').unwrap();
            let value = |name: &str| head.split(name).nth(1).map(|rest| rest.split(' ').next());
            let value = |name| value(name).flatten().unwrap_or_default();
            if head.starts_with("<p o ") {
                let epoch = value(" ep=").to_string();
                lives.push(Life { epoch, messages: Vec::new() });
            } else if head.starts_with("<p c=") {
                let n = value(" n=").parse().unwrap();
                let message = (n, payload.parse().unwrap(), head.ends_with(" s"));
                lives.last_mut().unwrap().messages.push(message);
            }
        }
        lives
    }

    /// The epoch that it reads in.
    pub fn epoch(&self) -> String {
        self.lives().pop().unwrap().epoch
    }
}

/// Waits until a server serves that name: an open before that is refused.
pub fn wait_for(server: &str, name: &str) {
    let found = |reader: Reader| reader.text().contains("<p c=");
    let mut tries = std::iter::repeat_with(|| {
        let mut reader = Reader::open_all(server, &[name.to_string()]);
        reader.until(&format!("u={name}"));
        reader.until("\n\r\n");
        reader
    });
    assert!(tries.by_ref().take(100_000).any(found), "nobody serves it");
}
