//! Sealed sessions: what a client that has the secret can do and read, and nobody else.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::auth::certificate::Secured;
use crate::base::id::Mid;
use crate::base::random::Random;
use crate::base::time::Span;
use crate::proto::connection::Door;
use crate::proto::directory::Directory;
use crate::proto::settings::{History, Settings};
use crate::proto::tests::sends::Desk;
use crate::proto::tests::{Pack, attribute, frames};
use crate::seal::key::{Algorithm, Keys, Secret};
use crate::seal::line::Opener;

/// A client of a sealed session.
pub(super) struct Client {
    pub(super) keys: Keys,
    pub(super) mid: String,
    pub(super) q: u64,
}

/// A document as a client reads it.
pub(super) struct Reading {
    peer: usize,
    d: u32,
    identity: String,
    opener: Opener,
    rest: Vec<u8>,
}

pub(super) fn settings() -> Settings {
    let (messages_max, bytes_max) = (1 << 20, 1 << 30);
    let history = History { messages_max, bytes_max, age_max: Span::from_secs(1 << 20) };
    Settings { seal_without_tls: true, history, ..Settings::default() }
}

pub(super) fn body(answer: &str) -> String {
    answer.split_once("\r\n\r\n").unwrap().1.to_string()
}

pub(super) fn member(json: &str, name: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    value[name].as_str().unwrap().to_string()
}

pub(super) fn send_bytes(pack: &mut Pack, peer: usize, bytes: &[u8]) -> String {
    let (shard, conn) = pack.conns[peer].unwrap();
    pack.received[peer].clear();
    pack.hubs[shard].handle_received(conn, bytes, pack.now);
    pack.drain();
    pack.text(peer)
}

impl Client {
    pub(super) fn login(pack: &mut Pack, shard: usize, algorithm: Algorithm) -> Self {
        let peer = pack.connect(shard, Door::Public);
        let json = body(&pack.get(peer, &format!("/ahm/login?seal={}", algorithm.word())));
        assert_eq!(member(&json, "seal"), algorithm.word());
        assert!(!json.contains("\"k\""), "a sealed session has no key that could be overheard");
        let (mid, secret) = (member(&json, "mid"), member(&json, "secret"));
        let secret = Secret::parse(&secret).unwrap();
        Self { keys: Keys::new(algorithm, secret, Mid::parse(&mid).unwrap()), mid, q: 0 }
    }

    /// The request of a command, and its number.
    fn request(&mut self, command: &str, payload: Option<&[u8]>) -> (Vec<u8>, u64) {
        self.q += 1;
        let mut body = payload.map(<[u8]>::to_vec);
        if let Some(body) = &mut body {
            self.keys.payload().seal(self.q, body);
        }
        let target = format!("{command}&scs=ahm&mid={}&q={}", self.mid, self.q);
        (self.prove(&target, body.as_deref()), self.q)
    }

