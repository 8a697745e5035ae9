//! A communication server among the stations of a switchboard, with clients. What its shards tell
//! each other takes its time.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::base::id::{ConnKey, Key, ShardId};
use crate::base::name::TopicName;
use crate::base::random::Random;
use crate::base::time::{Instant, Span};
use crate::link::links::{Links, Output as LinkOutput};
use crate::link::peer::{End, Me, Other};
use crate::link::station::Station;
use crate::link::upstream::Seek;
use crate::proto::connection::Door;
use crate::proto::directory::Directory;
use crate::proto::hub::{Hub, Setup};
use crate::proto::output::{Output, Traveller, Written};
use crate::proto::parcel::Parcel;
use crate::proto::settings::Settings;
use crate::wire::resource::Frame;

/// To tell the connections of one shard from those of another: more than there are shards.
const SHARDS_END: u32 = 64;

/// Of every client.
pub const ROUND_TRIP: Span = Span::from_millis(7);

/// What is on its way from one shard to another.
#[derive(Debug)]
enum Load {
    Parcel(Parcel),
    Connection(usize, Traveller),
}

/// The server, and what its clients have received.
#[derive(Debug)]
pub struct Gateway {
    /// Its shards.
    pub hubs: Vec<Hub>,
    /// How long a parcel is on its way at most.
    pub delay: Span,
    /// Clients' connections on which nothing is read.
    pub stalled: HashSet<usize>,
    now: Instant,
    random: Random,
    /// From each shard to each, in order, with the moments of arrival.
    mail: Vec<VecDeque<(Instant, Load)>>,
    /// By the client's connection: what it has received, and never forgotten.
    received: Vec<Vec<u8>>,
    index: HashMap<(usize, ConnKey), usize>,
}

impl Gateway {
    /// A server with so many shards and those settings that seeks resources at registries.
    pub fn new(settings: Settings, shards: u8, me: &Me, seek: &Seek, now: Instant) -> Self {
        let settings = std::sync::Arc::new(settings);
        let seed = [(me.instance.0 % 251) as u8; 32];
        let hub = |shard| {
            let mut hub = Hub::new(Setup {
                settings: settings.clone(),
                directory: Directory::default().into(),
                shard: ShardId(shard),
                shards,
                seed,
                unix_micros_at_zero: 0,
                now,
            });
            hub.look_for_resources(me.clone(), seek.clone(), now);
            hub
        };
        Self {
            hubs: (0..shards).map(hub).collect(),
            delay: Span::from_millis(2),
            stalled: HashSet::new(),
            now,
            random: Random::from_number(me.instance.0),
            mail: (0..usize::from(shards).pow(2)).map(|_| VecDeque::new()).collect(),
            received: Vec::new(),
            index: HashMap::new(),
        }
    }

    /// The shard that is a subject's home.
    pub fn home_of(&self, name: &TopicName) -> usize {
        self.hubs[0].home_of(name).index()
    }

    /// Subjects and private channels that are wanted of resources.
    pub fn wants(&self) -> usize {
        self.hubs.iter().map(|hub| hub.remote.served.len()).sum()
    }

    /// A client connects to some shard and sends a request; its connection.
    pub fn request(&mut self, target: &str) -> usize {
        let shard = self.random.below(self.hubs.len() as u64) as usize;
        self.request_at(shard, target)
    }

    /// The same at that shard.
    pub fn request_at(&mut self, shard: usize, target: &str) -> usize {
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
        let conn = self.hubs[shard].handle_accepted(peer, Door::Public, self.now);
        let conn = conn.expect("there is room for a client");
        let client = self.received.len();
        self.received.push(Vec::new());
        self.index.insert((shard, conn), client);
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        self.hubs[shard].handle_received(conn, request.as_bytes(), self.now);
        client
    }

