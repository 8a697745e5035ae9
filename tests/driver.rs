//! Stations on threads of their own, over real sockets of both kinds.

#![expect(clippy::unwrap_used, reason = "what fails here has failed the test")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use ahm::base::id::{Key, Offset};
use ahm::base::time::{Instant, Span};
use ahm::link::address::Address;
use ahm::link::links::Links;
use ahm::link::peer::{End, Me, Other};
use ahm::link::station::Station;
use ahm::resource::driver::{Driver, Refused, Setup};
use ahm::wire::resource::{Alias, Frame, InstanceId, Role};
use ahm::wire::resource_decode::Decoder;

/// Nothing here takes so long unless it is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a station has seen.
#[derive(Debug, PartialEq, Eq)]
enum Saw {
    Greeted(Key, String),
    /// So many messages in order, the last of which was this.
    Messages(u64),
    Over(Option<String>, End),
    Ended(Key),
}

/// Tells what it sees, and counts messages.
struct Scribe {
    links: Links,
    saw: Sender<Saw>,
    next: u64,
}

impl Station for Scribe {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }

    fn on_greeted(&mut self, link: Key) {
        let name = self.links.other(link).unwrap().name.clone();
        self.tell(Saw::Greeted(link, name));
    }

    fn on_frame(&mut self, link: Key, frame: &Frame<'_>) {
        match frame {
            Frame::Publish { n, payload, .. } => {
                assert_eq!(n.0, self.next, "in order");
                assert!(payload.iter().all(|byte| *byte == n.0 as u8));
                self.next += 1;
            }
            Frame::Taken { count } => {
                assert_eq!(*count, self.next - 1);
                self.tell(Saw::Messages(*count));
            }
            Frame::ListEnd { .. } => self.tell(Saw::Ended(link)),
            other => panic!("{other:?}"),
        }
    }

    fn on_over(&mut self, _link: Key, other: Option<Other>, end: End) {
        self.tell(Saw::Over(other.map(|other| other.name), end));
    }
}

impl Scribe {
    fn tell(&self, saw: Saw) {
        // The test may have seen enough.
        let _ = self.saw.send(saw);
    }

    /// Puts so many messages on a connection, and their count.
    fn flood(&mut self, link: Key, count: u64) {
        for n in 1..=count {
            let payload = [n as u8; 1_000];
            let (alias, n, payload) = (Alias(1), Offset(n), payload.as_slice());
            self.links.send(link, &Frame::Publish { alias, n, snapshot: false, payload });
        }
        self.links.send(link, &Frame::Taken { count });
    }
}

/// A station, and what it sees.
type Running = (Driver<Scribe>, Receiver<Saw>);

fn start(name: &str, listen: &[Address]) -> Running {
    let setup = Setup { listen: listen.to_vec(), ..Setup::new(name) };
    start_with(name, setup)
}

fn start_with(name: &str, setup: Setup) -> Running {
    let (saw, seen) = channel();
    let me = Me {
        role: Role::Resource,
        instance: InstanceId(1),
        name: name.into(),
        heartbeat: Span::from_secs(5),
        key: String::new(),
        demands: String::new(),
    };
    let now = setup.clock.now();
    let make = |_: &[Address]| Scribe { links: Links::new(me, now), saw, next: 1 };
    (Driver::start(setup, make).unwrap(), seen)
}

fn see(seen: &Receiver<Saw>) -> Saw {
    seen.recv_timeout(PATIENCE).unwrap()
}

fn greeted(seen: &Receiver<Saw>, name: &str) -> Key {
    match see(seen) {
        Saw::Greeted(link, other) if other == name => link,
        other => panic!("{other:?}, not greeted by {name}"),
    }
}

fn dial(driver: &Driver<Scribe>, addresses: Vec<Address>) -> Key {
    driver.handle().ask(move |scribe, _| scribe.links.dial(addresses)).unwrap()
}

fn tcp() -> Address {
    "127.0.0.1:0".parse().unwrap()
}

/// A path of its own for a socket.
fn unix() -> Address {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("ahm-driver-{}-{count}", std::process::id());
    Address::Unix(std::env::temp_dir().join(name))
}

/// An address where nobody listens, and nobody else will while the holder lives.
fn nobody() -> (Address, socket2::Socket) {
    let holder = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    holder.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    let address = holder.local_addr().unwrap().as_socket().unwrap();
    (Address::Tcp(address), holder)
}