    fn prove(&self, target: &str, body: Option<&[u8]>) -> Vec<u8> {
        let method = if body.is_some() { "POST" } else { "GET" };
        let target = self.keys.command().prove(method, target, body.unwrap_or_default());
        let mut request = format!("{method} /ahm/{target} HTTP/1.1\r\nHost: localhost\r\n");
        if let Some(body) = body {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        [request.as_bytes(), b"\r\n", body.unwrap_or_default()].concat()
    }

    /// The JSON that answers a command, which must prove itself.
    pub(super) fn command(
        &mut self,
        pack: &mut Pack,
        peer: usize,
        what: &str,
        data: Option<&[u8]>,
    ) -> String {
        let (request, q) = self.request(what, data);
        let answer = body(&send_bytes(pack, peer, &request));
        assert!(self.keys.answer().is_answer(q, 0, answer.as_bytes()), "{answer}");
        answer
    }

    pub(super) fn document(&mut self, pack: &mut Pack, shard: usize, what: &str) -> Reading {
        let peer = pack.connect(shard, Door::Public);
        let (request, q) = self.request(what, None);
        let text = send_bytes(pack, peer, &request);
        let identity = text.lines().find(|line| line.starts_with("<p i ")).unwrap().to_string();
        assert!(!identity.contains(" k="), "{identity}");
        let d = attribute(std::slice::from_ref(&identity), "d").parse().unwrap();
        let opener = Opener::new(self.keys.document(d, q, identity.as_bytes()));
        Reading { peer, d, identity, opener, rest: Vec::new() }
    }
}

impl Reading {
    /// The lines that have come, and how they were sealed.
    pub(super) fn read(&mut self, pack: &mut Pack) -> (Vec<String>, Vec<Vec<u8>>) {
        let mut bytes = std::mem::take(&mut self.rest);
        bytes.append(&mut pack.received[self.peer]);
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.rest = bytes.split_off(whole);
        let mut opened = Vec::new();
        let mut sealed = Vec::new();
        for line in bytes.split(|byte| *byte == b'\n') {
            if line == self.identity.as_bytes() || !line.starts_with(b"<p ") {
                let is_frame = line.windows(3).any(|three| three == b"<p ");
                assert!(line == self.identity.as_bytes() || !is_frame);
                continue; // the head, the preamble, and the marks of chunks
            }
            let text = self.opener.open(line).unwrap();
            opened.push(String::from_utf8(text.to_vec()).unwrap());
            sealed.push(line.to_vec());
        }
        (opened, sealed)
    }
}

#[test]
fn the_secret_is_given_out_over_tls_only() {
    let mut pack = Pack::new(1, Settings::default(), Directory::default());
    let peer = pack.connect(0, Door::Public);
    let answer = pack.get(peer, "/ahm/login?seal=aes-256-gcm");
    assert!(answer.starts_with("HTTP/1.1 403 ") && !answer.contains("secret\":"), "{answer}");
    assert_eq!(pack.stats().seal.refused_login, 1);
    assert_eq!(pack.hubs[0].session_count(), 0);
    let secured = pack.connect(0, Door::Public);
    let conn = pack.conns[secured].unwrap().1;
    pack.hubs[0].handle_secured(conn, Arc::new(Secured::default()), pack.now);
    let answer = pack.get(secured, "/ahm/login?seal=aes-256-gcm");
    assert_eq!(member(&body(&answer), "secret").len(), 43);
    let answer = pack.get(secured, "/ahm/login?seal=rot13");
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("chacha20-poly1305"));
    assert!(!body(&pack.get(secured, "/ahm/login")).contains("secret"));
}

#[test]
fn a_sealed_reader_is_told_what_an_open_one_is() {
    for algorithm in Algorithm::ALL {
        let mut pack = Pack::new(2, settings(), Directory::default());
        let publisher = pack.connect(0, Door::Private);
        pack.post(publisher, "/publish/fx/A", "one");
        let mut client = Client::login(&mut pack, 1, algorithm);
        let mut sealed = client.document(&mut pack, 0, "mux.html?open=fx/A&pad=100&h=1000");
        let (plain, first, _) = pack.document(1, "open=fx/A&h=1000");
        let mut seen = sealed.read(&mut pack).0;
        assert!(seen.pop().unwrap().starts_with("<p h=1000 t="), "what proves the identity");
        assert_eq!(seen, first[1..]);
        pack.received[plain].clear();
        for size in [1, 1_000, 5_000, 60_000] {
            pack.post(publisher, "/publish/fx/A", &"<".repeat(size));
            pack.post(publisher, "/publish/fx/A", "small");
        }
        pack.pass(Span::from_millis(1_500));
        let (read, lines) = sealed.read(&mut pack);
        let open = pack.fresh(plain);
        let messages = |frames: &[String]| -> Vec<String> {
            frames.iter().filter(|frame| frame.starts_with("<p c=")).cloned().collect()
        };
        assert_eq!(messages(&read).len(), 8);
        assert_eq!(messages(&read), messages(&open));
        assert!(read.iter().any(|line| line.starts_with("<p h=1000 t=")));
        assert_eq!(lines.len(), read.len());
        assert_eq!(pack.stats().seal.documents, 1);
        client.command(&mut pack, publisher + 1, "logout?", None);
        assert_eq!(sealed.read(&mut pack).0.last().unwrap(), "<p z e=logout>");
    }
}

