//! Drives one real agent: its documents and lines over the simulated network, its events into the
//! shadow of its consumer.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::base::random::Random;
use crate::base::time::{Instant, Span};
use crate::client::agent::Agent;
use crate::client::event::{ChannelKey, Event, Output, Request, RouteId, StreamId};
use crate::client::flight::Flight;
use crate::client::reader::Reader;
use crate::html::scan::Scanner;
use crate::proto::connection::Door;
use crate::testing::cable::Cable;
use crate::testing::caller::{Caller, Heard};
use crate::testing::carriage::Stream;
use crate::testing::consumer::Word;
use crate::testing::keyring::Keyring;
use crate::testing::ledger::{Life, Shared};
use crate::testing::network::Network;
use crate::testing::news::{bytes_of, channel_of};
use crate::testing::phrase;
use crate::testing::plan::AgentPlan;
use crate::testing::sabotage::Sabotage;
use crate::testing::shadow::Shadow;
use crate::testing::tamper::Tamper;
use crate::testing::trace::Trace;

/// A process counts as visited for this long after the last document of it was lost.
const VISIT: Span = Span::from_secs(20);

/// A request that a proxy sends again.
#[derive(Debug)]
struct Ghost {
    cable: Cable,
    until: Instant,
}

/// One agent and its connections.
#[derive(Debug)]
pub struct Pilot {
    /// Its number.
    pub id: usize,
    /// The agent.
    pub agent: Agent,
    /// What its consumer was told.
    pub shadow: Shadow,
    /// What was planned for it.
    pub plan: AgentPlan,
    /// The channels of the plan that its consumer has now.
    pub keys: Vec<Option<ChannelKey>>,
    /// How far its clock is ahead.
    pub ahead: Span,
    /// The latency of its connections.
    pub lag: Span,
    /// Commands that are to reach their server twice.
    pub twice: u32,
    /// Whether a command has.
    pub doubled: bool,
    /// Counts what its consumer sends.
    pub seq: u64,
    /// The channel that an event was about last.
    pub focus: Option<ChannelKey>,
    pub(crate) words: BTreeMap<usize, Word>,
    pub(crate) random: Random,
    pub(crate) trace: Trace,
    pub(crate) streams: BTreeMap<StreamId, Stream>,
    /// Of each route: for commands, and for logins.
    pub(crate) callers: BTreeMap<(RouteId, bool), Caller>,
    ghosts: Vec<Ghost>,
    keyring: Keyring,
    /// How often somebody still meddles with what is sealed.
    pub(crate) attacks: u32,
    /// Processes of which it had a document, and when it lost the last.
    pub(crate) visits: BTreeMap<Life, Instant>,
    pub(crate) shared: Shared,
    pub(crate) sabotage: Option<Sabotage>,
    tampered: bool,
    gone: bool,
}

impl Pilot {
    /// An agent that has done nothing yet.
    pub fn new(id: usize, plan: &AgentPlan, shared: Shared, sabotage: Option<Sabotage>) -> Self {
        Self {
            id,
            agent: Agent::new(plan.settings.clone(), plan.seed),
            shadow: Shadow::default(),
            keys: vec![None; plan.channels.len()],
            ahead: plan.ahead,
            lag: plan.latency,
            twice: 0,
            doubled: false,
            seq: 0,
            focus: None,
            words: BTreeMap::new(),
            random: Random::from_number(!plan.seed),
            trace: Trace::default(),
            plan: plan.clone(),
            streams: BTreeMap::new(),
            callers: BTreeMap::new(),
            ghosts: Vec::new(),
            keyring: Keyring::default(),
            attacks: 10,
            visits: BTreeMap::new(),
            shared,
            sabotage,
            tampered: false,
            gone: false,
        }
    }

    /// Now, on the agent's clock.
    pub fn clock(&self, now: Instant) -> Instant {
        now + self.ahead
    }

