//! `ahm replay` into a running server, and every row compared with the file at a reader.
//!
//! With `TEST_TICKS=FOLDER` all recordings in that folder are played, else the samples.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that is wrong")]

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ahm::base::id::{Cid, Offset};
use ahm::base::time::Span;
use ahm::cli::merge::{Merge, Naming};
use ahm::cli::replay::{PostSink, WallPacer, play};
use ahm::html::scan::{Frame, Scanner};
use ahm::proto::settings::History;
use ahm::server::builder::{Builder, Server};
use ahm::server::config::{Config, RegistryConfig, ResourceConfig, ResourceKind};
use flate2::read::MultiGzDecoder;

/// Nothing in these tests takes so long unless it is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

fn recordings() -> Vec<PathBuf> {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ticks");
    let folder = std::env::var_os("TEST_TICKS").map_or(samples, PathBuf::from);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|end| end == "gz")).collect();
    files.sort();
    files
}

/// A server whose feeds keep so much that a reader that is slow in a debug build misses nothing.
fn server() -> Server {
    let history = History {
        messages_max: 1_000_000,
        bytes_max: 512 * 1024 * 1024,
        age_max: Span::from_secs(600),
    };
    let feed = |name: &str| ResourceConfig {
        history: Some(history),
        ..ResourceConfig::new(name, ResourceKind::Feed)
    };
    let mut config = Config {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        private_listen: vec!["127.0.0.1:0".parse().unwrap()],
        registry: RegistryConfig::off(),
        shards: 2,
        resources: vec![feed("crypto"), feed("fx")],
        ..Config::default()
    };
    config.protocol.history_bytes_max = 1024 * 1024 * 1024;
    Builder::new(config).start().unwrap()
}

/// What arrived on each topic, in order.
type Arrived = HashMap<String, Vec<Vec<u8>>>;

/// Reads a document with `topics` until it has brought `total` messages; says on `ready` that all
/// topics are open. A gap or a jump in the offsets fails.
fn read(address: SocketAddr, topics: &[String], total: usize, ready: &mpsc::Sender<()>) -> Arrived {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let opens: Vec<_> = topics.iter().map(|topic| format!("open={topic}")).collect();
    let target = format!("/ahm/mux.html?{}", opens.join("&"));
    // HTTP/1.0: the frames come as they are, without chunks.
    write!(stream, "GET {target} HTTP/1.0\r\n\r\n").unwrap();
    let mut scanner = Scanner::new(1 << 20);
    let mut names: HashMap<Cid, (String, Offset)> = HashMap::new();
    let mut arrived = Arrived::new();
    let (mut count, mut head) = (0, Some(Vec::new()));
    let mut buffer = vec![0; 64 * 1024];
    while count < total {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "the document ended after {count} of {total} messages");
        let mut bytes = buffer[..read].to_vec();
        if let Some(mut so_far) = head.take() {
            so_far.extend_from_slice(&bytes);
            let Some(end) = so_far.windows(4).position(|part| part == b"\r\n\r\n") else {
                head = Some(so_far);
                continue;
            };
            assert!(so_far.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&so_far));
            bytes = so_far.split_off(end + 4);
        }
        let each = |frame: Frame<'_>| match frame {
            Frame::Opened { c, name, n, .. } => {
                names.insert(c, (name.to_string(), n));
                if names.len() == topics.len() {
                    ready.send(()).unwrap();
                }
            }
            Frame::Message { c, n, payload, .. } => {
                let (name, newest) = names.get_mut(&c).unwrap();
                assert_eq!(n, newest.next(), "{name}");
                *newest = n;
                arrived.entry(name.clone()).or_default().push(payload.into_owned());
                count += 1;
            }
            Frame::Gap { .. } | Frame::Closed { .. } => panic!("{frame:?}"),
            _ => {}
        };
        scanner.push(&bytes, each).unwrap();
    }
    arrived
}

/// The payloads that the rows of a file are to become.
fn expected(path: &Path) -> Vec<Vec<u8>> {
    let mut text = Vec::new();
    MultiGzDecoder::new(File::open(path).unwrap()).read_to_end(&mut text).unwrap();
    let rows = text.split(|&byte| byte == b'\n').filter(|row| !row.is_empty());
    let payload = |row: &[u8]| {
        let row = row.trim_ascii_end();
        let at = row.iter().position(|byte| b" ,".contains(byte)).unwrap();
        let rest = &row[at + 1..];
        match row[at] {
            b' ' => rest.to_vec(),
            _ => rest.iter().map(|&byte| if byte == b',' { b' ' } else { byte }).collect(),
        }
    };
    rows.map(payload).collect()
}

