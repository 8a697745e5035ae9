//! Whatever is no command goes to a web server: between the clients' connections and the relay.
//!
//! A relayed request has its connection for itself from its head to the end of its answer: it waits
//! until earlier answers are out, and what comes behind it waits for it. The relay writes into the
//! connection's own buffer, so that an answer is copied once.

use std::sync::Arc;

use crate::base::id::{ConnKey, Key};
use crate::base::limits;
use crate::base::random::Random;
use crate::base::reason::CloseReason;
use crate::base::time::Instant;
use crate::http::request::Head;
use crate::proto::connection::{Connection, Door, Phase};
use crate::proto::hub::Hub;
use crate::proto::intake::Step;
use crate::proto::output::Output;
use crate::proto::timer::Timer;
use crate::relay::counts::Counts;
use crate::relay::output::Event;
use crate::relay::pass::Passing;
use crate::relay::site::Site;
use crate::relay::station::{Arrival, Relay};

impl Hub {
    /// Has requests that are no commands relayed to the web servers of that site.
    pub fn relay_to(&mut self, site: Arc<Site>, now: Instant) {
        self.now = now;
        let random = Random::from_seed(self.random.fork());
        let unix_micros_at_zero = self.unix_micros() - now.as_nanos() / 1_000;
        self.relay = Some(Box::new(Relay::new(site, random, unix_micros_at_zero, now)));
    }

    /// What became of relayed requests.
    pub fn relay_counts(&self) -> Counts {
        self.relay.as_ref().map_or_else(Counts::default, |relay| relay.counts().clone())
    }

    /// Whether the request is for a web server: all are that clients make outside of the prefix.
    pub(crate) fn is_relayed(&self, conn: ConnKey, head: &Head<'_>) -> bool {
        !head.target.path.starts_with(self.settings.prefix.as_str())
            && self.conns.get(conn).is_some_and(|connection| connection.door == Door::Public)
    }

    /// Relays a request, whose head is the first `head_len` bytes of `rest`.
    pub(crate) fn relay_request(
        &mut self,
        conn: ConnKey,
        head: &Head<'_>,
        head_len: usize,
        rest: &[u8],
    ) -> Step {
        let (now, close) = (self.now, self.stopping);
        if !self.conns.get(conn).is_some_and(Connection::is_idle) {
            return Step::Wait;
        }
        let proof = match self.admit_to_site(conn, head, head_len) {
            Ok(proof) => proof,
            Err(step) => return step,
        };
        let user = proof.as_ref().map(|proof| proof.identity.user.as_str());
        let Some(connection) = self.conns.get_mut(conn) else { return Step::More };
        let Some(relay) = &mut self.relay else { return Step::More };
        let (peer, secure) = (connection.address(), connection.secured.is_some());
        let arrival = Arrival { client: conn, peer, secure, head, close, user };
        match relay.handle_request(arrival, now) {
            Ok(key) => connection.phase = Phase::Relay(key),
            Err(why) => return self.refuse_all(conn, why, rest),
        }
        self.settle_relay(Some(conn));
        Step::Used(head_len)
    }

    /// A connection goes on as it came to the site's target of that number, because of the name
    /// that it has asked for; `heard` came on it so far.
    pub fn handle_passed(&mut self, conn: ConnKey, passed: (String, usize, Vec<u8>), now: Instant) {
        self.now = now;
        let (name, target, heard) = passed;
        let Some(connection) = self.conns.get_mut(conn) else { return };
        let passing = Passing { client: conn, peer: connection.address(), target, name, heard };
        let relay = self.relay.as_mut();
        match relay.and_then(|relay| relay.handle_passing(passing, now)) {
            Some(key) => connection.phase = Phase::Relay(key),
            None => return self.close(conn, CloseReason::BadRequest),
        }
        self.settle_relay(Some(conn));
    }

