//! The loop of a shard: one turn has seven steps, and no step reaches back.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use mio::Token;

use crate::auth::certificate::Secured;
use crate::base::id::{ConnKey, Key};
use crate::base::limits::WRITES_AT_ONCE;
use crate::base::time::{Instant, Span};
use crate::proto::connection::Gate;
use crate::proto::hub::Hub;
use crate::proto::output::Traveller;
use crate::proto::stats::Stats;
use crate::reactor::beyond::Beyond;
use crate::reactor::clock::Clock;
use crate::reactor::entry::Entry;
use crate::reactor::front::Front;
use crate::reactor::poller::{Poller, Ready};
use crate::reactor::transport::Transport;
use crate::resource::protection::Protection;
use crate::shard::asking::Asking;
use crate::shard::budget::{Budget, ReadQueue};
use crate::shard::leaving::{Leaving, Occupied};
use crate::shard::linking::{Lines, link_of};
use crate::shard::mail::Mail;
use crate::shard::mailbox::{Receiver, Sender};
use crate::shard::turns::Turns;
use crate::shard::upstreams::{Upstreams, upstream_of};
use crate::shard::wires::{Input, Wire, Wires, conn_of};

/// The waker's token; listeners have those below it, connections all others.
pub const MAIL: Token = Token(usize::MAX);
/// Edges taken from the kernel in one turn.
pub const EVENTS_MAX: usize = 1_024;
/// Places in a shard's mailbox.
pub const MAIL_PLACES: usize = 8_192;

/// Time for taking mail in one turn.
const MAIL_SPAN: Span = Span::from_micros(500);
/// Time for accepting connections in one turn, and the same for those that other shards sent.
pub(crate) const ACCEPT_SPAN: Span = Span::from_micros(500);
/// Time for reading connections in one turn.
const READ_SPAN: Span = Span::from_micros(500);
/// Time for firing timers in one turn.
const TIMER_SPAN: Span = Span::from_micros(500);
/// Time for telling readers of what is new in one turn.
const WAKE_SPAN: Span = Span::from_micros(500);
/// Time for closing sockets in one turn.
const CLOSE_SPAN: Span = Span::from_micros(250);
/// Bytes that a read may take at once.
const READ_BYTES: usize = 64 * 1024;
/// Time for writing documents in one turn.
const WRITE_SPAN: Span = Span::from_millis(1);
/// How long a mailbox that was full is left alone.
const RETRY: Span = Span::from_millis(1);
/// Mail that may wait for full mailboxes before the shard takes in no more work.
const OUTBOX_MAX: usize = 4_096;

/// One reactor thread: a core, its sockets and its mail.
#[derive(Debug)]
pub struct Shard {
    pub(crate) hub: Hub,
    pub(crate) poller: Poller,
    pub(crate) wires: Wires,
    pub(crate) lines: Lines,
    pub(crate) upstreams: Upstreams,
    /// Edges of those lines that were not looked at yet.
    links_ready: Vec<(Key, Ready)>,
    pub(crate) peers: Vec<Sender<Mail>>,
    /// Mail for shards whose mailbox was full, in order.
    pub(crate) outbox: Vec<VecDeque<Mail>>,
    pub(crate) to_write: VecDeque<ConnKey>,
    /// Those of them that are being written; empty between two rounds.
    pub(crate) writing: Vec<ConnKey>,
    pub(crate) to_read: ReadQueue,
    /// Connections on which TLS is being set up, and something has moved.
    pub(crate) to_shake: VecDeque<ConnKey>,
    /// What all connections share whose clients have shown no certificate.
    pub(crate) unnamed: Arc<Secured>,
    /// How web servers are spoken to by TLS, if they are.
    pub(crate) beyond: Option<Arc<Beyond>>,
    /// The same for registries and resource servers.
    pub(crate) protection: Protection,
    /// Connections that other shards have sent here.
    arrivals: VecDeque<Box<(Transport, Traveller)>>,
    /// Sockets that are closed at the end of a turn.
    pub(crate) closed: VecDeque<Wire>,
    pub(crate) now: Instant,
    pub(crate) clock: Clock,
    mail: Receiver<Mail>,
    pub(crate) doors: Vec<Entrance>,
    pub(crate) buffer: Vec<u8>,
    pub(crate) leaving: Leaving,
    /// When a listener that failed to accept is tried again.
    pub(crate) accept_at: Option<Instant>,
    /// What TCP's patience is with the connections that the public listeners accept.
    pub(crate) first_patience: Span,
    /// Who answers what takes time; `None`: nobody.
    pub(crate) asking: Option<Asking>,
    turns: Turns,
}

#[derive(Debug)]
pub(crate) struct Entrance {
    /// `None` once it is closed; the place stays, because a token names it.
    pub(crate) listener: Option<Entry>,
    pub(crate) gate: Gate,
    /// How TLS protects its connections, if it does.
    pub(crate) front: Option<Arc<Front>>,
    /// Whether connections may wait that no edge will tell of.
    pub(crate) waiting: bool,
    /// Whether it is closed as soon as no connection waits.
    pub(crate) closing: bool,
}

