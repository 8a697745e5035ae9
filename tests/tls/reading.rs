//! The client of this house over TLS, by HTTP and by lines.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use ahm::auth::certificate::Naming;
use ahm::base::backoff::Backoff;
use ahm::base::time::Span;
use ahm::client::event::{Event, Failure, StreamState, parse_topic};
use ahm::client::link::Link;
use ahm::client::settings::Settings;
use ahm::reactor::beyond::{Papers, Trust};
use ahm::reactor::url::Server as Place;
use ahm::server::builder::Server;
use ahm::wire::command::OpenRequest;

use crate::authority::Authority;
use crate::serving::{publish, server};

const SCHEMES: [&str; 2] = ["https", "tls"];

fn place(scheme: &str, address: SocketAddr) -> Place {
    Place::parse_stream(&format!("{scheme}://{address}"), "/ahm/").unwrap()
}

/// A server that serves by both, the one first.
fn both(authority: &Authority) -> Server {
    let certificates = vec![authority.server("a", &["127.0.0.1", "a.example"])];
    let listen = ["127.0.0.1:0:tls", "127.0.0.1:0:raw:tls"];
    server(&listen, |config| {
        config.tls.certificates = certificates;
        config.resources[0].state = false;
    })
}

fn trust(papers: Papers) -> Trust {
    Trust::new(&papers).unwrap()
}

fn believing(authority: &Authority) -> Papers {
    Papers { authorities: Some(authority.file().into()), ..Papers::default() }
}

fn link(places: Vec<Place>, duplicates: u8, trust: Trust) -> Link {
    let short = Span::from_millis(5);
    let backoff = Backoff { floor: short, base: short, cap: short, ..Backoff::default() };
    let settings = Settings { duplicates, backoff, ..Settings::default() };
    let mut link = Link::over(places, settings, 7).unwrap();
    link.trust(trust).unwrap();
    let now = link.now();
    let topic = parse_topic("fx/EURUSD").unwrap();
    link.agent().subscribe(OpenRequest::new(topic), now).unwrap();
    link
}

/// Turns until `done` of an event.
pub fn until(link: &mut Link, mut done: impl FnMut(&Event) -> bool) {
    let end = link.now() + Span::from_secs(60);
    loop {
        while let Some(event) = link.agent().poll_event() {
            if done(&event) {
                return;
            }
        }
        assert!(link.now() < end, "it never came");
        link.turn(Some(Span::from_secs(1))).unwrap();
    }
}

/// What is told before the link gives up.
fn refused(mut link: Link) -> Vec<String> {
    let mut told = Vec::new();
    until(&mut link, |event| {
        if let Event::Lost { failure, .. } = event {
            match failure {
                Failure::Untrusted(detail) => told.push(detail.clone()),
                other => told.push(format!("not for want of proof: {other:?}")),
            }
        }
        *event == Event::State(StreamState::Stopped)
    });
    told
}

/// Publishes `count` messages one by one, each when the one before it was read.
fn follow(server: &Server, link: &mut Link, count: u32) {
    let mut next = 0;
    let say = |n: u32| publish(server, &format!("{n} {}", "x".repeat(400)));
    until(link, |event| {
        match event {
            Event::Opened { .. } if next == 0 => {
                next = 1;
                say(next);
            }
            Event::Message { payload, .. } => {
                let said = std::str::from_utf8(payload).unwrap();
                assert_eq!(said.split_once(' ').unwrap().0, next.to_string());
                next += 1;
                say(next);
            }
            Event::Gap { .. } | Event::Closed { .. } | Event::Refused { .. } => panic!("{event:?}"),
            _ => {}
        }
        next > count
    });
}

