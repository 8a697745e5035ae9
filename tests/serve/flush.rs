//! Listeners that let messages wait for more, and those that do not.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ahm::base::time::Span;

use crate::support::{Peer, attribute, server};

/// Reads `fx/A` up to its first message; the identity frame ends with `told`.
fn read(address: SocketAddr, query: &str, told: &str) -> (Peer, String) {
    let mut reader = Peer::connect(address);
    reader.document(&format!("/ahm/mux.html?open=fx/A{query}"));
    let identity = reader.frame();
    assert!(identity.ends_with(told), "{identity}");
    assert!(reader.frame().starts_with("<p o "));
    assert!(reader.frame().ends_with(" n=1>1"));
    (reader, format!("mid={}&k={}", attribute(&identity, "mid"), attribute(&identity, "k")))
}

fn take(reader: &mut Peer, last: u32) {
    for n in 2..=last {
        let frame = reader.frame();
        assert!(frame.ends_with(&format!(" n={n}>{n}")), "{frame}");
    }
}

#[test]
fn two_listeners_of_one_server_have_spans_of_their_own() {
    let server = server(2, |config| {
        config.listen =
            ["127.0.0.1:0", "127.0.0.1:0:flush=7s"].map(|text| text.parse().unwrap()).to_vec();
        config.protocol.flush_max = Span::from_secs(7);
    });
    let &[prompt, bulk] = server.public_addrs() else { panic!("two listeners") };
    let mut publisher = Peer::connect(server.private_addrs()[0]);
    publisher.post("/publish/fx/A", "1");
    let (mut at_once, _) = read(prompt, "", " v=1>");
    let (mut eager, _) = read(bulk, "&flush=0", " v=1>");
    let (mut asking, _) = read(prompt, "&flush=300", " v=1 f=300>");
    let (mut patient, me) = read(bulk, "", " v=1 f=7000>");
    let begun = Instant::now();
    for n in 2..=50 {
        publisher.post("/publish/fx/A", n.to_string());
    }
    for reader in [&mut at_once, &mut eager, &mut asking] {
        take(reader, 50);
    }
    assert!(begun.elapsed() >= Duration::from_millis(300), "somebody has waited");
    // What concerns the document alone does not wait, and takes along what does.
    let opened = Peer::connect(prompt).get(&format!("/ahm/open?{me}&resource=board&subject=b"));
    assert_eq!(opened.status, 200, "{opened:?}");
    let first = patient.frame();
    assert!(first.contains(" u=board/b "), "{first}");
    take(&mut patient, 50);
    assert!(begun.elapsed() < Duration::from_secs(7), "nobody has waited for the long span");
    // A session that has named none has that of the listener through which it comes back.
    let mut successor = Peer::connect(prompt);
    successor.document(&format!("/ahm/refresh.html?{me}&last="));
    let identity = successor.frame();
    assert!(identity.ends_with(" d=2 h=15000 r=240000 v=1>"), "{identity}");
    server.stop();
}