#[test]
fn no_command_goes_without_its_proof_and_none_is_carried_out_twice() {
    let desk = Arc::new(Desk::default());
    let mut directory = Directory::default();
    directory.add("desk", desk.clone()).unwrap();
    let mut pack = Pack::new(2, settings(), directory);
    let mut client = Client::login(&mut pack, 1, Algorithm::Aes256Gcm);
    let mut reading = client.document(&mut pack, 1, "mux.html?open=desk/x;cid=7");
    reading.read(&mut pack);
    let peer = pack.connect(1, Door::Public);
    let me = format!("scs=ahm&mid={}", client.mid);
    for bare in ["ping?", "ping?k=aaaaaaaaaaaaaaaaaaaaaa&", "mux.html?", "ping?q=9&", "ping?mac=x&"]
    {
        let answer = pack.get(peer, &format!("/ahm/{bare}{me}"));
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    }
    assert_eq!(pack.stats().seal.refused_bare, 5);
    for forged in ["q=9&mac=x", "q=9&mac=", &format!("q=9&mac={}", "A".repeat(43))] {
        let answer = pack.get(peer, &format!("/ahm/logout?{me}&{forged}"));
        assert!(answer.starts_with("HTTP/1.1 40"), "{answer}");
    }
    assert_eq!(pack.stats().seal.refused_forged, 2, "an empty code is no code");

    // A command that is repeated as it was gets the answer that it got.
    let (request, q) = client.request("send?cid=7&n=1", Some(b"hello"));
    let first = send_bytes(&mut pack, peer, &request);
    assert!(
        first.contains("\"taken\"")
            && client.keys.answer().is_answer(q, 0, body(&first).as_bytes())
    );
    let other = pack.connect(0, Door::Public);
    assert_eq!(body(&send_bytes(&mut pack, other, &request)), body(&first));
    assert_eq!(*desk.heard.lock().unwrap(), ["7:1=hello"]);
    assert_eq!(pack.stats().seal.repeated, 1);

    // One that was changed on its way is refused, whatever was changed.
    for at in 0..request.len() {
        let mut changed = request.clone();
        changed[at] ^= 1;
        let (shard, conn) = {
            let peer = pack.connect(1, Door::Public);
            pack.conns[peer].unwrap()
        };
        pack.hubs[shard].handle_received(conn, &changed, pack.now);
        pack.drain();
    }
    assert_eq!(*desk.heard.lock().unwrap(), ["7:1=hello"]);

    // Every answer was given, and nothing of them is kept outside their sessions.
    for hub in &pack.hubs {
        assert!(format!("{:?}", hub.sealing).contains("waiting: {}, batches: {}"));
    }
}

#[test]
fn a_payload_is_sealed_with_the_number_of_its_command() {
    let desk = Arc::new(Desk::default());
    let mut directory = Directory::default();
    directory.add("desk", desk.clone()).unwrap();
    let mut pack = Pack::new(1, settings(), directory);
    let mut client = Client::login(&mut pack, 0, Algorithm::Aes256Gcm);
    client.document(&mut pack, 0, "mux.html?open=desk/x;cid=7");
    let peer = pack.connect(0, Door::Public);
    let me = format!("scs=ahm&mid={}", client.mid);
    // A payload in the clear, or of another command, is refused although the code is right.
    client.q += 1;
    let target = format!("send?cid=7&n=1&{me}&q={}", client.q);
    let clear = client.prove(&target, Some(b"a payload of more than a tag"));
    assert!(send_bytes(&mut pack, peer, &clear).starts_with("HTTP/1.1 400 "));
    client.q += 1;
    let data = URL_SAFE_NO_PAD.encode(b"a payload of more than a tag");
    let target = format!("send?cid=7&n=1&data={data}&{me}&q={}", client.q);
    let clear = client.prove(&target, None);
    assert!(send_bytes(&mut pack, peer, &clear).starts_with("HTTP/1.1 400 "));
    assert_eq!(pack.stats().seal.refused_payload, 2);
    let mut payload = b"two".to_vec();
    client.keys.payload().seal(client.q + 1, &mut payload);
    let data = URL_SAFE_NO_PAD.encode(&payload);
    client.command(&mut pack, peer, &format!("send?cid=7&n=1&data={data}"), None);
    assert_eq!(desk.heard.lock().unwrap().last().unwrap(), "7:1=two");
}

