//! All relayed requests of a shard, and its connections to web servers.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::base::id::{ConnKey, Key};
use crate::base::random::Random;
use crate::base::time::{Instant, Span};
use crate::http::request::{Head, Method};
use crate::http::status::Refusal;
use crate::mem::slab::Slots;
use crate::relay::backend::Backend;
use crate::relay::counts::Counts;
use crate::relay::entry::{Entry, Outcome};
use crate::relay::exchange::{BEHIND_LOW, BEHIND_MAX, Exchange, Stage};
use crate::relay::links::Journey;
use crate::relay::mapping::{Mapped, rule_for};
use crate::relay::outgoing::Outgoing;
use crate::relay::output::{Event, Output};
use crate::relay::pool::Upstream;
use crate::relay::request::{NOWHERE, Origin, host_for, is_trusted, put_head};
use crate::relay::site::{AccessLog, SERVERS_MAX, Site};
use crate::relay::transcode::Transcoder;

/// Buffers that are kept for the next requests, and how large they may be.
const SPARES_MAX: usize = 64;
const SPARE_BYTES_MAX: usize = 16 * 1024;

/// A request that is to be relayed.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The connection that it came on.
    pub client: ConnKey,
    /// Where that comes from.
    pub peer: SocketAddr,
    /// Whether TLS protects that connection.
    pub secure: bool,
    /// Its head.
    pub head: &'a Head<'a>,
    /// Whether the connection closes behind the answer whatever the head says.
    pub close: bool,
    /// Who has sent it, where that was proved.
    pub user: Option<&'a str>,
}

/// All relayed requests of a shard. `handle_*` says what happened; then whoever drives it drains
/// [`Relay::poll_event`] and [`Relay::poll_output`] to the end. What goes to a client is appended
/// to the buffer that is passed in.
#[derive(Debug)]
pub struct Relay {
    pub(crate) site: Arc<Site>,
    pub(crate) now: Instant,
    pub(crate) unix_micros_at_zero: u64,
    pub(crate) random: Random,
    pub(crate) exchanges: Slots<Exchange>,
    pub(crate) upstreams: Slots<Upstream>,
    pub(crate) backends: Vec<Backend>,
    /// Those among them that no request goes to, a bit each.
    pub(crate) hidden: u64,
    /// The web server whose turn it is.
    pub(crate) turn: usize,
    /// Requests that wait for a connection, who has waited longest first.
    pub(crate) waiting: VecDeque<Key>,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) events: VecDeque<Event>,
    spares: Vec<Vec<u8>>,
    pub(crate) counts: Counts,
    /// When connections that nobody uses are looked through.
    pub(crate) sweep_at: Instant,
}

impl Relay {
    /// A relay without requests.
    pub fn new(site: Arc<Site>, random: Random, unix_micros_at_zero: u64, now: Instant) -> Self {
        let mut random = random;
        let mut generation = || random.below(u64::from(crate::base::id::Mid::GENERATION_END));
        let generations = [generation() as u32, generation() as u32];
        Self {
            backends: backends(&site),
            hidden: !((1u128 << site.servers.len().min(SERVERS_MAX)) - 1) as u64,
            turn: random.below(site.servers.len().max(1) as u64) as usize,
            site,
            now,
            unix_micros_at_zero,
            random,
            exchanges: Slots::new(generations[0]),
            upstreams: Slots::new(generations[1]),
            waiting: VecDeque::new(),
            outputs: VecDeque::new(),
            events: VecDeque::new(),
            spares: Vec::new(),
            counts: Counts::default(),
            sweep_at: Instant::NEVER,
        }
    }

