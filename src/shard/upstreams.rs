//! Connections to web servers: the same poller, a table of their own.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use mio::Token;

use crate::base::id::Key;
use crate::link::address::Address;
use crate::reactor::dialer;
use crate::reactor::poller::Ready;
use crate::reactor::transport::{Io, Transport};
use crate::relay::output::Output;
use crate::resource::driver_door;
use crate::shard::budget::Budget;
use crate::shard::turn::Shard;
use crate::shard::wires::{conn_of, token_of};

/// Set in the tokens of these connections, and not the bits above: see `shard::linking`.
const UPSTREAM_BIT: usize = 1 << 61;
/// Reads of one connection in one turn.
const READS_PER_TURN: usize = 4;

/// One connection.
#[derive(Debug)]
struct Line {
    transport: Transport,
    generation: u32,
    /// Whether its connect is still under way.
    dialing: bool,
    /// Whether TLS is being set up on it.
    shaking: bool,
    /// Whether it waits among those to be read.
    queued: bool,
    /// Whether bytes may wait that no edge will tell of.
    waiting: bool,
    /// Whether an end is there to be read, maybe behind bytes.
    ends: bool,
}

/// A shard's connections to web servers, at the slots of their keys.
#[derive(Debug, Default)]
pub(crate) struct Upstreams {
    lines: Vec<Option<Line>>,
    to_read: VecDeque<Key>,
    /// Edges that were not looked at yet.
    pub(crate) ready: Vec<(Key, Ready)>,
}

impl Upstreams {
    /// Whether work is left over for the next turn.
    pub(crate) fn has_work(&self) -> bool {
        !self.to_read.is_empty()
    }

    fn get(&mut self, key: Key) -> Option<&mut Line> {
        let line = self.lines.get_mut(key.slot as usize)?.as_mut()?;
        (line.generation == key.generation).then_some(line)
    }

    fn insert(&mut self, key: Key, transport: Transport) {
        let slot = key.slot as usize;
        if slot >= self.lines.len() {
            self.lines.resize_with(slot + 1, || None);
        }
        self.lines[slot] = Some(Line {
            transport,
            generation: key.generation,
            dialing: true,
            shaking: false,
            queued: false,
            waiting: false,
            ends: false,
        });
    }

    fn remove(&mut self, key: Key) {
        if self.get(key).is_some() {
            self.lines[key.slot as usize] = None;
        }
    }
}

/// The connection of a token, if it is one of these.
pub(crate) fn upstream_of(token: Token) -> Option<Key> {
    (token.0 >> 61 == 1).then(|| conn_of(Token(token.0 & !UPSTREAM_BIT)))
}

impl Shard {
    /// Does what the hub wants with its connections to web servers.
    pub(crate) fn relay(&mut self, output: Output) {
        match output {
            Output::Dial(key, address, secure) => self.dial_upstream(key, &address, secure),
            Output::Send(key) => self.send_upstream(key),
            Output::Receive(key) => self.queue_upstream(key),
            Output::Finish(key) => {
                if let Some(line) = self.upstreams.get(key)
                    && let Err(error) = line.transport.shutdown_write()
                {
                    log::debug!("shutdown: {error}");
                }
            }
            Output::Close(key) => self.upstreams.remove(key),
        }
    }

    fn dial_upstream(&mut self, key: Key, address: &Address, secure: bool) {
        match self.dial_registered(key, address, secure) {
            Ok(transport) => self.upstreams.insert(key, transport),
            Err(error) => {
                log::debug!("dial {address}: {error}");
                self.hub.handle_upstream_lost(key, false, self.now);
            }
        }
    }

    fn dial_registered(&self, key: Key, address: &Address, secure: bool) -> io::Result<Transport> {
        let mut transport = driver_door::dial(address)?;
        if secure {
            let beyond = self.beyond.as_ref().ok_or(io::ErrorKind::Unsupported)?;
            transport = beyond.protect(transport)?;
        }
        let token = Token(token_of(key).0 | UPSTREAM_BIT);
        transport.register(self.poller.registry(), token)?;
        Ok(transport)
    }