#[test]
fn a_stream_comes_over_tls_and_a_duplicate_beside_it() {
    let authority = Authority::new("Ours");
    let server = both(&authority);
    let addresses = server.public_addrs().to_vec();
    for at in 0..2 {
        let place = place(SCHEMES[at], addresses[at]);
        let mut link = link(vec![place], 0, trust(believing(&authority)));
        follow(&server, &mut link, 50);
        link.close(Span::from_secs(5)).unwrap();
    }
    let places = vec![place("https", addresses[0]), place("tls", addresses[1])];
    let mut link = link(places, 1, trust(believing(&authority)));
    follow(&server, &mut link, 50);
    while link.agent().documents_running() < 2 {
        link.turn(Some(Span::from_millis(10))).unwrap();
    }
    let before = link.agent().counters().duplicates;
    while link.agent().counters().duplicates == before {
        publish(&server, "even more");
        link.turn(Some(Span::from_millis(10))).unwrap();
    }
    link.close(Span::from_secs(5)).unwrap();
    let stats = server.stop();
    assert!(stats.handshakes >= 4, "{stats}");
}

#[test]
fn whoever_does_not_prove_its_name_is_refused_with_one_clear_word() {
    let (ours, theirs) = (Authority::new("Ours"), Authority::new("Theirs"));
    let server = both(&ours);
    for (scheme, address) in SCHEMES.into_iter().zip(server.public_addrs()) {
        let link = |papers| link(vec![place(scheme, *address)], 0, trust(papers));
        let told = refused(link(believing(&theirs)));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("127.0.0.1") && told[0].contains(&theirs.file()), "{told:?}");
        let named = |name: &str| Papers { server_name: Some(name.into()), ..believing(&ours) };
        let told = refused(link(named("b.example")));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("b.example") && told[0].contains("a.example"), "{told:?}");
        let mut link = link(named("a.example"));
        follow(&server, &mut link, 2);
    }
    let stats = server.stop();
    assert_eq!(stats.sessions, 2, "{stats}");
}

#[test]
fn a_certificate_logs_in_and_none_is_told_so() {
    let authority = Authority::new("Ours");
    let certificates = vec![authority.server("a", &["127.0.0.1"])];
    let theirs = Authority::new("Theirs");
    let (anna, stranger) = (authority.client("anna", "anna", 7), theirs.client("eve", "eve", 8));
    let listen = ["127.0.0.1:0:tls=required", "127.0.0.1:0:raw:tls=required"];
    let server = server(&listen, |config| {
        config.tls.certificates = certificates;
        config.tls.client_authorities = authority.file();
        config.auth.certificates = Naming::ALL
            .into_iter()
            .find(|naming| naming.word() == "cn")
            .expect("there is such a naming");
    });
    for (scheme, address) in SCHEMES.into_iter().zip(server.public_addrs()) {
        let with = |files: Option<&str>| {
            let files = files.and_then(|files| files.split_once(' '));
            let (certificate, key) = files.map(|(chain, key)| (chain.into(), key.into())).unzip();
            let papers = Papers { certificate, key, ..believing(&authority) };
            link(vec![place(scheme, *address)], 0, trust(papers))
        };
        let mut user = None;
        until(&mut with(Some(&anna)), |event| {
            if let Event::Known { user: known, .. } = event {
                user.clone_from(known);
            }
            matches!(event, Event::Opened { .. })
        });
        assert_eq!(user.as_deref(), Some("anna"));
        let told = refused(with(None));
        assert!(told.last().unwrap().contains("demands a certificate"), "{told:?}");
        let told = refused(with(Some(&stranger)));
        assert!(told.last().unwrap().contains("of our certificate"), "{told:?}");
    }
    server.stop();
}

/// Somebody on the way who cuts each connection after a while.
struct Cutter {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    cuts: Arc<AtomicU32>,
}