#[test]
fn a_request_for_a_document_is_good_for_one() {
    let mut pack = Pack::new(2, settings(), Directory::default());
    let mut client = Client::login(&mut pack, 1, Algorithm::Aes256Gcm);
    // There is no answer to keep.
    let (request, _) = client.request("mux.html?", None);
    let fresh = pack.connect(1, Door::Public);
    assert!(send_bytes(&mut pack, fresh, &request).contains("<p i "));
    let again = pack.connect(1, Door::Public);
    assert!(send_bytes(&mut pack, again, &request).starts_with("HTTP/1.1 403 "));
    assert_eq!(pack.stats().seal.refused_replayed, 1);
}

#[test]
fn a_batch_is_proved_and_answered_line_by_line_over_any_connection() {
    let mut pack = Pack::new(2, settings(), Directory::default());
    let publisher = pack.connect(0, Door::Private);
    pack.post(publisher, "/publish/fx/A", "1");
    let mut client = Client::login(&mut pack, 1, Algorithm::ChaCha20Poly1305);
    let (_, _, other) = pack.document(0, "open=fx/A");
    // A connection that names two sessions stays where it is: its commands go by parcel.
    let pinned = pack.connect(0, Door::Public);
    assert!(pack.get(pinned, &format!("/ahm/ping?{other}")).contains("\"ok\":true"));
    let rest = "close?cid=9\nhistory?resource=fx\n";
    let lines = format!("open?resource=fx&subject=A&cid=3\nping?t=x\nping?{other}\n{rest}");
    let (request, q) = client.request("batch?", Some(lines.as_bytes()));
    let answer = body(&send_bytes(&mut pack, pinned, &request));
    let answers: Vec<&str> = answer.lines().collect();
    assert_eq!(answers.len(), 5, "{answer}");
    for (at, line) in answers.iter().enumerate() {
        assert!(client.keys.answer().is_answer(q, at + 1, line.as_bytes()), "{line}");
    }
    assert!(answers[0].contains("\"cid\":3") && answers[1].contains("\"t\":\"x\""), "{answer}");
    assert!(answers[2].contains("forbidden"), "another session: {answer}");
    assert!(answers[3].contains("no-channel") && answers[4].contains("bad-request"), "{answer}");
    assert_eq!(body(&send_bytes(&mut pack, pinned, &request)), answer, "remembered as a whole");
    // A batch that does not prove itself does nothing, and neither does one of an open session.
    let bare =
        body(&pack.post(pinned, &format!("/ahm/batch?scs=ahm&mid={}", client.mid), "logout"));
    assert!(bare.contains("forbidden"), "{bare}");
    let open = pack.post(pinned, &format!("/ahm/batch?{other}&q=1&mac=x"), "logout");
    assert!(open.starts_with("HTTP/1.1 400 "), "{open}");
    assert_eq!(pack.hubs[1].session_count(), 1);
}

/// A few messages to publish, the next numbers among dots.
fn some_lines(random: &mut Random, next: &mut usize) -> String {
    let count = random.below(5);
    let line = |_| {
        *next += 1;
        format!("A\t{}{}\n", *next - 1, ".".repeat(random.below(3_000) as usize))
    };
    (0..count).map(line).collect()
}

