//! The publisher over real sockets: a consumer over TCP, one over a Unix socket, one that is
//! dialled.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use ahm::base::id::{Cid, Key, Mid};
use ahm::base::reason::ErrorCode;
use ahm::base::time::{Instant, Span};
use ahm::link::address::Address;
use ahm::link::handler::{Actions, Consumer, Decision, Handler, Message};
use ahm::link::links::Links;
use ahm::link::peer::{End, Me, Other};
use ahm::link::registry::Registry;
use ahm::link::source_settings::Outcome;
use ahm::link::station::Station;
use ahm::resource::consumer::{Builder as Program, Event};
use ahm::resource::driver::{Driver, Setup};
use ahm::resource::publisher::Publisher;
use ahm::wire::resource::{Alias, Frame, InstanceId, Role, Terms, Who};

const PATIENCE: Duration = Duration::from_secs(20);

/// Gives back in capitals, and tells all who listen.
#[derive(Debug)]
struct Loud;

impl Handler for Loud {
    fn open(&self, subject: &str, _consumer: &Consumer) -> Decision {
        match subject {
            "heard" => Decision::Shared,
            "closed" => Decision::deny("not here"),
            _ => Decision::Private,
        }
    }

    fn terms(&self, _subject: &str) -> Terms {
        Terms { state: true, changed: true, ..Terms::default() }
    }

    fn message(&self, message: &Message<'_>, actions: &mut Actions) {
        actions.reply(message.payload.to_ascii_uppercase());
        actions.publish("heard", message.payload);
    }
}

/// Opens subjects, with their place in the list as alias, and tells what comes.
struct Probe {
    links: Links,
    subjects: &'static [&'static str],
    link: Option<Key>,
    told: Sender<String>,
}

impl Probe {
    fn start(
        listen: Vec<Address>,
        dial: Option<Address>,
        subjects: &'static [&'static str],
    ) -> (Driver<Self>, Receiver<String>) {
        let (told, heard) = channel();
        let me = Me {
            role: Role::Consumer,
            instance: InstanceId(5),
            name: "probe".into(),
            heartbeat: Span::from_secs(1),
            key: "open".into(),
            demands: String::new(),
        };
        let setup = Setup { listen, ..Setup::new("probe") };
        let mut links = Links::new(me, setup.clock.now());
        if let Some(address) = dial {
            links.dial([address]);
        }
        let probe = Self { links, subjects, link: None, told };
        (Driver::start(setup, |_| probe).unwrap(), heard)
    }

    fn tell(&self, what: impl Into<String>) {
        // A test that has ended hears no more.
        let _ = self.told.send(what.into());
    }
}

impl Station for Probe {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }

    fn on_greeted(&mut self, link: Key) {
        self.link = Some(link);
        for (alias, subject) in (0..).zip(self.subjects) {
            let who = Who {
                session: Mid::from_number(7).unwrap(),
                cid: Cid(1),
                address: "127.0.0.1:1",
                user: "",
                parameters: Vec::new(),
            };
            let alias = Alias(alias);
            let frame = Frame::Open { alias, resource: "loud", subject, last: None, who };
            self.links.send(link, &frame);
        }
    }

    fn on_frame(&mut self, _link: Key, frame: &Frame<'_>) {
        match frame {
            Frame::Accept { alias, next, .. } => self.tell(format!("accept {} {next}", alias.0)),
            Frame::Deny { alias, detail, .. } => self.tell(format!("deny {} {detail}", alias.0)),
            Frame::Publish { alias, n, payload, .. } => {
                self.tell(format!("{}:{n} {}", alias.0, String::from_utf8_lossy(payload)));
            }
            Frame::Close { alias, end } => self.tell(format!("close {} {}", alias.0, end.word())),
            Frame::Taken { count } => self.tell(format!("taken {count}")),
            // It reads what it was told to, and from wherever it is connected to.
            Frame::Part { .. } | Frame::Register { .. } => {}
            Frame::Withdraw { resource } => self.tell(format!("withdraw {resource}")),
            _ => panic!("{frame:?}"),
        }
    }

    fn on_over(&mut self, _link: Key, _other: Option<Other>, end: End) {
        self.tell(end.to_string());
    }
}