impl Entrance {
    fn has_work(&self) -> bool {
        self.waiting && self.listener.is_some()
    }
}

/// What all shards of a server have alike.
#[derive(Clone, Debug)]
pub struct Common {
    /// The clock.
    pub clock: Clock,
    /// The mailboxes of all shards.
    pub peers: Vec<Sender<Mail>>,
    /// How web servers are spoken to by TLS, if they are.
    pub beyond: Option<Arc<Beyond>>,
    /// The same for registries and resource servers.
    pub protection: Protection,
    /// What TCP's patience is with the connections that the public listeners accept.
    pub patience: Span,
    /// How many shards still have documents.
    pub occupied: Occupied,
    /// Who answers what takes time; `None`: nobody.
    pub asking: Option<Asking>,
}

/// What a shard is made of.
#[derive(Debug)]
pub struct Parts {
    /// The core.
    pub hub: Hub,
    /// The poller, with a waker registered as [`MAIL`].
    pub poller: Poller,
    /// The shard's own mail.
    pub mail: Receiver<Mail>,
    /// What it listens on, and how TLS protects what comes that way.
    pub listeners: Vec<(Entry, Gate, Option<Arc<Front>>)>,
    /// What it has in common with the others.
    pub common: Common,
}

impl Shard {
    /// A shard that is ready to run.
    ///
    /// # Errors
    ///
    /// When a listener cannot be registered.
    pub fn new(parts: Parts) -> io::Result<Self> {
        let common = parts.common;
        let mut doors = Vec::new();
        for (index, (mut listener, gate, front)) in parts.listeners.into_iter().enumerate() {
            listener.register(parts.poller.registry(), Token(MAIL.0 - 1 - index))?;
            let listener = Some(listener);
            doors.push(Entrance { listener, gate, front, waiting: true, closing: false });
        }
        Ok(Self {
            first_patience: common.patience,
            hub: parts.hub,
            poller: parts.poller,
            wires: Wires::default(),
            lines: Lines::default(),
            upstreams: Upstreams::default(),
            links_ready: Vec::new(),
            outbox: common.peers.iter().map(|_| VecDeque::new()).collect(),
            peers: common.peers,
            to_write: VecDeque::new(),
            writing: Vec::with_capacity(WRITES_AT_ONCE),
            to_read: ReadQueue::default(),
            to_shake: VecDeque::new(),
            unnamed: Arc::default(),
            beyond: common.beyond,
            protection: common.protection,
            arrivals: VecDeque::new(),
            closed: VecDeque::new(),
            now: common.clock.now(),
            clock: common.clock,
            mail: parts.mail,
            doors,
            buffer: vec![0; READ_BYTES],
            leaving: Leaving::new(common.occupied),
            accept_at: None,
            asking: common.asking,
            turns: Turns::default(),
        })
    }

    /// Runs until the server stops; returns what was counted.
    ///
    /// # Errors
    ///
    /// When waiting for readiness fails.
    pub fn run(mut self) -> io::Result<Stats> {
        loop {
            self.wait()?;
            // 1. The clock is read once a turn.
            self.now = self.clock.now();
            let began = self.now;
            self.take_mail();
            self.take_readiness();
            self.fire_timers();
            self.end_drain();
            self.drain(WAKE_SPAN);
            self.write_named(WRITE_SPAN);
            self.drain(Span::ZERO);
            self.close_some();
            self.watch_drain();
            self.turns.note(self.clock.now().since(began));
            self.hub.note_turns(self.turns.long, self.turns.longest.as_micros());
            if self.is_over() {
                return Ok(self.hub.all_stats());
            }
        }
    }

    /// Waits for readiness, mail or a timer; not at all while work is left over.
    fn wait(&mut self) -> io::Result<()> {
        let busy = !self.to_write.is_empty()
            || !self.to_read.is_empty()
            || !self.to_shake.is_empty()
            || self.lines.has_work()
            || self.upstreams.has_work()
            || !self.closed.is_empty()
            || self.hub.is_waking()
            || !self.arrivals.is_empty()
            || self.doors.iter().any(Entrance::has_work);
        let asleep = !busy && self.mail.prepare_sleep();
        let timeout = if asleep { self.patience() } else { Some(Span::ZERO) };
        let polled = self.poller.poll(timeout);
        self.mail.awake();
        polled
    }

    fn patience(&self) -> Option<Span> {
        let now = self.clock.now();
        let timer = self.hub.poll_timeout().map(|at| at.since(now));
        let retry = self.outbox.iter().any(|mail| !mail.is_empty()).then_some(RETRY);
        let stop = self.leaving.next().map(|at| at.since(now));
        let accept = self.accept_at.map(|at| at.since(now));
        [timer, retry, stop, accept].into_iter().flatten().min()
    }

