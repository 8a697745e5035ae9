//! Readers that do not read.

use std::io::Write;
use std::net::TcpStream;

use ahm::base::reason::CloseReason;
use ahm::base::time::Span;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use crate::support::{PATIENCE, Peer, server};

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
