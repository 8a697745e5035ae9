//! Resource servers that dial the server, over real sockets and as real processes: no registry in
//! between, every shard reached, whatever is killed; and who is not let in is told why. And those
//! that the server's own process serves.

#![expect(clippy::unwrap_used, reason = "what fails here has failed the test")]

mod attached;
mod authority;
mod reader;
mod tls;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use ahm::base::time::Span;
use ahm::link::address::Address;
use ahm::link::handler::{Actions, Consumer, Decision, Handler, Message};
use ahm::resource::publisher::Publisher;
use ahm::resource::publisher_builder::Builder as PublisherBuilder;
use ahm::server::builder::{Builder, Server};
use ahm::server::config::Config;
use ahm::server::registry::RegistryConfig;
use ahm::wire::resource::{Frame, InstanceId, Role, Terms};
use ahm::wire::resource_decode::Decoder;
use ahm::wire::resource_encode::put_frame;

use crate::reader::{PATIENCE, Reader};

/// With a few dozen each of two shards is the home of some.
const SUBJECTS: usize = 40;

/// A process; dropping it kills it.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ahm(args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ahm"));
    command.args(args).stdout(Stdio::piped()).stdin(Stdio::piped()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// A document with all subjects.
fn read_all(server: &str) -> Reader {
    let opens: Vec<String> = (0..SUBJECTS).map(|at| format!("open=rates/s{at}")).collect();
    Reader::open(server, &format!("mux.html?{}", opens.join("&")))
}

/// A server of two shards without a registry; where clients and where resources connect.
fn serve(guests: &str) -> (Process, String, String) {
    let guests = format!("registry.guests={guests}");
    let args = ["serve", "--listen", "127.0.0.1:0", "--private", "127.0.0.1:0", "--shards", "2"];
    let keys = ["--set", "registry.listen=off", "--set", &guests, "--set", "registry.retry=100ms"];
    let mut child = ahm(&[&args[..], &keys].concat());
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let process = Process(child);
    let (mut public, mut address) = (String::new(), String::new());
    for line in lines {
        assert!(!line.starts_with("registry "), "{line}");
        if let Some(rest) = line.strip_prefix("listening http://") {
            public = rest.into();
        }
        if let Some(rest) = line.strip_prefix("guests ") {
            address = rest.into();
            break;
        }
    }
    (process, public, address)
}

/// A publisher that only dials, and says this on all subjects.
fn publish(guests: &str, payload: &str) -> (Process, ChildStdin) {
    let mut child = ahm(&["publish", "rates", "--dial", guests, "--state", "--quiet"]);
    let mut input = child.stdin.take().unwrap();
    say(&mut input, payload);
    (Process(child), input)
}

fn say(input: &mut ChildStdin, payload: &str) {
    let lines: String = (0..SUBJECTS).map(|at| format!("s{at}\t{payload}\n")).collect();
    input.write_all(lines.as_bytes()).unwrap();
}

#[test]
fn a_publisher_that_only_dials_is_read_on_every_shard_whatever_is_killed() {
    let (first, public, guests) = serve("127.0.0.1:0");
    let mut reader = read_all(&public);
    let (publisher, mut input) = publish(&guests, "one");
    reader.until_say(SUBJECTS, "one");
    say(&mut input, "two");
    reader.until_say(SUBJECTS, "two");

    drop(publisher);
    let (_publisher, mut input) = publish(&guests, "three");
    reader.until_say(SUBJECTS, "three");

    drop(first);
    let (_second, public, again) = serve(&guests);
    assert_eq!(again, guests);
    let mut reader = read_all(&public);
    reader.until_say(SUBJECTS, "three");
    say(&mut input, "four");
    reader.until_say(SUBJECTS, "four");
}

/// Gives back in capitals, on private channels.
#[derive(Debug)]
struct Loud;

impl Handler for Loud {
    fn open(&self, subject: &str, _consumer: &Consumer) -> Decision {
        match subject {
            "all" => Decision::Shared,
            _ => Decision::Private,
        }
    }

    fn terms(&self, _subject: &str) -> Terms {
        Terms { state: true, ..Terms::default() }
    }

    fn message(&self, message: &Message<'_>, actions: &mut Actions) {
        actions.reply(message.payload.to_ascii_uppercase());
    }
}

fn server(guests: Vec<Address>, key_file: &str) -> Server {
    let config = Config {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        private_listen: vec![],
        resources: vec![],
        shards: 2,
        registry: RegistryConfig { guests, key_file: key_file.into(), ..RegistryConfig::off() },
        ..Config::default()
    };
    Builder::new(config).start().unwrap()
}

fn loud(server: &Server, change: impl FnOnce(&mut PublisherBuilder)) -> Publisher {
    let dial = server.guest_addrs().iter().cloned();
    let mut builder = dial.fold(Publisher::builder("loud"), PublisherBuilder::dial);
    builder.settings.retry = Span::from_millis(50);
    change(&mut builder);
    builder.takes_messages().start(Loud).unwrap()
}

/// Opens a private channel and says something on it.
fn converse(server: &Server) {
    let mut reader = Reader::open(server.public_addrs()[0], "mux.html?open=loud/me");
    reader.until_channel();
    assert_eq!(reader.send(1, "hello"), "held");
    reader.until_says("HELLO");
}

#[test]
fn consumers_talk_to_a_resource_that_has_dialled_their_server() {
    let path = std::env::temp_dir().join(format!("ahm-guests-{}", std::process::id()));
    let server = server(vec!["127.0.0.1:0".parse().unwrap(), Address::Unix(path)], "");
    let loud = loud(&server, |_| {});
    for _ in 0..6 {
        converse(&server);
    }
    loud.publish("all", "now").unwrap();
    let mut reader = Reader::open(server.public_addrs()[0], "mux.html?open=loud/all");
    reader.until_says("now");
    assert_eq!(loud.counts().unwrap().connections, 4, "two shards at two addresses");
    server.stop();
}

/// What a server's guests' address says to these bytes before it closes.
fn dismissal(address: &Address, bytes: &[u8]) -> String {
    let Address::Tcp(address) = address else { panic!("{address}") };
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let mut said = Vec::new();
    let decoded = Decoder::new(4_096).push(&answer, |frame| match frame {
        Frame::Bye { reason } => said.push(reason.to_string()),
        other => panic!("{other:?}"),
    });
    assert_eq!((decoded, said.len()), (Ok(()), 1));
    said.remove(0)
}

fn hello(role: Role, key: &str) -> Vec<u8> {
    let (instance, heartbeat) = (InstanceId(5), Span::from_secs(1));
    let mut bytes = Vec::new();
    let hello = Frame::Hello { version: 1, role, instance, heartbeat, name: "x", key };
    put_frame(&mut bytes, &hello);
    put_frame(&mut bytes, &Frame::Part { part: 0 });
    bytes
}

fn key_file(key: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("ahm-guests-key-{}", std::process::id()));
    std::fs::write(&path, key).unwrap();
    path
}