    /// A request is to be relayed; returns the key of its exchange.
    ///
    /// # Errors
    /// Why it is refused before any web server hears of it.
    pub fn handle_request(&mut self, arrival: Arrival<'_>, now: Instant) -> Result<Key, Refusal> {
        self.now = now;
        let Arrival { client, peer, secure, head, close, user } = arrival;
        let site = Arc::clone(&self.site);
        let request = Transcoder::of_request(head.framing, site.body_bytes_max)?;
        let theirs = head.field("x-request-id").filter(|_| is_trusted(&site, peer.ip()));
        let id = self.next_id(theirs);
        let mut bytes = self.spares.pop().unwrap_or_default();
        let scheme = if secure { "https" } else { "http" };
        let (journey, mapped) = set_out(&site, head, scheme);
        let origin = Origin { peer, scheme, id: &id, mapped: mapped.as_ref(), user };
        let upgrade = put_head(&mut bytes, head, origin, &site)?;
        self.counts.requests += 1;
        let method = head.method;
        let exchange = Exchange {
            client,
            stage: Stage::Gathering,
            pass: false,
            head_len: bytes.len(),
            up: Outgoing::new(bytes),
            request,
            upstream: None,
            id,
            version: head.version,
            upgrade,
            tried: self.hidden,
            server: None,
            head_only: method == Method::Head,
            repeatable: matches!(
                method,
                Method::Get | Method::Head | Method::Options | Method::Put | Method::Delete
            ),
            expects: head.expect_continue,
            close: close || !head.persistent,
            retried: false,
            begun: false,
            answered: false,
            kept: false,
            ends_above: false,
            until_close: false,
            starved: false,
            client_ended: false,
            deadline: now + site.body_timeout,
            began: now,
            status: 0,
            tunnelled: 0,
            entry: (site.log != AccessLog::Off).then(|| Box::new(Entry::new(head, peer))),
            journey,
        };
        let goes = exchange.request.is_done() || exchange.expects;
        let key = self.exchanges.insert(exchange);
        if goes {
            self.acquire(key);
        }
        Ok(key)
    }

    /// Bytes of the client have come behind the head; returns how many were taken. None, while the
    /// request is not over: they are taken later, after [`Event::Input`], or belong to what follows
    /// the request.
    ///
    /// # Errors
    /// Why the rest of the request is refused; the exchange is forgotten, and whether anything of
    /// an answer was given out is said with it.
    pub fn handle_client(
        &mut self,
        key: Key,
        bytes: &[u8],
        now: Instant,
    ) -> Result<usize, (Refusal, bool)> {
        self.now = now;
        let Some(exchange) = self.exchanges.get_mut(key) else { return Ok(0) };
        let room = exchange.up.unsent().len() < BEHIND_MAX;
        let takes = matches!(exchange.stage, Stage::Tunnel) || !exchange.request.is_done();
        if !takes {
            return Ok(0);
        }
        if !room {
            exchange.starved = true;
            return Ok(0);
        }
        let bytes = &bytes[..bytes.len().min(BEHIND_MAX)];
        let taken = if let Stage::Tunnel = exchange.stage {
            exchange.up.buffer().extend_from_slice(bytes);
            bytes.len()
        } else {
            match exchange.request.push(bytes, exchange.up.buffer()) {
                Ok(taken) => taken,
                Err(refusal) => {
                    let answered = !exchange.is_unanswered();
                    self.counts.refused += 1;
                    self.end(key, "refused");
                    return Err((refusal, answered));
                }
            }
        };
        self.after_client(key);
        Ok(taken)
    }

