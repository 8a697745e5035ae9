//! The world: hubs with a virtual clock, parcels under way between them, connections.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::base::id::{ConnKey, Key, ShardId};
use crate::base::random::Random;
use crate::base::time::{Instant, Span};
use crate::proto::connection::{Door, Phase};
use crate::proto::directory::Directory;
use crate::proto::hub::{Hub, Setup};
use crate::proto::output::{Output, Traveller};
use crate::proto::parcel::{Content, Parcel};
use crate::proto::settings::Settings;
use crate::testing::net::{Segment, Side, Wire, gate};
use crate::testing::trace::Trace;

/// Parcels under way from one shard before it reports pressure.
const PRESSURE: usize = 48;

#[derive(Debug)]
enum Load {
    Parcel(Parcel),
    Connection(usize, Traveller),
}

/// Hubs, clock and network of one simulated server; a restart makes a new life of it.
#[derive(Debug)]
pub struct World {
    /// The one source of chance.
    pub random: Random,
    /// How many connections are written together.
    pub(super) rounds: Random,
    /// Now.
    pub now: Instant,
    /// The shards.
    pub hubs: Vec<Hub>,
    /// How often the server was started.
    pub life: u32,
    /// The settings of every life.
    pub settings: Arc<Settings>,
    /// Whether parcels are held up at times, and writes cut short.
    pub rough: bool,
    directory: Arc<Directory>,
    pub(super) wires: Vec<Wire>,
    pub(super) index: BTreeMap<(usize, Key), usize>,
    mail: Vec<VecDeque<(Instant, Load)>>,
    pub(super) named: Vec<VecDeque<ConnKey>>,
    lost: Vec<Vec<u8>>,
    trace: Trace,
}

impl World {
    /// A world of `shards` shards.
    pub fn new(seed: u64, shards: u8, settings: Settings, directory: Directory) -> Self {
        let mut world = Self {
            random: Random::from_number(seed),
            rounds: Random::from_number(!seed),
            now: Instant::from_nanos(1),
            hubs: Vec::new(),
            life: 0,
            settings: Arc::new(settings),
            rough: true,
            directory: Arc::new(directory),
            wires: Vec::new(),
            index: BTreeMap::new(),
            mail: (0..usize::from(shards).pow(2)).map(|_| VecDeque::new()).collect(),
            named: vec![VecDeque::new(); usize::from(shards)],
            lost: Vec::new(),
            trace: Trace::default(),
        };
        world.start(shards);
        world
    }

    fn start(&mut self, shards: u8) {
        self.life += 1;
        let seed = self.random.fork();
        self.hubs = (0..shards)
            .map(|shard| {
                Hub::new(Setup {
                    settings: self.settings.clone(),
                    directory: self.directory.clone(),
                    shard: ShardId(shard),
                    shards,
                    seed,
                    unix_micros_at_zero: 1_700_000_000_000_000,
                    now: self.now,
                })
            })
            .collect();
    }

    /// Keeps a trace from now on.
    pub fn keep_trace(&mut self) {
        self.trace.keep();
    }

