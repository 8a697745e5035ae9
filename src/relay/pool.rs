//! Connections to web servers: which one a request goes over, which are kept, which go.

use crate::base::id::{ConnKey, Key};
use crate::base::time::{Instant, Span};
use crate::mem::lent::Lent;
use crate::relay::exchange::{BEHIND_LOW, BEHIND_MAX, Stage};
use crate::relay::output::{Event, Output};
use crate::relay::station::Relay;

/// How often connections that nobody uses are looked through.
const SWEEP_EVERY: Span = Span::from_secs(1);

/// A connection to a web server.
#[derive(Debug)]
pub struct Upstream {
    /// Which web server.
    pub backend: usize,
    /// The request that it carries.
    pub exchange: Option<Key>,
    /// The beginning of a head that is not whole.
    pub head: Lent,
    /// Whether it is still being made.
    pub dialing: bool,
    /// Whether it carried another request before.
    pub reused: bool,
    /// True exactly when it waits to be written.
    pub named: bool,
    /// Whether its socket takes nothing until it says so.
    pub blocked: bool,
    /// Whether it is not read because the client is behind.
    pub held: bool,
}

/// Where a request can go.
enum Choice {
    /// To this web server, over a connection that is kept or can be made.
    Server(usize),
    /// Nowhere before another request is over.
    Full,
    /// Nowhere: all were tried.
    Nowhere,
}

impl Relay {
    /// Finds a connection for a request that has none.
    pub(crate) fn acquire(&mut self, key: Key) {
        let Some(exchange) = self.exchanges.get(key) else { return };
        let (tried, fresh) = (exchange.tried, exchange.retried);
        match self.choose(tried) {
            Choice::Server(index) => {
                self.turn = (index + 1) % self.backends.len();
                let kept = if fresh { None } else { self.backends[index].take_newest() };
                if let Some(upstream) = kept {
                    self.counts.reused += 1;
                    self.attach(key, upstream);
                } else {
                    self.dial(key, index);
                }
            }
            Choice::Full => self.wait(key),
            Choice::Nowhere => self.fail(key, 502, "no web server can be reached"),
        }
    }

    fn choose(&self, tried: u64) -> Choice {
        let count = self.backends.len();
        let mut full = false;
        for well in [true, false] {
            for index in (self.turn..self.turn + count).map(|at| at % count) {
                let backend = &self.backends[index];
                if tried >> index & 1 == 1 || (well && backend.is_down(self.now)) {
                    continue;
                }
                // What is passed on is the client's own connection, and bounded with those.
                let is_hidden = self.hidden >> index & 1 == 1;
                let is_free = is_hidden || backend.open < self.site.connections_max;
                if backend.idle_count() > 0 || is_free {
                    return Choice::Server(index);
                }
                full = true;
            }
            // Those that are well are waited for before one that is not is tried again.
            if full {
                return Choice::Full;
            }
        }
        Choice::Nowhere
    }

    fn wait(&mut self, key: Key) {
        if self.waiting.len() >= self.site.waiting_max {
            return self.fail(key, 503, "no connection to a web server is free, and many wait");
        }
        let deadline = self.now + self.site.connect_timeout;
        if let Some(exchange) = self.exchanges.get_mut(key) {
            exchange.stage = Stage::Waiting;
            exchange.deadline = deadline;
            self.waiting.push_back(key);
        }
    }

    fn dial(&mut self, key: Key, index: usize) {
        let deadline = self.now + self.site.connect_timeout;
        if self.backends[index].open >= self.site.connections_max
            && let Some(oldest) = self.backends[index].take_oldest()
        {
            self.remove_upstream(oldest);
        }
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let upstream = self.upstreams.insert(Upstream {
            backend: index,
            exchange: Some(key),
            head: Lent::default(),
            dialing: true,
            reused: false,
            named: false,
            blocked: false,
            held: false,
        });
        exchange.stage = Stage::Connecting;
        exchange.upstream = Some(upstream);
        exchange.server = Some(index);
        exchange.tried |= 1 << index;
        exchange.begun = false;
        exchange.deadline = deadline;
        self.counts.dialed += 1;
        let backend = &mut self.backends[index];
        backend.open += 1;
        self.outputs.push_back(Output::Dial(upstream, backend.address.clone(), backend.secure));
    }

    /// Lets a request go over a connection that nobody uses.
    fn attach(&mut self, key: Key, upstream: Key) {
        let Some(connection) = self.upstreams.get_mut(upstream) else { return };
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        connection.exchange = Some(key);
        connection.reused = true;
        exchange.stage = Stage::Asking;
        exchange.upstream = Some(upstream);
        exchange.server = Some(connection.backend);
        exchange.begun = false;
        self.touch(key);
        self.name(upstream);
    }

