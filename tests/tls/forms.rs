//! The session seal in all its forms, by the client of this house: the login over TLS, the rest
//! over TLS, over plain HTTP, or over raw TCP, where somebody listens.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use ahm::base::time::Span;
use ahm::client::event::{Event, Fate, parse_topic};
use ahm::client::link::Link;
use ahm::client::settings::Settings;
use ahm::reactor::beyond::{Papers, Trust};
use ahm::reactor::url::Server as Place;
use ahm::seal::key::Algorithm;
use ahm::server::config::{ResourceConfig, ResourceKind};
use ahm::wire::command::OpenRequest;

use crate::authority::Authority;
use crate::reading::until;
use crate::serving::{publish, server};

/// Everything that went by, both ways.
type Heard = Arc<Mutex<Vec<u8>>>;

/// Somebody on the way to `address`, who listens.
fn listener(address: SocketAddr) -> (SocketAddr, Heard) {
    let heard = Heard::default();
    let ear = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = ear.local_addr().unwrap();
    let all = Arc::clone(&heard);
    thread::spawn(move || {
        for near in ear.incoming() {
            let near = near.unwrap();
            let far = TcpStream::connect(address).unwrap();
            for (from, to) in [(&near, &far), (&far, &near)] {
                let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                let all = Arc::clone(&all);
                thread::spawn(move || pass(from, to, &all));
            }
        }
    });
    (here, heard)
}

fn pass(mut from: TcpStream, mut to: TcpStream, heard: &Heard) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        heard.lock().unwrap().extend_from_slice(&bytes[..count]);
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    // Either side may have gone already.
    let _ = to.shutdown(Shutdown::Write);
}

fn contains(heard: &Heard, what: &str) -> bool {
    let heard = heard.lock().unwrap();
    heard.windows(what.len()).any(|window| window == what.as_bytes())
}

/// Whether it is this message; nothing may be missing or refused.
fn says(event: &Event, text: &str) -> bool {
    assert!(!matches!(event, Event::Gap { .. } | Event::Refused { .. }), "{event:?}");
    matches!(event, Event::Message { payload, .. } if payload == text.as_bytes())
}

#[test]
fn who_listens_behind_the_login_reads_nothing_in_any_form() {
    let authority = Authority::new("Ours");
    let certificates = vec![authority.server("a", &["127.0.0.1"])];
    let listen = ["127.0.0.1:0:tls", "127.0.0.1:0", "127.0.0.1:0:raw", "127.0.0.1:0:raw:tls"];
    let server = server(&listen, |config| {
        config.tls.certificates = certificates;
        config.resources.push(ResourceConfig::new("echo", ResourceKind::Echo));
    });
    let addresses = server.public_addrs().to_vec();
    let papers = Papers { authorities: Some(authority.file().into()), ..Papers::default() };
    let logins = format!("https://{}", addresses[0]);
    for (form, (scheme, address)) in
        ["https", "http", "tcp", "tls"].into_iter().zip(&addresses).enumerate()
    {
        for algorithm in Algorithm::ALL {
            let word = format!("secret-{scheme}-{}", algorithm.word());
            publish(&server, &word);
            let (tapped, heard) = listener(*address);
            let place = Place::parse_stream(&format!("{scheme}://{tapped}"), "/ahm/").unwrap();
            let settings = Settings { seal: Some(algorithm), ..Settings::default() };
            let mut link = Link::new(place, settings, 1 + form as u64).unwrap();
            link.trust(Trust::new(&papers).unwrap()).unwrap();
            link.log_in_at(vec![Place::parse(&logins, "/ahm/").unwrap()]).unwrap();
            let now = link.now();
            let feed = OpenRequest::new(parse_topic("fx/EURUSD").unwrap());
            link.agent().subscribe(feed, now).unwrap();
            let echo = OpenRequest::new(parse_topic("echo/mine").unwrap());
            let echo = link.agent().subscribe(echo, now).unwrap();
            until(&mut link, |event| says(event, &word));
            let said = format!("said-{word}");
            let now = link.now();
            link.agent().send(echo, said.clone().into_bytes(), None, now).unwrap();
            let (mut taken, mut back) = (false, false);
            until(&mut link, |event| {
                taken |= matches!(event, Event::Sent { fate: Fate::Taken, .. });
                back |= says(event, &said);
                taken && back
            });
            link.close(Span::from_secs(5)).unwrap();
            let counters = link.agent().counters();
            assert_eq!((counters.seal_faults, counters.seal_unproved), (0, 0), "{scheme}");
            // Of what was said or asked for nothing can be read, but that it is sealed.
            for secret in [&*word, "said-", "EURUSD", "echo"] {
                assert!(!contains(&heard, secret), "{scheme}: {secret}");
            }
            assert_eq!(contains(&heard, "<p q=1>"), matches!(scheme, "http" | "tcp"), "{scheme}");
        }
    }
    let stats = server.stop();
    assert_eq!(stats.seal.sessions, 8, "{stats}");
    let refused = (stats.seal.refused_bare, stats.seal.refused_forged, stats.seal.refused_payload);
    assert_eq!(refused, (0, 0, 0), "{stats}");
}
