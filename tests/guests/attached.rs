//! A publisher that serves the server of its own process: everything that a handler is told over
//! the wire it is told here.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use ahm::base::reason::ErrorCode;
use ahm::base::time::Span;
use ahm::link::handler::{
    Actions, Channel, Consumer, Decision, Handler, Message, Metrics, Skipped,
};
use ahm::resource::publisher::Publisher;
use ahm::resource::publisher_builder::Builder as PublisherBuilder;
use ahm::server::builder::{Builder, Server};
use ahm::server::config::Config;
use ahm::server::registry::RegistryConfig;
use ahm::wire::resource::Terms;

use crate::reader::{PATIENCE, Reader};

/// Less than a server takes that waits for something in vain.
const STOP_MAX: Duration = Duration::from_secs(4);

/// Tells whatever it is told; the subject says what it decides.
#[derive(Debug)]
struct Desk(Mutex<Sender<String>>);

impl Desk {
    fn note(&self, what: String) {
        // A test that has heard enough has gone.
        let _ = self.0.lock().unwrap().send(what);
    }
}

impl Handler for Desk {
    fn open(&self, subject: &str, _consumer: &Consumer) -> Decision {
        match subject {
            "me" => Decision::Private,
            "old" => Decision::Other("new".into()),
            "busy" => Decision::Deny { code: ErrorCode::TooMany, detail: "not now".into() },
            "closed" => Decision::deny("not here"),
            _ => Decision::Shared,
        }
    }

    fn terms(&self, subject: &str) -> Terms {
        Terms { state: true, changed: subject == "changes", ..Terms::default() }
    }

    fn opened(&self, _: Channel, subject: &str, consumer: &Consumer, actions: &mut Actions) {
        assert!(consumer.address.starts_with("127.0.0.1:"), "{consumer:?}");
        self.note(format!("opened {subject}"));
        actions.reply("hello");
    }

    fn closed(&self, _: Channel, subject: &str, _: &Consumer) {
        self.note(format!("closed {subject}"));
    }

    fn message(&self, message: &Message<'_>, actions: &mut Actions) {
        let text = String::from_utf8_lossy(message.payload);
        self.note(format!("{} {} {text}", message.subject, message.n));
        match (&*text, message.channel) {
            ("end", _) => actions.end(),
            (_, Some(_)) => actions.reply(format!("re {text}")),
            (_, None) => actions.publish(message.subject, format!("all {text}")),
        }
    }

    fn skipped(&self, skipped: &Skipped<'_>) {
        self.note(format!("skipped {} to {}", skipped.from, skipped.to));
    }

    fn demand_begins(&self, subject: &str, actions: &mut Actions) {
        self.note(format!("begins {subject}"));
        actions.publish(subject, "first");
    }

    fn demand_ends(&self, subject: &str) {
        self.note(format!("ends {subject}"));
    }

    fn metrics(&self, metrics: &Metrics<'_>) {
        self.note(format!("{} read {}", metrics.consumers, metrics.subject));
    }
}

fn desk() -> (Desk, Receiver<String>) {
    let (sender, noted) = channel();
    (Desk(Mutex::new(sender)), noted)
}

fn config(shards: usize) -> Config {
    let patience = Span::from_millis(200);
    let mut config = Config {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        private_listen: vec![],
        resources: vec![],
        shards,
        registry: RegistryConfig { patience, ..RegistryConfig::off() },
        ..Config::default()
    };
    config.protocol.topic_grace = Span::from_millis(20);
    config.protocol.skip = Span::from_millis(20);
    config
}

/// A server with a publisher of `r` in the same process.
fn served(change: impl FnOnce(PublisherBuilder) -> PublisherBuilder) -> Served {
    served_by(2, change)
}

fn served_by(shards: usize, change: impl FnOnce(PublisherBuilder) -> PublisherBuilder) -> Served {
    let (desk, noted) = desk();
    let publisher = change(Publisher::builder("r").takes_messages()).start(desk).unwrap();
    let mut builder = Builder::new(config(shards));
    builder.publisher(&publisher);
    Served { server: builder.start().unwrap(), publisher, noted }
}

struct Served {
    server: Server,
    publisher: Publisher,
    noted: Receiver<String>,
}

impl Served {
    fn read(&self, subject: &str) -> Reader {
        read(&self.server, subject)
    }

    /// What is noted next; beside it, in any place, may stand what is noted of those who read.
    fn hear(&self, wanted: &str) {
        loop {
            let noted = self.noted.recv_timeout(PATIENCE).unwrap();
            if noted == wanted {
                return;
            }
            assert!(noted.contains(" read "), "{noted}, not {wanted}");
        }
    }
}

fn read(server: &Server, subject: &str) -> Reader {
    Reader::open(server.public_addrs()[0], &format!("mux.html?open=r/{subject}"))
}

