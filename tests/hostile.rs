//! Whatever bytes arrive, the core answers or closes: it does not panic, and others are served on.

#![expect(clippy::unwrap_used, reason = "what fails here has failed the test")]

use std::net::SocketAddr;
use std::sync::Arc;

use ahm::base::id::{ConnKey, Key, ShardId};
use ahm::base::random::Random;
use ahm::base::time::{Instant, Span};
use ahm::proto::connection::Door;
use ahm::proto::directory::Directory;
use ahm::proto::hub::{Hub, Setup};
use ahm::proto::output::{Output, Written};
use ahm::proto::settings::Settings;
use ahm::relay::counts::Counts;
use ahm::relay::output as relay_output;
use ahm::relay::site as relay_site;
use ahm::resource::board::Board;
use ahm::resource::echo::Echo;

/// Pieces that requests are made of, right ones and wrong ones.
const PIECES: &[&str] = &[
    "GET ",
    "POST ",
    "HEAD ",
    "OPTIONS ",
    "get ",
    "/ahm/",
    "mux.html",
    "refresh.html",
    "login",
    "open",
    "send",
    "close",
    "logout",
    "ping",
    "batch",
    "history",
    "client.js",
    "/publish",
    "/publish/fx/A",
    "?",
    "&",
    "=",
    ";",
    "/",
    "mid=",
    "k=",
    "cid=",
    "n=",
    "data=",
    "open=",
    "resource=",
    "subject=",
    "since=",
    "last=",
    "mode=latest",
    "rate=3",
    "strict=1",
    "dup=1",
    "h=1",
    "flush=1",
    "pad=9",
    "length=large",
    "limit=",
    "0",
    "1",
    "2",
    "18446744073709551616",
    "-1",
    "%",
    "%00",
    "%zz",
    "%41",
    "board",
    "echo",
    "fx",
    "lobby",
    "*",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    " HTTP/9.9\r\n",
    "Host: a\r\n",
    "Host: localhost\r\n",
    "Host:\r\n",
    "Content-Length: 3\r\n",
    "Content-Length: 3, 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: x\r\n",
    "Expect: 100-continue\r\n",
    "Connection: close\r\n",
    "Origin: http://a\r\n",
    "AHM-Key: x\r\n",
    "Sec-Purpose: prefetch\r\n",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    "\0",
    "abc",
    "3\r\nabc\r\n0\r\n\r\n",
    "FFFFFFFFFFFFFFFFF\r\n",
    "a\tb\n",
    "ping?t=1\n",
    "\u{ff}\u{fe}",
    " ",
    "\t",
];

/// How lines begin.
const NAMES: &[&str] = &[
    "mux.html?",
    "refresh.html?",
    "login?",
    "open?",
    "send?",
    "close?",
    "logout?",
    "ping?",
    "batch?",
    "history?",
    "client.js?",
    "nosuch?",
];

/// What lines go on with.
const PAIRS: &[&str] = &[
    "open=board/lobby",
    "open=echo/x;cid=2",
    "resource=board",
    "subject=lobby",
    "resource=echo",
    "cid=2",
    "n=1",
    "n=2",
    "data=abc",
    "data=%00%zz",
    "id=a",
    "id=%0A",
    "last=",
    "since=0:0",
    "dup=1",
    "mid=0",
    "h=1",
    "flush=1",
    "pad=9",
    "t=x y",
];

struct World {
    hub: Hub,
    now: Instant,
    mid: String,
    key: String,
}

fn world() -> World {
    let mut directory = Directory::default();
    directory.add("board", Arc::new(Board::default())).unwrap();
    directory.add("echo", Arc::new(Echo::default())).unwrap();
    let now = Instant::from_nanos(1);
    let hub = Hub::new(Setup {
        settings: Arc::new(Settings::default()),
        directory: Arc::new(directory),
        shard: ShardId(0),
        shards: 1,
        seed: [2; 32],
        unix_micros_at_zero: 0,
        now,
    });
    World { hub, now, mid: String::new(), key: String::new() }
}

impl World {
    fn connect(&mut self, door: Door) -> ConnKey {
        let peer: SocketAddr = "127.0.0.1:9".parse().unwrap();
        self.hub.handle_accepted(peer, door, self.now).unwrap()
    }