/// What the messages of channel 7 say.
fn numbers_in(lines: &[String]) -> Vec<usize> {
    let messages = lines.iter().filter(|line| line.starts_with("<p c=7 "));
    let payloads = messages.map(|line| line.split_once('>').unwrap().1.trim_matches('.'));
    payloads.map(|payload| payload.parse().unwrap()).collect()
}

/// Short writes, refreshes, duplicates and cuts: no nonce is used twice, no line is lost or comes
/// twice, and a line that was sealed goes out as it was sealed.
#[test]
fn no_counter_of_a_document_is_used_twice_whatever_happens() {
    for seed in 0..12 {
        let mut random = Random::from_number(seed);
        let algorithm = Algorithm::ALL[seed as usize % 2];
        let mut pack = Pack::new(2, settings(), Directory::default());
        let publisher = pack.connect(0, Door::Private);
        pack.post(publisher, "/publish/fx/A", "0");
        let mut client = Client::login(&mut pack, 1, algorithm);
        let mut readings = vec![client.document(&mut pack, 1, "mux.html?open=fx/A;cid=7&h=500")];
        let mut seen = BTreeSet::new();
        let mut numbers = BTreeSet::new();
        let (mut next, mut count) = (1, 0);
        let mut messages: BTreeSet<usize> = BTreeSet::new();
        for _ in 0..120 {
            let at = random.below(readings.len() as u64) as usize;
            let peer = readings[at].peer;
            match random.below(8) {
                0 => pack.give_room(peer, Some(random.below(400) as usize)),
                1 => pack.give_room(peer, None),
                2 if pack.conns[peer].is_some() => pack.cut(peer),
                3 => {
                    // From the beginning, so that what was sealed once is sealed again elsewhere.
                    let lives = |reading: &&Reading| pack.conns[reading.peer].is_some();
                    let kind = match readings.iter().filter(lives).count() {
                        0..=2 => "mux.html?dup=1&h=500&last=",
                        _ => "mux.html?h=500&last=",
                    };
                    let shard = random.below(2) as usize;
                    readings.push(client.document(&mut pack, shard, kind));
                }
                _ => {}
            }
            let lines = some_lines(&mut random, &mut next);
            if !lines.is_empty() {
                pack.post(publisher, "/publish?resource=fx", &lines);
            }
            pack.pass(Span::from_millis(random.below(300)));
            for reading in &mut readings {
                let (opened, sealed) = reading.read(&mut pack);
                count += opened.len();
                messages.extend(numbers_in(&opened));
                for line in sealed {
                    let text = String::from_utf8(line).unwrap();
                    let (counter, sealed) = text.split_once('>').unwrap();
                    assert!(numbers.insert((reading.d, counter.to_string())), "seed {seed}");
                    assert!(seen.insert(sealed.to_string()), "seed {seed}: the same bytes twice");
                }
            }
        }
        readings.push(client.document(&mut pack, 0, "mux.html?h=500&last="));
        for reading in &mut readings {
            pack.give_room(reading.peer, None);
            let (opened, _) = reading.read(&mut pack);
            messages.extend(numbers_in(&opened));
        }
        assert!(count > 100, "seed {seed}: {count}");
        assert_eq!(messages, (1..next).collect(), "seed {seed}: nothing is lost");
        pack.hubs.iter().for_each(|hub| hub.check_invariants().unwrap());
    }
}

#[test]
fn an_open_session_is_what_it_was() {
    let mut pack = Pack::new(1, settings(), Directory::default());
    let peer = pack.connect(0, Door::Public);
    let json = body(&pack.get(peer, "/ahm/login"));
    let me = format!("scs=ahm&mid={}&k={}", member(&json, "mid"), member(&json, "k"));
    let answer = pack.get(peer, &format!("/ahm/ping?{me}&q=1&mac=x"));
    assert!(answer.contains("\"ok\":true") && !answer.contains("mac"), "{answer}");
    let reader = pack.connect(0, Door::Public);
    let seen = frames(&pack.get(reader, &format!("/ahm/mux.html?{me}&q=2&mac=y")));
    assert!(seen.iter().all(|line| !line.starts_with("<p q=")), "{seen:?}");
}