    /// 2. Mail, within bounds.
    fn take_mail(&mut self) {
        self.post_waiting();
        let mut budget = self.budget(MAIL_SPAN);
        while !budget.is_spent(|| self.clock.now()) {
            let Some(mail) = self.mail.pop() else { return };
            match mail {
                Mail::Parcel(parcel) => self.hub.handle_parcel(parcel, self.now),
                // It has a request in it: not to be done before what is published gets on.
                Mail::Arrival(arrival) => self.arrivals.push_back(arrival),
                Mail::Finding(finding) => self.hub.handle_finding(*finding, self.now),
                Mail::Office(office) => self.hub.authenticate(office, self.now),
                Mail::Passes(passes) => self.hub.let_in(passes),
                Mail::Guest(guest) => self.take_guest(*guest),
                Mail::Certificates(fronts) => self.renew_fronts(&fronts),
                Mail::Drain(within) => self.begin_drain(within),
                Mail::Stop => self.begin_stop(),
            }
        }
    }

    /// 3. Readiness: connections are accepted and read, within bounds for each.
    fn take_readiness(&mut self) {
        let pressed = self.outbox.iter().map(VecDeque::len).sum::<usize>() > OUTBOX_MAX;
        self.hub.handle_pressure(pressed);
        self.take_edges();
        self.take_links();
        let mut budget = self.budget(READ_SPAN);
        self.take_upstreams(&mut budget);
        if pressed {
            return;
        }
        if self.accept_at.is_some_and(|at| at <= self.now) {
            self.accept_at = None;
            self.doors.iter_mut().for_each(|entrance| entrance.waiting = true);
        }
        for index in 0..self.doors.len() {
            self.accept(index);
        }
        self.shake_some();
        for entrance in self.doors.iter_mut().filter(|entrance| entrance.closing) {
            if !entrance.waiting {
                (entrance.listener, entrance.closing) = (None, false);
            }
        }
        let mut budget = self.budget(ACCEPT_SPAN);
        while !self.arrivals.is_empty() && !budget.is_spent(|| self.clock.now()) {
            let Some(arrival) = self.arrivals.pop_front() else { break };
            self.take_arrival(arrival.0, arrival.1);
        }
        let mut budget = self.budget(READ_SPAN);
        for _ in 0..self.to_read.len() {
            if budget.is_spent(|| self.clock.now()) {
                break;
            }
            let Some(conn) = self.to_read.pop() else { break };
            self.read(conn, &mut budget);
        }
    }

    /// Notes what is ready, for whoever reads it.
    fn take_edges(&mut self) {
        let Self { poller, doors, wires, to_read, to_shake, .. } = self;
        let Self { hub, now, links_ready, upstreams, .. } = self;
        for ready in poller.events() {
            if let Some(link) = link_of(ready.token) {
                links_ready.push((link, ready));
                continue;
            }
            if let Some(upstream) = upstream_of(ready.token) {
                upstreams.ready.push((upstream, ready));
                continue;
            }
            if ready.token == MAIL {
                continue;
            }
            if let Some(entrance) = doors.get_mut(MAIL.0 - 1 - ready.token.0) {
                entrance.waiting = true;
                continue;
            }
            let conn = conn_of(ready.token);
            let Some(wire) = wires.get(conn) else { continue };
            if wire.shaking {
                if ready.closed {
                    wire.input = Input::End;
                }
                if !std::mem::replace(&mut wire.queued, true) {
                    to_shake.push_back(conn);
                }
                continue;
            }
            if ready.writable {
                match wire.transport.flush() {
                    Ok(true) => hub.handle_writable(conn, *now),
                    Ok(false) => {}
                    Err(error) => {
                        log::debug!("write: {error}");
                        hub.handle_failed(conn, *now);
                        continue;
                    }
                }
            }
            if ready.readable {
                wire.input = wire.input.max(if ready.closed { Input::End } else { Input::Bytes });
                if !wire.queued {
                    wire.queued = true;
                    to_read.push(conn, wire.is_publisher());
                }
            }
        }
    }

    /// What resources send: like what publishers send, before anything of clients.
    fn take_links(&mut self) {
        let mut edges = std::mem::take(&mut self.links_ready);
        for (link, ready) in edges.drain(..) {
            self.link_ready(link, ready);
        }
        self.links_ready = edges;
        let mut budget = self.budget(READ_SPAN);
        self.read_links(&mut budget);
    }

    /// 4. Timers: heartbeats, and what has waited too long.
    fn fire_timers(&mut self) {
        let (mut budget, clock) = (self.budget(TIMER_SPAN), self.clock);
        self.hub.handle_timeouts_while(self.now, || !budget.is_spent(|| clock.now()));
    }

    pub(crate) fn budget(&self, span: Span) -> Budget {
        Budget::new(self.clock.now(), span)
    }

    /// 7. Sockets of connections that are over: closing one is a system call like any other.
    fn close_some(&mut self) {
        let mut budget = self.budget(CLOSE_SPAN);
        while !self.closed.is_empty() && !budget.is_spent(|| self.clock.now()) {
            self.closed.pop_front();
        }
    }
}
