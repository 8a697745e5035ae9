//! The connections of one process, by key: greeting, heartbeats, silence, the bytes on their way.

use std::collections::VecDeque;

use crate::base::id::Key;
use crate::base::limits;
use crate::base::time::{Instant, Span};
use crate::link::address::Address;
use crate::link::peer::{End, Me, Other, Peer, Phase};
use crate::mem::slab::Slots;
use crate::mem::wheel::Wheel;
use crate::wire::fields::BinaryError;
use crate::wire::resource::Frame;
use crate::wire::resource_decode::Decoder;
use crate::wire::resource_encode::put_frame;

/// How long a connect, a greeting, or the last bytes may take.
pub(crate) const PATIENCE: Span = Span::from_secs(5);

/// What the shell does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Connect to this address; an earlier attempt under the same key is dropped.
    Dial(Key, Address),
    /// The connection has something to send.
    Send(Key),
    /// The connection is forgotten: close it.
    Close(Key),
}

/// What a frame means to the station.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing: it was about the connection itself.
    Nothing,
    /// The other end has greeted.
    Greeted,
    /// It is for the station.
    Frame,
}

/// All connections.
#[derive(Debug)]
pub struct Links {
    me: Me,
    now: Instant,
    pub(crate) peers: Slots<Peer>,
    outputs: VecDeque<Output>,
    /// Connections that are over, for the station to hear of.
    over: VecDeque<(Key, Option<Other>, End)>,
    /// Connections whose bytes are all out, for the station to hear of.
    emptied: VecDeque<Key>,
    wheel: Wheel<Key>,
}

impl Links {
    /// No connections yet.
    pub fn new(me: Me, now: Instant) -> Self {
        Self {
            me,
            now,
            peers: Slots::new(0),
            outputs: VecDeque::new(),
            over: VecDeque::new(),
            emptied: VecDeque::new(),
            wheel: Wheel::new(now, Span::from_millis(1)),
        }
    }

    /// What this process says of itself.
    pub const fn me(&self) -> &Me {
        &self.me
    }

    /// The latest moment that was told.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Time has come so far.
    pub fn set_now(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// The connect under way has worked.
    pub fn connected(&mut self, key: Key) {
        let patience = self.now + PATIENCE;
        if let Some(peer) = self.peers.get_mut(key).filter(|peer| peer.phase == Phase::Dialing) {
            (peer.phase, peer.patience) = (Phase::Greeting, patience);
            self.greet(key);
        }
    }

    /// The connect under way, or the connection, has failed or was closed by the other end.
    pub fn failed(&mut self, key: Key) {
        match self.peers.get(key).map(|peer| peer.phase) {
            Some(Phase::Dialing) => self.dial_next(key),
            Some(_) => self.forget(key, End::Lost),
            None => {}
        }
    }

    /// Who is at the other end of an open connection.
    pub fn other(&self, key: Key) -> Option<&Other> {
        self.peers.get(key).filter(|peer| peer.phase == Phase::Open)?.other.as_ref()
    }

    /// When bytes last came on a connection.
    pub fn heard_at(&self, key: Key) -> Option<Instant> {
        self.peers.get(key).map(|peer| peer.heard_at)
    }

    /// Whether frames may be sent.
    pub fn is_open(&self, key: Key) -> bool {
        self.peers.get(key).is_some_and(|peer| peer.phase == Phase::Open)
    }

    /// Puts a frame on an open connection; on any other it is dropped, and the station has heard,
    /// or hears now, of its end.
    pub fn send(&mut self, key: Key, frame: &Frame<'_>) {
        if self.is_open(key) {
            self.put(key, frame);
        }
    }

    /// Bytes that wait to be sent.
    pub fn waiting(&self, key: Key) -> usize {
        self.peers.get(key).map_or(0, |peer| peer.unsent().len())
    }

    /// Ends a connection; the other end is told why.
    pub fn leave(&mut self, key: Key, reason: &str) {
        self.leave_with(key, reason, End::Left);
    }

    /// Ends all connections.
    pub fn leave_all(&mut self, reason: &str) {
        for key in self.peers.keys().collect::<Vec<_>>() {
            self.leave(key, reason);
        }
    }

    /// Lends the decoder of a connection on which bytes have come.
    pub fn lend(&mut self, key: Key) -> Option<Decoder> {
        let peer = self.peers.get_mut(key)?;
        peer.hear(self.now);
        peer.decoder.take()
    }

    /// Takes the decoder back, with what came of the bytes.
    pub fn give_back(&mut self, key: Key, decoder: Decoder, outcome: Result<(), BinaryError>) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.decoder = Some(decoder);
        if let Err(error) = outcome {
            let error = error.to_string();
            self.leave_with(key, &error, End::Broken(error.clone()));
        }
    }

    /// Looks at a frame of a connection: does what concerns the connection itself.
    pub fn see(&mut self, key: Key, frame: &Frame<'_>) -> Seen {
        let Some(phase) = self.peers.get(key).map(|peer| peer.phase) else { return Seen::Nothing };
        match (phase, frame) {
            (Phase::Dialing | Phase::Leaving, _) => {}
            (_, Frame::Bye { reason }) => self.forget(key, End::Bye((*reason).to_string())),
            (Phase::Greeting, Frame::Hello { .. }) => return self.take_hello(key, frame),
            (Phase::Greeting, _) => self.break_off(key, "the first frame is no Hello"),
            (Phase::Open, Frame::Hello { .. }) => self.break_off(key, "a second Hello"),
            (Phase::Open, Frame::Ping { heartbeat, stamp }) => {
                self.hear(key, *heartbeat);
                self.put(key, &Frame::Pong { stamp: *stamp });
            }
            (Phase::Open, Frame::Pong { .. }) => {}
            (Phase::Open, _) => return Seen::Frame,
        }
        Seen::Nothing
    }

