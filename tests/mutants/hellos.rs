//! The first message of a TLS client, by which it is served here or passed on.

use std::fs;
use std::io::IoSlice;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use ahm::reactor::beyond::Beyond;
use ahm::reactor::front::Front;
use ahm::reactor::tls::Secure;
use ahm::reactor::tls_shake::Shaken;
use ahm::reactor::transport::{Io, Transport};
use ahm::server::config::TlsConfig;
use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};

use crate::edits::{at_least, edited, edits, verdicts};

/// A listener, and what two clients say first to it.
struct Made {
    /// Serves `a.example`, and passes on what lies below `b.example`.
    front: Arc<Front>,
    /// Of one who wants `a.example`, and of one who wants `www.b.example`.
    hellos: [Vec<u8>; 2],
}

fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("ahm-mutants-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let path = |name: &str| folder.join(name).to_str().unwrap().to_string();
        let (chain, secret) = (path("chain.pem"), path("key.pem"));
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["a.example".into()]).unwrap();
        fs::write(&chain, params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(&secret, key.serialize_pem()).unwrap();
        let tls = TlsConfig {
            certificates: vec![format!("{chain} {secret}")],
            pass: vec!["*.b.example=127.0.0.1:1".into()],
            ..TlsConfig::default()
        };
        let fronts = tls.fronts(&["127.0.0.1:0:tls".parse().unwrap()]).unwrap();
        let front = fronts[0].clone().unwrap();
        let hellos = ["a.example", "www.b.example"].map(|name| hello(name, Path::new(&chain)));
        fs::remove_dir_all(folder).unwrap();
        Made { front, hellos }
    })
}

/// What a client says first that wants that name.
fn hello(name: &str, authorities: &Path) -> Vec<u8> {
    let (client, mut near) = Transport::pair().unwrap();
    let beyond = Beyond::new(name, Some(authorities)).unwrap();
    let Transport::Tls(mut client) = beyond.protect(client).unwrap() else { panic!("no TLS") };
    assert!(matches!(client.shake(), Ok(Shaken::Pending)));
    let mut said = vec![0; 8_192];
    let (Io::Bytes(count) | Io::All(count)) = near.read(&mut said) else { panic!("no hello") };
    said.truncate(count);
    said
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// It is served, or more must come.
    Pending,
    Passed(String, usize),
    Refused,
}

/// What becomes of a client that says this in pieces of that size, and what was heard of it when
/// it was passed on.
fn fate(said: &[u8], piece: usize) -> (Fate, Vec<u8>) {
    let (mut client, server) = Transport::pair().unwrap();
    let mut server = Secure::accept(server, Arc::clone(&made().front));
    for piece in said.chunks(piece) {
        assert!(matches!(client.write_vectored(&[IoSlice::new(piece)]), Io::All(_) | Io::Bytes(_)));
        match server.shake() {
            Ok(Shaken::Pending) => {}
            Ok(Shaken::Passed(passed)) => {
                return (Fate::Passed(passed.name, passed.target), passed.heard);
            }
            Ok(Shaken::Done(_)) => panic!("a handshake of one message"),
            Err(_) => return (Fate::Refused, Vec::new()),
        }
    }
    (Fate::Pending, Vec::new())
}

#[test]
fn the_name_decides_in_pieces_of_any_size() {
    let [ours, theirs] = &made().hellos;
    for piece in [1, 2, 5, 100, 10_000] {
        assert_eq!(fate(ours, piece).0, Fate::Pending);
        let (fate, heard) = fate(theirs, piece);
        assert_eq!(fate, Fate::Passed("www.b.example".into(), 0));
        assert_eq!(heard, *theirs, "what was said goes on as it came");
    }
}

const ALPHABET: &[u8] = b"\x00\x01\x02\x03\x0a\x0b\x10\x16\x17\x2b\x2e\x33\xff*.abexmpl";

#[test]
fn changed_ones_have_every_fate() {
    let counts = verdicts((0..2usize, edits(ALPHABET)), |(which, edits)| {
        match fate(&edited(&made().hellos[which], &edits), usize::MAX).0 {
            Fate::Pending => "pending",
            Fate::Passed(..) => "passed",
            Fate::Refused => "refused",
        }
    });
    assert!(["pending", "passed", "refused"].iter().all(|what| counts[what] > 20), "{counts:?}");
}

proptest! {
    #![proptest_config(at_least(1_000))]

    #[test]
    fn a_changed_one_has_one_fate(
        which in 0..2usize,
        edits in edits(ALPHABET),
        piece in 1..700usize,
    ) {
        let said = edited(&made().hellos[which], &edits);
        let (whole, heard) = fate(&said, usize::MAX);
        let (pieces, heard_in_pieces) = fate(&said, piece);
        prop_assert_eq!(&whole, &pieces);
        prop_assert!(said.starts_with(&heard) && said.starts_with(&heard_in_pieces));
        if let Fate::Passed(name, target) = whole {
            prop_assert!(name.ends_with(".b.example") && name.len() > 10, "{}", name);
            prop_assert_eq!(target, 0);
        }
    }
}