#[test]
fn much_goes_both_ways_over_sockets_of_both_kinds() {
    const COUNT: u64 = 10_000;
    for address in [tcp(), unix()] {
        let (far, far_sees) = start("far", &[address]);
        let (near, near_sees) = start("near", &[]);
        let dialled = dial(&near, far.addresses().to_vec());
        let link = greeted(&far_sees, "near");
        assert_eq!(greeted(&near_sees, "far"), dialled);
        far.handle().act(move |scribe, _| scribe.flood(link, COUNT)).unwrap();
        near.handle().act(move |scribe, _| scribe.flood(dialled, COUNT)).unwrap();
        assert_eq!(see(&far_sees), Saw::Messages(COUNT));
        assert_eq!(see(&near_sees), Saw::Messages(COUNT));
    }
}

#[test]
fn the_first_address_that_answers_counts() {
    let (far, far_sees) = start("far", &[unix()]);
    let (near, near_sees) = start("near", &[]);
    let (closed, _holder) = nobody();
    let (missing, there) = (unix(), far.addresses()[0].clone());
    dial(&near, vec![closed.clone(), missing.clone(), there]);
    greeted(&far_sees, "near");
    greeted(&near_sees, "far");
    dial(&near, vec![closed, missing]);
    assert_eq!(see(&near_sees), Saw::Over(None, End::Unreachable));
}

/// What was put on a connection before the end arrives before the end does.
#[test]
fn a_station_ends_in_order() {
    for address in [tcp(), unix()] {
        let (far, far_sees) = start("far", &[address]);
        let (near, near_sees) = start("near", &[]);
        dial(&near, far.addresses().to_vec());
        let link = greeted(&far_sees, "near");
        greeted(&near_sees, "far");
        let (handle, addresses) = (far.handle(), far.addresses().to_vec());
        handle.act(move |scribe, _| scribe.flood(link, 100)).unwrap();
        handle.end();
        let mut scribe = far.stop().unwrap();
        assert!(scribe.links().is_empty());
        assert_eq!(see(&near_sees), Saw::Messages(100));
        let bye = End::Bye("this process ends".into());
        assert_eq!(see(&near_sees), Saw::Over(Some("far".into()), bye));
        assert_eq!(see(&far_sees), Saw::Over(Some("near".into()), End::Left));
        assert_eq!(handle.act(|_, _| ()), Err(Refused::Over));
        assert_eq!(handle.ask(|_, _| 1), Err(Refused::Over));
        // The place is free again.
        drop(start("next", &addresses));
    }
}

#[test]
fn who_is_dropped_or_cut_off_is_over_for_the_other() {
    let (far, far_sees) = start("far", &[tcp()]);
    let Address::Tcp(address) = far.addresses()[0] else { panic!("it is TCP") };
    // It never greets.
    drop(TcpStream::connect(address).unwrap());
    assert_eq!(see(&far_sees), Saw::Over(None, End::Lost));
    let (near, _near_sees) = start("near", &[]);
    dial(&near, far.addresses().to_vec());
    greeted(&far_sees, "near");
    drop(near);
    let bye = End::Bye("this process ends".into());
    assert_eq!(see(&far_sees), Saw::Over(Some("near".into()), bye));
}

/// The reason arrives even where more is sent than anybody reads, which would make the kernel reset
/// the connection.
#[test]
fn who_speaks_something_else_is_told_so() {
    let (far, far_sees) = start("far", &[tcp()]);
    let Address::Tcp(address) = far.addresses()[0] else { panic!("it is TCP") };
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n".to_vec();
    request.resize(1 << 20, b'x');
    stream.write_all(&request).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let mut reasons = Vec::new();
    let outcome = Decoder::new(1 << 16).push(&answer, |frame| {
        if let Frame::Bye { reason } = frame {
            reasons.push(reason.to_string());
        }
    });
    outcome.unwrap();
    let Saw::Over(None, End::Broken(why)) = see(&far_sees) else { panic!("it was not broken off") };
    assert_eq!(reasons, [why]);
}

