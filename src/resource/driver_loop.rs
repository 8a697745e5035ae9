//! The loop of a driven station: readiness, work from other threads, timers, then what the station
//! wants done.

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::sync::Arc;

use mio::Token;

use crate::base::id::Key;
use crate::base::time::{Instant, Span};
use crate::link::address::Address;
use crate::link::links::Output;
use crate::link::station::Station;
use crate::reactor::clock::Clock;
use crate::reactor::poller::{Poller, Ready};
use crate::reactor::transport::{Io, Transport};
use crate::resource::driver_door::Door;
use crate::resource::driver_edge::{State, Wire};
use crate::resource::driver_work::{Queue, Work};
use crate::resource::protection::Protection;

/// The waker's token; listeners have those below it, connections all others.
pub(crate) const WORK: Token = Token(usize::MAX);
/// Edges taken from the kernel in one turn.
pub(crate) const EVENTS_MAX: usize = 1_024;
/// Bytes that a read may take at once.
const READ_BYTES: usize = 64 * 1024;
/// Reads of one connection in one turn.
const READS_PER_TURN: usize = 4;
/// Connections accepted by one listener in one turn.
const ACCEPTS_PER_TURN: usize = 64;
/// What the station wants done in one turn.
const OUTPUTS_PER_TURN: usize = 4_096;
/// How long a listener that could not accept is left alone.
const ACCEPT_RETRY: Span = Span::from_millis(5);
/// How long the other end of a closed connection has to take what was sent. Until then it is read
/// and what comes is thrown away, since bytes that nobody reads make the kernel reset a connection,
/// and then the reason of its end may never arrive.
const LINGER: Span = Span::from_secs(1);
/// How long the end of the station may take.
const END_SPAN: Span = Span::from_secs(2);

/// A listener.
pub(crate) struct Entrance {
    door: Door,
    /// Whether connections may wait that no edge will tell of.
    pub(crate) waiting: bool,
}

/// A station with its sockets.
pub(crate) struct Engine<S> {
    pub(crate) station: S,
    clock: Clock,
    pub(crate) now: Instant,
    poller: Poller,
    edges: Vec<Ready>,
    pub(crate) doors: Vec<Entrance>,
    connections_max: usize,
    pub(crate) tls: Protection,
    pub(crate) wires: HashMap<Key, Wire>,
    to_read: VecDeque<Key>,
    /// Connections that linger, and until when; in that order.
    lingering: VecDeque<(Instant, Key)>,
    queue: Arc<Queue<S>>,
    work: Vec<Work<S>>,
    buffer: Vec<u8>,
    /// When a listener that failed to accept is tried again.
    accept_at: Option<Instant>,
    /// While it ends: when it has ended at the latest.
    stop_at: Option<Instant>,
}

impl<S: Station> Engine<S> {
    /// A station that is ready to run.
    pub(crate) fn new(
        station: S,
        clock: Clock,
        poller: Poller,
        (doors, connections_max, tls): (Vec<Door>, usize, Protection),
        queue: Arc<Queue<S>>,
    ) -> io::Result<Self> {
        let mut entrances = Vec::new();
        for (index, mut door) in doors.into_iter().enumerate() {
            door.register(poller.registry(), Token(WORK.0 - 1 - index))?;
            entrances.push(Entrance { door, waiting: true });
        }
        Ok(Self {
            station,
            now: clock.now(),
            clock,
            poller,
            edges: Vec::new(),
            doors: entrances,
            connections_max,
            tls,
            wires: HashMap::new(),
            to_read: VecDeque::new(),
            lingering: VecDeque::new(),
            queue,
            work: Vec::new(),
            buffer: vec![0; READ_BYTES],
            accept_at: None,
            stop_at: None,
        })
    }

