//! The client and the publisher against the server itself.

use std::net::SocketAddr;
use std::ops::ControlFlow;

use ahm::base::id::{Epoch, Offset};
use ahm::base::time::Span;
use ahm::client::event::{Event, Fate as SendFate, RouteId, StreamState, parse_topic};
use ahm::client::link::Link;
use ahm::client::settings::Settings;
use ahm::reactor::url::Server;
use ahm::resource::outcome::Fate;
use ahm::resource::post::{self, Publisher};
use ahm::server::builder::{self, Builder};
use ahm::server::config::{Config, RegistryConfig, ResourceConfig, ResourceKind};
use ahm::server::config_listen::Listen;
use ahm::server::handle::Busy;
use ahm::wire::command::{OpenRequest, Position};

/// What is spoken to servers: HTTP, and lines without it.
const SCHEMES: [&str; 2] = ["http", "tcp"];

/// A listener for those who speak that.
fn listen(scheme: &str, address: SocketAddr) -> Listen {
    Listen { raw: scheme == "tcp", ..address.into() }
}

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn serve(scheme: &str, public: SocketAddr) -> builder::Server {
    let config = Config {
        listen: vec![listen(scheme, public)],
        private_listen: vec!["127.0.0.1:0".parse().unwrap()],
        registry: RegistryConfig::off(),
        shards: 2,
        resources: vec![
            ResourceConfig::new("board", ResourceKind::Board),
            ResourceConfig::new("echo", ResourceKind::Echo),
        ],
        ..Config::default()
    };
    Builder::new(config).start().unwrap()
}

fn url(scheme: &str, address: SocketAddr) -> Server {
    Server::parse_stream(&format!("{scheme}://{address}"), "/ahm/").unwrap()
}

fn publisher(server: &builder::Server) -> Publisher {
    let place = Server::parse(&format!("http://{}", server.private_addrs()[0]), "/").unwrap();
    Publisher::new(place, post::Settings::default(), 1)
}

fn publish(publisher: &mut Publisher, from: u64, to: u64) {
    for line in from..to {
        publisher.push(line, "board/b", line.to_string().as_bytes()).unwrap();
    }
    publisher.flush().unwrap();
    let outcomes = publisher.take_outcomes();
    assert_eq!(outcomes.len() as u64, to - from);
    assert!(outcomes.iter().all(|outcome| matches!(outcome.fate, Fate::Taken(_))));
}

#[test]
fn refreshes_and_a_restart_of_the_server_are_survived() {
    SCHEMES.into_iter().for_each(survive_refreshes_and_a_restart);
}