    /// What `wanted` was sent; everybody else's bytes are thrown away.
    fn drain(&mut self, wanted: ConnKey) -> String {
        let mut text = Vec::new();
        while let Some(output) = self.hub.poll_output() {
            let Output::Send(conn) = output else { continue };
            self.hub.transmit(&[conn], self.now, |_, slices| {
                if conn == wanted {
                    slices.iter().for_each(|slice| text.extend_from_slice(slice));
                }
                let bytes = slices.iter().map(|slice| slice.len()).sum();
                Written { bytes, blocked: false }
            });
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    fn ask(&mut self, conn: ConnKey, target: &str) -> String {
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.hub.handle_received(conn, request.as_bytes(), self.now);
        self.drain(conn)
    }

    fn random_bytes(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..random.below(30) {
            match random.below(20) {
                0 => bytes.push(random.next() as u8),
                1 => bytes.extend_from_slice(self.mid.as_bytes()),
                2 => bytes.extend_from_slice(self.key.as_bytes()),
                3 => {
                    let session = format!("mid={}&k={}", self.mid, self.key);
                    bytes.extend_from_slice(session.as_bytes());
                }
                _ => {
                    let piece = PIECES[random.below(PIECES.len() as u64) as usize];
                    bytes.extend_from_slice(piece.as_bytes());
                }
            }
        }
        bytes
    }

    /// Lines, most of which begin with a command's name.
    fn random_lines(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..random.below(6) {
            if random.below(10) == 0 {
                bytes.extend(self.random_bytes(random));
                continue;
            }
            let name = NAMES[random.below(NAMES.len() as u64) as usize];
            bytes.extend_from_slice(name.as_bytes());
            let session = format!("mid={}&k={}", self.mid, self.key);
            for _ in 0..random.below(5) {
                let pair = match random.below(3) {
                    0 => session.as_str(),
                    _ => PAIRS[random.below(PAIRS.len() as u64) as usize],
                };
                bytes.extend_from_slice(pair.as_bytes());
                bytes.push(b'&');
            }
            bytes.extend_from_slice(if random.below(8) == 0 { b"" } else { b"\n" });
        }
        bytes
    }
}

fn value<'t>(text: &'t str, start: &str) -> &'t str {
    let from = text.find(start).unwrap() + start.len();
    text[from..].split([' ', '>', '"']).next().unwrap()
}

#[test]
fn no_bytes_harm_the_core_or_a_bystander() {
    for seed in 0..60 {
        let mut random = Random::from_number(seed);
        let mut world = world();
        let bystander = world.connect(Door::Public);
        let opened = world.ask(bystander, "/ahm/mux.html?open=board/quiet");
        let cid = value(&opened, "<p o c=").to_string();
        let own = format!("mid={}&k={}", value(&opened, " mid="), value(&opened, " k="));
        let victim = world.connect(Door::Public);
        let other = world.ask(victim, "/ahm/mux.html?open=board/lobby&open=echo/x");
        world.mid = value(&other, " mid=").to_string();
        world.key = value(&other, " k=").to_string();
        for _ in 0..200 {
            let doors = [Door::Private, Door::Raw, Door::Public, Door::Public];
            let door = doors[random.below(4) as usize];
            let conn = world.connect(door);
            for _ in 0..random.below(4) {
                let bytes = match door {
                    Door::Raw => world.random_lines(&mut random),
                    Door::Public | Door::Private | Door::Local => world.random_bytes(&mut random),
                };
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let count = 1 + random.below(rest.len() as u64) as usize;
                    world.hub.handle_received(conn, &rest[..count], world.now);
                    world.drain(conn);
                    rest = &rest[count..];
                }
            }
            if random.below(2) == 0 {
                world.hub.handle_peer_closed(conn, world.now);
            }
            world.now += Span::from_millis(random.below(2_000));
            world.hub.handle_timeout(world.now);
            world.drain(conn);
            world.hub.check_invariants().unwrap();
        }
        let commands = world.connect(Door::Public);
        let target = format!("/ahm/send?{own}&cid={cid}&n=1&data=seed{seed}");
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        world.hub.handle_received(commands, request.as_bytes(), world.now);
        let seen = world.drain(bystander);
        assert!(seen.contains(&format!(">seed{seed}\n")), "seed {seed}: {seen:?}");
    }
}

