//! The two ends of a connection, with somebody between who passes on as little as he likes.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use ahm::reactor::beyond::Beyond;
use ahm::reactor::front::Front;
use ahm::reactor::tls::Secure;
use ahm::reactor::tls_shake::Shaken;
use ahm::reactor::transport::{Io, Transport};
use ahm::server::config::{Listen, TlsConfig};
use proptest::prelude::{any, prop};
use proptest::{prop_assert, proptest};

use crate::authority::Authority;

/// A client and a server, and the sockets of whoever stands between them.
struct Line {
    client: Transport,
    server: Transport,
    near: Transport,
    far: Transport,
    up: Vec<u8>,
    down: Vec<u8>,
}

fn front(authority: &Authority) -> Arc<Front> {
    let certificates = vec![authority.server("server", &["a.example"])];
    let tls = TlsConfig { certificates, ..TlsConfig::default() };
    let listen: Listen = "127.0.0.1:0:tls".parse().unwrap();
    tls.fronts(&[listen]).unwrap()[0].clone().unwrap()
}

impl Line {
    fn new() -> Self {
        let authority = Authority::new("Records");
        let (client, near) = Transport::pair().unwrap();
        let (far, server) = Transport::pair().unwrap();
        let ca = authority.file();
        let beyond = Beyond::new("a.example", Some(Path::new(&ca))).unwrap();
        let client = beyond.protect(client).unwrap();
        let server = Transport::Tls(Box::new(Secure::accept(server, front(&authority))));
        Self { client, server, near, far, up: Vec::new(), down: Vec::new() }
    }

    /// Passes on at most so many bytes each way.
    fn carry(&mut self, count: usize) {
        carry(&mut self.near, &mut self.far, &mut self.up, count);
        carry(&mut self.far, &mut self.near, &mut self.down, count);
    }

    fn shake(&mut self, count: usize) {
        let (mut client, mut server) = (false, false);
        for _ in 0..100_000 {
            client = client || is_done(&mut self.client);
            server = server || is_done(&mut self.server);
            if client && server {
                return;
            }
            self.carry(count);
        }
        panic!("no handshake");
    }
}

fn carry(from: &mut Transport, to: &mut Transport, held: &mut Vec<u8>, count: usize) {
    let mut buffer = vec![0; count];
    if held.is_empty()
        && let Io::Bytes(count) | Io::All(count) = from.read(&mut buffer)
    {
        held.extend_from_slice(&buffer[..count]);
    }
    if let Ok((taken, _)) = to.send(&[IoSlice::new(held)]) {
        held.drain(..taken);
    }
}

fn is_done(end: &mut Transport) -> bool {
    let Transport::Tls(secure) = end else { panic!("no TLS") };
    match secure.shake() {
        Ok(Shaken::Done(_)) => true,
        Ok(Shaken::Pending) => false,
        other => panic!("{other:?}"),
    }
}

/// Bytes that no mistake in their order leaves alike.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// Sends `bytes` in pieces of `piece` from one end and reads them at the other.
fn send_all(line: &mut Line, up: bool, bytes: &[u8], piece: usize, between: usize, room: usize) {
    let (mut sent, mut got, mut blocked) = (0, Vec::new(), false);
    let mut buffer = vec![0; room];
    for _ in 0..10_000_000 {
        if got.len() >= bytes.len() {
            break;
        }
        let (from, to) = match up {
            true => (&mut line.client, &mut line.server),
            false => (&mut line.server, &mut line.client),
        };
        if blocked {
            blocked = !from.flush().unwrap();
        }
        while sent < bytes.len() && !blocked {
            let end = bytes.len().min(sent + piece);
            let middle = sent + (end - sent) / 3;
            let slices = [IoSlice::new(&bytes[sent..middle]), IoSlice::new(&bytes[middle..end])];
            let taken;
            (taken, blocked) = from.send(&slices).unwrap();
            sent += taken;
        }
        loop {
            match to.read(&mut buffer) {
                Io::Bytes(count) | Io::All(count) => got.extend_from_slice(&buffer[..count]),
                Io::Blocked => break,
                other => panic!("{other:?}"),
            }
        }
        line.carry(between);
    }
    assert!(got == bytes, "{} of {} bytes came, or others", got.len(), bytes.len());
}

#[test]
fn what_is_sent_is_read_in_pieces_of_any_size() {
    for (between, room) in [(1 << 20, 1 << 16), (1_000, 100), (16 * 1024 + 22, 5_000)] {
        let mut line = Line::new();
        line.shake(between);
        let bytes = pattern(700_000);
        send_all(&mut line, true, &bytes, 300_000, between, room);
        send_all(&mut line, false, &bytes, 50_000, between, room);
        send_all(&mut line, false, &bytes[..3_000], 1, between, room);
    }
}

