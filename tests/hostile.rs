//! Whatever bytes arrive, the core answers or closes: it does not panic, and others are served on.

#![expect(clippy::unwrap_used, reason = "what fails here has failed the test")]

use std::net::SocketAddr;
use std::sync::Arc;

use ahm::base::id::{ConnKey, ShardId};
use ahm::base::random::Random;
use ahm::base::time::{Instant, Span};
use ahm::proto::connection::Door;
use ahm::proto::directory::Directory;
use ahm::proto::hub::{Hub, Setup};
use ahm::proto::output::{Output, Written};
use ahm::proto::settings::Settings;
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
            let door = if random.below(4) == 0 { Door::Private } else { Door::Public };
            let conn = world.connect(door);
            for _ in 0..random.below(4) {
                let bytes = world.random_bytes(&mut random);
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
        }
        let commands = world.connect(Door::Public);
        let target = format!("/ahm/send?{own}&cid={cid}&n=1&data=seed{seed}");
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        world.hub.handle_received(commands, request.as_bytes(), world.now);
        let seen = world.drain(bystander);
        assert!(seen.contains(&format!(">seed{seed}\n")), "seed {seed}: {seen:?}");
    }
}