fn survive_refreshes_and_a_restart(scheme: &str) {
    let mut server = Some(serve(scheme, any()));
    let address = server.as_ref().unwrap().public_addrs()[0];
    let mut publisher_of_now = publisher(server.as_ref().unwrap());
    let settings = Settings { heartbeat: Some(Span::from_millis(500)), ..Settings::default() };
    let mut link = Link::new(url(scheme, address), settings, 1).unwrap();
    let now = link.now();
    link.agent().subscribe(OpenRequest::new(parse_topic("board/b").unwrap()), now).unwrap();
    let (mut seen, mut gaps, mut opened) = (Vec::new(), 0, 0);
    link.run(|agent, event| {
        match event {
            Event::Opened { .. } => {
                opened += 1;
                publish(&mut publisher_of_now, seen.len() as u64, seen.len() as u64 + 50);
            }
            Event::Message { payload, .. } => {
                seen.push(String::from_utf8(payload).unwrap());
                match seen.len() {
                    20 | 40 => agent.refresh(now),
                    50 => {
                        server.take().unwrap().stop();
                        let again = serve(scheme, address);
                        publisher_of_now = publisher(&again);
                        server = Some(again);
                    }
                    100 => return ControlFlow::Break(()),
                    _ => {}
                }
            }
            Event::Gap { missing, .. } => {
                assert_eq!((missing, seen.len()), (None, 50), "a new life, a new epoch");
                gaps += 1;
            }
            _ => {}
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    let expected: Vec<String> = (0..100).map(|number: u64| number.to_string()).collect();
    assert_eq!((seen, gaps, opened), (expected, 1, 2));
    let counters = link.agent().counters();
    assert!(counters.sessions == 2 && counters.documents > 2, "{counters:?}");
    server.unwrap().stop();
}

#[test]
fn sends_reach_their_resource_once_and_in_order() {
    SCHEMES.into_iter().for_each(send_in_order);
}

fn send_in_order(scheme: &str) {
    let server = serve(scheme, any());
    let place = url(scheme, server.public_addrs()[0]);
    let mut link = Link::new(place, Settings::default(), 1).unwrap();
    let now = link.now();
    let names = ["echo/me", "board/b"].map(|name| OpenRequest::new(parse_topic(name).unwrap()));
    let keys = link.agent().subscribe_all(names, now).unwrap();
    for number in 0..50 {
        for key in &keys {
            let payload = format!("{number} <\n").into_bytes();
            link.agent().send(*key, payload, Some(format!("w{number}")), now).unwrap();
        }
    }
    let (mut seen, mut taken) = (vec![Vec::new(), Vec::new()], 0);
    link.run(|_, event| {
        match event {
            Event::Message { channel, payload, .. } => {
                let at = keys.iter().position(|key| *key == channel).unwrap();
                seen[at].push(String::from_utf8(payload).unwrap());
            }
            Event::Sent { fate, .. } => {
                assert_eq!(fate, SendFate::Taken);
                taken += 1;
            }
            _ => {}
        }
        let done = taken == 100 && seen.iter().all(|seen| seen.len() == 50);
        if done { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    // What the board makes of a message is its own; the echo gives it back as it was.
    let expected: Vec<String> = (0..50).map(|number| format!("{number} <\n")).collect();
    assert_eq!(seen[0], expected);
    server.stop();
}

/// What is spoken to each of two servers.
const PAIRS: [[&str; 2]; 3] = [["http", "http"], ["tcp", "http"], ["tcp", "tcp"]];

/// Two servers that are fed with the same numbers.
fn two_servers(schemes: [&str; 2]) -> [builder::Server; 2] {
    [("one", schemes[0]), ("two", schemes[1])].map(|(scs, scheme)| {
        let mut config = Config {
            listen: vec![listen(scheme, any())],
            private_listen: vec![],
            registry: RegistryConfig::off(),
            shards: 2,
            resources: vec![ResourceConfig::new("fx", ResourceKind::Feed)],
            ..Config::default()
        };
        config.protocol.scs = scs.into();
        Builder::new(config).start().unwrap()
    })
}

/// Publishes number `n`, unless the server has ended.
fn offer(server: &builder::Server, n: u64) -> Result<(), Busy> {
    let name = parse_topic("fx/EURUSD").unwrap();
    let position = Position { ep: Epoch(7), n: Offset(n) };
    server.handle().publish_at(&name, Some(position), format!("m{n}").as_bytes(), false)
}

/// Publishes number `n` on every server.
fn feed<'a>(servers: impl IntoIterator<Item = &'a builder::Server>, n: u64) {
    for server in servers {
        offer(server, n).unwrap();
    }
}

/// Reads messages up to `to` from the topic that the servers carry; each number comes once.
fn read_to(link: &mut Link, next: &mut u64, to: u64, mut each: impl FnMut(&mut Link, u64)) {
    while *next <= to {
        link.turn(Some(Span::from_secs(10))).unwrap();
        while let Some(event) = link.agent().poll_event() {
            match event {
                Event::Message { n, payload, .. } => {
                    assert_eq!((n.0, payload), (*next, format!("m{next}").into_bytes()));
                    *next += 1;
                    each(link, n.0);
                }
                Event::Gap { .. } | Event::Closed { .. } | Event::Refused { .. } => {
                    panic!("{event:?}")
                }
                Event::State(state) => assert_ne!(state, StreamState::Stopped),
                _ => {}
            }
        }
    }
}

/// A link over both servers that has read the first message, and the number of the next.
fn link_over(servers: [&builder::Server; 2], schemes: [&str; 2], duplicates: u8) -> (Link, u64) {
    feed(servers, 1);
    let routes = [0, 1].map(|at| url(schemes[at], servers[at].public_addrs()[0]));
    let settings = Settings { duplicates, ..Settings::default() };
    let mut link = Link::over(routes.to_vec(), settings, 1).unwrap();
    let now = link.now();
    let since = Some(Position { ep: Epoch(7), n: Offset(0) });
    let request = OpenRequest { since, ..OpenRequest::new(parse_topic("fx/EURUSD").unwrap()) };
    link.agent().subscribe(request, now).unwrap();
    let mut next = 1;
    read_to(&mut link, &mut next, 1, |_, _| {});
    (link, next)
}

#[test]
fn a_server_that_drains_is_left_without_an_instant_without_a_stream() {
    PAIRS.into_iter().for_each(leave_a_server_that_drains);
}

fn leave_a_server_that_drains(schemes: [&str; 2]) {
    let [one, two] = two_servers(schemes);
    let (mut link, mut next) = link_over([&one, &two], schemes, 0);
    assert_eq!(link.agent().route(), RouteId(0));
    one.handle().drain(Span::from_secs(4));
    // The stream goes on, every message begets the next, until it runs over the other server.
    feed([&one, &two], 2);
    let (mut n, mut lowest) = (2, 1);
    while link.agent().route() == RouteId(0) || link.agent().documents_running() > 1 {
        read_to(&mut link, &mut next, n, |link, _| {
            lowest = lowest.min(link.agent().documents_running());
        });
        n += 1;
        feed([&two], n);
        // It ends by itself when the last document has left it.
        let _ended = offer(&one, n);
    }
    one.stop();
    read_to(&mut link, &mut next, n, |_, _| {});
    assert!(lowest >= 1);
    let counters = link.agent().counters();
    assert_eq!((counters.cuts, counters.gaps, counters.sessions), (0, 0, 2), "{counters:?}");
    two.stop();
}

#[test]
fn of_two_servers_either_may_die_in_the_middle() {
    for (dead, schemes) in [(0, PAIRS[0]), (1, PAIRS[0]), (0, PAIRS[1]), (1, PAIRS[2])] {
        let [one, two] = two_servers(schemes);
        let (mut link, mut next) = link_over([&one, &two], schemes, 1);
        while link.agent().documents_running() < 2 {
            link.turn(Some(Span::from_secs(10))).unwrap();
        }
        let mut servers = [Some(one), Some(two)];
        for n in 2..200 {
            if n == 100 {
                servers[dead].take().unwrap().stop();
            }
            feed(servers.iter().flatten(), n);
            read_to(&mut link, &mut next, n, |_, _| {});
        }
        let counters = link.agent().counters();
        assert_eq!((counters.gaps, counters.messages), (0, 199), "{counters:?}");
        servers.into_iter().flatten().for_each(|server| {
            server.stop();
        });
    }
}

#[test]
fn a_link_without_http_finds_a_listener_that_speaks_it_and_the_other_way_round() {
    for (listens, speaks) in [("http", "tcp"), ("tcp", "http")] {
        let server = serve(listens, any());
        let place = url(speaks, server.public_addrs()[0]);
        let mut link = Link::new(place, Settings::default(), 1).unwrap();
        let now = link.now();
        link.agent().subscribe(OpenRequest::new(parse_topic("board/b").unwrap()), now).unwrap();
        let mut why = None;
        link.run(|_, event| match event {
            Event::Lost { failure, .. } => {
                why = Some(format!("{failure:?}"));
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        })
        .unwrap();
        let why = why.unwrap();
        let expected = match speaks {
            "tcp" => "the server speaks HTTP there",
            _ => "this port takes commands as lines",
        };
        assert!(why.contains(expected), "{why}");
        server.stop();
    }
}
