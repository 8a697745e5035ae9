//! Private channels whose instance is lost: those whose terms say so go on with another one, the
//! others are over.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use ahm::link::handler::{Actions, Channel, Consumer, Decision, Handler, Message};
use ahm::resource::consumer::{Consumer as Program, Event};
use ahm::resource::publisher::Publisher;
use ahm::wire::resource::Terms;

use crate::alone;
use crate::processes::{PATIENCE, registry, server, wait_for_instances};
use crate::reader::Reader;

const CHANNELS: usize = 200;

/// Conversations, which tell the name of the instance.
#[derive(Debug)]
struct Desk(&'static str);

impl Handler for Desk {
    fn open(&self, _subject: &str, _consumer: &Consumer) -> Decision {
        Decision::Private
    }

    fn terms(&self, subject: &str) -> Terms {
        Terms { reopen: subject.starts_with("lasting"), ..Terms::default() }
    }

    fn opened(&self, _: Channel, _subject: &str, _consumer: &Consumer, actions: &mut Actions) {
        actions.reply(format!("hello from {}", self.0));
    }

    fn message(&self, message: &Message<'_>, actions: &mut Actions) {
        actions.reply(format!("{} heard {}", self.0, String::from_utf8_lossy(message.payload)));
    }
}

/// A client with one channel.
struct Client {
    reader: Reader,
    lasting: bool,
    /// Whether the instance that dies first has it.
    hit: bool,
}

impl Client {
    fn open(server: &str, number: usize) -> Self {
        let lasting = number.is_multiple_of(2);
        let stem = if lasting { "lasting" } else { "talk" };
        let mut reader = Reader::open_all(server, &[format!("rates/{stem}{number}")]);
        reader.until(">hello from ");
        reader.until("\n\r\n");
        let hit = reader.text().contains(">hello from first");
        Self { reader, lasting, hit }
    }

    fn value(&self, frame: &str, name: &str) -> String {
        let text = self.reader.text();
        let line = text.lines().find(|line| line.starts_with(frame)).unwrap();
        let value = line.split(&format!(" {name}=")).nth(1).unwrap();
        value.split([' ', '>']).next().unwrap().to_string()
    }

    /// Sends a message; the answer.
    fn send(&self, server: &str, n: u64, text: &str) -> String {
        let [scs, mid, k] = ["scs", "mid", "k"].map(|name| self.value("<p i ", name));
        let cid = self.value("<p o ", "c");
        let me = format!("scs={scs}&mid={mid}&k={k}&cid={cid}&n={n}&data={text}");
        let mut stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request =
            format!("GET /ahm/send?{me} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

#[test]
fn lasting_channels_go_on_with_another_instance_and_others_are_over() {
    let _alone = alone();
    let (_registry, address) = registry("127.0.0.1:0");
    let all = std::slice::from_ref(&address);
    let (_server, server) = server(all);
    let start = |name| {
        let builder = Publisher::builder("rates").listen("127.0.0.1:0".parse().unwrap());
        let builder = builder.registry(address.parse().unwrap()).takes_messages();
        builder.start(Desk(name)).unwrap()
    };
    let (first, second) = (start("first"), start("second"));
    wait_for_instances(all, 2);
    let mut clients: Vec<Client> = (0..CHANNELS).map(|at| Client::open(&server, at)).collect();
    let hit = clients.iter().filter(|client| client.hit).count();
    assert!((CHANNELS / 4..CHANNELS * 3 / 4).contains(&hit), "{hit} are with the first");

    drop(first);
    let began = Instant::now();
    for client in clients.iter_mut().filter(|client| client.hit) {
        client.reader.until(if client.lasting { ">hello from second" } else { " e=gone>" });
    }
    println!(
        "{hit} of {CHANNELS} private channels went on or were over after {:?}",
        began.elapsed()
    );
    clients.retain(|client| client.lasting || !client.hit);
    for client in &mut clients {
        let answer = client.send(&server, 1, "ping");
        assert!(answer.contains("\"outcome\":\"held\""), "{answer}");
        client.reader.until(">second heard ping");
        client.reader.until(" n=1 e=taken>");
        let text = client.reader.text();
        let epochs = text.matches("<p o ").count();
        assert_eq!(epochs, if client.hit { 2 } else { 1 }, "{text}");
        assert!(!text.contains("<p x ") && !text.contains("<p g "), "{text}");
    }

    // Nobody is left to go on with them.
    drop(second);
    for client in &mut clients {
        client.reader.until(" e=gone>");
        let answer = client.send(&server, 2, "late");
        assert!(answer.contains("no-channel"), "{answer}");
    }
}

/// A program that reads without a server, and had nothing of the subject yet.
#[test]
fn a_program_learns_that_another_instance_may_lack_something() {
    let _alone = alone();
    let (_registry, address) = registry("127.0.0.1:0");
    let start = || {
        let builder = Publisher::builder("quiet").listen("127.0.0.1:0".parse().unwrap());
        builder.registry(address.parse().unwrap()).start(Terms::default()).unwrap()
    };
    let mut instances = vec![start(), start()];
    wait_for_instances(std::slice::from_ref(&address), 2);
    let program = Program::builder().registry(address.parse().unwrap()).start().unwrap();
    let quiet = program.subscribe("quiet", "a").unwrap();
    let opened = quiet.next_within(PATIENCE).unwrap();
    assert!(matches!(opened, Event::Opened { .. }), "{opened:?}");
    let demanded = instances.iter().position(|instance| instance.is_demanded("a").unwrap());
    drop(instances.remove(demanded.unwrap()));
    assert_eq!(quiet.next_within(PATIENCE), Some(Event::Gap(None)));
    let again = quiet.next_within(PATIENCE).unwrap();
    assert!(matches!(again, Event::Opened { .. }), "{again:?}");
    instances[0].publish("a", "1").unwrap();
    let message = quiet.next_within(PATIENCE).unwrap();
    assert!(matches!(&message, Event::Message { payload, .. } if payload == b"1"), "{message:?}");
}