    /// What the connection has received since it was last asked.
    pub fn take(&mut self, client: usize) -> String {
        let bytes = std::mem::take(&mut self.received[client]);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A client that was stalled reads again.
    pub fn go_on(&mut self, client: usize) {
        self.stalled.remove(&client);
        let at = self.index.iter().find(|(_, its)| **its == client).map(|(at, _)| *at);
        if let Some((shard, conn)) = at {
            self.hubs[shard].handle_writable(conn, self.now);
        }
    }

    fn obey(&mut self, shard: usize, output: Output) -> Option<LinkOutput> {
        match output {
            Output::Link(output) => return Some(outward(shard, output)),
            Output::Send(conn) => {
                let client = self.index.get(&(shard, conn))?;
                let into = &mut self.received[*client];
                let stalled = self.stalled.contains(client);
                self.hubs[shard].transmit(&[conn], self.now, |_, slices| {
                    if stalled {
                        return Written { bytes: 0, blocked: true };
                    }
                    slices.iter().for_each(|slice| into.extend_from_slice(slice));
                    let bytes = slices.iter().map(|slice| slice.len()).sum();
                    Written { bytes, blocked: false }
                });
            }
            Output::Close(conn, _) => drop(self.index.remove(&(shard, conn))),
            Output::Post(to, parcel) => self.post(shard, to.index(), Load::Parcel(parcel)),
            Output::Move(conn, to) => {
                if let Some(traveller) = self.hubs[shard].depart(conn)
                    && let Some(client) = self.index.remove(&(shard, conn))
                {
                    self.post(shard, to.index(), Load::Connection(client, traveller));
                }
            }
            Output::Measure(_, topic) => {
                self.hubs[shard].handle_round_trip(topic, Some(ROUND_TRIP), self.now);
            }
            Output::Receive(_) | Output::Stream(..) | Output::Finish(_) => {}
            Output::Ask(_) | Output::Relay(_) => {}
        }
        None
    }

    fn post(&mut self, from: usize, to: usize, load: Load) {
        let wait = Span::from_nanos(self.random.below(self.delay.as_nanos().max(1)));
        let way = &mut self.mail[from * self.hubs.len() + to];
        let before = way.back().map_or(Instant::ZERO, |(due, _)| *due);
        way.push_back((before.max(self.now + wait), load));
    }

    /// What has arrived at its shard.
    fn take_mail(&mut self) {
        let now = self.now;
        for way in 0..self.mail.len() {
            let shard = way % self.hubs.len();
            while let Some((_, load)) = self.mail[way].pop_front_if(|(due, _)| *due <= now) {
                match load {
                    Load::Parcel(parcel) => self.hubs[shard].handle_parcel(parcel, now),
                    Load::Connection(client, traveller) => {
                        if let Some(conn) = self.hubs[shard].handle_arrived(traveller, now) {
                            self.index.insert((shard, conn), client);
                        }
                    }
                }
            }
        }
    }

    /// The shard that has a connection of the resource protocol, and its own key of it.
    fn inward(&mut self, link: Key, now: Instant) -> (&mut Hub, Key) {
        self.now = now;
        let key = Key { slot: link.slot / SHARDS_END, ..link };
        (&mut self.hubs[(link.slot % SHARDS_END) as usize], key)
    }
}

/// The same for somebody who knows of no shards.
fn outward(shard: usize, output: LinkOutput) -> LinkOutput {
    let key = |link: Key| Key { slot: link.slot * SHARDS_END + shard as u32, ..link };
    match output {
        LinkOutput::Dial(link, address) => LinkOutput::Dial(key(link), address),
        LinkOutput::Send(link) => LinkOutput::Send(key(link)),
        LinkOutput::Close(link) => LinkOutput::Close(key(link)),
    }
}

impl Station for Gateway {
    fn links(&mut self) -> &mut Links {
        unreachable!("a hub keeps its connections to itself")
    }

    fn on_greeted(&mut self, _link: Key) {}

    fn on_frame(&mut self, _link: Key, _frame: &Frame<'_>) {}

    fn on_over(&mut self, _link: Key, _other: Option<Other>, _end: End) {}

    fn handle_accepted(&mut self, now: Instant) -> Key {
        self.now = now;
        // Of several shards each is a part of its own; see `house`.
        let link = self.hubs[0].handle_guest(&[], now).unwrap_or_default();
        Key { slot: link.slot * SHARDS_END, ..link }
    }

    fn handle_connected(&mut self, link: Key, now: Instant) {
        let (hub, link) = self.inward(link, now);
        hub.handle_link_connected(link, now);
    }

    fn handle_failed(&mut self, link: Key, now: Instant) {
        let (hub, link) = self.inward(link, now);
        hub.handle_link_failed(link, now);
    }

    fn handle_received(&mut self, link: Key, bytes: &[u8], now: Instant) {
        let (hub, link) = self.inward(link, now);
        hub.handle_link_received(link, bytes, now);
    }

    fn handle_writable(&mut self, link: Key, now: Instant) {
        let (hub, link) = self.inward(link, now);
        hub.handle_link_writable(link, now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.take_mail();
        self.hubs.iter_mut().for_each(|hub| hub.handle_timeout(now));
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        let mail = self.mail.iter().filter_map(|way| way.front().map(|(due, _)| *due)).min();
        let hubs = self.hubs.iter().filter_map(Hub::poll_timeout).min();
        mail.into_iter().chain(hubs).min()
    }

    fn poll_output(&mut self) -> Option<LinkOutput> {
        for shard in 0..self.hubs.len() {
            while let Some(output) = self.hubs[shard].poll_output() {
                if let Some(output) = self.obey(shard, output) {
                    return Some(output);
                }
            }
        }
        None
    }

    fn transmit(&mut self, link: Key, now: Instant, write: &mut dyn FnMut(&[u8]) -> (usize, bool)) {
        let (hub, link) = self.inward(link, now);
        hub.transmit_link(link, now, write);
    }
}