    /// Runs until it is told to stop; returns the station.
    pub(crate) fn run(mut self) -> io::Result<S> {
        let mut busy = self.drain();
        loop {
            let timeout = self.patience(busy);
            self.poller.poll(timeout)?;
            self.now = self.clock.now();
            self.take_readiness();
            self.accept();
            self.read_some();
            self.take_work();
            if self.station.poll_timeout().is_some_and(|at| at <= self.now) {
                self.station.handle_timeout(self.now);
            }
            busy = self.drain();
            self.end_lingering();
            if self.is_over() {
                return Ok(self.station);
            }
        }
    }

    /// How long it may wait for readiness.
    fn patience(&mut self, busy: bool) -> Option<Span> {
        let waiting = self.doors.iter().any(|entrance| entrance.waiting);
        if busy || waiting || !self.to_read.is_empty() {
            return Some(Span::ZERO);
        }
        let timer = self.station.poll_timeout();
        let linger = self.lingering.front().map(|(at, _)| *at);
        let moments = [timer, linger, self.accept_at, self.stop_at];
        let now = self.clock.now();
        moments.into_iter().flatten().min().map(|at| at.since(now))
    }

    fn take_readiness(&mut self) {
        let mut edges = std::mem::take(&mut self.edges);
        edges.extend(self.poller.events());
        for ready in edges.drain(..) {
            self.take_edge(ready);
        }
        self.edges = edges;
    }

    fn accept(&mut self) {
        if self.accept_at.is_some_and(|at| at <= self.now) {
            self.accept_at = None;
            self.doors.iter_mut().for_each(|entrance| entrance.waiting = true);
        }
        for index in 0..self.doors.len() {
            for _ in 0..ACCEPTS_PER_TURN {
                let Some(entrance) = self.doors.get_mut(index).filter(|one| one.waiting) else {
                    break;
                };
                match entrance.door.accept() {
                    Ok(Some(transport)) => self.welcome(transport),
                    Ok(None) => entrance.waiting = false,
                    Err(error) => {
                        // No edge will tell when descriptors or memory are there again.
                        log::warn!("accept: {error}");
                        entrance.waiting = false;
                        self.accept_at = Some(self.now + ACCEPT_RETRY);
                    }
                }
            }
        }
    }

    fn welcome(&mut self, transport: Transport) {
        if self.wires.len() >= self.connections_max {
            log::warn!("a connection too many is closed");
            return;
        }
        let key = self.station.handle_accepted(self.now);
        self.keep_open(key, transport);
    }

    fn keep_open(&mut self, key: Key, transport: Transport) {
        let state = match transport {
            Transport::Tls(_) => State::Shaking(false),
            Transport::Plain(_) | Transport::Unix(_) => State::Open,
        };
        if let Err(error) = self.keep(key, transport, state) {
            log::warn!("register: {error}");
            self.station.handle_failed(key, self.now);
        }
    }

    fn keep(&mut self, key: Key, mut transport: Transport, state: State) -> io::Result<()> {
        transport.register(self.poller.registry(), token_of(key))?;
        self.wires.insert(key, Wire { transport, state, queued: false, ends: false });
        Ok(())
    }

    fn read_some(&mut self) {
        for _ in 0..self.to_read.len() {
            let Some(key) = self.to_read.pop_front() else { return };
            self.read(key);
        }
    }

    /// Reads a connection, within bounds; what is left is read in the next turn.
    fn read(&mut self, key: Key) {
        for _ in 0..READS_PER_TURN {
            let Some(wire) = self.wires.get_mut(&key) else { return };
            wire.queued = false;
            let outcome = wire.transport.read(&mut self.buffer);
            let drained = outcome.is_all();
            match outcome {
                Io::Bytes(count) | Io::All(count) => {
                    let all = drained && !wire.ends;
                    if wire.state != State::Lingering {
                        self.station.handle_received(key, &self.buffer[..count], self.now);
                    }
                    if all {
                        return;
                    }
                }
                Io::Blocked if wire.state == State::Broken => return self.lose(key),
                Io::Blocked => return,
                Io::Closed => return self.lose(key),
                Io::Failed(error) => {
                    log::debug!("read: {error}");
                    // By TLS 1.3 a refusal comes when this side takes the handshake for done.
                    self.tls.note_failed(&wire.transport, &error);
                    return self.lose(key);
                }
            }
        }
        self.queue_read(key);
    }