#[test]
fn pitfall_21_who_goes_on_sending_after_an_answer_may_do_so_for_a_while() {
    for (pause, wanted) in [(Span::from_millis(900), 33), (Span::from_millis(1_100), 1)] {
        let mut world = world();
        let conn = world.connect(Door::Public);
        let head = "POST /ahm/batch HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n";
        world.hub.handle_received(conn, head.as_bytes(), world.now);
        assert!(world.drain(conn).starts_with("HTTP/1.1 413 "));
        let mut pieces = 0;
        while world.hub.connection_count() > 0 {
            pieces += 1;
            world.hub.handle_received(conn, &[7; 1_000], world.now);
            world.now += pause;
            world.hub.handle_timeout(world.now);
            world.drain(conn);
        }
        // Thirty seconds and a moment, or one moment of silence.
        assert!((wanted..=wanted + 2).contains(&pieces), "{pieces}");
    }
}

/// Web servers that answer with anything, and a hub before them.
struct Site {
    world: World,
    conns: Vec<ConnKey>,
    upstreams: Vec<Key>,
    /// Those that were sent something and have answered nothing.
    asked: Vec<Key>,
}

/// Pieces that answers are made of, right ones and wrong ones.
const ANSWERS: &[&str] = &[
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "HTTP/1.1 204 No\r\n\r\n",
    "HTTP/1.0 200 OK\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Connection: close\r\n",
    "3\r\nabc\r\n",
    "0\r\n\r\n",
    "\r\n",
    "\n",
    "\0",
    "abc",
];

impl Site {
    fn new(random: &mut Random) -> Self {
        let mut world = world();
        let servers = ["127.0.0.1:1", "unix:/a"].map(|text| text.parse().unwrap()).to_vec();
        let connections_max = 1 + random.below(3) as usize;
        let waiting_max = random.below(3) as usize;
        let site = relay_site::Site {
            servers,
            passes: ["127.0.0.1:2", "unix:/b"].map(|text| text.parse().unwrap()).to_vec(),
            connections_max,
            waiting_max,
            body_bytes_max: 200_000,
            ..relay_site::Site::default()
        };
        world.hub.relay_to(Arc::new(site), world.now);
        Self { world, conns: Vec::new(), upstreams: Vec::new(), asked: Vec::new() }
    }

    /// Does what the hub asks for; sockets take as much as chance will have it.
    fn settle(&mut self, random: &mut Random) {
        let now = self.world.now;
        let hub = &mut self.world.hub;
        while let Some(output) = hub.poll_output() {
            match output {
                Output::Send(conn) => hub.transmit(&[conn], now, |_, slices| {
                    let total: usize = slices.iter().map(|slice| slice.len()).sum();
                    let bytes = match random.below(3) {
                        0 => 0,
                        _ => total - random.below(total as u64 / 2 + 1) as usize,
                    };
                    Written { bytes, blocked: bytes < total }
                }),
                Output::Close(conn, _) => self.conns.retain(|known| *known != conn),
                Output::Relay(relay_output::Output::Dial(upstream, ..)) => {
                    self.upstreams.push(upstream)
                }
                Output::Relay(relay_output::Output::Send(upstream)) => {
                    hub.transmit_upstream(upstream, now, &mut |bytes| {
                        let count = bytes.len() - random.below(bytes.len() as u64 / 2 + 1) as usize;
                        (count, count < bytes.len())
                    });
                    self.asked.push(upstream);
                }
                Output::Relay(relay_output::Output::Close(upstream)) => {
                    self.asked.retain(|known| *known != upstream);
                    self.upstreams.retain(|known| *known != upstream);
                }
                _ => {}
            }
        }
        self.world.hub.check_invariants().unwrap();
    }

