//! Sealed sessions: the login over TLS, documents and commands over whatever there is.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use ahm::base::id::Mid;
use ahm::client::sealed::Unsealer;
use ahm::seal::key::{Algorithm, Keys, Secret};
use serde_json::Value;

use crate::authority::Authority;
use crate::peers::{Typist, curl, text};
use crate::serving::{plain, publish, server};

/// A connection over which a document comes.
trait Carriage {
    fn next(&mut self) -> Vec<u8>;
}

impl Carriage for TcpStream {
    fn next(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        let count = self.read(&mut bytes).unwrap();
        assert!(count > 0, "the document ended");
        bytes.truncate(count);
        bytes
    }
}

impl Carriage for Typist {
    fn next(&mut self) -> Vec<u8> {
        (self.line_with("") + "\n").into_bytes()
    }
}

/// Reads until a line of the document, opened, contains `what`. Head and chunks are passed over by
/// their looks.
fn find(carriage: &mut impl Carriage, unsealer: &mut Unsealer, rest: &mut Vec<u8>, what: &str) {
    let mut opened = Vec::new();
    while !String::from_utf8_lossy(&opened).contains(what) {
        rest.extend_from_slice(&carriage.next());
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            if line.starts_with(b"<") {
                unsealer.push(&line, &mut opened).unwrap();
            }
        }
    }
}

#[test]
fn the_login_over_tls_is_enough_to_go_on_without() {
    let authority = Authority::new("Ours");
    let certificates = vec![authority.server("a", &["a.example"])];
    let listen = ["127.0.0.1:0:tls", "127.0.0.1:0"];
    let server = server(&listen, |config| config.tls.certificates = certificates);
    let (secured, open) = (server.public_addrs()[0], server.public_addrs()[1]);
    let said = plain(open, "GET /ahm/login?seal=aes-256-gcm HTTP/1.0\r\n\r\n");
    assert!(said.starts_with("HTTP/1.0 403") || said.starts_with("HTTP/1.1 403"), "{said}");
    publish(&server, "first");
    for algorithm in Algorithm::ALL {
        let login = format!("/ahm/login?seal={}", algorithm.word());
        let said = text(&curl(secured, "a.example", &authority.file(), &login, &[]));
        let answer: Value = serde_json::from_str(&said).unwrap();
        let mid = Mid::parse(answer["mid"].as_str().unwrap()).unwrap();
        let secret = Secret::parse(answer["secret"].as_str().unwrap()).unwrap();
        let keys = Arc::new(Keys::new(algorithm, secret, mid));
        let ask = |q: u64| {
            let scs = answer["scs"].as_str().unwrap();
            let target = format!("mux.html?scs={scs}&mid={mid}&open=fx/EURUSD&q={q}");
            let target = keys.command().prove("GET", &target, b"");
            format!("GET /ahm/{target} HTTP/1.1\r\nHost: a.example\r\n\r\n")
        };
        let mut bare = TcpStream::connect(open).unwrap();
        bare.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        bare.write_all(ask(1).as_bytes()).unwrap();
        let mut first = Unsealer::new(Arc::clone(&keys), 1, 4096);
        let mut rest = Vec::new();
        find(&mut bare, &mut first, &mut rest, ">first");
        let mut typist = Typist::new(secured, "a.example", &[]);
        typist.send(&ask(2));
        let mut second = Unsealer::new(Arc::clone(&keys), 2, 4096);
        // It begins where the first one stands.
        find(&mut typist, &mut second, &mut Vec::new(), "<p o c=");
        publish(&server, algorithm.word());
        find(&mut bare, &mut first, &mut rest, &format!(">{}", algorithm.word()));
        find(&mut typist, &mut second, &mut Vec::new(), &format!(">{}", algorithm.word()));
        publish(&server, "first");
    }
    let stats = server.stop();
    assert_eq!((stats.seal.sessions, stats.seal.documents), (2, 4), "{stats}");
    assert_eq!(stats.seal.refused_login, 1, "{stats}");
}
