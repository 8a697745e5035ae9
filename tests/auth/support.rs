//! A server, and other people's programs around it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use ahm::server::builder::{Builder, Server};
use ahm::server::config::{Config, RegistryConfig, ResourceConfig, ResourceKind};
use serde_json::Value;

/// A server of one shard.
pub fn server(change: impl FnOnce(&mut Config)) -> Server {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let mut config = Config {
        listen: vec![any.into()],
        private_listen: vec![any.into()],
        registry: RegistryConfig::off(),
        shards: 1,
        ..Config::default()
    };
    config.resources.push(ResourceConfig::new("fx", ResourceKind::Feed));
    change(&mut config);
    Builder::new(config).start().unwrap()
}

/// A directory that goes with the test.
pub struct Place(PathBuf);

impl Place {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("ahm-auth-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.0.join(name), text).unwrap();
        self.path(name)
    }

    /// A program in the language of the shell.
    pub fn program(&self, name: &str, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.write(name, &format!("#!/bin/sh\n{text}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        path
    }
}

impl AsRef<Path> for Place {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a program writes, which must succeed.
pub fn output(program: &str, arguments: &[&str]) -> Vec<u8> {
    let done = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let done = done.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

/// What curl gets: the status and all that came, head included.
pub fn curl(server: &Server, target: &str, arguments: &[&str]) -> (u16, String) {
    curl_at(server.public_addrs()[0], target, arguments)
}

pub fn curl_at(address: SocketAddr, target: &str, arguments: &[&str]) -> (u16, String) {
    curl_url(&format!("http://{address}{target}"), arguments)
}

pub fn curl_url(url: &str, arguments: &[&str]) -> (u16, String) {
    let all = [&["-s", "-i", "--max-time", "20", "--noproxy", "*"], arguments, &[url]].concat();
    let text = String::from_utf8(output("curl", &all)).unwrap();
    // Of several heads the last is the answer.
    let at = text.rfind("HTTP/1.1 ").unwrap_or_else(|| panic!("{url}: {text:?}"));
    (text[at + 9..at + 12].parse().unwrap(), text)
}

/// The JSON of an answer.
pub fn json(text: &str) -> Value {
    serde_json::from_str(text.rsplit_once("\r\n\r\n").unwrap().1).unwrap()
}

/// The session of an answer to `login`, as later commands name it.
pub fn session(text: &str) -> String {
    let answer = json(text);
    let field = |name: &str| answer[name].as_str().unwrap().to_owned();
    format!("scs={}&mid={}&k={}", field("scs"), field("mid"), field("k"))
}

/// The value of a counter.
pub fn counter(server: &Server, name: &str) -> u64 {
    let (_, text) = curl_at(server.private_addrs()[0], "/metrics", &[]);
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

/// A program that serves, and says with its first line where.
pub struct Peer {
    child: Child,
    pub address: SocketAddr,
}

impl Peer {
    /// A web server of Python, whose `answer(self, fields)` is given: it gets what was asked, as a
    /// dictionary, and calls `self.say(status, text)`. It speaks TLS where `TLS` names the files
    /// of a certificate and its key.
    pub fn python(place: &Place, answer: &str) -> Self {
        let script = place.write("web.py", &format!("{PYTHON}\n{answer}\n\nserve(answer)\n"));
        let mut child = Command::new("python3")
            .arg(script)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, address: format!("127.0.0.1:{}", line.trim()).parse().unwrap() }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PYTHON: &str = r#"
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.handle_all(urlsplit(self.path).query)
    def do_POST(self):
        self.handle_all(self.rfile.read(int(self.headers["Content-Length"])).decode())
    def handle_all(self, text):
        answer(self, {name: value[0] for name, value in parse_qs(text).items()})
    def say(self, status, text, kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())
    def log_message(self, *_):
        pass

def serve(answer):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if "TLS" in globals():
        import ssl
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*TLS)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_address[1], flush=True)
    server.serve_forever()
"#;