    fn act_on_conn(&mut self, conn: ConnKey, random: &mut Random) {
        let now = self.world.now;
        match random.below(16) {
            0 => self.world.hub.handle_peer_closed(conn, now),
            1 => self.world.hub.handle_failed(conn, now),
            2 | 3 => self.world.hub.handle_writable(conn, now),
            _ if !self.world.hub.wants_input(conn) => {}
            4 => self.world.hub.handle_received(conn, &[b'x'; 50_000], now),
            5 => {
                let request = "GET /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
                    Upgrade: websocket\r\n\r\n";
                self.world.hub.handle_received(conn, request.as_bytes(), now);
            }
            6..=9 => {
                let request = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
                self.world.hub.handle_received(conn, request.as_bytes(), now);
            }
            10 => {
                let request = "PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n";
                self.world.hub.handle_received(conn, request.as_bytes(), now);
            }
            _ => {
                let bytes = self.world.random_bytes(random);
                self.world.hub.handle_received(conn, &bytes, now);
            }
        }
    }

    fn act_on_upstream(&mut self, upstream: Key, random: &mut Random) {
        let now = self.world.now;
        let hub = &mut self.world.hub;
        match random.below(30) {
            0 => hub.handle_upstream_lost(upstream, random.below(2) == 0, now),
            1..=9 => hub.handle_upstream_connected(upstream, now),
            10..=14 => hub.handle_upstream_writable(upstream, now),
            _ if !hub.wants_upstream_input(upstream) => {}
            15 | 25 | 26 if !self.asked.contains(&upstream) => {
                hub.handle_upstream_received(upstream, &[b'y'; 70_000], now);
            }
            16..=24 if self.asked.contains(&upstream) => {
                self.asked.retain(|known| *known != upstream);
                let answer = ANSWERS[if random.below(4) == 0 { 2 } else { 5 }];
                hub.handle_upstream_received(upstream, answer.as_bytes(), now);
            }
            15..=27 => {}
            _ => {
                let mut bytes = Vec::new();
                for _ in 0..=random.below(4) {
                    let piece = ANSWERS[random.below(ANSWERS.len() as u64) as usize];
                    bytes.extend_from_slice(piece.as_bytes());
                }
                let cut = 1 + random.below(bytes.len() as u64) as usize;
                hub.handle_upstream_received(upstream, &bytes[..cut], now);
            }
        }
    }
}

#[test]
fn neither_clients_nor_web_servers_harm_a_relay() {
    let mut counts = Counts::default();
    for seed in 0..600 {
        let mut random = Random::from_number(seed);
        let mut site = Site::new(&mut random);
        for _ in 0..400 {
            if site.conns.len() < 6 && random.below(4) == 0 {
                let conn = site.world.connect(Door::Public);
                site.conns.push(conn);
                if random.below(8) == 0 {
                    // There are two targets.
                    let target = random.below(3) as usize;
                    let passed = ("a.example".to_string(), target, vec![b'h'; 600]);
                    site.world.hub.handle_passed(conn, passed, site.world.now);
                }
            }
            if let Some(conn) = pick(&site.conns, &mut random) {
                site.act_on_conn(conn, &mut random);
            }
            site.settle(&mut random);
            if let Some(upstream) = pick(&site.upstreams, &mut random) {
                site.act_on_upstream(upstream, &mut random);
            }
            site.settle(&mut random);
            let most = if random.below(50) == 0 { 70_000 } else { 300 };
            site.world.now += Span::from_millis(random.below(most));
            site.world.hub.handle_timeout(site.world.now);
            site.settle(&mut random);
        }
        // When all clients are gone nothing is left behind but connections that are kept, and those
        // go in their time.
        for conn in std::mem::take(&mut site.conns) {
            site.world.hub.handle_failed(conn, site.world.now);
        }
        site.settle(&mut random);
        for _ in 0..2 {
            site.world.now += Span::from_secs(40);
            site.world.hub.handle_timeout(site.world.now);
            site.settle(&mut random);
        }
        assert_eq!(site.upstreams, [], "seed {seed}");
        assert_eq!(site.world.hub.connection_count(), 0, "seed {seed}");
        counts.add(&site.world.hub.relay_counts());
    }
    // Whatever can become of a request has happened.
    assert!(counts.named().iter().all(|(_, count)| *count > 0), "{counts:?}");
    assert!(counts.answered > 1_000, "{counts:?}");
}

fn pick<T: Copy>(from: &[T], random: &mut Random) -> Option<T> {
    (!from.is_empty()).then(|| from[random.below(from.len() as u64) as usize])
}