    /// Looks at the edges of these connections, then reads them, within bounds.
    pub(crate) fn take_upstreams(&mut self, budget: &mut Budget) {
        let mut edges = std::mem::take(&mut self.upstreams.ready);
        for (key, ready) in edges.drain(..) {
            self.upstream_ready(key, ready);
        }
        self.upstreams.ready = edges;
        for _ in 0..self.upstreams.to_read.len() {
            if budget.is_spent(|| self.clock.now()) {
                return;
            }
            let Some(key) = self.upstreams.to_read.pop_front() else { return };
            if let Some(line) = self.upstreams.get(key) {
                line.queued = false;
                self.read_upstream(key, budget);
            }
        }
    }

    fn upstream_ready(&mut self, key: Key, ready: Ready) {
        let Some(line) = self.upstreams.get(key) else { return };
        if line.dialing {
            line.ends |= ready.closed;
            let shaking = &mut line.shaking;
            match dialer::finish_all(&mut line.transport, shaking, ready.writable) {
                Ok(false) => return,
                Ok(true) => {
                    line.dialing = false;
                    // What came with the end of a handshake is here already.
                    line.waiting |= std::mem::take(&mut line.shaking);
                    self.hub.handle_upstream_connected(key, self.now);
                    self.queue_upstream(key);
                }
                Err(error) => {
                    log::debug!("dial: {error}");
                    return self.lose_upstream(key, false);
                }
            }
        } else if ready.writable {
            match line.transport.flush() {
                Ok(true) => self.hub.handle_upstream_writable(key, self.now),
                Ok(false) => {}
                Err(error) => log::debug!("write: {error}"),
            }
        }
        if ready.readable
            && let Some(line) = self.upstreams.get(key)
        {
            line.ends |= ready.closed;
            line.waiting = true;
            self.queue_upstream(key);
        }
    }

    fn read_upstream(&mut self, key: Key, budget: &mut Budget) {
        for _ in 0..READS_PER_TURN {
            if !self.hub.wants_upstream_input(key) {
                return;
            }
            let Some(line) = self.upstreams.get(key) else { return };
            let outcome = line.transport.read(&mut self.buffer);
            let drained = outcome.is_all();
            match outcome {
                Io::Bytes(count) | Io::All(count) => {
                    // What comes later brings an edge.
                    let all = drained && !line.ends;
                    line.waiting = !all;
                    self.hub.handle_upstream_received(key, &self.buffer[..count], self.now);
                    if all {
                        return;
                    }
                    budget.weigh(count);
                    if budget.is_spent(|| self.clock.now()) {
                        break;
                    }
                }
                Io::Blocked => {
                    line.waiting = false;
                    return;
                }
                Io::Closed => return self.lose_upstream(key, true),
                Io::Failed(error) => {
                    log::debug!("read: {error}");
                    return self.lose_upstream(key, false);
                }
            }
        }
        self.queue_upstream(key);
    }

    /// Queues a connection to be read, if there may be anything.
    fn queue_upstream(&mut self, key: Key) {
        if let Some(line) = self.upstreams.get(key).filter(|line| line.waiting && !line.queued) {
            line.queued = true;
            self.upstreams.to_read.push_back(key);
        }
    }

    fn send_upstream(&mut self, key: Key) {
        let Some(line) = self.upstreams.get(key) else { return };
        let mut lost = false;
        self.hub.transmit_upstream(key, self.now, &mut |bytes| {
            line.transport.send(&[IoSlice::new(bytes)]).unwrap_or_else(|error| {
                log::debug!("write: {error}");
                lost = true;
                (0, true)
            })
        });
        if lost && let Some(line) = self.upstreams.get(key) {
            // An answer may have come before the end, and says more than a broken pipe.
            (line.ends, line.waiting) = (true, true);
            self.queue_upstream(key);
        }
    }

    fn lose_upstream(&mut self, key: Key, orderly: bool) {
        self.hub.handle_upstream_lost(key, orderly, self.now);
        self.upstreams.remove(key);
    }
}
