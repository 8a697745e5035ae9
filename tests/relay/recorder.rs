//! A web server that reads requests by rules of its own, records what it saw, and answers by the
//! path: what its parser cannot read to the letter is recorded as broken.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use crate::support::{PATIENCE, field};

/// What it saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A connection.
    Connection,
    /// A request that is whole.
    Request { head: String, body: Vec<u8>, trailers: String },
    /// The connection ended within a request.
    Cut(String),
    /// Something that is no request.
    Broken(String),
    /// A connection ended between requests.
    End,
}

impl Seen {
    /// Method, target and body, or what is wrong.
    pub fn short(&self) -> String {
        match self {
            Self::Connection => "connection".into(),
            Self::Request { head, body, trailers } => {
                let line = head.lines().next().unwrap().strip_suffix(" HTTP/1.1").unwrap();
                let parts = [line, &String::from_utf8_lossy(body), trailers.trim_end()];
                parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" ")
            }
            Self::Cut(what) => format!("cut {what}"),
            Self::Broken(what) => format!("BROKEN {what}"),
            Self::End => "end".into(),
        }
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        match self {
            Self::Request { head, .. } => field(head, name),
            _ => None,
        }
    }
}

/// What answers a request: given its head, writes to the connection; whether that goes on.
pub type Script = dyn Fn(&str, &mut TcpStream) -> bool + Send + Sync;

/// A web server.
#[derive(Debug)]
pub struct Recorder {
    pub address: SocketAddr,
    seen: Receiver<Seen>,
    log: Arc<Mutex<Vec<Seen>>>,
}

impl Recorder {
    /// One that answers everything with `ok`.
    pub fn start() -> Self {
        Self::answering(|_, stream| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_ok()
        })
    }

    /// One that answers by a script.
    pub fn answering(
        script: impl Fn(&str, &mut TcpStream) -> bool + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, seen) = channel();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (kept, script): (_, Arc<Script>) = (Arc::clone(&log), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let told = Told { sender: sender.clone(), log: Arc::clone(&kept) };
                let script = Arc::clone(&script);
                std::thread::spawn(move || serve(stream, &told, &*script));
            }
        });
        Self { address, seen, log }
    }

    /// The next thing that it sees.
    pub fn next(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).unwrap()
    }

    /// The next request.
    pub fn request(&self) -> Seen {
        loop {
            match self.next() {
                request @ Seen::Request { .. } => return request,
                Seen::Broken(what) => panic!("{what}"),
                _ => {}
            }
        }
    }

    /// Requests and faults seen so far, in short, and what else was seen is left out. Forgets them.
    pub fn take(&self) -> Vec<String> {
        let all = std::mem::take(&mut *self.log.lock().unwrap());
        let told = all.iter().filter(|seen| matches!(seen, Seen::Request { .. } | Seen::Broken(_)));
        told.map(Seen::short).collect()
    }
}

struct Told {
    sender: Sender<Seen>,
    log: Arc<Mutex<Vec<Seen>>>,
}

impl Told {
    fn note(&self, seen: Seen) {
        self.log.lock().unwrap().push(seen.clone());
        // A test that is over no longer listens.
        let _ = self.sender.send(seen);
    }
}

fn serve(stream: TcpStream, told: &Told, script: &Script) {
    told.note(Seen::Connection);
    stream.set_nodelay(true).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    loop {
        match read_request(&mut reader) {
            Ok(Some((head, body, trailers))) => {
                told.note(Seen::Request { head: head.clone(), body, trailers });
                if !script(&head, &mut writer) {
                    return;
                }
            }
            Ok(None) => return told.note(Seen::End),
            Err(seen) => return told.note(seen),
        }
    }
}

/// A line without its CR LF. Anything else than CR LF at its end is a fault.
fn line(reader: &mut impl BufRead, so_far: &str) -> Result<String, Seen> {
    let mut bytes = Vec::new();
    match reader.read_until(b'\n', &mut bytes) {
        Ok(0) | Err(_) => return Err(Seen::Cut(so_far.into())),
        Ok(_) => {}
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if !bytes.ends_with(b"\n") {
        return Err(Seen::Cut(so_far.into()));
    }
    let inner = bytes.strip_suffix(b"\r\n").ok_or_else(|| Seen::Broken(format!("{text:?}")))?;
    if inner.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
        return Err(Seen::Broken(format!("{text:?}")));
    }
    Ok(String::from_utf8_lossy(inner).into_owned())
}

type Parts = (String, Vec<u8>, String);

fn read_request(reader: &mut impl BufRead) -> Result<Option<Parts>, Seen> {
    if reader.fill_buf().is_ok_and(<[u8]>::is_empty) {
        return Ok(None);
    }
    let first = line(reader, "")?;
    let broken = |what: &str| Seen::Broken(format!("{first:?}: {what}"));
    let words: Vec<_> = first.split(' ').collect();
    if words.len() != 3 || words[2] != "HTTP/1.1" || !(words[1].starts_with('/') || words[1] == "*")
    {
        return Err(broken("no request line"));
    }
    let mut head = first.clone() + "\r\n";
    let (mut length, mut chunked, mut hosts) = (None, false, 0);
    loop {
        let text = line(reader, &first)?;
        if text.is_empty() {
            break;
        }
        let (name, value) = text.split_once(": ").ok_or_else(|| broken(&text))?;
        if name.is_empty() || name.contains([' ', '\t', '"', '(', ':']) || value.ends_with(' ') {
            return Err(broken(&text));
        }
        match name.to_ascii_lowercase().as_str() {
            "content-length" if length.is_some() || chunked => return Err(broken("two lengths")),
            "content-length" => length = Some(value.parse().map_err(|_| broken(&text))?),
            "transfer-encoding" if length.is_some() || chunked || value != "chunked" => {
                return Err(broken("framing"));
            }
            "transfer-encoding" => chunked = true,
            "host" => hosts += 1,
            _ => {}
        }
        head += &(text + "\r\n");
    }
    if hosts != 1 {
        return Err(broken("not one Host"));
    }
    let (mut body, mut trailers) = (vec![0; length.unwrap_or(0)], String::new());
    reader.read_exact(&mut body).map_err(|_| Seen::Cut(first.clone()))?;
    if chunked {
        trailers = read_chunks(reader, &first, &mut body)?;
    }
    Ok(Some((head, body, trailers)))
}

/// Reads chunks into `body`, and then the trailer section.
fn read_chunks(reader: &mut impl BufRead, first: &str, body: &mut Vec<u8>) -> Result<String, Seen> {
    let broken = |what: &str| Seen::Broken(format!("{first:?}: {what}"));
    loop {
        let size = line(reader, first)?;
        let size = usize::from_str_radix(&size, 16).map_err(|_| broken("a chunk's size"))?;
        if size == 0 {
            break;
        }
        let from = body.len();
        body.resize(from + size, 0);
        reader.read_exact(&mut body[from..]).map_err(|_| Seen::Cut(first.into()))?;
        if !line(reader, first)?.is_empty() {
            return Err(broken("a chunk's end"));
        }
    }
    let mut trailers = String::new();
    loop {
        let text = line(reader, first)?;
        if text.is_empty() {
            return Ok(trailers);
        }
        trailers += &(text + "\r\n");
    }
}
