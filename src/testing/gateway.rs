//! A communication server of one shard among the stations of a switchboard, with clients.

use std::collections::{HashMap, HashSet};

use crate::base::id::{ConnKey, Key, ShardId};
use crate::base::time::Instant;
use crate::link::links::{Links, Output as LinkOutput};
use crate::link::peer::{End, Me, Other};
use crate::link::station::Station;
use crate::link::upstream::Seek;
use crate::proto::connection::Door;
use crate::proto::directory::Directory;
use crate::proto::hub::{Hub, Setup};
use crate::proto::output::{Output, Written};
use crate::proto::settings::Settings;
use crate::wire::resource::Frame;

/// The server, and what its clients have received.
#[derive(Debug)]
pub struct Gateway {
    /// The hub.
    pub hub: Hub,
    now: Instant,
    received: HashMap<ConnKey, Vec<u8>>,
    /// Clients that read nothing.
    pub stalled: HashSet<ConnKey>,
}

impl Gateway {
    /// A server with those settings that seeks resources at registries.
    pub fn new(settings: Settings, me: Me, seek: Seek, now: Instant) -> Self {
        let mut hub = Hub::new(Setup {
            settings: settings.into(),
            directory: Directory::default().into(),
            shard: ShardId(0),
            shards: 1,
            seed: [(me.instance.0 % 251) as u8; 32],
            unix_micros_at_zero: 0,
            now,
        });
        hub.look_for_resources(me, seek, now);
        Self { hub, now, received: HashMap::new(), stalled: HashSet::new() }
    }

    /// A client connects and sends a request; its connection.
    pub fn request(&mut self, target: &str) -> ConnKey {
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
        let conn = self.hub.handle_accepted(peer, Door::Public, self.now);
        let conn = conn.expect("there is room for a client");
        self.received.insert(conn, Vec::new());
        self.send(conn, target);
        conn
    }

    /// Another request on that connection.
    pub fn send(&mut self, conn: ConnKey, target: &str) {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        self.hub.handle_received(conn, request.as_bytes(), self.now);
    }

    /// What the connection has received since it was last asked.
    pub fn take(&mut self, conn: ConnKey) -> String {
        let bytes = self.received.get_mut(&conn).map(std::mem::take).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A client that was stalled reads again.
    pub fn go_on(&mut self, conn: ConnKey) {
        self.stalled.remove(&conn);
        self.hub.handle_writable(conn, self.now);
    }

    fn obey(&mut self, output: Output) -> Option<LinkOutput> {
        match output {
            Output::Link(output) => return Some(output),
            Output::Send(conn) => {
                let received = &mut self.received;
                let stalled = &self.stalled;
                self.hub.transmit(&[conn], self.now, |conn, slices| {
                    if stalled.contains(&conn) {
                        return Written { bytes: 0, blocked: true };
                    }
                    let into = received.entry(conn).or_default();
                    slices.iter().for_each(|slice| into.extend_from_slice(slice));
                    let bytes = slices.iter().map(|slice| slice.len()).sum();
                    Written { bytes, blocked: false }
                });
            }
            Output::Close(conn, _) => drop(self.received.remove(&conn)),
            Output::Receive(_)
            | Output::Stream(..)
            | Output::Finish(_)
            | Output::Post(..)
            | Output::Move(..)
            | Output::Relay(_) => {}
        }
        None
    }
}

impl Station for Gateway {
    fn links(&mut self) -> &mut Links {
        unreachable!("a hub keeps its connections to itself")
    }

    fn on_greeted(&mut self, _link: Key) {}

    fn on_frame(&mut self, _link: Key, _frame: &Frame<'_>) {}

    fn on_over(&mut self, _link: Key, _other: Option<Other>, _end: End) {}

    fn handle_accepted(&mut self, _now: Instant) -> Key {
        Key::default() // nobody dials it
    }

    fn handle_connected(&mut self, link: Key, now: Instant) {
        self.now = now;
        self.hub.handle_link_connected(link, now);
    }

    fn handle_failed(&mut self, link: Key, now: Instant) {
        self.now = now;
        self.hub.handle_link_failed(link, now);
    }

    fn handle_received(&mut self, link: Key, bytes: &[u8], now: Instant) {
        self.now = now;
        self.hub.handle_link_received(link, bytes, now);
    }

    fn handle_writable(&mut self, link: Key, now: Instant) {
        self.now = now;
        self.hub.handle_link_writable(link, now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.hub.handle_timeout(now);
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.hub.poll_timeout()
    }

    fn poll_output(&mut self) -> Option<LinkOutput> {
        while let Some(output) = self.hub.poll_output() {
            if let Some(output) = self.obey(output) {
                return Some(output);
            }
        }
        None
    }

    fn transmit(&mut self, link: Key, now: Instant, write: &mut dyn FnMut(&[u8]) -> (usize, bool)) {
        self.now = now;
        self.hub.transmit_link(link, now, write);
    }
}