fn hear(heard: &Receiver<String>, expected: &[&str]) {
    for wanted in expected {
        assert_eq!(heard.recv_timeout(PATIENCE).as_deref(), Ok(*wanted));
    }
}

fn send(probe: &Driver<Probe>, alias: u32, n: u64, text: &'static str) {
    let say = move |probe: &mut Probe, _now: Instant| {
        let session = Mid::from_number(7).unwrap();
        let (alias, payload) = (Alias(alias), text.as_bytes());
        let frame = Frame::Send { alias, session, cid: Cid(1), n, id: None, payload };
        probe.links.send(probe.link.unwrap(), &frame);
    };
    probe.handle().act(say).unwrap();
}

#[test]
fn consumers_over_every_kind_of_socket_read_the_same() {
    let path = std::env::temp_dir().join(format!("ahm-publisher-{}", std::process::id()));
    let unix = Address::Unix(path);
    let (third, third_heard) = Probe::start(vec!["127.0.0.1:0".parse().unwrap()], None, &["heard"]);
    let mut builder = Publisher::builder("loud")
        .listen("127.0.0.1:0".parse().unwrap())
        .listen(unix.clone())
        .dial(third.addresses()[0].clone())
        .takes_messages();
    builder.demands = "open".into();
    let loud = builder.start(Loud).unwrap();
    let place = loud.publish_and_wait("heard", "before").unwrap();
    assert!(matches!(place, Outcome::Published(_, n) if n.0 == 1));
    assert_eq!(loud.publish_and_wait("heard", "before"), Ok(Outcome::Unchanged));
    hear(&third_heard, &["accept 0 1", "0:1 before"]);

    let tcp = Some(loud.addresses()[0].clone());
    let (first, first_heard) = Probe::start(vec![], tcp, &["heard", "me", "closed"]);
    let (second, second_heard) = Probe::start(vec![], Some(unix), &["heard"]);
    hear(&first_heard, &["accept 0 1", "accept 1 1", "deny 2 not here", "0:1 before"]);
    hear(&second_heard, &["accept 0 1", "0:1 before"]);
    assert_eq!(loud.is_demanded("heard"), Ok(true));

    send(&first, 1, 1, "hello");
    hear(&first_heard, &["taken 1"]);
    let (mut both, mut expected) = (Vec::new(), vec!["0:2 hello", "1:1 HELLO"]);
    for _ in 0..2 {
        both.push(first_heard.recv_timeout(PATIENCE).unwrap());
    }
    both.sort();
    expected.sort_unstable();
    assert_eq!(both, expected);
    loud.publish_many([("heard", "a"), ("heard", "b")]).unwrap();
    loud.clone().for_resource("loud").publish("heard", "c").unwrap();
    for heard in [&second_heard, &third_heard] {
        hear(heard, &["0:2 hello", "0:3 a", "0:4 b", "0:5 c"]);
    }
    hear(&first_heard, &["0:3 a", "0:4 b", "0:5 c"]);
    assert!(loud.publish("a\nb", "x").is_err());
    assert!(loud.publish("heard", vec![0; 100_000]).is_err());
    let counts = loud.counts().unwrap();
    assert_eq!((counts.connections, counts.consumers, counts.messages), (3, 4, 1));
    assert_eq!((counts.gaps, counts.unchanged, counts.denied), (0, 1, 1));

    drop(first);
    loud.close("heard").unwrap();
    hear(&second_heard, &["close 0 gone"]);
    hear(&third_heard, &["close 0 gone"]);
    let last = loud.clone();
    loud.stop(Span::ZERO);
    let bye = "it ended the connection: this resource server stops";
    hear(&second_heard, &["withdraw loud", bye]);
    hear(&third_heard, &["withdraw loud", bye]);
    assert!(last.publish_and_wait("heard", "late").is_err());
    second.stop().unwrap();
    third.stop().unwrap();
}

