//! One hub on a desk: bytes in as they are cut, bytes out as much as a write takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use ahm::base::id::{ConnKey, ShardId};
use ahm::base::time::{Instant, Span};
use ahm::proto::connection::Door;
use ahm::proto::directory::Directory;
use ahm::proto::hub::{Hub, Setup};
use ahm::proto::output::{Output, Written};
use ahm::proto::resource::{Actions, Consumer, Decision, Message, Resource, TopicOptions};
use ahm::proto::settings::Settings;
use ahm::testing::decode::{Decoder, Part};

/// Says back what it is told, on a channel of its own.
#[derive(Debug)]
struct Echo;

impl Resource for Echo {
    fn open(&self, _: &str, _: &Consumer) -> Decision {
        Decision::Private(TopicOptions::default())
    }

    fn message(&self, message: &Message<'_>, actions: &mut Actions) {
        actions.reply(message.payload);
    }
}

/// Takes nothing, and may be read in every mode.
#[derive(Debug)]
struct Feed;

impl Resource for Feed {
    fn open(&self, subject: &str, _: &Consumer) -> Decision {
        Decision::Shared(self.options(subject))
    }

    fn takes_messages(&self) -> bool {
        false
    }

    fn message(&self, _: &Message<'_>, _: &mut Actions) {}

    fn options(&self, _: &str) -> TopicOptions {
        TopicOptions { latest: true, ..TopicOptions::default() }
    }
}

/// One shard and its connections.
pub struct Desk {
    pub hub: Hub,
    pub now: Instant,
    /// Bytes that one write takes at most.
    pub write_max: usize,
    /// Whether a short write blocks the socket until it is told otherwise.
    pub blocks: bool,
    received: BTreeMap<ConnKey, Vec<u8>>,
}

impl Desk {
    pub fn new(write_max: usize, blocks: bool) -> Self {
        let now = Instant::from_nanos(1);
        let settings = Settings { heartbeat: Span::from_secs(1), ..Settings::default() };
        let mut directory = Directory::default();
        directory.add("echo", Arc::new(Echo)).expect("a name");
        directory.add("feed", Arc::new(Feed)).expect("a name");
        let hub = Hub::new(Setup {
            settings: Arc::new(settings),
            directory: Arc::new(directory),
            shard: ShardId(0),
            shards: 1,
            seed: [9; 32],
            unix_micros_at_zero: 1_700_000_000_000_000,
            now,
        });
        Self { hub, now, write_max, blocks, received: BTreeMap::new() }
    }

    pub fn connect(&mut self, door: Door) -> ConnKey {
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
        let conn = self.hub.handle_accepted(peer, door, self.now).expect("room");
        self.received.insert(conn, Vec::new());
        conn
    }

    pub fn feed(&mut self, conn: ConnKey, bytes: &[u8]) {
        self.hub.handle_received(conn, bytes, self.now);
        self.drain();
    }

    pub fn get(&mut self, conn: ConnKey, target: &str) {
        self.feed(conn, format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
    }

    pub fn post(&mut self, conn: ConnKey, target: &str, body: &[u8]) {
        let length = body.len();
        let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}");
        self.feed(conn, &[head.as_bytes(), b"\r\n\r\n", body].concat());
    }

    pub fn pass(&mut self, span: Span) {
        let end = self.now + span;
        while let Some(next) = self.hub.poll_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.hub.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// All that the peer has received.
    pub fn received(&self, conn: ConnKey) -> &[u8] {
        &self.received[&conn]
    }

    /// The bodies of all answers, without chunks.
    pub fn bodies(&self, conn: ConnKey) -> Vec<Vec<u8>> {
        let mut bodies: Vec<Vec<u8>> = Vec::new();
        Decoder::default().push(self.received(conn), |part| match part {
            Part::Head { .. } => bodies.push(Vec::new()),
            Part::Body(bytes) => bodies.last_mut().expect("a head").extend_from_slice(bytes),
            Part::End => {}
        });
        bodies
    }

    fn drain(&mut self) {
        let mut blocked = Vec::new();
        loop {
            while let Some(output) = self.hub.poll_output() {
                let Output::Send(conn) = output else { continue };
                let Some(received) = self.received.get_mut(&conn) else { continue };
                let (write_max, blocks) = (self.write_max, self.blocks);
                self.hub.transmit(&[conn], self.now, |_, slices| {
                    let total: usize = slices.iter().map(|slice| slice.len()).sum();
                    let mut left = total.min(write_max);
                    let bytes = left;
                    for slice in slices {
                        let count = slice.len().min(left);
                        received.extend_from_slice(&slice[..count]);
                        left -= count;
                    }
                    let full = blocks && bytes < total;
                    if full {
                        blocked.push(conn);
                    }
                    Written { bytes, blocked: full }
                });
            }
            let Some(conn) = blocked.pop() else {
                return self.hub.check_invariants().expect("invariants");
            };
            self.hub.handle_writable(conn, self.now);
        }
    }
}

/// The value of attribute `name` in the first frame that has it.
pub fn attribute(text: &[u8], name: &str) -> String {
    let text = String::from_utf8_lossy(text);
    let start = format!(" {name}=");
    let rest = &text[text.find(&start).expect("the attribute") + start.len()..];
    rest.split([' ', '>']).next().expect("a value").to_string()
}
