//! Somebody on the way who has recorded everything, changes it, holds it back and sends it again,
//! over any carriage: the client's commands are carried out once each, in their order, and nothing
//! else is.

use std::net::SocketAddr;
use std::sync::Arc;

use ahm::base::id::{ConnKey, Mid, ShardId};
use ahm::base::random::Random;
use ahm::base::time::{Instant, Span};
use ahm::client::sealed::Unsealer;
use ahm::proto::connection::Door;
use ahm::proto::directory::Directory;
use ahm::proto::hub::{Hub, Setup};
use ahm::proto::output::{Output, Written};
use ahm::proto::settings::Settings;
use ahm::resource::echo::Echo;
use ahm::seal::key::{Algorithm, Keys, Secret};
use ahm::seal::mac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

/// A server, its client, and what somebody on the way has seen.
struct World {
    hub: Hub,
    now: Instant,
    random: Random,
    keys: Arc<Keys>,
    mid: String,
    /// The client's last command, and its last message.
    q: u64,
    n: u64,
    /// The connection of its document, and what reads that.
    document: ConnKey,
    unsealer: Unsealer,
    opened: Vec<u8>,
    /// Requests and lines of the client, and lines of its document.
    seen: Vec<(Door, Vec<u8>)>,
    sealed: Vec<String>,
}

fn hub(seed: u64) -> Hub {
    let mut directory = Directory::default();
    directory.add("echo", Arc::new(Echo::default())).unwrap();
    Hub::new(Setup {
        // Here the login goes in the clear; what follows does not care.
        settings: Arc::new(Settings { seal_without_tls: true, ..Settings::default() }),
        directory: Arc::new(directory),
        shard: ShardId(0),
        shards: 1,
        seed: [seed as u8; 32],
        unix_micros_at_zero: 0,
        now: Instant::from_nanos(1),
    })
}

fn connect(hub: &mut Hub, door: Door, now: Instant) -> ConnKey {
    let peer: SocketAddr = "127.0.0.1:9".parse().unwrap();
    hub.handle_accepted(peer, door, now).unwrap()
}

/// What `wanted` was sent.
fn drain(hub: &mut Hub, wanted: ConnKey, now: Instant) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(output) = hub.poll_output() {
        let Output::Send(conn) = output else { continue };
        hub.transmit(&[conn], now, |_, slices| {
            if conn == wanted {
                slices.iter().for_each(|slice| bytes.extend_from_slice(slice));
            }
            Written { bytes: slices.iter().map(|slice| slice.len()).sum(), blocked: false }
        });
    }
    bytes
}

impl World {
    fn new(seed: u64) -> Self {
        let (mut hub, now) = (hub(seed), Instant::from_nanos(1));
        let algorithm = Algorithm::ALL[seed as usize % 2];
        let document = connect(&mut hub, Door::Raw, now);
        let login = format!("login?seal={}\n", algorithm.word());
        hub.handle_received(document, login.as_bytes(), now);
        let answer: Value = serde_json::from_slice(&drain(&mut hub, document, now)).unwrap();
        let text = |name: &str| answer[name].as_str().unwrap().to_string();
        let mid = text("mid");
        let secret = Secret::parse(&text("secret")).unwrap();
        let keys = Arc::new(Keys::new(algorithm, secret, Mid::parse(&mid).unwrap()));
        let unsealer = Unsealer::new(Arc::clone(&keys), 1, 1 << 16);
        let random = Random::from_number(seed);
        let (seen, sealed, opened) = (vec![], vec![], vec![]);
        let (q, n) = (0, 0);
        let mut world =
            Self { hub, now, random, keys, mid, q, n, document, unsealer, opened, seen, sealed };
        let open = world.command("mux.html?open=echo/x;cid=7", None, Door::Raw);
        world.hub.handle_received(document, &open, now);
        world.read();
        assert!(!world.sealed.is_empty(), "seed {seed}");
        world
    }

    /// A command of the client, as it travels through that door.
    fn command(&mut self, what: &str, payload: Option<Vec<u8>>, door: Door) -> Vec<u8> {
        self.q += 1;
        let body = payload.map(|mut payload| {
            self.keys.payload().seal(self.q, &mut payload);
            payload
        });
        let target = format!("{what}&scs=ahm&mid={}&q={}", self.mid, self.q);
        let method = if body.is_some() { "POST" } else { "GET" };
        let bytes = body.unwrap_or_default();
        let proved = self.keys.command().prove(method, &target, &bytes);
        if door == Door::Raw {
            let line = if method == "POST" { mac::add_body(&proved, &bytes) } else { proved };
            return format!("{line}\n").into_bytes();
        }
        let length = bytes.len();
        let head = format!("{method} /ahm/{proved} HTTP/1.1\r\nHost: localhost\r\n");
        let head = format!("{head}Content-Length: {length}\r\n\r\n");
        [head.as_bytes(), &bytes].concat()
    }