impl Cutter {
    fn new(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let cuts = Arc::new(AtomicU32::new(0));
        let (ends, counted) = (Arc::clone(&over), Arc::clone(&cuts));
        thread::spawn(move || {
            for (count, near) in listener.incoming().enumerate() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let (near, far) = (near.unwrap(), TcpStream::connect(target).unwrap());
                let pass = |mut from: TcpStream, mut to: TcpStream, mut left: usize| {
                    let counted = Arc::clone(&counted);
                    thread::spawn(move || {
                        // Small pieces: records and frames are cut everywhere.
                        let mut piece = [0; 93];
                        while let Ok(read @ 1..) = from.read(&mut piece) {
                            if left < read {
                                counted.fetch_add(1, Ordering::Relaxed);
                                break;
                            }
                            left -= read;
                            if to.write_all(&piece[..read]).is_err() {
                                break;
                            }
                        }
                        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                    });
                };
                // The shortest do not live to see the end of their handshake.
                let left = 500 + count % 7 * 2_500;
                pass(near.try_clone().unwrap(), far.try_clone().unwrap(), usize::MAX);
                pass(far, near, left);
            }
        });
        Self { address, over, cuts }
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

#[test]
fn connections_are_cut_anywhere_and_every_message_comes_once() {
    let authority = Authority::new("Ours");
    let server = both(&authority);
    for (at, duplicates) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
        let cutter = Cutter::new(server.public_addrs()[at]);
        let place = place(SCHEMES[at], cutter.address);
        let mut link = link(vec![place], duplicates, trust(believing(&authority)));
        follow(&server, &mut link, 150);
        let cuts = cutter.cuts.load(Ordering::Relaxed);
        assert!(cuts > 3, "{at}: {cuts}");
    }
    server.stop();
}

#[test]
fn a_running_stream_outlives_a_certificate_that_is_not_believed() {
    let (ours, theirs) = (Authority::new("Ours"), Authority::new("Theirs"));
    let server = both(&ours);
    let place = place("https", server.public_addrs()[0]);
    let mut link = link(vec![place], 0, trust(believing(&ours)));
    follow(&server, &mut link, 2);
    let files = theirs.server("a", &["127.0.0.1"]);
    let (chain, key) = files.split_once(' ').unwrap();
    std::fs::copy(chain, ours.path("a.pem")).unwrap();
    std::fs::copy(key, ours.path("a.key")).unwrap();
    server.handle().reload().unwrap();
    let now = link.now();
    link.agent().refresh(now);
    until(&mut link, |event| matches!(event, Event::Lost { failure: Failure::Untrusted(_), .. }));
    publish(&server, "still there");
    until(&mut link, |event| match event {
        Event::Message { payload, .. } => payload == b"still there",
        Event::Session { .. } => panic!("nobody believes it: {event:?}"),
        _ => false,
    });
    link.trust(trust(believing(&theirs))).unwrap();
    until(&mut link, |event| matches!(event, Event::Session { new: false, .. }));
    server.stop();
}

#[test]
fn the_subcommand_reads_over_tls_and_says_what_is_wrong() {
    let authority = Authority::new("Ours");
    let certificates = vec![authority.server("a", &["127.0.0.1"])];
    let listen = ["127.0.0.1:0:tls", "127.0.0.1:0:raw:tls"];
    let server = server(&listen, |config| config.tls.certificates = certificates);
    publish(&server, "over TLS");
    let ca = authority.file();
    let subscribe = |place: &str, more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_ahm"))
            .args(["subscribe", place, "fx/EURUSD", "--count", "1"])
            .args(more)
            .env_remove("AHM_TOKEN")
            .env("AHM_PASSWORD", "hunter2")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!said.contains("hunter2"), "{said}");
        (output.status.success(), String::from_utf8(output.stdout).unwrap() + &said)
    };
    for (scheme, address) in SCHEMES.into_iter().zip(server.public_addrs()) {
        let place = format!("{scheme}://{address}");
        for more in [&["--ca", &ca][..], &["--ca", &ca, "--user", "anna"]] {
            let (good, said) = subscribe(&place, more);
            assert!(good && said.starts_with("fx/EURUSD\tover TLS\n"), "{said}");
        }
        let (good, said) = subscribe(&place, &["--ca", &ca, "--server-name", "b.example"]);
        assert!(!good && said.contains("b.example") && said.lines().count() == 1, "{said}");
        let (good, said) = subscribe(&place, &["--ca", "/no/such/file"]);
        assert!(!good && said.contains("/no/such/file"), "{said}");
        let (good, said) = subscribe(&place, &["--ca", &ca, "--cert", &ca]);
        assert!(!good && said.contains("no private key"), "{said}");
    }
    let (good, said) = subscribe("http://192.0.2.1", &["--user", "anna"]);
    assert!(!good && said.contains("--in-clear"), "{said}");
    let (good, said) = subscribe("http://192.0.2.1", &["--ca", &ca]);
    assert!(!good && said.contains("--ca means nothing"), "{said}");
    server.stop();
}
