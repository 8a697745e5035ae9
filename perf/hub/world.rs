//! A hub without sockets, and readers that take every byte at once: what is left is the cost of the
//! server itself.
#![allow(dead_code, reason = "each program that has this file uses a part of it")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use ahm::base::id::{ConnKey, ShardId};
use ahm::base::limits::WRITES_AT_ONCE;
use ahm::base::time::{Instant, Span};
use ahm::proto::connection::Door;
use ahm::proto::directory::Directory;
use ahm::proto::hub::{Hub, Setup};
use ahm::proto::output::{Output, Written};
use ahm::proto::resource::TopicOptions;
use ahm::proto::settings::{History, Settings};
use ahm::resource::feed::Feed;

/// Connections beside those of the readers.
const BESIDE: usize = 16;

/// One shard's hub and its readers.
#[derive(Debug)]
pub struct World {
    /// The hub.
    pub hub: Hub,
    /// The time of the last event.
    pub now: Instant,
    /// The connections of the readers, in the order of their coming.
    pub readers: Vec<ConnKey>,
    /// Writes so far.
    pub writes: u64,
    /// Bytes written so far.
    pub bytes: u64,
    publisher: ConnKey,
    /// What was named and is not yet written, as a shard keeps it.
    named: VecDeque<ConnKey>,
}

impl World {
    /// A hub with room for `readers`, the same each time.
    pub fn new(readers: usize) -> Self {
        let now = Instant::from_nanos(1);
        let settings = Settings {
            connections_max: readers + BESIDE,
            sessions_max: readers + BESIDE,
            topics_max: readers.max(100_000),
            ..Settings::default()
        };
        let mut directory = Directory::default();
        // Longer than what any of the programs publishes at once.
        let history = History { messages_max: 2048, bytes_max: 1024 * 1024, ..History::default() };
        let options = TopicOptions { history: Some(history), latest: true, ..Default::default() };
        let added = directory.add("fx", Arc::new(Feed { options }));
        added.expect("the name is legal");
        let mut hub = Hub::new(Setup {
            settings: Arc::new(settings),
            directory: Arc::new(directory),
            shard: ShardId(0),
            shards: 1,
            seed: [1; 32],
            unix_micros_at_zero: 1_700_000_000_000_000,
            now,
        });
        let publisher = hub.handle_accepted(peer(), Door::Private, now);
        Self {
            publisher: publisher.expect("the hub has room for one"),
            hub,
            now,
            readers: Vec::with_capacity(readers),
            writes: 0,
            bytes: 0,
            named: VecDeque::with_capacity(readers + BESIDE),
        }
    }

    /// Opens one more document with this target.
    pub fn open(&mut self, target: &str) {
        let conn = self.accept();
        self.request(conn, &get(target));
        self.readers.push(conn);
    }

    /// Accepts a connection.
    pub fn accept(&mut self) -> ConnKey {
        let conn = self.hub.handle_accepted(peer(), Door::Public, self.now);
        conn.expect("there is room for all readers")
    }

    /// Has a connection send `bytes`, and writes whatever comes of it.
    pub fn request(&mut self, conn: ConnKey, bytes: &[u8]) {
        self.hub.handle_received(conn, bytes, self.now);
        self.settle();
    }

    /// Publishes: `request` is what [`post`] has made, once or more.
    pub fn publish(&mut self, request: &[u8]) {
        self.now += Span::from_millis(1);
        self.request(self.publisher, request);
    }

    /// Time passes, in steps of `step`, as long as `goes_on` says so.
    pub fn pass(&mut self, step: Span, mut goes_on: impl FnMut(&Self) -> bool) {
        while goes_on(self) {
            self.now += step;
            self.hub.handle_timeout(self.now);
            self.settle();
        }
    }

    /// All readers close their connections.
    pub fn close_all(&mut self) {
        for conn in std::mem::take(&mut self.readers) {
            self.hub.handle_peer_closed(conn, self.now);
        }
        self.settle();
    }

    /// Publishes, and leaves what comes of it for [`World::write_named`].
    pub fn publish_unwritten(&mut self, request: &[u8]) {
        self.now += Span::from_millis(1);
        self.hub.handle_received(self.publisher, request, self.now);
        self.drain();
    }

    /// The end of a shard's turn: what the hub asks for is drained, then written.
    pub fn settle(&mut self) {
        self.drain();
        while !self.named.is_empty() {
            self.write_named();
            self.drain();
        }
    }

    /// Drains what the hub asks for; connections that it names are written later.
    fn drain(&mut self) {
        while let Some(output) = self.hub.poll_output() {
            if let Output::Send(conn) = output {
                self.named.push_back(conn);
            }
        }
    }

    /// One write for each connection that was named, as many gathered at once as a shard does.
    pub fn write_named(&mut self) {
        let Self { hub, now, named, writes, bytes, .. } = self;
        while !named.is_empty() {
            let round: Vec<ConnKey> = named.drain(..named.len().min(WRITES_AT_ONCE)).collect();
            hub.transmit(&round, *now, |_, slices| {
                let count = slices.iter().map(|slice| slice.len()).sum();
                *writes += 1;
                *bytes += count as u64;
                Written { bytes: count, blocked: false }
            });
        }
    }
}

fn peer() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9))
}

/// A request for `target`.
pub fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

/// A request that publishes `payload` to `topic`.
pub fn post(topic: &str, payload: &str) -> Vec<u8> {
    let length = payload.len();
    let head = format!("POST /publish/{topic} HTTP/1.1\r\nHost: localhost\r\nContent-Length:");
    format!("{head} {length}\r\n\r\n{payload}").into_bytes()
}

/// A request that publishes `payload` to `topic` as often as `count` says, in one batch.
pub fn post_many(topic: &str, payload: &str, count: usize) -> Vec<u8> {
    let lines = format!("{topic}\t{payload}\n").repeat(count);
    let head = "POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length:";
    format!("{head} {}\r\n\r\n{lines}", lines.len()).into_bytes()
}
