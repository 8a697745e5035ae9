//! Readers that do not read.

use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;

use ahm::base::reason::CloseReason;
use ahm::base::time::Span;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, SockFilter, Socket, Type};

use crate::support::{PATIENCE, Peer, attribute, server};

#[test]
fn a_reader_that_takes_nothing_is_dropped_as_stale_and_told_so() {
    let server = server(1, |config| {
        config.protocol.heartbeat_min = Span::from_millis(100);
    });
    let mut publisher = Peer::connect(server.private_addrs()[0]);
    publisher.post("/publish/fx/A", "x");
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&server.public_addrs()[0].into()).unwrap();
    let mut stream = TcpStream::from(socket);
    let target = "/ahm/mux.html?h=200&open=fx/A";
    write!(stream, "GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    // Wait for its first bytes, and then take none of them.
    stream.peek(&mut [0]).unwrap();
    let payload = "x".repeat(50_000);
    for _ in 0..8 {
        publisher.post("/publish/fx/A", &payload);
    }
    stream.set_nonblocking(true).unwrap();
    let mut stream = mio::net::TcpStream::from_std(stream);
    let mut poll = Poll::new().unwrap();
    poll.registry().register(&mut stream, Token(0), Interest::WRITABLE).unwrap();
    let mut events = Events::with_capacity(8);
    loop {
        poll.poll(&mut events, Some(PATIENCE)).unwrap();
        assert!(!events.is_empty(), "nobody told the reader that it was dropped");
        if events.iter().any(mio::event::Event::is_error) {
            break;
        }
    }
    // It is forgotten at once, with everything that it would not take.
    let stats = server.stop();
    assert_eq!(stats.closed[CloseReason::Stale as usize], 1, "{stats}");
}

#[test]
fn a_peer_that_vanished_is_found_although_little_is_on_the_way() {
    find_vanished(100, "");
}

#[test]
fn a_shorter_interval_finds_a_vanished_peer_sooner() {
    // By the interval that it began with the peer would be missed after five minutes.
    find_vanished(100_000, "&h=100");
}

fn find_vanished(interval: u32, change: &str) {
    let server = server(1, |config| {
        config.protocol.heartbeat_min = Span::from_millis(100);
        config.protocol.drop_intervals = 2;
        config.protocol.linger = Span::ZERO;
    });
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.connect(&server.public_addrs()[0].into()).unwrap();
    let cable = socket.try_clone().unwrap();
    let mut reader = Peer::over(TcpStream::from(socket));
    reader.document(&format!("/ahm/mux.html?h={interval}"));
    let identity = reader.frame();
    let me = format!("mid={}&k={}", attribute(&identity, "mid"), attribute(&identity, "k"));
    // From now on this end hears nothing and acknowledges nothing, as if the cable were cut: the
    // filter's only instruction is to keep no byte.
    const KEEP_NOTHING: SockFilter = SockFilter::new(6, 0, 0, 0);
    cable.attach_filter(&[KEEP_NOTHING]).unwrap();
    // Its session goes with its document.
    let mut line = Peer::connect(server.public_addrs()[0]);
    let begun = Instant::now();
    while line.get(&format!("/ahm/ping?{me}{change}")).status == 200 {
        assert!(begun.elapsed() < PATIENCE, "nobody missed the reader");
    }
    let stats = server.stop();
    assert_eq!(stats.closed[CloseReason::TimedOut as usize], 1, "{stats}");
    assert_eq!(stats.closed[CloseReason::Stale as usize], 0, "{stats}");
}

#[test]
fn a_client_that_must_speak_and_does_not_is_dropped_and_may_come_back() {
    let server = server(1, |config| {
        config.protocol.heartbeat_min = Span::from_millis(100);
        config.protocol.client_heartbeat = true;
    });
    let mut reader = Peer::connect(server.public_addrs()[0]);
    reader.document("/ahm/mux.html?h=100");
    let identity = reader.frame();
    assert!(identity.ends_with(" h=100 r=240000 v=1 hc>"), "{identity}");
    let me = format!("mid={}&k={}", attribute(&identity, "mid"), attribute(&identity, "k"));
    let _ = reader.rest();
    let mut line = Peer::connect(server.public_addrs()[0]);
    let answer = line.get(&format!("/ahm/ping?{me}&h=400"));
    assert!(answer.body.ends_with(",\"h\":400}"), "{answer:?}");
    line.document(&format!("/ahm/mux.html?{me}"));
    let identity = line.frame();
    assert!(identity.contains(" d=2 h=400 "), "{identity}");
    let stats = server.stop();
    assert_eq!((stats.clients_quiet, stats.clients_dropped), (1, 1), "{stats}");
    assert_eq!(stats.documents_stale, 1, "{stats}");
}