#[test]
fn who_is_not_let_in_is_told_why_and_the_others_come_in() {
    const KEY: &str = "correct-horse-battery";
    let path = key_file(KEY);
    let server = server(vec!["127.0.0.1:0".parse().unwrap()], path.to_str().unwrap());
    std::fs::remove_file(path).unwrap();
    let address = &server.guest_addrs()[0];
    let wrong = "the key is not the one that is demanded here";
    assert_eq!(dismissal(address, &hello(Role::Resource, "wrong-horse-battery")), wrong);
    let only = "only resource servers dial this address";
    assert_eq!(dismissal(address, &hello(Role::Consumer, KEY)), only);
    let none = "it does not speak the protocol: no frame has the kind 69";
    let request = format!("GET / HTTP/1.1\r\n{}", "x".repeat(80));
    assert_eq!(dismissal(address, request.as_bytes()), none);
    // It goes on trying with the wrong key, and nothing comes of it.
    let stranger = loud(&server, |builder| builder.key = "wrong".into());
    let silent = "it has not said within 5s which part it wants";
    let said = dismissal(address, &hello(Role::Resource, KEY)[..10]);
    assert_eq!(said, silent);
    assert_eq!(stranger.counts().unwrap().connections, 0);

    let _friend = loud(&server, |builder| builder.key = KEY.into());
    converse(&server);
    server.stop();
}
