//! Documents: what flows along them, over every shard.

use crate::support::{Peer, attribute, server};

#[test]
fn quotes_reach_readers_on_every_shard_and_both_families() {
    let server = server(2, |_| {});
    let mut publisher = Peer::connect(server.private_addrs()[0]);
    let first = publisher.post("/publish/fx/EURUSD", "1.09214 1.09217");
    assert_eq!(first.status, 200, "{first:?}");
    let mut readers = Vec::new();
    for index in 0..16 {
        let mut reader = Peer::connect(server.public_addrs()[index % 2]);
        let head = reader.document("/ahm/mux.html?open=fx/EURUSD");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains("Transfer-Encoding: chunked\r\n"), "{head}");
        assert!(reader.frame().starts_with("<p i scs="));
        let opened = reader.frame();
        assert!(opened.contains(" u=fx/EURUSD "), "{opened}");
        assert!(reader.frame().ends_with(" n=1>1.09214 1.09217"), "the snapshot comes first");
        readers.push(reader);
    }
    for n in 2..=200 {
        let answer = publisher.post("/publish/fx/EURUSD", format!("{n}"));
        assert!(answer.body.ends_with(&format!("\"n\":{n}}}")), "{answer:?}");
    }
    for reader in &mut readers {
        for n in 2..=200 {
            let frame = reader.frame();
            assert!(frame.ends_with(&format!(" n={n}>{n}")), "{frame}");
        }
    }
    server.stop();
}

#[test]
fn an_http_1_0_reader_gets_a_very_long_body() {
    let server = server(1, |_| {});
    let mut publisher = Peer::connect(server.private_addrs()[0]);
    publisher.post("/publish/fx/A", "x");
    let mut reader = Peer::connect(server.public_addrs()[0]);
    reader.send("GET /ahm/mux.html?open=fx/A HTTP/1.0\r\n\r\n");
    let head = reader.head();
    assert!(head.contains("Content-Length: 1125899906842624\r\n"), "{head}");
    assert!(!head.contains("chunked"), "{head}");
    assert!(reader.frame().starts_with("<p i "));
    reader.frame();
    assert!(reader.frame().ends_with(">x"));
}

#[test]
fn what_one_reader_sends_to_the_board_reaches_the_others() {
    let server = server(2, |_| {});
    let mut readers = Vec::new();
    for _ in 0..4 {
        let mut reader = Peer::connect(server.public_addrs()[0]);
        reader.document("/ahm/mux.html?open=board/lobby");
        let identity = reader.frame();
        let opened = reader.frame();
        readers.push((reader, attribute(&identity, "mid"), attribute(&identity, "k"), opened));
    }
    for (index, (_, mid, key, opened)) in readers.iter().enumerate() {
        let mut commands = Peer::connect(server.public_addrs()[0]);
        let cid = attribute(opened, "c");
        let target = format!("/ahm/send?mid={mid}&k={key}&cid={cid}&n=1");
        let answer = commands.post(&target, format!("from {index}"));
        assert!(answer.body.contains("\"outcome\":\"taken\""), "{answer:?}");
        let again = commands.post(&target, format!("from {index}"));
        assert!(again.body.contains("\"outcome\":\"dup\""), "{again:?}");
    }
    for (reader, ..) in &mut readers {
        let mut seen: Vec<String> = (0..4).map(|_| reader.frame()).collect();
        seen.sort_by_key(|frame| frame.split('>').nth(1).map(str::to_string));
        let texts: Vec<_> = seen.iter().map(|frame| frame.split('>').nth(1).unwrap()).collect();
        assert_eq!(texts, ["from 0", "from 1", "from 2", "from 3"]);
    }
}

#[test]
fn documents_say_that_the_server_stops() {
    let server = server(2, |_| {});
    let mut reader = Peer::connect(server.public_addrs()[0]);
    reader.document("/ahm/mux.html");
    reader.frame();
    server.stop();
    assert!(reader.frame().starts_with("<p z e=shutdown w="));
    let rest = reader.rest();
    assert!(rest.ends_with("0\r\n\r\n"), "{rest:?}");
}
