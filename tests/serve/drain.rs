//! A server that is drained: clients go elsewhere without a moment's silence.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::Instant;

use ahm::base::time::Span;

use crate::support::{PATIENCE, Peer, attribute, server, try_server};

#[test]
fn a_reader_moves_to_another_server_and_both_carry_what_comes_in_between() {
    for shards in 1..=2 {
        let old = server(shards, |config| config.protocol.scs = "old".into());
        let new = server(shards, |config| config.protocol.scs = "new".into());
        let mut to_old = Peer::connect(old.private_addrs()[0]);
        let mut to_new = Peer::connect(new.private_addrs()[0]);
        // One numberer for both, so that a place here is a place there.
        let mut publish = |n: u32| {
            for publisher in [&mut to_old, &mut to_new] {
                let answer = publisher.post(&format!("/publish/fx/A?epoch=e&n={n}"), n.to_string());
                assert_eq!(answer.status, 200, "{answer:?}");
            }
        };
        publish(1);
        let mut before = Peer::connect(old.public_addrs()[0]);
        before.document("/ahm/mux.html?open=fx/A");
        assert!(before.frame().starts_with("<p i scs=old "));
        assert!(before.frame().starts_with("<p o "));
        assert!(before.frame().ends_with(" n=1>1"));
        old.handle().drain(Span::from_secs(60));
        let told = before.frame();
        assert!(told.starts_with("<p m e=drain w="), "{told}");
        let left: u64 = attribute(&told, "w").parse().unwrap();
        assert!((50_000..=60_000).contains(&left), "{told}");
        // Nobody new comes in as soon as every shard has heard of it.
        let begun = Instant::now();
        while TcpStream::connect(old.public_addrs()[0]).is_ok() {
            assert!(begun.elapsed() < PATIENCE, "the old server still lets clients in");
        }
        // The stream and the publisher go on.
        publish(2);
        assert!(before.frame().ends_with(" n=2>2"));
        let mut after = Peer::connect(new.public_addrs()[0]);
        after.document("/ahm/mux.html?open=fx/A;since=e:2");
        assert!(after.frame().starts_with("<p i scs=new "));
        let opened = after.frame();
        assert!(opened.contains(" ep=e n=2 head=2"), "{opened}");
        for n in 3..=20 {
            publish(n);
            for reader in [&mut before, &mut after] {
                let frame = reader.frame();
                assert!(frame.ends_with(&format!(" n={n}>{n}")), "{frame}");
            }
        }
        // With its last document the old server ends, long before its time.
        drop(before);
        let stats = old.wait().unwrap();
        assert_eq!((stats.documents, stats.drain_refused), (1, 0), "{stats}");
        publish_alone(&mut to_new, 21);
        assert!(after.frame().ends_with(" n=21>21"));
        new.stop();
    }
}

fn publish_alone(publisher: &mut Peer, n: u32) {
    publisher.post(&format!("/publish/fx/A?epoch=e&n={n}"), n.to_string());
}

#[test]
fn a_new_server_takes_the_port_while_old_streams_go_on() {
    let old = server(2, |_| {});
    let address = old.public_addrs()[0];
    let mut publisher = Peer::connect(old.private_addrs()[0]);
    publisher.post("/publish/fx/A", "1");
    let mut before = Peer::connect(address);
    before.document("/ahm/mux.html?open=fx/A");
    old.handle().drain(Span::from_secs(60));
    let begun = Instant::now();
    while TcpStream::connect(address).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "the old server still lets clients in");
    }
    let new = loop {
        match try_server(2, |config| config.listen = vec![address.into()]) {
            Ok(new) => break new,
            // A client of somebody else may have come by the port.
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                assert!(begun.elapsed() < PATIENCE, "{error}");
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(new.public_addrs(), [address]);
    for _ in 0..8 {
        assert_eq!(Peer::connect(address).get("/ahm/ping").status, 200);
    }
    let mut after = Peer::connect(address);
    after.document("/ahm/mux.html");
    assert!(after.frame().starts_with("<p i "));
    publisher.post("/publish/fx/A", "2");
    while !before.frame().ends_with(" n=2>2") {}
    drop(before);
    old.wait().unwrap();
    new.stop();
}

#[test]
fn who_stays_to_the_end_is_told_of_it() {
    let server = server(2, |_| {});
    let mut reader = Peer::connect(server.public_addrs()[0]);
    reader.document("/ahm/mux.html");
    reader.frame();
    let mut kept = Peer::connect(server.public_addrs()[0]);
    assert_eq!(kept.get("/ahm/ping").status, 200);
    server.handle().drain(Span::from_millis(300));
    assert!(reader.frame().starts_with("<p m e=drain w="));
    let refused = kept.get("/ahm/ping");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.head.contains("Retry-After: 1\r\n"), "{refused:?}");
    assert!(reader.frame().starts_with("<p z e=shutdown w="));
    assert!(reader.rest().ends_with("0\r\n\r\n"));
    let stats = server.wait().unwrap();
    assert_eq!(stats.documents, 1, "{stats}");
}

#[test]
fn a_drain_of_no_time_is_a_stop() {
    let server = server(2, |config| config.drain = Span::ZERO);
    let mut reader = Peer::connect(server.public_addrs()[0]);
    reader.document("/ahm/mux.html");
    reader.frame();
    let stats = server.drain();
    assert!(reader.frame().starts_with("<p z e=shutdown w="), "and no move before it");
    assert_eq!(stats.documents, 1, "{stats}");
}

#[test]
fn who_has_connected_before_the_drain_is_answered() {
    let server = server(1, |_| {});
    let mut reader = Peer::connect(server.public_addrs()[0]);
    reader.document("/ahm/mux.html");
    reader.frame();
    let mut waiting: Vec<Peer> = (0..20).map(|_| Peer::connect(server.public_addrs()[0])).collect();
    server.handle().drain(Span::from_secs(60));
    for peer in &mut waiting {
        assert_eq!(peer.get("/ahm/ping").status, 503);
    }
    drop(reader);
    server.wait().unwrap();
}