    /// The other end says what makes no sense here: the connection ends.
    pub fn break_off(&mut self, key: Key, what: &str) {
        self.leave_with(key, what, End::Broken(what.to_string()));
    }

    /// What waits to be sent on a connection that was named.
    pub fn unsent(&mut self, key: Key) -> &[u8] {
        let Some(peer) = self.peers.get_mut(key) else { return &[] };
        peer.named = false;
        if peer.blocked { &[] } else { peer.unsent() }
    }

    /// The socket took so many bytes; `blocked`: it takes no more until it says so.
    pub fn sent(&mut self, key: Key, bytes: usize, blocked: bool) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.sent += bytes;
        peer.blocked = blocked;
        if peer.unsent().is_empty() {
            peer.out.clear();
            peer.sent = 0;
            match peer.phase {
                Phase::Leaving => self.remove(key),
                Phase::Open => self.emptied.push_back(key),
                Phase::Dialing | Phase::Greeting => {}
            }
            return;
        }
        if peer.sent > peer.out.len() / 2 {
            // Moves less than was sent since the last time.
            peer.out.drain(..peer.sent);
            peer.sent = 0;
        }
        self.name(key);
    }

    /// The socket takes bytes again.
    pub fn writable(&mut self, key: Key) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.blocked = false;
            self.name(key);
        }
    }

    /// Time has passed: lets itself be heard, and gives up whom it did not hear.
    pub fn timeout(&mut self) {
        while let Some(key) = self.wheel.pop(self.now) {
            let (now, own) = (self.now, self.me.heartbeat);
            let Some(peer) = self.peers.get_mut(key) else { continue };
            if peer.timer_at > now {
                continue;
            }
            peer.timer_at = Instant::NEVER;
            if peer.patience <= now {
                match peer.phase {
                    Phase::Dialing => self.dial_next(key),
                    Phase::Leaving => self.remove(key),
                    Phase::Greeting | Phase::Open => {
                        self.leave_with(key, "nothing was heard for too long", End::Silent);
                    }
                }
            } else if peer.phase == Phase::Open && peer.spoke_at + own.fraction(3, 4) <= now {
                let stamp = now.as_nanos();
                self.put(key, &Frame::Ping { heartbeat: own, stamp });
            }
            self.arm(key);
        }
    }

    /// When [`Links::timeout`] is due.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.wheel.next()
    }

    /// What the shell does next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next connection that is over, who was at its other end, and why it is; each once, and
    /// only those whose key was given out.
    pub fn next_over(&mut self) -> Option<(Key, Option<Other>, End)> {
        self.over.pop_front()
    }

    /// The next connection that has sent everything.
    pub fn next_emptied(&mut self) -> Option<Key> {
        self.emptied.pop_front()
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    pub(crate) fn dial_next(&mut self, key: Key) {
        let patience = self.now + PATIENCE;
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.patience = patience;
        match peer.addresses.pop_front() {
            Some(address) => {
                self.outputs.push_back(Output::Dial(key, address));
                self.arm(key);
            }
            None => self.forget(key, End::Unreachable),
        }
    }

    /// The other end's interval, from now on.
    pub(crate) fn hear(&mut self, key: Key, heartbeat: Span) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.heartbeat = heartbeat.max(limits::LINK_HEARTBEAT_MIN);
        peer.hear(now);
        self.arm(key);
    }

    pub(crate) fn put(&mut self, key: Key, frame: &Frame<'_>) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(key) else { return };
        put_frame(&mut peer.out, frame);
        peer.spoke_at = now;
        self.name(key);
    }

    fn name(&mut self, key: Key) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if !peer.named && !peer.blocked && !peer.unsent().is_empty() {
            peer.named = true;
            self.outputs.push_back(Output::Send(key));
        }
    }

    fn leave_with(&mut self, key: Key, reason: &str, end: End) {
        let patience = self.now + PATIENCE;
        let Some(peer) = self.peers.get_mut(key) else { return };
        match peer.phase {
            Phase::Leaving => return,
            Phase::Dialing => return self.forget(key, end),
            Phase::Greeting | Phase::Open => {}
        }
        (peer.phase, peer.patience) = (Phase::Leaving, patience);
        let other = peer.other.take();
        self.over.push_back((key, other, end));
        self.put(key, &Frame::Bye { reason });
        self.arm(key);
    }

    /// Forgets a connection at once.
    fn forget(&mut self, key: Key, end: End) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if peer.phase != Phase::Leaving {
            let other = peer.other.take();
            self.over.push_back((key, other, end));
        }
        self.remove(key);
    }

    fn remove(&mut self, key: Key) {
        if self.peers.remove(key).is_some() {
            self.outputs.push_back(Output::Close(key));
        }
    }

    pub(crate) fn arm(&mut self, key: Key) {
        let own = self.me.heartbeat;
        let Some(peer) = self.peers.get_mut(key) else { return };
        let at = peer.next_moment(own);
        if at < peer.timer_at {
            peer.timer_at = at;
            self.wheel.insert(at, key);
        }
    }
}