    fn after_client(&mut self, key: Key) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        match exchange.stage {
            Stage::Gathering => {
                let full = exchange.up.unsent().len() >= BEHIND_MAX;
                exchange.deadline = self.now + self.site.body_timeout;
                if full || exchange.request.is_done() {
                    self.acquire(key);
                }
            }
            Stage::Waiting | Stage::Connecting => {}
            Stage::Asking | Stage::Answering(_) | Stage::Tunnel => {
                self.touch(key);
                if let Some(upstream) = self.exchanges.get(key).and_then(|one| one.upstream) {
                    self.name(upstream);
                }
            }
        }
    }

    /// Whether the client's bytes are taken now, or need not be looked at before the request is
    /// over.
    pub fn takes_input(&self, key: Key) -> bool {
        self.exchanges.get(key).is_none_or(|exchange| !exchange.starved)
    }

    /// The client has ended its side. In a tunnel that is passed on, and true is returned; else a
    /// client that has ended its side has left.
    pub fn handle_client_ended(&mut self, key: Key, now: Instant) -> bool {
        self.now = now;
        let Some(exchange) = self.exchanges.get_mut(key) else { return false };
        if !matches!(exchange.stage, Stage::Tunnel) {
            return false;
        }
        exchange.client_ended = true;
        if exchange.up.unsent().is_empty()
            && let Some(upstream) = exchange.upstream
        {
            self.outputs.push_back(Output::Finish(upstream));
        }
        true
    }

    /// The client is gone: its web server is free at once.
    pub fn handle_client_gone(&mut self, key: Key, now: Instant) {
        self.now = now;
        if self.exchanges.get(key).is_some() {
            self.counts.left += 1;
            self.end(key, "left");
        }
    }

    /// The client took bytes, and so many still wait for it.
    pub fn handle_client_took(&mut self, key: Key, unsent: usize, now: Instant) {
        self.now = now;
        self.touch(key);
        let Some(upstream) = self.exchanges.get(key).and_then(|one| one.upstream) else { return };
        let Some(connection) = self.upstreams.get_mut(upstream) else { return };
        if connection.held && unsent <= BEHIND_LOW {
            connection.held = false;
            self.outputs.push_back(Output::Receive(upstream));
        }
    }

    /// Something has moved: the present stage may take its time from now on.
    pub(crate) fn touch(&mut self, key: Key) {
        let (now, site) = (self.now, &self.site);
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        exchange.deadline = match exchange.stage {
            Stage::Gathering => now + site.body_timeout,
            Stage::Waiting | Stage::Connecting => return,
            Stage::Asking if exchange.is_sent() => now + site.answer_timeout,
            Stage::Asking if exchange.up.unsent().is_empty() => now + site.body_timeout,
            Stage::Asking | Stage::Answering(_) | Stage::Tunnel => now + site.idle_timeout,
        };
    }

    /// When [`Relay::handle_deadline`] is due for that exchange.
    pub fn deadline(&self, key: Key) -> Instant {
        self.exchanges.get(key).map_or(Instant::NEVER, |exchange| exchange.deadline)
    }

    /// Forgets an exchange and frees its connection, and tells what became of it.
    pub(crate) fn end(&mut self, key: Key, word: &'static str) {
        let Some(exchange) = self.exchanges.remove(key) else { return };
        if let Stage::Waiting = exchange.stage {
            self.waiting.retain(|waiting| *waiting != key);
        }
        if let Some(upstream) = exchange.upstream {
            self.close_upstream(upstream);
        }
        self.tell(&exchange, word);
        self.recycle(exchange);
    }

    pub(crate) fn recycle(&mut self, exchange: Exchange) {
        let mut buffer = exchange.up.into_buffer();
        if self.spares.len() < SPARES_MAX && buffer.capacity() <= SPARE_BYTES_MAX {
            buffer.clear();
            self.spares.push(buffer);
        }
    }

    /// A line of the access log.
    pub(crate) fn tell(&self, exchange: &Exchange, word: &'static str) {
        let Some(entry) = &exchange.entry else { return };
        let server = exchange.server.and_then(|index| self.backends.get(index));
        let bytes_down = match &exchange.stage {
            Stage::Answering(body) => body.bytes,
            _ => exchange.tunnelled,
        };
        let outcome = Outcome {
            id: &exchange.id,
            status: exchange.status,
            word,
            bytes_up: exchange.request.bytes,
            bytes_down,
            took: self.now.since(exchange.began),
            server: server.map_or_else(|| "-".into(), |server| server.address.to_string()),
            unix_micros: self.unix_micros(),
        };
        entry.tell(self.site.log, &outcome);
    }

    pub(crate) const fn unix_micros(&self) -> u64 {
        self.unix_micros_at_zero + self.now.as_nanos() / 1_000
    }

    /// What becomes of clients' connections.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What the shell does next with connections to web servers.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Relay::handle_timeout`] is due at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        (self.sweep_at < Instant::NEVER).then_some(self.sweep_at)
    }

    /// What was counted.
    pub const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How many requests are on their way.
    pub fn exchange_count(&self) -> usize {
        self.exchanges.len()
    }

    /// How many connections to web servers there are.
    pub fn upstream_count(&self) -> usize {
        self.upstreams.len()
    }

    /// Whether the connection is a tunnel now.
    pub fn is_tunnel(&self, key: Key) -> bool {
        self.exchanges.get(key).is_some_and(|exchange| matches!(exchange.stage, Stage::Tunnel))
    }

    /// How long a connection that nobody uses is kept.
    pub(crate) fn keep(&self) -> Span {
        self.site.keep
    }
}

/// The web servers, and behind them those that connections are passed on to.
fn backends(site: &Site) -> Vec<Backend> {
    let servers = site.servers.iter().map(|address| Backend::new(address.clone(), site.secure));
    let passes = site.passes.iter().map(|address| Backend::new(address.clone(), false));
    servers.chain(passes).collect()
}

/// How the URLs of a request are mapped, and what the web server knows it as.
fn set_out(
    site: &Site,
    head: &Head<'_>,
    scheme: &'static str,
) -> (Option<Box<Journey>>, Option<Mapped>) {
    if site.map.is_empty() {
        return (None, None);
    }
    let used = rule_for(&site.map, head.host, head.target.path);
    let mapped = used.map(|at| site.map[at].inward(head.target.path));
    let inner_host = host_for(head, mapped.as_ref(), site).to_string();
    let journey = Journey {
        rules: Arc::clone(&site.map),
        used,
        scheme,
        client_host: head.host.unwrap_or(NOWHERE).to_string(),
        inner_host,
    };
    (Some(Box::new(journey)), mapped)
}