    /// Adds a line to it.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        self.trace.note(self.now, line);
    }

    /// The last lines of the trace.
    pub fn trace(&self) -> String {
        self.trace.lines().collect::<Vec<_>>().join("\n")
    }

    /// True once in `one_in` times.
    pub fn chance(&mut self, one_in: u64) -> bool {
        self.random.below(one_in) == 0
    }

    /// A number from `from` to `to`, both included.
    pub fn pick(&mut self, from: u64, to: u64) -> u64 {
        from + self.random.below(to - from + 1)
    }

    /// Whether something is on its way to a resource.
    pub fn delivers(&self) -> bool {
        let mut loads = self.mail.iter().flatten().map(|(_, load)| load);
        loads.any(|load| matches!(load, Load::Parcel(Parcel::Delivery(_))))
    }

    /// The server stops and starts anew; every connection is lost, and every parcel.
    pub fn restart(&mut self, graceful: bool) {
        self.note(|| format!("RESTART graceful={graceful}"));
        if graceful {
            for shard in 0..self.hubs.len() {
                self.hubs[shard].handle_shutdown(self.now);
            }
            for _ in 0..20 {
                self.step(Span::from_millis(5));
            }
        }
        for wire in &mut self.wires {
            wire.at = None;
            wire.over = true;
            wire.finished = true;
            wire.read(usize::MAX);
        }
        self.index.clear();
        for (_, load) in self.mail.iter_mut().flat_map(|mail| mail.drain(..)) {
            if let Load::Parcel(Parcel::Delivery(delivery)) = load
                && let Content::Message { payload, .. } = delivery.content
            {
                self.lost.push(payload);
            }
        }
        self.named.iter_mut().for_each(VecDeque::clear);
        self.start(self.hubs.len() as u8);
    }

    /// A client connects to a shard of the kernel's choice.
    ///
    /// # Panics
    ///
    /// If the server has no room.
    pub fn connect(&mut self, door: Door) -> usize {
        self.try_connect(door).expect("a server that is not full takes a connection")
    }

    /// The same; `None` if the server takes no connection.
    pub fn try_connect(&mut self, door: Door) -> Option<usize> {
        let shard = self.random.below(self.hubs.len() as u64) as usize;
        let id = self.wires.len();
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 1 + (id % 60_000) as u16));
        let gate = gate(door, self.rough, &mut self.random);
        let conn = self.hubs[shard].handle_accepted(peer, gate, self.now)?;
        let mut wire = Wire::new((shard, conn), self.now);
        if self.rough {
            wire.roughen(&mut self.random);
        }
        self.wires.push(wire);
        self.index.insert((shard, conn), id);
        self.note(|| format!("wire {id} connects to shard {shard} {door:?}"));
        Some(id)
    }

    /// Payloads of sends that restarts have lost on their way to the resource, since the last call.
    pub fn take_lost(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.lost)
    }

    /// A connection.
    pub fn wire(&self, id: usize) -> &Wire {
        &self.wires[id]
    }

    /// What the server holds of a connection.
    pub fn describe(&self, id: usize) -> String {
        let Some((shard, conn)) = self.wires[id].at else { return "no connection".into() };
        let hub = &self.hubs[shard];
        let connection = hub.conns.get(conn);
        let mut documents = hub.documents.keys().filter_map(|key| hub.documents.get(key));
        let document = documents.find(|document| document.conn == conn);
        format!("{:?} {connection:?} {document:?}", self.wires[id])
    }

    /// Whether the server has a document on a connection.
    pub fn carries_document(&self, id: usize) -> bool {
        let Some((shard, conn)) = self.wires[id].at else { return false };
        let connection = self.hubs[shard].conns.get(conn);
        connection.is_some_and(|connection| matches!(connection.phase, Phase::Stream(_)))
    }

    /// The client sends bytes.
    pub fn send(&mut self, id: usize, bytes: &[u8]) {
        self.note(|| format!("wire {id} > {:?}", String::from_utf8_lossy(bytes)));
        if self.wires[id].side == Side::Open {
            self.wires[id].up.extend(bytes);
        }
    }

    /// The client reads at most `max` bytes.
    pub fn read(&mut self, id: usize, max: usize) -> Vec<Segment> {
        let segments = self.wires[id].read(max);
        if self.trace.is_kept() {
            for segment in &segments {
                let text = String::from_utf8_lossy(&segment.bytes).into_owned();
                self.note(|| format!("wire {id} < {text:?}"));
            }
        }
        segments
    }

    /// The client lets go of a connection, at any byte.
    pub fn leave(&mut self, id: usize, side: Side) {
        self.note(|| format!("wire {id} is left: {side:?}"));
        let notice = self.now + Span::from_millis(self.random.below(200));
        let kept = self.wires[id].up.len() as u64;
        let kept = if side == Side::Closed { kept } else { self.random.below(kept + 1) };
        self.wires[id].up.truncate(kept as usize);
        self.wires[id].leave(side, notice, self.now);
    }

    /// All lets go of the window limits and chunked writes: the network is as good as it gets.
    pub fn calm(&mut self) {
        self.rough = false;
        for wire in &mut self.wires {
            wire.window = 1 << 20;
            wire.grain = usize::MAX;
        }
    }

    /// Time passes, and every shard has a turn.
    ///
    /// # Panics
    ///
    /// If a hub's invariants do not hold.
    pub fn step(&mut self, span: Span) {
        self.now += span;
        let first = self.random.below(self.hubs.len() as u64) as usize;
        for offset in 0..self.hubs.len() {
            let shard = (first + offset) % self.hubs.len();
            self.turn(shard);
            if let Err(broken) = self.hubs[shard].check_invariants() {
                panic!("shard {shard}: {broken}");
            }
        }
    }

    /// One turn of a shard's shell.
    fn turn(&mut self, shard: usize) {
        self.take_mail(shard);
        let its = self.index.range((shard, Key::default())..(shard + 1, Key::default()));
        let keys: Vec<(Key, usize)> = its.map(|(&(_, key), &id)| (key, id)).collect();
        for (key, id) in keys {
            self.take_wire(shard, key, id);
        }
        self.hubs[shard].handle_timeout(self.now);
        self.drain(shard);
        let waiting = self.named[shard].len() as u64;
        let budget = if self.rough { 1 + self.random.below(waiting + 1) } else { waiting };
        self.write_named(shard, budget as usize);
        let shards = self.hubs.len();
        let most = (0..shards).map(|to| self.mail[shard * shards + to].len()).max();
        self.hubs[shard].handle_pressure(most.unwrap_or_default() > PRESSURE);
    }

    fn take_mail(&mut self, shard: usize) {
        let shards = self.hubs.len();
        for from in 0..shards {
            while let Some((due, _)) = self.mail[from * shards + shard].front()
                && *due <= self.now
                && let Some((_, load)) = self.mail[from * shards + shard].pop_front()
            {
                match load {
                    Load::Parcel(parcel) => self.hubs[shard].handle_parcel(parcel, self.now),
                    Load::Connection(id, traveller) => {
                        let conn = self.hubs[shard].handle_arrived(traveller, self.now);
                        self.wires[id].at = conn.map(|conn| (shard, conn));
                        match conn {
                            Some(conn) => _ = self.index.insert((shard, conn), id),
                            None => self.end_wire(id),
                        }
                    }
                }
            }
        }
    }

    fn take_wire(&mut self, shard: usize, key: Key, id: usize) {
        let now = self.now;
        if self.wires[id].take_writable(now) {
            self.hubs[shard].handle_writable(key, now);
        }
        let noticed = now >= self.wires[id].notice_at;
        if (noticed && self.wires[id].side == Side::Reset) || self.wires[id].is_given_up(now) {
            return self.hubs[shard].handle_failed(key, now);
        }
        if !self.hubs[shard].wants_input(key) {
            return;
        }
        let waiting = self.wires[id].up.len();
        if waiting > 0 && (!self.rough || !self.chance(3)) {
            let split = self.rough && self.chance(2);
            let count =
                if split { 1 + self.random.below(waiting as u64) as usize } else { waiting };
            let bytes: Vec<u8> = self.wires[id].up.drain(..count).collect();
            self.hubs[shard].handle_received(key, &bytes, now);
        }
        if noticed && self.wires[id].side == Side::Closed && self.wires[id].up.is_empty() {
            self.hubs[shard].handle_peer_closed(key, now);
        }
    }

    fn drain(&mut self, shard: usize) {
        while let Some(output) = self.hubs[shard].poll_output() {
            match output {
                Output::Send(conn) => self.named[shard].push_back(conn),
                Output::Receive(_) | Output::Measure(..) => {}
                Output::Ask(_) | Output::Link(_) | Output::Relay(_) => {}
                Output::Stream(conn, patience) => {
                    if let Some(&id) = self.index.get(&(shard, conn)) {
                        self.wires[id].patience = Span::from_millis(u64::from(patience));
                    }
                }
                Output::Finish(conn) => {
                    if let Some(&id) = self.index.get(&(shard, conn)) {
                        self.wires[id].finished = true;
                    }
                }
                Output::Close(conn, reason) => {
                    if let Some(id) = self.index.remove(&(shard, conn)) {
                        self.note(|| format!("wire {id} is closed by the server: {reason:?}"));
                        self.end_wire(id);
                    }
                }
                Output::Post(to, parcel) => self.post(shard, to.index(), Load::Parcel(parcel)),
                Output::Move(conn, to) => {
                    if let Some(traveller) = self.hubs[shard].depart(conn)
                        && let Some(id) = self.index.remove(&(shard, conn))
                    {
                        self.wires[id].at = None;
                        self.post(shard, to.index(), Load::Connection(id, traveller));
                    }
                }
            }
        }
    }

    fn end_wire(&mut self, id: usize) {
        self.wires[id].at = None;
        self.wires[id].over = true;
        self.wires[id].finished = true;
    }

    fn post(&mut self, from: usize, to: usize, load: Load) {
        let mut delay = self.random.below(8_000);
        if self.rough && self.chance(60) {
            delay += self.random.below(400_000);
        }
        self.note(|| match &load {
            Load::Parcel(parcel) => format!("shard {from} posts to {to}, {delay} us: {parcel:?}"),
            Load::Connection(id, _) => format!("wire {id} moves from shard {from} to {to}"),
        });
        let queue = &mut self.mail[from * self.hubs.len() + to];
        let before = queue.back().map_or(Instant::ZERO, |(due, _)| *due);
        let due = before.max(self.now + Span::from_micros(delay));
        queue.push_back((due, load));
    }
}