    /// Bytes move, time passes, and the agent does what it does.
    pub fn turn(&mut self, net: &mut Network, now: Instant) {
        if self.gone {
            return;
        }
        let streams: Vec<StreamId> = self.streams.keys().copied().collect();
        for stream in streams {
            self.turn_stream(stream, net, now);
        }
        let callers: Vec<_> = self.callers.keys().copied().collect();
        for caller in callers {
            self.turn_caller(caller, net, now);
        }
        self.ghosts.retain_mut(|ghost| {
            ghost.cable.step(&mut net.sites[ghost.cable.site], &mut self.random, now);
            while ghost.cable.take(now).is_some() {}
            if ghost.until <= now {
                ghost.cable.close(&mut net.sites[ghost.cable.site], &mut self.random);
            }
            ghost.until > now
        });
        let clock = self.clock(now);
        let still = self.sabotage == Some(Sabotage::HeartbeatIgnored);
        if self.agent.poll_timeout().is_some_and(|at| at <= clock) && !still {
            self.agent.handle_timeout(clock);
            self.drain(net, now);
            let next = self.agent.poll_timeout();
            assert!(next.is_none_or(|at| at > clock), "a timer of an agent does nothing");
        }
    }

    fn turn_caller(&mut self, which: (RouteId, bool), net: &mut Network, now: Instant) {
        let Some(caller) = self.callers.get_mut(&which) else { return };
        if caller.wants_cable() {
            let route = which.0;
            let site = net.pick(route, self.id, &mut self.random);
            caller.connect(Cable::dial((site, net.door(route)), self.lag, now), now);
        }
        caller.send(now);
        let clock = now + self.ahead;
        for heard in caller.turn(&mut net.sites, &mut self.random, now) {
            match heard {
                Heard::Answer(call, status, wait, body) => {
                    self.trace
                        .note(now, || format!("c{}: {status} {}", call.0, phrase::text(&body)));
                    self.keyring.learn(call, &body);
                    self.agent.handle_answer(call, status, wait, &body, clock);
                }
                Heard::Lost(call) => self.lose_call(call, now),
            }
            self.drain(net, now);
        }
    }

    /// Does what the agent asks for, and tells the shadow what the consumer is told; returns the
    /// documents that the agent has closed.
    pub fn drain(&mut self, net: &mut Network, now: Instant) -> BTreeSet<StreamId> {
        let mut closed = BTreeSet::new();
        while let Some(output) = self.agent.poll_output() {
            self.trace.note(now, || phrase::output(&output));
            match output {
                Output::OpenStream { stream, route, request } => {
                    self.open_stream(stream, route, request, net, now);
                }
                Output::CloseStream { stream } => {
                    closed.insert(stream);
                    if let Some(mut stream) = self.streams.remove(&stream) {
                        let site = stream.cable.site;
                        stream.cable.close(&mut net.sites[site], &mut self.random);
                        let lost = stream.flight.give_up();
                        lost.into_iter().for_each(|call| self.lose_call(call, now));
                    }
                }
                Output::Login { call, route, request } => {
                    self.keyring.expect(call);
                    let bytes = bytes_of(&request, net.door(route) == Door::Raw);
                    let caller = self.callers.entry((route, true)).or_default();
                    if caller.is_idle() {
                        caller.close(&mut net.sites, &mut self.random);
                    }
                    caller.call(call, bytes);
                }
                Output::Call { call, route, request } => {
                    self.shadow.asks(&self.keyring.opened(&request));
                    let bytes = bytes_of(&request, net.door(route) == Door::Raw);
                    if self.twice > 0 {
                        self.twice -= 1;
                        self.doubled = true;
                        self.haunt(route, &bytes.0, net, now);
                    }
                    self.call(route, call, bytes, now);
                }
            }
        }
        while let Some(event) = self.agent.poll_event() {
            self.tell(event, now);
        }
        closed
    }

