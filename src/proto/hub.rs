//! One shard's whole server: connections, sessions, documents, channels, topics.
//!
//! Four kinds of method: getters; `handle_*` (what happened, with the time); `poll_*` (what is to
//! be done next); and `transmit`, which pulls a connection's bytes into one write. After any
//! `handle_*` calls the shell drains [`Hub::poll_output`] to the end. The same inputs give the same
//! outputs: time, seed and randomness are passed in.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::base::id::{Cid, ConnKey, Key, Mid, ShardId};
use crate::base::name::TopicName;
use crate::base::random::Random;
use crate::base::reason::CloseReason;
use crate::base::time::{Instant, Span};
use crate::mem::slab::Slots;
use crate::mem::wheel::Wheel;
use crate::proto::access::Access;
use crate::proto::connection::{Connection, Gate, Phase};
use crate::proto::directory::Directory;
use crate::proto::document::Document;
use crate::proto::follow::Lane;
use crate::proto::head::CommonHead;
use crate::proto::home::Homes;
use crate::proto::limits::Limits;
use crate::proto::opening::Opening;
use crate::proto::output::{Output, Traveller};
use crate::proto::parcel::Parcel;
use crate::proto::porter::Porter;
use crate::proto::remote::Remote;
use crate::proto::scratch::Scratch;
use crate::proto::sealing::Sealing;
use crate::proto::session::{NONE, Session};
use crate::proto::settings::Settings;
use crate::proto::stalled::Stalled;
use crate::proto::stats::Stats;
use crate::proto::timer::Packed;
use crate::proto::topic::Topics;
use crate::proto::waking::Waking;
use crate::relay::station::Relay;

/// What a hub is made of.
#[derive(Clone)]
pub struct Setup {
    /// The protocol's settings.
    pub settings: Arc<Settings>,
    /// Resources and pages.
    pub directory: Arc<Directory>,
    /// This shard.
    pub shard: ShardId,
    /// How many shards there are.
    pub shards: u8,
    /// The server's seed; the same on every shard, secret where keys must be.
    pub seed: [u8; 32],
    /// Microseconds since 1970 at [`Instant::ZERO`].
    pub unix_micros_at_zero: u64,
    /// Now.
    pub now: Instant,
}

/// One shard's whole server, without sockets.
///
/// ```
/// use std::sync::Arc;
/// use ahm::base::{id::ShardId, time::Instant};
/// use ahm::proto::connection::Door;
/// use ahm::proto::hub::{Hub, Setup};
/// use ahm::proto::output::{Output, Written};
///
/// let mut hub = Hub::new(Setup {
///     settings: Arc::default(),
///     directory: Arc::default(),
///     shard: ShardId(0),
///     shards: 1,
///     seed: [7; 32],
///     unix_micros_at_zero: 0,
///     now: Instant::ZERO,
/// });
/// let peer = "127.0.0.1:5000".parse().unwrap();
/// let conn = hub.handle_accepted(peer, Door::Public, Instant::ZERO).unwrap();
/// let request = b"GET /ahm/ping?t=1 HTTP/1.1\r\nHost: x\r\n\r\n";
/// hub.handle_received(conn, request, Instant::ZERO);
/// assert!(matches!(hub.poll_output(), Some(Output::Send(named)) if named == conn));
/// let mut answer = Vec::new();
/// hub.transmit(&[conn], Instant::ZERO, |_, slices| {
///     slices.iter().for_each(|slice| answer.extend_from_slice(slice));
///     Written { bytes: answer.len(), blocked: false }
/// });
/// assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
/// ```
pub struct Hub {
    pub(crate) settings: Arc<Settings>,
    pub(crate) directory: Arc<Directory>,
    /// Who may read.
    pub(crate) access: Access,
    pub(crate) shard: ShardId,
    pub(crate) shards: u8,
    pub(crate) random: Random,
    homes: Homes,
    pub(crate) unix_micros_at_zero: u64,
    pub(crate) now: Instant,
    pub(crate) conns: Slots<Connection>,
    pub(crate) sessions: Slots<Session>,
    pub(crate) documents: Slots<Document>,
    pub(crate) topics: Topics,
    pub(crate) openings: Slots<Opening>,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) wheel: Wheel<Packed>,
    pub(crate) outputs: VecDeque<Output>,
    /// Parcels that this shard posted to itself.
    pub(crate) own_mail: VecDeque<Parcel>,
    /// Topics with messages that are not yet in their logs.
    pub(crate) touched: Vec<u32>,
    pub(crate) waking: Waking,
    /// Cursors that have read their topic's end, or (true) fell behind and may not; empty between
    /// writes.
    pub(crate) read_out: Vec<(u32, bool)>,
    pub(crate) scratch: Scratch,
    pub(crate) common_head: CommonHead,
    /// What resources in other processes serve.
    pub(crate) remote: Remote,
    /// What goes to web servers; `None` where there are none.
    pub(crate) relay: Option<Box<Relay>>,
    /// What bounds clients, common to all shards; `None` where nothing does.
    pub(crate) limits: Option<Arc<Limits>>,
    /// Who decides who clients are; `None` where nobody asks.
    pub(crate) porter: Option<Box<Porter>>,
    /// Opens that wait for the answer of a topic's home, by topic.
    pub(crate) asks: HashMap<TopicName, u32>,
    /// How many topics were numbered so far.
    topics_numbered: u32,
    pub(crate) history_bytes: usize,
    pub(crate) stalled: Stalled,
    /// Commands of sealed sessions whose answers are waited for.
    pub(crate) sealing: Sealing,
    pub(crate) sweep_at: u32,
    pub(crate) sweeping: bool,
    pub(crate) pressed: bool,
    /// While the server drains: when it stops.
    pub(crate) drain_until: Option<Instant>,
    pub(crate) stopping: bool,
    pub(crate) stats: Stats,
}