#[test]
fn it_learns_who_reads_and_when_nobody_does_any_more() {
    // One shard: of another one that reads too it would learn no more than that.
    let served = served_by(1, |builder| builder);
    let mut first = served.read("a");
    served.hear("begins a");
    first.until_says("first");
    served.publisher.publish("a", "second").unwrap();
    first.until_says("second");
    let mut readers = vec![first];
    for count in ["2 read a", "3 read a"] {
        let mut reader = served.read("a");
        reader.until_says("second");
        readers.push(reader);
        served.hear(count);
    }
    for reader in &readers {
        let answer = reader.command(&format!("close?cid={}", reader.cid()));
        assert!(answer.contains(" 200 "), "{answer}");
    }
    served.hear("ends a");
    assert_eq!(served.publisher.is_demanded("a"), Ok(false));
    let mut again = served.read("a");
    served.hear("begins a");
    again.until_says("first");
}

#[test]
fn it_has_conversations() {
    let served = served(|builder| builder);
    let mut reader = served.read("me");
    served.hear("opened me");
    reader.until_says("hello");
    assert_eq!(reader.send(1, "one"), "held");
    served.hear("me 1 one");
    reader.until_says("re one");
    // Numbers that do not come are given up, and it learns of that.
    assert_eq!(reader.send(4, "four"), "held");
    served.hear("skipped 2 to 3");
    served.hear("me 4 four");
    reader.until_says("re four");
    assert_eq!(reader.send(5, "end"), "held");
    served.hear("me 5 end");
    served.hear("closed me");
    reader.until(|text| text.contains("<p x "));

    let mut reader = served.read("me");
    served.hear("opened me");
    reader.until_says("hello");
    reader.command(&format!("close?cid={}", reader.cid()));
    served.hear("closed me");
}

#[test]
fn messages_on_a_shared_subject_reach_it_and_all_read_its_answer() {
    let served = served(|builder| builder);
    let mut readers: Vec<_> = (0..4).map(|_| served.read("a")).collect();
    readers.iter_mut().for_each(|reader| reader.until_says("first"));
    assert_eq!(readers[0].send(1, "hi"), "held");
    served.hear("begins a");
    served.hear("a 1 hi");
    readers.iter_mut().for_each(|reader| reader.until_says("all hi"));
}

#[test]
fn it_leads_elsewhere_and_refuses() {
    let served = served(|builder| builder);
    let mut reader = served.read("old");
    served.hear("begins new");
    reader.until_says("first");
    served.publisher.publish("new", "second").unwrap();
    reader.until_says("second");
    for (subject, status, code, detail) in
        [("closed", 403, "forbidden", "not here"), ("busy", 429, "too-many", "not now")]
    {
        let answer = reader.command(&format!("open?resource=r&subject={subject}"));
        for part in [&format!(" {status} "), code, detail] {
            assert!(answer.contains(part), "{answer}");
        }
    }
    let answer = reader.command("open?resource=nobody&subject=a");
    assert!(answer.contains(" 404 "), "{answer}");
}

#[test]
fn it_takes_no_more_consumers_than_it_may_and_publishes_only_changes_where_it_says_so() {
    let served = served(|builder| builder.capacity(2));
    let mut reader = served.read("changes");
    reader.until_says("first");
    for payload in ["a", "a", "b"] {
        served.publisher.publish("changes", payload).unwrap();
    }
    reader.until_says("b");
    assert!(reader.text.contains(" n=3>b") || reader.text.contains(" n=3 s>b"), "{}", reader.text);
    assert_eq!(served.publisher.counts().unwrap().unchanged, 1);
    let mut talk = served.read("me");
    talk.until_says("hello");
    let answer = reader.command("open?resource=r&subject=me");
    assert!(answer.contains("no-instance"), "{answer}");
    talk.command(&format!("close?cid={}", talk.cid()));
    // There is room again as soon as it knows that the other has gone.
    while !reader.command("open?resource=r&subject=me").contains(" 200 ") {}
}

#[test]
fn it_may_come_later_and_serve_several_servers_and_either_may_go() {
    let (desk, noted) = desk();
    let publisher = Publisher::builder("r").start(desk).unwrap();
    let servers = [(); 2].map(|()| Builder::new(config(2)).start().unwrap());
    for server in &servers {
        server.handle().attach(&publisher).unwrap();
    }
    let mut readers = servers.each_ref().map(|server| read(server, "a"));
    readers.iter_mut().for_each(|reader| reader.until_says("first"));
    publisher.publish("a", "second").unwrap();
    readers.iter_mut().for_each(|reader| reader.until_says("second"));
    assert_eq!(noted.recv_timeout(PATIENCE).as_deref(), Ok("begins a"));

    let [one, other] = servers;
    one.stop();
    publisher.publish("a", "third").unwrap();
    readers[1].until_says("third");
    let last = publisher.clone();
    publisher.stop(Span::ZERO);
    readers[1].until(|text| text.contains("<p x "));
    assert_eq!(noted.try_iter().last().as_deref(), Some("ends a"));
    assert!(other.handle().attach(&last).is_err(), "it has stopped");
    // The client has a second to close; what one shard still has for the other, which has stopped,
    // holds up nothing.
    let began = Instant::now();
    other.stop();
    assert!(began.elapsed() < STOP_MAX, "{:?}", began.elapsed());
}

#[test]
fn a_publisher_that_demands_a_key_asks_none_of_its_own_process() {
    let served = served(|mut builder| {
        builder.demands = "correct-horse-battery".into();
        builder
    });
    served.read("a").until_says("first");
}
