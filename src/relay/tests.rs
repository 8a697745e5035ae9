//! A relay without sockets: what web servers see, what clients get, and what becomes of
//! connections.

use std::sync::Arc;

use crate::base::id::{ConnKey, Key};
use crate::base::random::Random;
use crate::base::time::{Instant, Span};
use crate::http::request::{Limits, parse_head};
use crate::http::status::Refusal;
use crate::relay::exchange::{BEHIND_LOW, BEHIND_MAX};
use crate::relay::output::{Event, Output};
use crate::relay::site::Site;
use crate::relay::station::{Arrival, Relay};

const CLIENT: ConnKey = ConnKey { slot: 7, generation: 1 };
const GET: &str = "GET /a?b HTTP/1.1\r\nHost: example.org\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nDate: a\r\nContent-Length: 2\r\n\r\nhi";

struct Rig {
    relay: Relay,
    now: Instant,
    outputs: Vec<Output>,
    events: Vec<Event>,
    down: Vec<u8>,
}

impl Rig {
    fn new(servers: usize, change: impl FnOnce(&mut Site)) -> Self {
        let address = |n| format!("127.0.0.1:{}", n + 1).parse().unwrap();
        let mut site = Site { servers: (0..servers).map(address).collect(), ..Site::default() };
        change(&mut site);
        let now = Instant::from_nanos(1_000_000_000_000);
        let relay = Relay::new(Arc::new(site), Random::from_number(1), 0, now);
        Self { relay, now, outputs: Vec::new(), events: Vec::new(), down: Vec::new() }
    }

    fn begin(&mut self, request: &str) -> Result<Key, Refusal> {
        let (head, len) = parse_head(request.as_bytes(), &Limits::default()).unwrap().unwrap();
        let peer = "192.0.2.7:4000".parse().unwrap();
        let (secure, close, user) = (false, false, None);
        let arrival = Arrival { client: CLIENT, peer, secure, head: &head, close, user };
        let key = self.relay.handle_request(arrival, self.now)?;
        if len < request.len() {
            self.feed(key, &request.as_bytes()[len..]);
        }
        self.settle();
        Ok(key)
    }

    fn feed(&mut self, key: Key, bytes: &[u8]) -> usize {
        let taken = self.relay.handle_client(key, bytes, self.now).unwrap();
        self.settle();
        taken
    }

    fn settle(&mut self) {
        self.outputs.extend(std::iter::from_fn(|| self.relay.poll_output()));
        self.events.extend(std::iter::from_fn(|| self.relay.poll_event()));
    }

    /// The connection that was dialed last.
    fn dialed(&self) -> (Key, u16) {
        let dials = self.outputs.iter().rev().find_map(|output| match output {
            Output::Dial(key, crate::link::address::Address::Tcp(to), _) => Some((*key, to.port())),
            _ => None,
        });
        dials.expect("something was dialed")
    }

    fn connect(&mut self) -> Key {
        let (upstream, _) = self.dialed();
        self.relay.handle_connected(upstream, self.now);
        self.settle();
        upstream
    }

    /// What the web server reads, if its socket takes `room` bytes.
    fn read(&mut self, upstream: Key, room: usize) -> String {
        let mut seen = Vec::new();
        self.relay.transmit(upstream, self.now, &mut |bytes| {
            let count = bytes.len().min(room);
            seen.extend_from_slice(&bytes[..count]);
            (count, count < bytes.len())
        });
        self.settle();
        String::from_utf8(seen).unwrap()
    }

    fn answer(&mut self, upstream: Key, bytes: &[u8]) {
        self.relay.handle_received(upstream, bytes, &mut self.down, self.now);
        self.settle();
    }

    fn lose(&mut self, upstream: Key, orderly: bool) {
        self.relay.handle_lost(upstream, orderly, &mut self.down, self.now);
        self.settle();
    }