/// Without the seed, of which all keys come.
impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("shard", &self.shard).finish_non_exhaustive()
    }
}

/// How much it holds, and nothing of what clients have sent.
impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("shard", &self.shard)
            .field("connections", &self.conns.len())
            .field("sessions", &self.sessions.len())
            .field("documents", &self.documents.len())
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// A hub without connections.
    pub fn new(setup: Setup) -> Self {
        let mut common = Random::from_seed(setup.seed);
        let homes = Homes::new(setup.seed, setup.shards);
        // Each shard takes its own way from the common seed.
        let mut random = Random::from_seed(common.fork());
        for _ in 0..setup.shard.index() {
            random = Random::from_seed(common.fork());
        }
        let mut generation = || random.below(u64::from(Mid::GENERATION_END)) as u32;
        Self {
            conns: Slots::new(generation()),
            sessions: Slots::new(generation()),
            documents: Slots::new(generation()),
            topics: Topics::new(generation()),
            openings: Slots::new(generation()),
            lanes: (0..setup.shards).map(|_| Lane::new()).collect(),
            access: Access::new(Arc::clone(&setup.settings.access)),
            settings: setup.settings,
            directory: setup.directory,
            shard: setup.shard,
            shards: setup.shards,
            random,
            homes,
            unix_micros_at_zero: setup.unix_micros_at_zero,
            now: setup.now,
            wheel: Wheel::new(setup.now, Span::from_millis(1)),
            outputs: VecDeque::new(),
            own_mail: VecDeque::new(),
            touched: Vec::new(),
            waking: Waking::new(),
            read_out: Vec::new(),
            scratch: Scratch::default(),
            common_head: CommonHead::default(),
            remote: Remote::default(),
            relay: None,
            limits: None,
            porter: None,
            asks: HashMap::new(),
            topics_numbered: 0,
            history_bytes: 0,
            stalled: Stalled::default(),
            sealing: Sealing::default(),
            sweep_at: 0,
            sweeping: false,
            pressed: false,
            drain_until: None,
            stopping: false,
            stats: Stats::default(),
        }
    }

    /// A client has connected through that listener; `None` if there is no room, and the shell
    /// closes it.
    pub fn handle_accepted(
        &mut self,
        peer: SocketAddr,
        gate: impl Into<Gate>,
        now: Instant,
    ) -> Option<ConnKey> {
        self.now = now;
        if self.stopping || self.conns.len() >= self.settings.connections_max {
            self.stats.count_close(CloseReason::TooMany);
            return None;
        }
        let gate = gate.into();
        if !self.admits(peer, gate) {
            self.stats.count_close(CloseReason::TooMany);
            return None;
        }
        self.stats.accepted += 1;
        let secure = gate.secure;
        let conn = self.conns.insert(Connection::new(peer, gate));
        // Its TLS must be set up before anything else.
        let patience = if secure { self.settings.head_timeout } else { self.settings.idle_timeout };
        self.set_deadline(conn, patience);
        Some(conn)
    }

    /// A connection has come from another shard.
    pub fn handle_arrived(&mut self, traveller: Traveller, now: Instant) -> Option<ConnKey> {
        self.now = now;
        let gate = Gate { flush: traveller.flush, ..traveller.door.into() };
        let mut connection = Connection::new(traveller.peer, gate);
        if self.stopping {
            self.leave_address(&connection, &Phase::Head);
            return None;
        }
        connection.session = traveller.session;
        connection.secured = traveller.secured;
        let conn = self.conns.insert(connection);
        self.set_deadline(conn, self.settings.idle_timeout);
        self.intake(conn, &traveller.input);
        Some(conn)
    }

    /// Takes out a connection that the core asked to move.
    pub fn depart(&mut self, conn: ConnKey) -> Option<Traveller> {
        let mut connection = self.conns.remove(conn)?;
        Some(Traveller {
            peer: connection.address(),
            door: connection.door,
            session: connection.session,
            flush: connection.flush,
            secured: connection.secured,
            input: connection.input.take(),
        })
    }

    /// Bytes have arrived.
    pub fn handle_received(&mut self, conn: ConnKey, bytes: &[u8], now: Instant) {
        self.now = now;
        self.intake(conn, bytes);
    }

    /// The peer has closed its side. Its outstanding answers still reach it.
    pub fn handle_peer_closed(&mut self, conn: ConnKey, now: Instant) {
        self.now = now;
        let Some(connection) = self.conns.get_mut(conn) else { return };
        connection.eof = true;
        let waits = match connection.phase {
            Phase::Head => !connection.is_idle(),
            Phase::Relay(key) => self.end_relay_input(key),
            _ => false,
        };
        if !waits {
            self.close(conn, CloseReason::PeerClosed);
        }
    }

    /// Reading or writing has failed.
    pub fn handle_failed(&mut self, conn: ConnKey, now: Instant) {
        self.now = now;
        self.close(conn, CloseReason::TransportError);
    }

    /// TCP has given the peer up, which has acknowledged nothing for too long.
    pub fn handle_timed_out(&mut self, conn: ConnKey, now: Instant) {
        self.now = now;
        self.close(conn, CloseReason::TimedOut);
    }

    /// Another shard, or another thread, has sent something.
    pub fn handle_parcel(&mut self, parcel: Parcel, now: Instant) {
        self.now = now;
        self.take_parcel(parcel);
    }

    /// The shell's queues to other shards are nearly full, or no longer so: publishers that could
    /// make it worse are told to come back.
    pub fn handle_pressure(&mut self, pressed: bool) {
        self.pressed = pressed;
    }

    /// Whether the shell may read the connection; it is told when it may again.
    pub fn wants_input(&self, conn: ConnKey) -> bool {
        self.conns.get(conn).is_some_and(|connection| !connection.paused)
    }

    /// The topic's home: fixed for the life of the process.
    pub(crate) fn home_of(&self, name: &TopicName) -> ShardId {
        self.homes.of(name)
    }

    /// Posts a parcel to a shard, this one included.
    pub(crate) fn post(&mut self, shard: ShardId, parcel: Parcel) {
        if shard == self.shard {
            self.own_mail.push_back(parcel);
        } else {
            self.outputs.push_back(Output::Post(shard, parcel));
        }
    }

    /// Names a connection that has something to send, unless it is named or blocked.
    pub(crate) fn name(&mut self, conn: ConnKey) {
        let Some(connection) = self.conns.get_mut(conn) else { return };
        if connection.named || connection.blocked {
            return;
        }
        connection.named = true;
        self.outputs.push_back(Output::Send(conn));
    }

    /// Forgets a connection, and lets the shell close it.
    pub(crate) fn close(&mut self, conn: ConnKey, reason: CloseReason) {
        let Some(connection) = self.conns.get_mut(conn) else { return };
        let phase = std::mem::replace(&mut connection.phase, Phase::Head);
        match phase {
            Phase::Stream(slot) => {
                self.stats.count_document(reason);
                self.drop_document(slot);
            }
            Phase::Relay(key) => self.leave_relay(key),
            _ => {}
        }
        if let Some(connection) = self.conns.remove(conn) {
            self.leave_address(&connection, &phase);
        }
        self.stats.count_close(reason);
        self.outputs.push_back(Output::Close(conn, reason));
    }

    /// Microseconds since 1970.
    pub(crate) fn unix_micros(&self) -> u64 {
        self.unix_micros_at_zero + self.now.as_nanos() / 1_000
    }

    /// The session's place, if the connection's shard holds it.
    pub(crate) fn mid_of(&self, session: Key) -> Option<Mid> {
        Mid::new(self.shard, session)
    }

    /// A number for a new shared topic, never given before; `None` when all were.
    pub(crate) fn number_topic(&mut self) -> Option<Cid> {
        let offset = self.topics_numbered.checked_mul(u32::from(self.shards))?;
        let number = Cid::SHARED_FIRST.checked_add(offset)? + u32::from(self.shard.0);
        self.topics_numbered += 1;
        (number < Cid::PRIVATE_FIRST).then_some(Cid(number))
    }

    /// The document in `slot`, which its caller found in an index of this hub.
    pub(crate) fn document_key(&self, slot: u32) -> Option<Key> {
        (slot != NONE).then(|| self.documents.key_at(slot)).flatten()
    }
}
