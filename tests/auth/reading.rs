//! The client of this house logs in, and keeps its session.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use ahm::base::name::TopicName;
use ahm::base::time::Span;
use ahm::client::credentials::Credentials;
use ahm::client::event::{Event, StreamState, parse_topic};
use ahm::client::link::Link;
use ahm::client::settings::Settings;
use ahm::reactor::url::Server as Place;
use ahm::server::builder::Server;
use ahm::wire::command::OpenRequest;
use serde_json::json;

use crate::support::{Place as Folder, counter, server};
use crate::tokens::token;

fn link(server: &Server, at: usize, settings: Settings) -> Link {
    let address = server.public_addrs()[at];
    let scheme = ["http", "tcp"][at];
    let place = Place::parse_stream(&format!("{scheme}://{address}"), "/ahm/").unwrap();
    Link::new(place, settings, 3).unwrap()
}

/// Asks for the topic, which begins the session.
fn subscribe(link: &mut Link) {
    let now = link.now();
    let topic = parse_topic("fx/EURUSD").unwrap();
    link.agent().subscribe(OpenRequest::new(topic), now).unwrap();
}

/// Turns until `done` of an event.
fn until(link: &mut Link, mut done: impl FnMut(&Event) -> bool) {
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

fn soon(seconds: u64) -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + seconds
}

/// A server that takes tokens, by HTTP and by lines, and warns three seconds before their end.
fn proving(folder: &Folder) -> (Server, String) {
    let secret = folder.write("secret", "a secret of thirty-two bytes, or more");
    let server = server(|config| {
        config.listen = ["127.0.0.1:0", "127.0.0.1:0:raw"].map(|l| l.parse().unwrap()).to_vec();
        config.auth.tokens = vec![secret.clone()];
        config.auth.required = true;
        config.auth.expiry_warning = Span::from_secs(3);
    });
    (server, secret)
}

#[test]
fn a_session_is_renewed_by_the_token_of_the_moment_and_its_stream_goes_on() {
    let folder = Folder::new();
    let (server, secret) = proving(&folder);
    for at in 0..2 {
        let issue = |exp| token(&folder, "HS256", &secret, &json!({"sub": "anna", "exp": exp}));
        let (first, second) = (soon(5), soon(600));
        let shown = Arc::new(Mutex::new(issue(first)));
        let mut link = link(&server, at, Settings::default());
        let given = Arc::clone(&shown);
        link.log_in_by(move || Credentials::bearer(&given.lock().unwrap())).unwrap();
        subscribe(&mut link);
        let (mut ends, mut told) = (Vec::new(), Vec::new());
        until(&mut link, |event| {
            match event {
                Event::Known { user, expires, .. } => {
                    assert_eq!(user.as_deref(), Some("anna"));
                    ends.push(expires.unwrap());
                }
                Event::Expiring { within, .. } => {
                    assert!(*within <= Span::from_secs(3), "{within}");
                    told.push("expiring");
                }
                // The token is the old one still; now there is a new one.
                Event::NotRenewed { .. } => {
                    told.push("not renewed");
                    *shown.lock().unwrap() = issue(second);
                }
                Event::Closed { .. } | Event::Gap { .. } | Event::Lost { .. } => {
                    panic!("{event:?}")
                }
                _ => {}
            }
            ends.len() == 2
        });
        assert_eq!((ends, told), (vec![first, second], vec!["expiring", "not renewed"]));
        let name = TopicName::new("fx", "EURUSD").unwrap();
        server.handle().publish(&name, b"it goes on", false).unwrap();
        until(&mut link, |event| match event {
            Event::Message { payload, .. } => payload == b"it goes on",
            Event::Session { .. } | Event::Lost { .. } => panic!("{event:?}"),
            _ => false,
        });
        // By hand, and as somebody else.
        let eve = token(&folder, "HS256", &secret, &json!({"sub": "eve", "exp": second}));
        link.renew(Credentials::bearer(&eve).unwrap()).unwrap();
        until(&mut link, |event| matches!(event, Event::NotRenewed { .. }));
        assert!(!format!("{link:?}").contains(&eve));
        link.close(Span::from_secs(5)).unwrap();
    }
    assert_eq!(counter(&server, "ahm_auth_expired_total"), 0);
    server.stop();
}

#[test]
fn a_session_that_nobody_renews_ends_and_says_why() {
    let folder = Folder::new();
    let (server, secret) = proving(&folder);
    let only = token(&folder, "HS256", &secret, &json!({"sub": "anna", "exp": soon(4)}));
    let mut link = link(&server, 0, Settings::default());
    link.log_in_with(Credentials::bearer(&only).unwrap()).unwrap();
    subscribe(&mut link);
    let mut told = String::new();
    until(&mut link, |event| {
        match event {
            Event::Expiring { .. } => told.push_str("expiring "),
            Event::Closed { end, .. } => told += end.word(),
            Event::Lost { failure, .. } => told += &format!(" {failure:?}"),
            _ => {}
        }
        *event == Event::State(StreamState::Stopped)
    });
    assert!(told.starts_with("expiring expired"), "{told}");
    assert!(told.contains("AuthRequired") && told.contains("the token has expired"), "{told}");
    server.stop();
}

#[test]
fn nothing_secret_goes_where_others_hear_it_unless_that_is_wanted() {
    let parse = |url| Place::parse_stream(url, "/ahm/").unwrap();
    let link = |url, in_clear| {
        Link::new(parse(url), Settings { in_clear, ..Settings::default() }, 1).unwrap()
    };
    let secret = || Credentials::basic("anna", "hunter2").unwrap();
    for url in ["http://192.0.2.1", "tcp://192.0.2.1:9"] {
        let error = link(url, false).log_in_with(secret()).unwrap_err().to_string();
        assert!(error.contains(url) && !error.contains("hunter2"), "{error}");
        link(url, true).log_in_with(secret()).unwrap();
        // What proves the session from then on would be heard too.
        let mut apart = link(url, false);
        apart.log_in_at(vec![parse("https://192.0.2.1")]).unwrap();
        let error = apart.log_in_with(secret()).unwrap_err().to_string();
        assert!(error.contains("session's key"), "{error}");
    }
    for url in ["https://192.0.2.1", "tls://192.0.2.1:9", "http://127.0.0.1", "http://[::1]:8"] {
        link(url, false).log_in_with(secret()).unwrap();
    }
}