    /// The connect that [`Output::Dial`] asked for has worked.
    pub fn handle_connected(&mut self, upstream: Key, now: Instant) {
        self.now = now;
        let Some(connection) = self.upstreams.get_mut(upstream) else { return };
        if !std::mem::take(&mut connection.dialing) {
            return;
        }
        let Some(key) = connection.exchange else { return };
        if let Some(exchange) = self.exchanges.get_mut(key) {
            exchange.stage = if exchange.pass { Stage::Tunnel } else { Stage::Asking };
            if exchange.pass {
                self.events.push_back(Event::Input(exchange.client));
            }
        }
        self.touch(key);
        self.name(upstream);
    }

    /// The socket takes bytes again.
    pub fn handle_writable(&mut self, upstream: Key, now: Instant) {
        self.now = now;
        let Some(connection) = self.upstreams.get_mut(upstream) else { return };
        if std::mem::take(&mut connection.blocked) {
            self.name(upstream);
        }
    }

    /// Names a connection that has something to send, unless it is named or blocked.
    pub(crate) fn name(&mut self, upstream: Key) {
        let Some(connection) = self.upstreams.get_mut(upstream) else { return };
        if connection.named || connection.blocked || connection.dialing {
            return;
        }
        connection.named = true;
        self.outputs.push_back(Output::Send(upstream));
    }

    /// Calls `write` with what the connection has to send; it returns how many bytes the socket
    /// took, and whether it takes no more until it says so.
    pub fn transmit(
        &mut self,
        upstream: Key,
        now: Instant,
        write: &mut dyn FnMut(&[u8]) -> (usize, bool),
    ) {
        self.now = now;
        let Some(connection) = self.upstreams.get_mut(upstream) else { return };
        connection.named = false;
        if connection.blocked {
            return;
        }
        let Some(key) = connection.exchange else { return };
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        if exchange.up.unsent().is_empty() {
            return;
        }
        let (taken, blocked) = write(exchange.up.unsent());
        connection.blocked = blocked;
        exchange.begun |= taken > 0;
        exchange.up.advance(taken, exchange.keeps_head());
        self.counts.bytes_up += taken as u64;
        let left = exchange.up.unsent().len();
        if exchange.starved && left <= BEHIND_LOW {
            exchange.starved = false;
            self.events.push_back(Event::Input(exchange.client));
        }
        if left == 0 && exchange.client_ended {
            self.outputs.push_back(Output::Finish(upstream));
        }
        if taken > 0 {
            self.touch(key);
        }
        if left > 0 && !blocked {
            self.name(upstream);
        }
    }

    /// The client whose answer comes over that connection.
    pub fn client_of(&self, upstream: Key) -> Option<ConnKey> {
        let key = self.upstreams.get(upstream)?.exchange?;
        self.exchanges.get(key).map(|exchange| exchange.client)
    }

    /// Whether the connection may be read while so many bytes wait for its client; if not,
    /// [`Output::Receive`] comes later.
    pub fn wants_input(&mut self, upstream: Key, unsent: usize) -> bool {
        let Some(connection) = self.upstreams.get_mut(upstream) else { return false };
        connection.held = connection.exchange.is_some() && unsent >= BEHIND_MAX;
        !connection.held
    }

    /// A connection that has carried its request and can carry another.
    pub(crate) fn release(&mut self, upstream: Key) {
        let now = self.now;
        let Some(connection) = self.upstreams.get_mut(upstream) else { return };
        (connection.exchange, connection.held) = (None, false);
        let backend = connection.backend;
        self.backends[backend].keep(upstream, now);
        self.sweep_at = self.sweep_at.min(now + SWEEP_EVERY);
        if let Some(key) = self.waiting.pop_front() {
            self.acquire(key);
        }
    }

    /// Forgets a connection and has it closed; its place may go to a request that waits.
    pub(crate) fn close_upstream(&mut self, upstream: Key) {
        self.remove_upstream(upstream);
        if !self.waiting.is_empty()
            && !matches!(self.choose(self.hidden), Choice::Full)
            && let Some(key) = self.waiting.pop_front()
        {
            self.acquire(key);
        }
    }

    fn remove_upstream(&mut self, upstream: Key) {
        let Some(connection) = self.upstreams.remove(upstream) else { return };
        let backend = &mut self.backends[connection.backend];
        backend.open -= 1;
        if connection.exchange.is_none() {
            backend.forget(upstream);
        }
        self.outputs.push_back(Output::Close(upstream));
    }

    /// Time has passed: connections go that nobody has used for long.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.sweep_at > now {
            return;
        }
        let mut left = false;
        for index in 0..self.backends.len() {
            while let Some(upstream) = self.take_expired(index) {
                self.remove_upstream(upstream);
            }
            left |= self.backends[index].idle_count() > 0;
        }
        self.sweep_at = if left { now + SWEEP_EVERY } else { Instant::NEVER };
    }

    fn take_expired(&mut self, index: usize) -> Option<Key> {
        let nanos = self.now.as_nanos().checked_sub(self.keep().as_nanos())?;
        self.backends[index].take_older(Instant::from_nanos(nanos))
    }
}
