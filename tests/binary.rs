//! The binary itself: what it prints, what it serves, how it ends.

#![expect(clippy::unwrap_used, reason = "what fails here has failed the test")]

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// Nothing here takes so long unless it is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

struct Server {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    public: String,
    private: String,
}

impl Server {
    fn start(subcommand: &str) -> Self {
        Self::draining_for(subcommand, "60s")
    }

    fn draining_for(subcommand: &str, drain: &str) -> Self {
        Self::with(subcommand, drain, "false")
    }

    fn with(subcommand: &str, drain: &str, seal_without_tls: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ahm"))
            .args([subcommand, "--listen", "127.0.0.1:0", "--private", "127.0.0.1:0"])
            .env("AHM_DRAIN", drain)
            .env("AHM_PROTOCOL_SEAL_WITHOUT_TLS", seal_without_tls)
            .env("AHM_REGISTRY_LISTEN", "off")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let public = lines.next().unwrap().unwrap();
        let public = public.strip_prefix("listening http://").unwrap().to_string();
        let private = lines.next().unwrap().unwrap();
        let private = private.strip_prefix("private http://").unwrap().to_string();
        Self { child, lines, public, private }
    }

    fn kill(&self, signal: &str) {
        let id = self.child.id();
        let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {id}")]).status();
        assert!(sent.unwrap().success());
    }