#[test]
fn byte_by_byte_is_the_same() {
    let mut line = Line::new();
    line.shake(1);
    let bytes = pattern(20_000);
    send_all(&mut line, true, &bytes, 7_000, 1, 64 * 1024);
    send_all(&mut line, false, &bytes, 20_000, 1, 1);
}

#[test]
fn an_end_is_told_and_a_cut_is_not_taken_for_one() {
    let mut line = Line::new();
    line.shake(4_096);
    line.server.send(&[IoSlice::new(b"last words")]).unwrap();
    line.server.shutdown_write().unwrap();
    let (mut buffer, mut got) = ([0; 100], Vec::new());
    let end = loop {
        line.carry(3);
        match line.client.read(&mut buffer) {
            Io::Bytes(count) | Io::All(count) => got.extend_from_slice(&buffer[..count]),
            Io::Blocked => {}
            end => break end,
        }
    };
    assert!(matches!(end, Io::Closed) && got == b"last words", "{end:?}");
    // The other way still goes.
    send_all_after_end(&mut line);

    let mut line = Line::new();
    line.shake(4_096);
    line.server.send(&[IoSlice::new(b"and so")]).unwrap();
    line.carry(10);
    drop(line.near);
    let end = loop {
        match line.client.read(&mut buffer) {
            Io::Bytes(_) | Io::All(_) => panic!("half a record was read"),
            Io::Blocked => {}
            end => break end,
        }
    };
    let Io::Failed(error) = end else { panic!("{end:?}") };
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

fn send_all_after_end(line: &mut Line) {
    line.client.send(&[IoSlice::new(b"good bye")]).unwrap();
    let mut buffer = [0; 100];
    loop {
        line.carry(1_000);
        match line.server.read(&mut buffer) {
            Io::Bytes(count) | Io::All(count) => {
                return assert_eq!(&buffer[..count], b"good bye");
            }
            Io::Blocked => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_record_that_was_changed_on_the_way_ends_it() {
    let mut line = Line::new();
    line.shake(4_096);
    line.client.send(&[IoSlice::new(b"buy 100")]).unwrap();
    let mut held = [0; 200];
    let (Io::Bytes(count) | Io::All(count)) = line.near.read(&mut held) else { panic!() };
    held[count - 1] ^= 1;
    line.far.send(&[IoSlice::new(&held[..count])]).unwrap();
    let outcome = line.server.read(&mut [0; 100]);
    assert!(matches!(outcome, Io::Failed(_)), "{outcome:?}");
    // The client is told, and it stays so.
    line.carry(4_096);
    assert!(matches!(line.client.read(&mut [0; 100]), Io::Failed(_)));
    assert!(matches!(line.server.read(&mut [0; 100]), Io::Failed(_)));
}

#[test]
fn whoever_speaks_http_is_told_so() {
    let authority = Authority::new("Plain");
    let (mut client, server) = Transport::pair().unwrap();
    let mut server = Secure::accept(server, front(&authority));
    client.send(&[IoSlice::new(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")]).unwrap();
    assert!(server.shake().is_err());
    let mut buffer = [0; 1_000];
    let Io::All(count) = client.read(&mut buffer) else { panic!() };
    let text = std::str::from_utf8(&buffer[..count]).unwrap();
    assert!(text.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{text}");
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{text}");
}

proptest! {
    #[test]
    fn whatever_comes_first_is_borne(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        record in any::<bool>(),
    ) {
        thread_local! {
            static FRONT: Arc<Front> = front(&Authority::new("Fuzz"));
        }
        let (mut client, server) = Transport::pair().unwrap();
        let mut server = Secure::accept(server, FRONT.with(Arc::clone));
        let mut said = Vec::new();
        if record {
            // The beginning of a record with the beginning of a ClientHello.
            let length = bytes.len() as u16 + 4;
            said.extend_from_slice(&[0x16, 3, 1, (length >> 8) as u8, length as u8]);
            said.extend_from_slice(&[1, 0, (bytes.len() >> 8) as u8, bytes.len() as u8]);
        }
        said.extend_from_slice(&bytes);
        client.send(&[IoSlice::new(&said)]).unwrap();
        let outcome = server.shake();
        prop_assert!(!matches!(outcome, Ok(Shaken::Done(_))));
    }
}
