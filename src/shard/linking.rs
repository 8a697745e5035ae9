//! Connections to registries and resource servers: the same poller, a table of their own.

use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;

use mio::Token;

use crate::base::id::Key;
use crate::link::address::Address;
use crate::link::links::Output;
use crate::reactor::dialer;
use crate::reactor::poller::Ready;
use crate::reactor::transport::{Io, Transport};
use crate::shard::budget::Budget;
use crate::shard::guest::Guest;
use crate::shard::turn::Shard;
use crate::shard::wires::{conn_of, token_of};

/// Set in the tokens of these connections, and in no other's: generations have 24 bits, and the
/// tokens of listeners have the bit above as well.
const LINK_BIT: usize = 1 << 62;
/// Reads of one connection in one turn.
const READS_PER_TURN: usize = 8;

/// One connection.
#[derive(Debug)]
struct Line {
    transport: Transport,
    /// Whether its connect is still under way, TLS included.
    dialing: bool,
    /// Whether TLS is being set up on it.
    shaking: bool,
    /// Whether bytes may wait that no edge will tell of.
    queued: bool,
    /// Whether an end is there to be read, maybe behind bytes.
    ends: bool,
}

/// A shard's connections to registries and resource servers.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    lines: HashMap<Key, Line>,
    to_read: VecDeque<Key>,
}

impl Line {
    fn new(transport: Transport, dialing: bool) -> Self {
        Self { transport, dialing, shaking: false, queued: false, ends: false }
    }
}

impl Lines {
    /// Whether work is left over for the next turn.
    pub(crate) fn has_work(&self) -> bool {
        !self.to_read.is_empty()
    }
}

/// The connection of a token, if it is one of these.
pub(crate) fn link_of(token: Token) -> Option<Key> {
    (token.0 >> 62 == 1).then(|| conn_of(Token(token.0 & !LINK_BIT)))
}

impl Shard {
    /// Does what the hub wants with its connections to registries and resource servers.
    pub(crate) fn link(&mut self, output: Output) {
        match output {
            Output::Dial(link, address) => self.dial(link, &address),
            Output::Send(link) => self.send(link),
            Output::Close(link) => drop(self.lines.lines.remove(&link)),
        }
    }

    fn dial(&mut self, link: Key, address: &Address) {
        self.lines.lines.remove(&link);
        let token = Token(token_of(link).0 | LINK_BIT);
        let registered = self.protection.dial(address).and_then(|mut transport| {
            transport.register(self.poller.registry(), token)?;
            Ok(transport)
        });
        match registered {
            Ok(transport) => {
                self.lines.lines.insert(link, Line::new(transport, true));
            }
            Err(error) => {
                log::debug!("dial {address}: {error}");
                self.hub.handle_link_failed(link, self.now);
            }
        }
    }

    /// A resource server has dialled this one.
    pub(crate) fn take_guest(&mut self, guest: Guest) {
        let Guest { mut transport, received, expected } = guest;
        let Some(link) = self.hub.handle_guest(&expected, self.now) else { return };
        let token = Token(token_of(link).0 | LINK_BIT);
        // What is ready there is reported at once.
        if let Err(error) = transport.register(self.poller.registry(), token) {
            log::warn!("register: {error}");
            return self.hub.handle_link_failed(link, self.now);
        }
        self.lines.lines.insert(link, Line::new(transport, false));
        self.hub.handle_link_received(link, &received, self.now);
        // TLS may have decrypted more already than was read, and no edge tells of that.
        self.queue_link(link);
    }

    /// An edge of one of these connections.
    pub(crate) fn link_ready(&mut self, link: Key, ready: Ready) {
        let Some(line) = self.lines.lines.get_mut(&link) else { return };
        if line.dialing {
            line.ends |= ready.closed;
            let shaking = &mut line.shaking;
            match dialer::finish_all(&mut line.transport, shaking, ready.writable) {
                Ok(false) => return,
                Ok(true) => {
                    line.dialing = false;
                    self.hub.handle_link_connected(link, self.now);
                    // What came behind the handshake is here already.
                    self.queue_link(link);
                }
                Err(error) => {
                    match line.shaking {
                        true => self.protection.note_failed(&line.transport, &error),
                        false => log::debug!("dial: {error}"),
                    }
                    return self.lose_link(link);
                }
            }
        } else if ready.writable {
            match line.transport.flush() {
                Ok(true) => self.hub.handle_link_writable(link, self.now),
                Ok(false) => {}
                Err(error) => log::debug!("write: {error}"),
            }
        }
        if ready.readable
            && let Some(line) = self.lines.lines.get_mut(&link)
        {
            line.ends |= ready.closed;
            self.queue_link(link);
        }
    }

    /// Reads these connections, within bounds.
    pub(crate) fn read_links(&mut self, budget: &mut Budget) {
        for _ in 0..self.lines.to_read.len() {
            if budget.is_spent(|| self.clock.now()) {
                return;
            }
            let Some(link) = self.lines.to_read.pop_front() else { return };
            if let Some(line) = self.lines.lines.get_mut(&link) {
                line.queued = false;
                self.read_link(link, budget);
            }
        }
    }

    fn read_link(&mut self, link: Key, budget: &mut Budget) {
        for _ in 0..READS_PER_TURN {
            let Some(line) = self.lines.lines.get_mut(&link) else { return };
            let outcome = line.transport.read(&mut self.buffer);
            let drained = outcome.is_all();
            match outcome {
                Io::Bytes(count) | Io::All(count) => {
                    // What comes later brings an edge.
                    let all = drained && !line.ends;
                    self.hub.handle_link_received(link, &self.buffer[..count], self.now);
                    if all {
                        return;
                    }
                    budget.weigh(count);
                    if budget.is_spent(|| self.clock.now()) {
                        break;
                    }
                }
                Io::Blocked => return,
                Io::Closed => return self.lose_link(link),
                Io::Failed(error) => {
                    log::debug!("read: {error}");
                    // By TLS 1.3 a refusal comes when this side takes the handshake for done.
                    self.protection.note_failed(&line.transport, &error);
                    return self.lose_link(link);
                }
            }
        }
        self.queue_link(link);
    }

    fn queue_link(&mut self, link: Key) {
        if let Some(line) = self.lines.lines.get_mut(&link).filter(|line| !line.queued) {
            line.queued = true;
            self.lines.to_read.push_back(link);
        }
    }

    fn send(&mut self, link: Key) {
        let Some(line) = self.lines.lines.get_mut(&link) else { return };
        let mut lost = false;
        self.hub.transmit_link(link, self.now, &mut |bytes| {
            line.transport.send(&[IoSlice::new(bytes)]).unwrap_or_else(|error| {
                log::debug!("write: {error}");
                lost = true;
                (0, true)
            })
        });
        if lost {
            self.lose_link(link);
        }
    }

    fn lose_link(&mut self, link: Key) {
        self.lines.lines.remove(&link);
        self.hub.handle_link_failed(link, self.now);
    }
}