    fn took(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.down)).unwrap()
    }

    fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    fn is_closed(&self, upstream: Key) -> bool {
        self.outputs.contains(&Output::Close(upstream))
    }

    /// Asks, and gives the whole answer; the connection that it went over.
    fn round(&mut self) -> Key {
        self.begin(GET).unwrap();
        let upstream = self.connect();
        self.read(upstream, 9_999);
        self.answer(upstream, OK);
        self.took();
        self.events();
        upstream
    }

    /// The status of the answer that the relay gave itself.
    fn own_answer(&mut self) -> u16 {
        let answers: Vec<_> = self
            .events()
            .into_iter()
            .filter_map(|event| match event {
                Event::Answer { bytes, .. } => Some(bytes),
                _ => None,
            })
            .collect();
        assert_eq!(answers.len(), 1, "one answer");
        String::from_utf8(answers[0][9..12].to_vec()).unwrap().parse().unwrap()
    }
}

const DONE: Event = Event::Done { client: CLIENT, close: false };
const DONE_CLOSE: Event = Event::Done { client: CLIENT, close: true };

#[test]
fn a_request_is_written_anew_and_its_answer_comes_back() {
    let mut rig = Rig::new(1, |_| ());
    let request = "POST http://EXAMPLE.org/x? HTTP/1.1\r\nHost: example.org\r\nX-A:  1\r\n\
        X_Forwarded_For: 9.9.9.9\r\nForwarded: for=9.9.9.9\r\nX-Request-Id: evil\r\nProxy: evil\r\n\
        Connection: X-B, close\r\nX-B: 1\r\nKeep-Alive: 1\r\nTE: gzip, trailers\r\nUpgrade: h2c\r\n\
        Content-Length: 003\r\n\r\nabc";
    rig.begin(request).unwrap();
    let upstream = rig.connect();
    let seen = rig.read(upstream, 9_999);
    let (before, rest) = seen.split_once("X-Request-Id: ").unwrap();
    let wanted = "POST /x? HTTP/1.1\r\nHost: EXAMPLE.org\r\nX-A: 1\r\n\
        X-Forwarded-For: 192.0.2.7\r\nForwarded: for=192.0.2.7;host=\"EXAMPLE.org\";proto=http\r\n\
        X-Forwarded-Host: EXAMPLE.org\r\nX-Forwarded-Proto: http\r\n";
    assert_eq!(before, wanted);
    let wanted =
        "\r\nVia: 1.1 ahm\r\nTE: trailers\r\nConnection: TE\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!(&rest[16..], wanted);
    for byte in OK {
        rig.answer(upstream, &[*byte]);
    }
    let wanted = "HTTP/1.1 200 OK\r\nDate: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
    assert_eq!(rig.took(), wanted);
    assert_eq!(rig.events(), [DONE_CLOSE]);
}

#[test]
fn a_trusted_peer_is_believed() {
    let mut rig = Rig::new(1, |site| site.trust.push("192.0.2.0/24".parse().unwrap()));
    let request = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\n\
        X-Forwarded-For: ::1\r\nForwarded: for=1.1.1.1\r\nX-Forwarded-Proto: https\r\n\
        X-Real-IP: 1.1.1.1\r\nX-Request-Id: theirs\r\n\r\n";
    rig.begin(request).unwrap();
    let upstream = rig.connect();
    let seen = rig.read(upstream, 9_999);
    let wanted = "GET / HTTP/1.1\r\nHost: a\r\nX-Real-IP: 1.1.1.1\r\n\
        X-Forwarded-For: 1.1.1.1, ::1, 192.0.2.7\r\n\
        Forwarded: for=1.1.1.1, for=192.0.2.7;host=\"a\";proto=http\r\nX-Forwarded-Host: a\r\n\
        X-Forwarded-Proto: https\r\nX-Request-Id: theirs\r\nVia: 1.1 ahm\r\n\r\n";
    assert_eq!(seen, wanted);
}