#[test]
fn every_row_of_every_file_arrives_once_and_in_order() {
    let files = recordings();
    assert!(!files.is_empty());
    let merge = Merge::open(&files, &Naming::default()).unwrap();
    let topics: Vec<String> = merge.names().map(ToString::to_string).collect();
    let rows: HashMap<_, _> =
        topics.iter().zip(&files).map(|(topic, path)| (topic.clone(), expected(path))).collect();
    let total = rows.values().map(Vec::len).sum();
    let server = server();
    let (ready, opened) = mpsc::channel();
    let address = server.public_addrs()[0];
    let reader = thread::spawn(move || read(address, &topics, total, &ready));
    opened.recv_timeout(PATIENCE).unwrap();
    let mut sink = PostSink::new(&format!("http://{}", server.private_addrs()[0])).unwrap();
    let stats = play(merge, 0.0, &mut WallPacer::start(), &mut sink, |_| {}).unwrap();
    assert_eq!(stats.messages, total as u64);
    let arrived = reader.join().unwrap();
    assert_eq!(arrived.len(), rows.len());
    for (topic, rows) in rows {
        // Not assert_eq: it would print a hundred thousand rows.
        assert!(arrived[&topic] == rows, "{topic} differs from its file");
    }
    server.stop();
}

#[test]
fn a_listener_that_refuses_ends_the_replay_with_its_words() {
    let server = server();
    let naming = Naming { resource: Some("nothing".into()), ..Naming::default() };
    let merge = Merge::open(&recordings()[..1], &naming).unwrap();
    // The public listener takes no messages.
    let mut sink = PostSink::new(&format!("http://{}", server.public_addrs()[0])).unwrap();
    let played = play(merge, 0.0, &mut WallPacer::start(), &mut sink, |_| {});
    assert!(played.unwrap_err().to_string().contains("was refused"));
    assert!(PostSink::new("ftp://127.0.0.1").is_err());
    server.stop();
}

/// A child that ends with the test.
struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks for the topic's history until there is one.
fn wait_for_topic(url: &str, topic: &str) {
    let (resource, subject) = topic.split_once('/').unwrap();
    let address = url.strip_prefix("http://").unwrap();
    let until = std::time::Instant::now() + PATIENCE;
    loop {
        let mut stream = TcpStream::connect(address).unwrap();
        let target = format!("/ahm/history?resource={resource}&subject={subject}");
        write!(stream, "GET {target} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        if answer.starts_with("HTTP/1.1 200 ") {
            return;
        }
        assert!(std::time::Instant::now() < until, "{topic} was never opened");
    }
}

fn ahm(args: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ahm"));
    command.args(args).stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    command
}

#[test]
fn ahm_subscribe_prints_every_row_that_ahm_replay_publishes() {
    let files = recordings();
    let topics: Vec<String> = {
        let merge = Merge::open(&files, &Naming::default()).unwrap();
        merge.names().map(ToString::to_string).collect()
    };
    let rows: HashMap<_, _> =
        topics.iter().zip(&files).map(|(topic, path)| (topic.clone(), expected(path))).collect();
    let total: usize = rows.values().map(Vec::len).sum();
    let feed = "feed:history.messages=1000000:history.bytes=512MiB:history.age=10m";
    let mut serve = ahm(&["serve", "--listen", "127.0.0.1:0", "--private", "127.0.0.1:0"]);
    serve.args(["--shards", "2", "--set", "protocol.history_bytes_max=1GiB"]);
    serve.args(["--set", "registry.listen=off"]);
    serve.args(["--resource", &format!("crypto:{feed}"), "--resource", &format!("fx:{feed}")]);
    let mut serve = Child(serve.spawn().unwrap());
    let mut lines = BufReader::new(serve.0.stdout.take().unwrap()).lines();
    let mut line = || lines.next().unwrap().unwrap();
    let public = line().strip_prefix("listening ").unwrap().to_string();
    let private = line().strip_prefix("private ").unwrap().to_string();

    let count = total.to_string();
    let mut subscribe = ahm(&["subscribe", "--count", &count, "--json", &public]);
    let mut subscribe = Child(subscribe.args(&topics).spawn().unwrap());
    let output = BufReader::new(subscribe.0.stdout.take().unwrap());
    // A topic begins with its first open: from then on its reader misses nothing.
    topics.iter().for_each(|topic| wait_for_topic(&public, topic));
    let mut replay = ahm(&["replay", "--speed", "0", "--url", &private]);
    let mut replay = Child(replay.args(&files).spawn().unwrap());

    let mut next: HashMap<String, usize> = HashMap::new();
    for line in output.lines() {
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        let (name, payload) = (line["name"].as_str().unwrap(), &line["payload"]);
        let at = next.entry(name.to_string()).or_default();
        assert!(line["n"] == *at as u64 + 1, "{name}: row {at}: {line}");
        let row = String::from_utf8_lossy(&rows[name][*at]);
        assert!(payload.as_str() == Some(&row), "{name}: row {at}: {payload} is not {row}");
        *at += 1;
    }
    assert_eq!(next.values().sum::<usize>(), total);
    assert!(replay.0.wait().unwrap().success());
    assert!(subscribe.0.wait().unwrap().success());
}