    fn open_stream(
        &mut self,
        stream: StreamId,
        route: RouteId,
        request: Request,
        net: &Network,
        now: Instant,
    ) {
        self.shadow.asks(&self.keyring.opened(&request));
        let request = self.sabotage_request(request);
        let site = net.pick(route, self.id, &mut self.random);
        let raw = net.door(route) == Door::Raw;
        let mut cable = Cable::dial((site, net.door(route)), self.lag, now);
        cable.send(bytes_of(&request, raw).0, now);
        let (sabotage, done) = (self.sabotage, self.tampered);
        let tamper = Tamper::new(sabotage.filter(|_| !done), &mut self.random);
        let (names, scanner) = (HashMap::new(), Scanner::new(1 << 20));
        let (reader, flight) = (Reader::new(raw, u64::MAX), Flight::new(now));
        let unsealer = self.keyring.unsealer(&request);
        let mid = 0;
        let opened = Stream { cable, route, reader, flight, tamper, scanner, unsealer, names, mid };
        self.streams.insert(stream, opened);
    }

    fn haunt(&mut self, route: RouteId, bytes: &[u8], net: &Network, now: Instant) {
        let site = net.pick(route, self.id, &mut self.random);
        let late = Span::from_millis(self.random.below(2_500));
        let mut cable = Cable::dial((site, net.door(route)), late, now);
        cable.send(bytes.to_vec(), now);
        self.ghosts.push(Ghost { cable, until: now + Span::from_secs(6) });
    }

    fn tell(&mut self, event: Event, now: Instant) {
        self.trace.note(now, || phrase::event(&event));
        self.focus = channel_of(&event).or(self.focus);
        self.visits.retain(|_, last| now.since(*last) < VISIT);
        let visited: Vec<Life> = self.visits.keys().copied().collect();
        let shared = self.shared.clone();
        let mut ledger = shared.lock();
        if self.sabotage == Some(Sabotage::RepeatMessage)
            && matches!(event, Event::Message { .. })
            && self.shadow.events > 30
        {
            self.shadow.take(self.id, event.clone(), &mut ledger, &visited);
        }
        let event = match (self.sabotage, event) {
            (Some(Sabotage::GapUnsaid), Event::Gap { .. }) => return,
            (Some(Sabotage::WrongMissing), Event::Gap { channel, ep, n, missing: Some(m) }) => {
                Event::Gap { channel, ep, n, missing: Some(m - 1) }
            }
            (_, event) => event,
        };
        self.shadow.take(self.id, event, &mut ledger, &visited);
    }

    fn sabotage_request(&mut self, request: Request) -> Request {
        if self.sabotage != Some(Sabotage::WrongLast) {
            return request;
        }
        Request { target: crate::testing::tamper::wrong_last(&request.target), ..request }
    }

    /// The connections that it has now: of its documents, then of its commands.
    pub fn cables(&mut self) -> Vec<&mut Cable> {
        let streams = self.streams.values_mut().map(|stream| &mut stream.cable);
        let callers = self.callers.values_mut().filter_map(Caller::cable);
        streams.chain(callers).filter(|cable| cable.is_live()).collect()
    }

    /// The servers that its documents come from.
    pub fn sites(&self) -> BTreeSet<usize> {
        self.streams.values().map(|stream| stream.cable.site).collect()
    }

    /// Whether none of its commands waits for an answer.
    pub fn is_quiet(&self) -> bool {
        let beside = self.streams.values().any(|stream| stream.flight.is_waiting());
        self.callers.values().all(Caller::is_idle) && !beside
    }

    /// The program ends: with all its connections, however it was.
    pub fn die(&mut self, net: &mut Network) {
        self.gone = true;
        for (_, mut stream) in std::mem::take(&mut self.streams) {
            stream.cable.close(&mut net.sites[stream.cable.site], &mut self.random);
        }
        for (_, mut caller) in std::mem::take(&mut self.callers) {
            caller.close(&mut net.sites, &mut self.random);
        }
        for mut ghost in std::mem::take(&mut self.ghosts) {
            ghost.cable.close(&mut net.sites[ghost.cable.site], &mut self.random);
        }
    }
}