    /// Gives bytes that came behind the head of a relayed request to the relay.
    pub(crate) fn feed_relay(&mut self, conn: ConnKey, key: Key, rest: &[u8]) -> Step {
        let now = self.now;
        let Some(relay) = &mut self.relay else { return Step::More };
        let step = match relay.handle_client(key, rest, now) {
            Ok(0) if !relay.takes_input(key) || rest.len() > limits::HEAD_BYTES_MAX => Step::Wait,
            Ok(0) => Step::More,
            Ok(taken) => Step::Used(taken),
            Err((why, false)) => self.refuse_all(conn, why, rest),
            Err((why, true)) => {
                log::debug!("a request that is being answered: {}", why.detail());
                self.close(conn, CloseReason::BadRequest);
                Step::Used(rest.len())
            }
        };
        self.settle_relay(Some(conn));
        step
    }

    /// The client has ended its side; says whether its connection goes on, as a tunnel does.
    pub(crate) fn end_relay_input(&mut self, key: Key) -> bool {
        let now = self.now;
        let goes_on = self.relay.as_mut().is_some_and(|relay| relay.handle_client_ended(key, now));
        self.settle_relay(None);
        goes_on
    }

    /// The client's connection is over.
    pub(crate) fn leave_relay(&mut self, key: Key) {
        let now = self.now;
        if let Some(relay) = &mut self.relay {
            relay.handle_client_gone(key, now);
        }
        self.settle_relay(None);
    }

    /// The client took bytes of its answer, and so many still wait for it.
    pub(crate) fn relay_was_read(&mut self, key: Key, unsent: usize) {
        let now = self.now;
        if let Some(relay) = &mut self.relay {
            relay.handle_client_took(key, unsent, now);
        }
        self.settle_relay(None);
    }

    pub(crate) fn is_tunnel(&self, key: Key) -> bool {
        self.relay.as_ref().is_some_and(|relay| relay.is_tunnel(key))
    }

    /// The timer of a connection has fired that carries a relayed request.
    pub(crate) fn fire_relay(&mut self, conn: ConnKey, key: Key) {
        let now = self.now;
        if let Some(relay) = &mut self.relay {
            relay.handle_deadline(key, now);
        }
        self.settle_relay(Some(conn));
    }

    pub(crate) fn fire_relays(&mut self) {
        let now = self.now;
        if let Some(relay) = &mut self.relay {
            relay.handle_timeout(now);
        }
        self.settle_relay(None);
    }

    /// Does what the relay wants, and sees to it that the timer of `conn` fires no later than it
    /// must. Called after whatever the relay was told.
    fn settle_relay(&mut self, conn: Option<ConnKey>) {
        while let Some(event) = self.relay.as_mut().and_then(|relay| relay.poll_event()) {
            match event {
                Event::Input(client) => self.resume_intake(client),
                Event::Done { client, close } => self.end_relay(client, &[], close),
                Event::Answer { client, bytes, close } => self.end_relay(client, &bytes, close),
                Event::Refused(client, why) => {
                    self.refuse(client, why, CloseReason::RequestTimeout);
                }
                Event::Cut { client, reset: false } => self.end_relay(client, &[], true),
                Event::Cut { client, reset: true } => self.close(client, CloseReason::CutShort),
                Event::Stale(client) => self.close(client, CloseReason::Stale),
            }
        }
        let outputs = &mut self.outputs;
        if let Some(relay) = &mut self.relay {
            outputs.extend(std::iter::from_fn(|| relay.poll_output()).map(Output::Relay));
        }
        let Some(conn) = conn else { return };
        let Some(connection) = self.conns.get_mut(conn) else { return };
        let (Phase::Relay(key), Some(relay)) = (&connection.phase, &self.relay) else { return };
        let at = relay.deadline(*key);
        connection.deadline = at;
        if at < connection.timer_at {
            connection.timer_at = at;
            self.wheel.insert(at, Timer::Connection(conn).pack());
        }
    }