#[test]
fn work_is_done_in_order_and_bounded() {
    let (driver, _seen) = start("far", &[]);
    let (go_on, may_go_on) = channel::<()>();
    let (handle, begun) = (driver.handle(), channel());
    handle
        .act(move |_, _| {
            begun.0.send(()).unwrap();
            may_go_on.recv().unwrap();
        })
        .unwrap();
    begun.1.recv_timeout(PATIENCE).unwrap();
    let (done, mut pushed) = (channel(), 0_u32);
    loop {
        let done = done.0.clone();
        match handle.try_act(move |_, _| done.send(pushed).unwrap()) {
            Ok(()) => pushed += 1,
            Err(refused) => {
                assert_eq!(refused, Refused::Full);
                break;
            }
        }
        assert!(pushed < 1_000_000, "it is never full");
    }
    // One that waits for room gets it.
    let waits = std::thread::spawn({
        let (handle, done) = (handle.clone(), done.0.clone());
        move || handle.act(move |_, _| done.send(u32::MAX).unwrap())
    });
    go_on.send(()).unwrap();
    assert_eq!(waits.join().unwrap(), Ok(()));
    let mut numbers = done.1.iter();
    assert!((0..pushed).all(|n| numbers.next() == Some(n)));
    assert_eq!(numbers.next(), Some(u32::MAX));
}

/// Time passes for a station that nothing else happens to.
#[test]
fn timers_fire_without_any_other_event() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (near, near_sees) = start("near", &[]);
    // Somebody accepts and never says a word: after its patience the station leaves.
    dial(&near, vec![Address::Tcp(listener.local_addr().unwrap())]);
    let (_silent, _) = listener.accept().unwrap();
    assert_eq!(see(&near_sees), Saw::Over(None, End::Silent));
}

#[test]
fn connections_beyond_the_bound_are_closed() {
    let setup = Setup { listen: vec![tcp()], connections_max: 1, ..Setup::new("far") };
    let (far, far_sees) = start_with("far", setup);
    let (near, near_sees) = start("near", &[]);
    let first = dial(&near, far.addresses().to_vec());
    greeted(&far_sees, "near");
    assert_eq!(greeted(&near_sees, "far"), first);
    let second = dial(&near, far.addresses().to_vec());
    assert_ne!(first, second);
    assert_eq!(see(&near_sees), Saw::Over(None, End::Lost));
}

#[test]
fn a_failure_of_the_thread_is_told() {
    let mut poller = ahm::reactor::poller::Poller::new(4).unwrap();
    let ended = poller.waker(mio::Token(0)).unwrap();
    let held = std::sync::Arc::downgrade(&ended);
    let (driver, _seen) = start_with("far", Setup { ended: Some(ended), ..Setup::new("far") });
    assert!(!driver.is_over());
    let handle = driver.handle();
    assert_eq!(handle.ask(|_, _| -> u32 { panic!("by the test") }), Err(Refused::Over));
    while !driver.is_over() || held.strong_count() > 1 {
        std::thread::yield_now();
    }
    // Whoever looks only now, when the thread has let go of the waker, is woken too.
    poller.poll(Some(ahm::base::time::Span::ZERO)).unwrap();
    assert_eq!(poller.events().count(), 1);
    let error = driver.stop().map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "the station's thread has panicked");
}

/// A socket that a killed process has left is replaced; one that is listened on is not.
#[test]
fn a_stale_socket_is_replaced() {
    let address = unix();
    let Address::Unix(path) = &address else { panic!("it is a path") };
    drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    assert!(path.exists());
    let (far, far_sees) = start("far", std::slice::from_ref(&address));
    let setup = Setup { listen: vec![address.clone()], ..Setup::new("other") };
    let refused = Driver::start(setup, |_| -> Scribe { panic!("there is no place for it") });
    let said = refused.map(|_| ()).unwrap_err().to_string();
    assert_eq!(said, format!("{address}: somebody listens there already"));
    // The probe of the other was a connection that came and went.
    assert_eq!(see(&far_sees), Saw::Over(None, End::Lost));
    drop(far);
    assert!(!path.exists(), "its file goes with it");
}

/// The moment that a station is told does not go back, and is not that of the start.
#[test]
fn work_sees_the_time() {
    let (driver, _seen) = start("far", &[]);
    let ask = || driver.handle().ask(|scribe, now| (now, scribe.links.now())).unwrap();
    let (first, links) = ask();
    assert!(first > Instant::ZERO && first == links);
    assert!(ask().0 >= first);
}