    /// The client says the next thing; what it sends is seen before it arrives.
    fn say(&mut self) -> (Door, Vec<u8>) {
        self.n += 1;
        let (n, text) = (self.n, format!("say-{}", self.n));
        let door = if self.random.below(2) == 0 { Door::Raw } else { Door::Public };
        let command = self.command(&format!("send?cid=7&n={n}"), Some(text.into_bytes()), door);
        self.seen.push((door, command.clone()));
        (door, command)
    }

    /// Reads what has come of the document.
    fn read(&mut self) {
        let bytes = drain(&mut self.hub, self.document, self.now);
        let lines = String::from_utf8(bytes.clone()).unwrap();
        self.sealed.extend(lines.lines().map(str::to_string));
        self.unsealer.push(&bytes, &mut self.opened).unwrap();
    }

    /// Bytes arrive in any pieces on a connection of their own, which may be cut then.
    fn deliver(&mut self, door: Door, bytes: &[u8]) {
        let conn = connect(&mut self.hub, door, self.now);
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = 1 + self.random.below(rest.len() as u64) as usize;
            self.hub.handle_received(conn, &rest[..count], self.now);
            self.read();
            rest = &rest[count..];
        }
        if self.random.below(2) == 0 {
            self.hub.handle_peer_closed(conn, self.now);
        }
        self.read();
    }

    fn one_of_seen(&mut self) -> (Door, Vec<u8>) {
        let at = self.random.below(self.seen.len() as u64) as usize;
        self.seen[at].clone()
    }

    /// Somebody makes something of what was seen.
    fn attack(&mut self) {
        let (door, mut bytes) = self.one_of_seen();
        let other = self.one_of_seen().1;
        let at = self.random.below(bytes.len() as u64) as usize;
        match self.random.below(9) {
            0 => bytes[at] ^= 1 << self.random.below(8),
            1 => bytes.truncate(at),
            2 => {
                let from = self.random.below(other.len() as u64) as usize;
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            3 => drop(bytes.remove(at)),
            4 => bytes.extend_from_slice(&other),
            5 => {
                // A digit of a number: of the command, of the message.
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let name = if self.random.below(2) == 0 { "&q=" } else { "&n=" };
                bytes = text.replacen(name, &format!("{name}1"), 1).into_bytes();
            }
            6 => {
                // A line of the document comes back as a payload.
                let line =
                    self.sealed[self.random.below(self.sealed.len() as u64) as usize].clone();
                let payload = line.split_once('>').map_or("", |(_, payload)| payload);
                let payload = STANDARD.decode(payload).unwrap_or_default();
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let target = text.split(['\n', ' ']).find(|part| part.contains("send?")).unwrap();
                let target = target.trim_start_matches("/ahm/").split("&body=").next().unwrap();
                let data = URL_SAFE_NO_PAD.encode(payload);
                bytes = format!("{target}&body={data}\n").into_bytes();
                return self.deliver(Door::Raw, &bytes);
            }
            7 => {
                // Without what proves it.
                let text = String::from_utf8_lossy(&bytes).into_owned();
                bytes = text.replacen("&mac=", "&mae=", 1).into_bytes();
            }
            _ => {}
        }
        self.deliver(door, &bytes);
    }
}

#[test]
fn what_was_seen_on_the_way_is_of_no_use() {
    let mut refused = [0; 3];
    for seed in 0..60 {
        let mut world = World::new(seed);
        for _ in 0..40 {
            let (door, command) = world.say();
            for _ in 0..world.random.below(8) {
                world.attack();
            }
            world.deliver(door, &command);
            for _ in 0..world.random.below(4) {
                world.attack();
            }
            world.now += Span::from_millis(world.random.below(200));
            world.hub.handle_timeout(world.now);
            world.read();
            world.hub.check_invariants().unwrap();
        }
        let text = String::from_utf8(std::mem::take(&mut world.opened)).unwrap();
        let messages = text.lines().filter(|line| line.starts_with("<p c="));
        let said: Vec<&str> = messages.map(|line| line.split_once('>').unwrap().1).collect();
        let expected: Vec<String> = (1..=40).map(|n| format!("say-{n}")).collect();
        assert_eq!(said, expected, "seed {seed}");
        let counts = &world.hub.stats().seal;
        let kinds = [counts.refused_bare, counts.refused_forged, counts.repeated];
        refused.iter_mut().zip(kinds).for_each(|(sum, count)| *sum += count);
    }
    let [bare, forged, repeated] = refused;
    assert!(bare > 100 && forged > 1_000 && repeated > 100, "{refused:?}");
}