    /// The answer is whole once `bytes` are behind what was given out already.
    fn end_relay(&mut self, conn: ConnKey, bytes: &[u8], close: bool) {
        let close = close || self.stopping;
        let Some(connection) = self.conns.get_mut(conn) else { return };
        if !matches!(connection.phase, Phase::Relay(_)) {
            return;
        }
        connection.phase = Phase::Head;
        connection.last_taken |= close;
        let exchanges = connection.exchanges();
        exchanges.buffer().extend_from_slice(bytes);
        if close {
            exchanges.close_behind();
        }
        let all_sent = exchanges.unsent().is_empty();
        self.set_deadline(conn, self.settings.idle_timeout);
        if all_sent {
            self.after_answers(conn);
        } else {
            self.name(conn);
        }
    }
}

/// What happens on connections to web servers.
impl Hub {
    /// The connect that [`Dial`](crate::relay::output::Output::Dial) asked for has worked.
    pub fn handle_upstream_connected(&mut self, upstream: Key, now: Instant) {
        self.now = now;
        let Some(relay) = &mut self.relay else { return };
        relay.handle_connected(upstream, now);
        let client = relay.client_of(upstream);
        self.settle_relay(client);
    }

    /// That connect has failed, or the connection is lost: `orderly` if the web server has ended
    /// its side.
    pub fn handle_upstream_lost(&mut self, upstream: Key, orderly: bool, now: Instant) {
        self.now = now;
        self.with_client_of(upstream, |relay, down| {
            relay.handle_lost(upstream, orderly, down, now);
        });
    }

    /// Bytes have come from a web server.
    pub fn handle_upstream_received(&mut self, upstream: Key, bytes: &[u8], now: Instant) {
        self.now = now;
        self.with_client_of(upstream, |relay, down| {
            relay.handle_received(upstream, bytes, down, now);
        });
    }

    /// The connection's socket takes bytes again.
    pub fn handle_upstream_writable(&mut self, upstream: Key, now: Instant) {
        self.now = now;
        if let Some(relay) = &mut self.relay {
            relay.handle_writable(upstream, now);
        }
        self.settle_relay(None);
    }

    /// Whether the connection may be read;
    /// [`Receive`](crate::relay::output::Output::Receive) says when it may again.
    pub fn wants_upstream_input(&mut self, upstream: Key) -> bool {
        let Some(relay) = &mut self.relay else { return false };
        let client = relay.client_of(upstream).and_then(|client| self.conns.get(client));
        let exchanges = client.and_then(|connection| connection.exchanges.as_ref());
        let unsent = exchanges.map_or(0, |exchanges| exchanges.unsent().len());
        relay.wants_input(upstream, unsent)
    }

    /// Calls `write` with what the connection has to send; it returns how many bytes the socket
    /// took, and whether it takes no more until it says so.
    pub fn transmit_upstream(
        &mut self,
        upstream: Key,
        now: Instant,
        write: &mut dyn FnMut(&[u8]) -> (usize, bool),
    ) {
        self.now = now;
        let Some(relay) = &mut self.relay else { return };
        relay.transmit(upstream, now, write);
        let client = relay.client_of(upstream);
        self.settle_relay(client);
    }

    /// Calls `act` with the relay and with the buffer of the client to which that connection's
    /// bytes go.
    fn with_client_of(&mut self, upstream: Key, act: impl FnOnce(&mut Relay, &mut Vec<u8>)) {
        let Some(relay) = &mut self.relay else { return };
        let client = relay.client_of(upstream);
        let Some(connection) = client.and_then(|client| self.conns.get_mut(client)) else {
            act(relay, &mut Vec::new());
            return self.settle_relay(None);
        };
        let exchanges = connection.exchanges();
        act(relay, exchanges.buffer());
        if !exchanges.unsent().is_empty()
            && let Some(client) = client
        {
            self.name(client);
        }
        self.settle_relay(client);
    }
}