#[test]
fn a_kept_connection_carries_the_next_request() {
    let mut rig = Rig::new(1, |_| ());
    let upstream = rig.round();
    rig.begin(GET).unwrap();
    assert!(rig.read(upstream, 9_999).starts_with("GET /a?b "));
    rig.answer(upstream, OK);
    assert_eq!(rig.events(), [DONE]);
    assert_eq!((rig.relay.counts().dialed, rig.relay.counts().reused), (1, 1));
    rig.now += Span::from_secs(31);
    rig.relay.handle_timeout(rig.now);
    rig.settle();
    assert!(rig.is_closed(upstream) && rig.relay.poll_timeout().is_none());
}

#[test]
fn pitfall_17_bytes_behind_an_answer_reach_nobody() {
    let surplus = [OK, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"].concat();
    let mut rig = Rig::new(1, |_| ());
    rig.begin(GET).unwrap();
    let upstream = rig.connect();
    rig.read(upstream, 9_999);
    rig.answer(upstream, &surplus);
    assert!(rig.took().ends_with("\r\n\r\nhi"));
    assert_eq!(rig.events(), [DONE]);
    assert!(rig.is_closed(upstream));
    let later = rig.round();
    rig.answer(later, b"HTTP/1.1 200 OK\r\n\r\n");
    assert!(rig.is_closed(later) && rig.down.is_empty());
}

#[test]
fn a_request_is_sent_again_only_where_that_is_safe() {
    let post = "POST / HTTP/1.1\r\nHost: a\r\n\r\n";
    let put = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";
    for (request, read, again) in [
        (GET, 9_999, true),
        (post, 9_999, false),
        (post, 0, true),
        (put, 9_999, false),
        ("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", 9, true),
    ] {
        let mut rig = Rig::new(1, |_| ());
        let old = rig.round();
        rig.begin(request).unwrap();
        rig.read(old, read);
        rig.lose(old, true);
        assert_eq!(rig.relay.counts().retried, u64::from(again), "{request}");
        if again {
            let fresh = rig.connect();
            assert!(rig.read(fresh, 9_999).starts_with(&request[..4]), "from its beginning");
            rig.lose(fresh, true);
        }
        assert_eq!(rig.own_answer(), 502, "once at most: {request}");
    }
}

#[test]
fn after_a_byte_of_an_answer_nothing_is_sent_again() {
    let mut rig = Rig::new(1, |_| ());
    let old = rig.round();
    rig.begin(GET).unwrap();
    rig.read(old, 9_999);
    rig.answer(old, b"H");
    rig.lose(old, true);
    assert_eq!((rig.own_answer(), rig.relay.counts().retried), (502, 0));
}

#[test]
fn pitfall_16_an_answer_cut_short_looks_cut_short() {
    let start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n";
    for (version, reset, end) in [("1.1", false, "2\r\nhi\r\n"), ("1.0", true, "hi")] {
        let mut rig = Rig::new(1, |_| ());
        rig.begin(&GET.replace("1.1", version)).unwrap();
        let upstream = rig.connect();
        rig.read(upstream, 9_999);
        rig.answer(upstream, start);
        rig.lose(upstream, true);
        assert_eq!(rig.events(), [Event::Cut { client: CLIENT, reset }]);
        assert!(rig.took().ends_with(&format!("\r\n\r\n{end}")), "no last chunk");
    }
}

#[test]
fn a_body_that_ends_with_the_connection_gets_its_last_chunk() {
    let mut rig = Rig::new(1, |_| ());
    rig.begin(GET).unwrap();
    let upstream = rig.connect();
    rig.read(upstream, 9_999);
    rig.answer(upstream, b"HTTP/1.0 200 OK\r\nDate: a\r\n\r\nh");
    rig.answer(upstream, b"i");
    rig.lose(upstream, true);
    let wanted = "HTTP/1.1 200 OK\r\nDate: a\r\nTransfer-Encoding: chunked\r\n\r\n\
        1\r\nh\r\n1\r\ni\r\n0\r\n\r\n";
    assert_eq!(rig.took(), wanted);
    assert_eq!(rig.events(), [DONE]);
}

#[test]
fn web_servers_take_turns_and_one_that_fails_is_passed_over() {
    let mut rig = Rig::new(3, |_| ());
    let mut ports = Vec::new();
    for _ in 0..6 {
        rig.begin(GET).unwrap();
        ports.push(rig.dialed().1);
    }
    ports[3..].sort_unstable();
    ports[..3].sort_unstable();
    assert_eq!(ports, [1, 2, 3, 1, 2, 3]);
    let mut rig = Rig::new(2, |_| ());
    rig.begin(GET).unwrap();
    let (upstream, bad) = rig.dialed();
    rig.lose(upstream, false);
    let (_, good) = rig.dialed();
    assert_ne!(bad, good);
    for _ in 0..3 {
        rig.begin(GET).unwrap();
        assert_eq!(rig.dialed().1, good, "the other is passed over");
    }
    let (upstream, _) = rig.dialed();
    rig.lose(upstream, false);
    let (upstream, _) = rig.dialed();
    rig.lose(upstream, false);
    assert_eq!(rig.own_answer(), 502, "all were tried");
}

#[test]
fn pitfall_10_interim_answers_pass_to_those_who_know_them() {
    let request = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    let mut rig = Rig::new(1, |_| ());
    let key = rig.begin(request).unwrap();
    let upstream = rig.connect();
    assert!(rig.read(upstream, 9_999).ends_with("Expect: 100-continue\r\n\r\n"));
    let hints = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n";
    rig.answer(upstream, &[b"HTTP/1.1 100 Continue\r\n\r\n", &hints[..]].concat());
    let wanted = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n";
    assert_eq!(rig.took(), wanted);
    assert_eq!(rig.feed(key, b"hi"), 2);
    assert_eq!(rig.read(upstream, 9_999), "hi");
    rig.answer(upstream, OK);
    assert_eq!(rig.events(), [DONE]);
    let mut rig = Rig::new(1, |_| ());
    rig.begin("GET / HTTP/1.0\r\n\r\n").unwrap();
    let upstream = rig.connect();
    rig.read(upstream, 9_999);
    rig.answer(upstream, hints);
    assert_eq!(rig.took(), "");
}

#[test]
fn pitfall_14_only_what_was_asked_for_becomes_a_tunnel() {
    let ask = "GET /s HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
        Upgrade: h2c, WebSocket\r\n\r\n";
    let switch = b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nraw";
    let mut rig = Rig::new(1, |_| ());
    let key = rig.begin(ask).unwrap();
    let upstream = rig.connect();
    let seen = rig.read(upstream, 9_999);
    assert!(seen.ends_with("\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"), "{seen}");
    assert_eq!(rig.feed(key, b"too early"), 0, "it may be a request yet");
    rig.answer(upstream, switch);
    assert!(rig.took().ends_with("Connection: Upgrade\r\n\r\nraw"));
    assert_eq!(rig.events(), [Event::Input(CLIENT)]);
    assert_eq!(rig.feed(key, b"\0any"), 4);
    assert!(rig.relay.handle_client_ended(key, rig.now));
    assert_eq!(rig.read(upstream, 9_999), "\0any");
    assert!(rig.outputs.contains(&Output::Finish(upstream)));
    rig.answer(upstream, b"bye");
    rig.lose(upstream, true);
    assert_eq!((rig.took().as_str(), rig.events()), ("bye", vec![DONE_CLOSE]));

    for ask in [GET, &ask.replace("1.1", "1.0"), &ask.replace("WebSocket", "mqtt")] {
        let mut rig = Rig::new(1, |_| ());
        rig.begin(ask).unwrap();
        let upstream = rig.connect();
        assert!(!rig.read(upstream, 9_999).contains("pgrade"));
        rig.answer(upstream, switch);
        assert_eq!((rig.own_answer(), rig.took().as_str()), (502, ""));
    }
}

#[test]
fn what_is_no_answer_is_502_and_reaches_nobody() {
    for bad in [
        &b"SSH-2.0-x\r\n"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n X: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
        b"HTTP/1.1 999 OK\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
    ] {
        let mut rig = Rig::new(1, |_| ());
        rig.begin(GET).unwrap();
        let upstream = rig.connect();
        rig.read(upstream, 9_999);
        rig.answer(upstream, bad);
        assert_eq!((rig.own_answer(), rig.took().as_str()), (502, ""));
        assert!(rig.is_closed(upstream));
    }
}

#[test]
fn neither_end_makes_the_other_wait_in_memory() {
    let mut rig = Rig::new(1, |_| ());
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n";
    let key = rig.begin(head).unwrap();
    assert!(rig.outputs.is_empty(), "no web server is bothered with a body that may never come");
    let piece = vec![b'x'; 50_000];
    assert_eq!(rig.feed(key, &piece), 50_000);
    assert_eq!(rig.feed(key, &piece), 50_000);
    assert_eq!(rig.feed(key, &piece), 0);
    assert!(!rig.relay.takes_input(key));
    let upstream = rig.connect();
    rig.read(upstream, BEHIND_LOW);
    assert!(rig.events().is_empty() && !rig.relay.takes_input(key));
    rig.relay.handle_writable(upstream, rig.now);
    rig.read(upstream, 99_999);
    assert_eq!(rig.events(), [Event::Input(CLIENT)]);
    assert!(rig.relay.takes_input(key));
    // The other way.
    assert!(rig.relay.wants_input(upstream, BEHIND_MAX - 1));
    assert!(!rig.relay.wants_input(upstream, BEHIND_MAX));
    rig.relay.handle_client_took(key, BEHIND_LOW + 1, rig.now);
    rig.settle();
    assert!(!rig.outputs.contains(&Output::Receive(upstream)));
    rig.relay.handle_client_took(key, BEHIND_LOW, rig.now);
    rig.settle();
    assert!(rig.outputs.contains(&Output::Receive(upstream)));
}

#[test]
fn pitfall_21_an_early_answer_reaches_the_client_and_ends_the_connection() {
    let mut rig = Rig::new(1, |_| ());
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n";
    let key = rig.begin(head).unwrap();
    rig.feed(key, &[b'x'; BEHIND_MAX]);
    let upstream = rig.connect();
    rig.read(upstream, 100);
    rig.answer(upstream, b"HTTP/1.1 413 No\r\nDate: a\r\nContent-Length: 0\r\n\r\n");
    assert!(rig.took().contains("Connection: close"));
    assert_eq!(rig.events(), [DONE_CLOSE]);
    assert!(rig.is_closed(upstream), "the rest of the body would be read as a request");
}

#[test]
fn pitfall_20_who_leaves_frees_the_web_server() {
    let mut rig = Rig::new(1, |site| (site.connections_max, site.waiting_max) = (1, 1));
    let key = rig.begin(GET).unwrap();
    let upstream = rig.connect();
    let waiting = rig.begin(GET).unwrap();
    rig.begin(GET).unwrap();
    assert_eq!(rig.own_answer(), 503, "one waits, no more may");
    rig.relay.handle_client_gone(key, rig.now);
    rig.settle();
    assert!(rig.is_closed(upstream));
    let next = rig.connect();
    assert!(rig.read(next, 9_999).starts_with("GET"), "who has waited has its turn");
    rig.begin(GET).unwrap();
    rig.relay.handle_client_gone(waiting, rig.now);
    rig.settle();
    let last = rig.connect();
    rig.read(last, 9_999);
    rig.answer(last, OK);
    assert_eq!(rig.events(), [DONE]);
    assert_eq!((rig.relay.exchange_count(), rig.relay.upstream_count()), (0, 1));
}

#[test]
fn whatever_takes_too_long_ends() {
    let late = |rig: &mut Rig, key: Key, secs: u64| {
        let due = rig.relay.deadline(key);
        assert_eq!(due.since(rig.now), Span::from_secs(secs));
        rig.now = due;
        rig.relay.handle_deadline(key, due);
        rig.settle();
    };
    let upload = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n";
    let mut rig = Rig::new(1, |_| ());
    let key = rig.begin(upload).unwrap();
    late(&mut rig, key, 30);
    assert_eq!(rig.events(), [Event::Refused(CLIENT, Refusal::Timeout)]);
    let key = rig.begin(GET).unwrap();
    late(&mut rig, key, 3);
    assert_eq!(rig.own_answer(), 504);
    let key = rig.begin(GET).unwrap();
    let upstream = rig.connect();
    rig.read(upstream, 9_999);
    late(&mut rig, key, 60);
    assert_eq!(rig.own_answer(), 504);
    let start = b"HTTP/1.1 200 OK\r\nDate: a\r\nContent-Length: 2\r\n\r\nh";
    for held in [false, true] {
        let key = rig.begin(GET).unwrap();
        let upstream = rig.connect();
        rig.read(upstream, 9_999);
        rig.answer(upstream, start);
        rig.relay.wants_input(upstream, if held { BEHIND_MAX } else { 0 });
        late(&mut rig, key, 60);
        let wanted =
            if held { Event::Stale(CLIENT) } else { Event::Cut { client: CLIENT, reset: false } };
        assert_eq!(rig.events(), [wanted]);
    }
    assert_eq!((rig.relay.exchange_count(), rig.relay.upstream_count()), (0, 0));
}

#[test]
fn a_broken_body_ends_the_request_without_its_last_chunk() {
    let mut rig = Rig::new(1, |site| site.body_bytes_max = 10);
    let long = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n";
    assert_eq!(rig.begin(long), Err(Refusal::BodyTooLarge));
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\
        Expect: 100-continue\r\n\r\n";
    for (bad, status) in [("2\r\nhi\n", 400), ("0x2\r\n", 400), ("b\r\n", 413)] {
        let key = rig.begin(head).unwrap();
        let upstream = rig.connect();
        rig.read(upstream, 9_999);
        let refused = rig.relay.handle_client(key, bad.as_bytes(), rig.now);
        rig.settle();
        let (why, answered) = refused.unwrap_err();
        assert_eq!((why.status(), answered), (status, false));
        assert!(rig.is_closed(upstream));
    }
}

#[test]
fn the_same_bytes_in_any_pieces_are_the_same_exchange() {
    let answer = b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nDate: a\r\n\
        Transfer-Encoding: chunked\r\nTrailer: Sum\r\n\r\n\
        3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nSum: 4\r\n\r\n";
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = b"4\r\nwhat\r\n0\r\nA: b\r\n\r\n";
    for size in 1..answer.len() {
        let mut rig = Rig::new(1, |_| ());
        let key = rig.begin(head).unwrap();
        body.chunks(size).for_each(|piece| assert_eq!(rig.feed(key, piece), piece.len()));
        let upstream = rig.connect();
        let seen = rig.read(upstream, 9_999);
        assert!(seen.ends_with("\r\n0\r\nA: b\r\n\r\n"), "{size}: {seen}");
        answer.chunks(size).for_each(|piece| rig.answer(upstream, piece));
        let got = rig.took();
        assert!(got.starts_with("HTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\n"));
        assert!(got.ends_with("\r\n0\r\nSum: 4\r\n\r\n"), "{size}: {got}");
        let text: String = got.chars().filter(|c| "abcd".contains(*c)).collect();
        assert!(text.ends_with("abcd"), "{size}: {got}");
        assert_eq!(rig.events(), [DONE]);
    }
}
