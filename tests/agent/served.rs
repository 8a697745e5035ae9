//! The client and the publisher against the server itself.

use std::net::SocketAddr;
use std::ops::ControlFlow;

use ahm::base::time::Span;
use ahm::client::event::{Event, Fate as SendFate, parse_topic};
use ahm::client::link::Link;
use ahm::client::settings::Settings;
use ahm::reactor::url::Server;
use ahm::resource::outcome::Fate;
use ahm::resource::post::{self, Publisher};
use ahm::server::builder::{self, Builder};
use ahm::server::config::{Config, ResourceConfig, ResourceKind};
use ahm::wire::command::OpenRequest;

fn serve(public: SocketAddr) -> builder::Server {
    let config = Config {
        listen: vec![public],
        private_listen: vec!["127.0.0.1:0".parse().unwrap()],
        shards: 2,
        resources: vec![
            ResourceConfig::new("board", ResourceKind::Board),
            ResourceConfig::new("echo", ResourceKind::Echo),
        ],
        ..Config::default()
    };
    Builder::new(config).start().unwrap()
}

fn url(address: SocketAddr) -> Server {
    Server::parse(&format!("http://{address}"), "/ahm/").unwrap()
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
    let mut server = Some(serve("127.0.0.1:0".parse().unwrap()));
    let address = server.as_ref().unwrap().public_addrs()[0];
    let mut publisher_of_now = publisher(server.as_ref().unwrap());
    let settings = Settings { heartbeat: Some(Span::from_millis(500)), ..Settings::default() };
    let mut link = Link::new(url(address), settings, 1).unwrap();
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
                        let again = serve(address);
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
    let server = serve("127.0.0.1:0".parse().unwrap());
    let mut link = Link::new(url(server.public_addrs()[0]), Settings::default(), 1).unwrap();
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