    pub(crate) fn queue_read(&mut self, key: Key) {
        if let Some(wire) = self.wires.get_mut(&key).filter(|wire| !wire.queued) {
            wire.queued = true;
            self.to_read.push_back(key);
        }
    }

    fn take_work(&mut self) {
        let stop = self.queue.take(&mut self.work);
        let mut all = std::mem::take(&mut self.work);
        for work in all.drain(..) {
            self.station.links().set_now(self.now);
            match work {
                Work::Act(work) => work(&mut self.station, self.now),
                Work::Adopt(transport, begin) => {
                    let key = begin(&mut self.station, self.now);
                    self.keep_open(key, transport);
                }
            }
        }
        self.work = all;
        if stop && self.stop_at.is_none() {
            self.stop_at = Some(self.now + END_SPAN);
            self.doors.clear();
            self.accept_at = None;
            self.station.links().set_now(self.now);
            self.station.links().leave_all("this process ends");
        }
    }

    fn is_over(&self) -> bool {
        self.stop_at.is_some_and(|at| at <= self.now || self.wires.is_empty())
    }

    /// Does what the station wants; whether something is left for the next turn.
    fn drain(&mut self) -> bool {
        for _ in 0..OUTPUTS_PER_TURN {
            match self.station.poll_output() {
                Some(Output::Dial(key, address)) => self.dial(key, &address),
                Some(Output::Send(key)) => self.send(key),
                Some(Output::Close(key)) => self.close(key),
                None => return false,
            }
        }
        true
    }

    fn dial(&mut self, key: Key, address: &Address) {
        self.wires.remove(&key);
        if self.stop_at.is_some() {
            return; // it waits for an outcome, and the end comes first
        }
        let dialled = self.tls.dial(address);
        let kept = dialled.and_then(|transport| self.keep(key, transport, State::Dialing));
        if let Err(error) = kept {
            log::debug!("{address}: {error}");
            self.station.handle_failed(key, self.now);
        }
    }

    fn send(&mut self, key: Key) {
        let wires = &mut self.wires;
        let mut broken = false;
        self.station.transmit(key, self.now, &mut |bytes| {
            let Some(wire) = wires.get_mut(&key) else { return (0, true) };
            wire.transport.send(&[IoSlice::new(bytes)]).unwrap_or_else(|_| {
                wire.state = State::Broken;
                broken = true;
                (0, true)
            })
        });
        if broken {
            self.queue_read(key);
        }
    }

    /// The connection is forgotten; what was sent still arrives.
    fn close(&mut self, key: Key) {
        let Some(wire) = self.wires.get_mut(&key) else { return };
        if wire.state != State::Open || wire.transport.shutdown_write().is_err() {
            self.wires.remove(&key);
            return;
        }
        wire.state = State::Lingering;
        self.lingering.push_back((self.now + LINGER, key));
        self.queue_read(key);
    }

    fn end_lingering(&mut self) {
        while let Some((_, key)) = self.lingering.pop_front_if(|(at, _)| *at <= self.now) {
            self.wires.remove(&key);
        }
    }

    /// The connection is gone, or a connect has failed.
    pub(crate) fn lose(&mut self, key: Key) {
        if self.wires.remove(&key).is_some_and(|wire| wire.state != State::Lingering) {
            self.station.handle_failed(key, self.now);
        }
    }
}

/// The token of a connection: slot and generation, so that a late edge finds nothing.
fn token_of(key: Key) -> Token {
    Token((key.generation as usize) << 32 | key.slot as usize)
}

pub(crate) fn key_of(token: Token) -> Key {
    Key { slot: token.0 as u32, generation: (token.0 >> 32) as u32 }
}