    fn get(&self, target: &str, version: &str) -> Lines<BufReader<TcpStream>> {
        let mut stream = TcpStream::connect(&self.public).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {target} HTTP/{version}\r\nHost: localhost\r\n\r\n").unwrap();
        BufReader::new(stream).lines()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn frames(lines: &mut Lines<BufReader<TcpStream>>) -> impl Iterator<Item = String> + use<'_> {
    lines.map(Result::unwrap).filter(|line| line.starts_with("<p "))
}

#[test]
fn the_demo_gives_live_quotes_to_one_get() {
    let server = Server::start("demo");
    for version in ["1.1", "1.0"] {
        let mut lines = server.get("/ahm/mux.html?open=fx/EURUSD", version);
        let mut frames = frames(&mut lines);
        assert!(frames.next().unwrap().starts_with("<p i scs="), "identity comes first");
        let opened = frames.next().unwrap();
        assert!(opened.starts_with("<p o c=") && opened.contains(" u=fx/EURUSD "), "{opened}");
        for _ in 0..3 {
            let quote = frames.next().unwrap();
            let (attributes, payload) = quote.split_once('>').unwrap();
            assert!(attributes.starts_with("<p c="), "{quote}");
            let prices: Vec<f64> = payload.split(' ').map(|price| price.parse().unwrap()).collect();
            assert!(prices.iter().all(|price| (1.3..1.5).contains(price)), "{quote}");
        }
    }
    for (path, start) in [("/", "<!doctype html>"), ("/ahm/client.js", "// @ts-check")] {
        let mut lines = server.get(path, "1.0").map(Result::unwrap);
        assert_eq!(lines.next().unwrap(), "HTTP/1.1 200 OK", "{path}");
        assert_eq!(lines.find(|line| line.starts_with(start)).as_deref(), Some(start), "{path}");
    }
}

fn publish(server: &Server, payload: &str) {
    publish_to(server, "board/a", payload);
}

fn publish_to(server: &Server, target: &str, payload: &str) {
    let mut stream = TcpStream::connect(&server.private).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = payload.len();
    let head = format!("POST /publish/{target} HTTP/1.1\r\nHost: localhost\r\n");
    write!(stream, "{head}Content-Length: {length}\r\n\r\n{payload}").unwrap();
    let status = BufReader::new(stream).lines().next().unwrap().unwrap();
    assert_eq!(status, "HTTP/1.1 200 OK");
}

#[test]
fn an_interrupt_ends_the_server_at_once() {
    let mut server = Server::start("serve");
    let mut document = server.get("/ahm/mux.html", "1.1");
    assert!(frames(&mut document).next().unwrap().starts_with("<p i "));
    server.kill("INT");
    let last = frames(&mut document).next().unwrap();
    assert!(last.starts_with("<p z e=shutdown w="), "{last}");
    assert!(server.child.wait().unwrap().success());
    assert!(server.lines.by_ref().next().is_none());
}

#[test]
fn a_terminated_server_drains_and_a_second_signal_ends_that() {
    for second in ["TERM", "INT"] {
        let mut server = Server::start("serve");
        let mut document = server.get("/ahm/mux.html?open=board/a", "1.1");
        let mut frames = frames(&mut document);
        assert!(frames.next().unwrap().starts_with("<p i "));
        assert!(frames.next().unwrap().starts_with("<p o "));
        server.kill("TERM");
        let told = frames.next().unwrap();
        assert!(told.starts_with("<p m e=drain w="), "{told}");
        for payload in ["one", "two"] {
            publish(&server, payload);
            let message = frames.next().unwrap();
            assert!(message.ends_with(&format!(">{payload}")), "{message}");
        }
        server.kill(second);
        let last = frames.next().unwrap();
        assert!(last.starts_with("<p z e=shutdown w="), "{last}");
        assert!(server.child.wait().unwrap().success(), "SIG{second}");
    }
}

#[test]
fn a_drain_ends_with_its_time_and_at_once_where_nobody_is() {
    for has_reader in [true, false] {
        let mut server = Server::draining_for("serve", if has_reader { "500ms" } else { "60s" });
        let mut document = has_reader.then(|| server.get("/ahm/mux.html", "1.1"));
        if let Some(document) = &mut document {
            frames(document).next().unwrap();
        }
        server.kill("TERM");
        if let Some(document) = &mut document {
            let rest: Vec<String> = frames(document).collect();
            assert!(rest[0].starts_with("<p m e=drain w="), "{rest:?}");
            assert!(rest[1].starts_with("<p z e=shutdown w="), "{rest:?}");
        }
        assert!(server.child.wait().unwrap().success());
    }
}

#[test]
fn a_subscriber_of_two_servers_does_not_notice_the_death_of_one() {
    let mut servers = [Some(Server::start("serve")), Some(Server::start("serve"))];
    let feed = |servers: &[Option<Server>], n: u64| {
        for server in servers.iter().flatten() {
            publish_to(server, &format!("board/b?epoch=e1&n={n}"), &format!("message {n}"));
        }
    };
    feed(&servers, 1);
    let [one, two] = [0, 1].map(|at| format!("http://{}", servers[at].as_ref().unwrap().public));
    let mut subscriber = Command::new(env!("CARGO_BIN_EXE_ahm"))
        .args(["subscribe", &one, "board/b", "--dup", &two, "--since", "e1:0", "--count", "4"])
        .arg("--with-offsets")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(subscriber.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut lines = BufReader::new(subscriber.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "board/b\te1:1\tmessage 1");
    for url in [&one, &two] {
        let session = told.find(|line| line.contains(" session ")).unwrap();
        assert!(session.contains(url.as_str()), "{session}");
    }
    feed(&servers, 2);
    assert_eq!(lines.next().unwrap(), "board/b\te1:2\tmessage 2");
    // SIGKILL, not a word of farewell.
    drop(servers[0].take());
    feed(&servers, 3);
    feed(&servers, 4);
    let rest: Vec<String> = lines.collect();
    assert_eq!(rest, ["board/b\te1:3\tmessage 3", "board/b\te1:4\tmessage 4"]);
    assert!(subscriber.wait().unwrap().success());
}

#[test]
fn a_sealed_subscriber_reads_what_is_published_and_none_is_made_in_the_clear() {
    let server = Server::with("serve", "60s", "true");
    publish_to(&server, "board/b?epoch=e1&n=1", "one");
    publish_to(&server, "board/b?epoch=e1&n=2", "two");
    let url = format!("http://{}", server.public);
    for how in [&["--seal", "aes"][..], &["--seal", "chacha", "--login", &url]] {
        let subscriber = Command::new(env!("CARGO_BIN_EXE_ahm"))
            .args(["subscribe", &url, "board/b", "--since", "e1:0", "--count", "2"])
            .args(how)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&subscriber.stdout).into_owned();
        assert_eq!(said, "board/b\tone\nboard/b\ttwo\n", "{subscriber:?}");
        assert!(subscriber.status.success());
    }
    let plain = Server::start("serve");
    let url = format!("http://{}", plain.public);
    let refused = Command::new(env!("CARGO_BIN_EXE_ahm"))
        .args(["subscribe", &url, "board/b", "--seal", "aes"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("over TLS only"), "{said}");
}