#[test]
fn many_messages_arrive_in_order() {
    let loud = Publisher::builder("loud").listen("127.0.0.1:0".parse().unwrap());
    let loud = loud.start(Terms::default()).unwrap();
    let (_probe, heard) = Probe::start(vec![], Some(loud.addresses()[0].clone()), &["a"]);
    hear(&heard, &["accept 0 1"]);
    let (mut next, mut gaps) = (1, 0);
    for round in 0..200 {
        loud.publish_many((0..50).map(|at| ("a", format!("{round} {at}")))).unwrap();
        // The publisher waits for no consumer; this one keeps up by its own will.
        while next <= (round + 1) * 50 {
            let line = heard.recv_timeout(PATIENCE).unwrap();
            let n: u64 = line[2..].split(' ').next().unwrap().parse().unwrap();
            gaps += u64::from(n != next);
            let (at, of) = ((n - 1) % 50, (n - 1) / 50);
            assert_eq!(line, format!("0:{n} {of} {at}"));
            next = n + 1;
        }
    }
    assert_eq!((next, gaps, loud.counts().unwrap().gaps), (10_001, 0, 0));
}

#[test]
fn a_publisher_that_cannot_start_says_why() {
    let error = Publisher::builder("no spaces").start(Terms::default()).unwrap_err();
    assert!(error.to_string().contains("1 to 64"), "{error}");
    let error = Publisher::builder("r").weight(0).start(Terms::default()).unwrap_err();
    assert_eq!(error.to_string(), "a weight is 1 to 1,000, not 0");
    let vague = Publisher::builder("r").listen("0.0.0.0:0".parse().unwrap());
    let vague = vague.registry("127.0.0.1:1".parse().unwrap());
    let error = vague.start(Terms::default()).unwrap_err();
    assert_eq!(error.to_string(), "0.0.0.0:0 is no address to dial: say which one with advertise");
    let taken = Publisher::builder("r").listen("127.0.0.1:0".parse().unwrap());
    let taken = taken.start(Terms::default()).unwrap();
    let again = Publisher::builder("r").listen(taken.addresses()[0].clone());
    let error = again.start(Terms::default()).unwrap_err();
    assert!(error.to_string().contains(&taken.addresses()[0].to_string()), "{error}");
}

/// Lets those read who are known, and says who they are.
#[derive(Debug)]
struct Doorman;

impl Handler for Doorman {
    fn open(&self, subject: &str, consumer: &Consumer) -> Decision {
        let Consumer { user, parameters, .. } = consumer;
        match (user.as_str(), parameters.as_slice()) {
            ("desk-7", [account]) if account == "account=A;1" => Decision::Shared,
            _ => Decision::deny(format!("{subject} is not for {user:?} with {parameters:?}")),
        }
    }
}

#[test]
fn a_program_says_who_reads() {
    let me = Me {
        role: Role::Registry,
        instance: InstanceId(1),
        name: "registry".into(),
        heartbeat: Span::from_secs(5),
        key: String::new(),
        demands: String::new(),
    };
    let any: Address = "127.0.0.1:0".parse().unwrap();
    let setup = Setup { listen: vec![any.clone()], ..Setup::new("registry") };
    let now = setup.clock.now();
    let registry = Driver::start(setup, |_| Registry::new(me, now)).unwrap();
    let there = registry.addresses()[0].clone();
    let door = Publisher::builder("door").listen(any).registry(there.clone());
    let _door = door.start(Doorman).unwrap();
    while registry.handle().ask(|registry, _| registry.instance_count()).unwrap() == 0 {
        std::thread::yield_now();
    }
    let first = |program: Program| {
        let program = program.registry(there.clone()).start().unwrap();
        program.subscribe("door", "a").unwrap().next_within(PATIENCE).unwrap()
    };
    let known = Program {
        user: "desk-7".into(),
        parameters: vec!["account=A;1".into()],
        ..Program::default()
    };
    assert!(matches!(first(known), Event::Opened { .. }));
    let denied = "a is not for \"\" with []".to_string();
    assert_eq!(first(Program::default()), Event::Denied(ErrorCode::Forbidden, denied));
}
