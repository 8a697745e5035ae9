//! The large world: several servers, real agents, publishers, everything that goes wrong, and what
//! must be true at every event and at the end.

use crate::base::random::Random;
use crate::base::time::{Instant, Span};
use crate::client::event::StreamState;
use crate::testing::deed::{Deed, What};
use crate::testing::ledger::Shared;
use crate::testing::network::Network;
use crate::testing::pilot::Pilot;
use crate::testing::plan::{Numberer, Plan};
use crate::testing::sabotage::Sabotage;
use crate::testing::site::Site;
use crate::testing::source::Source;

/// How long after everything is calm all must be well again: an unanswered command, a wait, a
/// silent document and a channel that is asked for again, one after the other.
const RECOVERY: Span = Span::from_secs(40);

/// What a run has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Virtual time.
    pub time: Span,
    /// Events that were checked.
    pub events: u64,
    /// Messages that consumers got.
    pub messages: u64,
    /// Copies that were dropped.
    pub duplicates: u64,
    /// Gaps within an epoch.
    pub gaps: u64,
    /// Changes of epoch.
    pub turns: u64,
    /// Messages that others stood for.
    pub folded: u64,
    /// Documents that were replaced.
    pub refreshes: u64,
    /// Sessions made.
    pub sessions: u64,
    /// Sends, and those put on the wire again.
    pub sends: u64,
    /// Sends put on the wire again.
    pub resends: u64,
}

impl Tally {
    /// Adds another run.
    pub fn add(&mut self, other: &Self) {
        self.time = self.time + other.time;
        self.events += other.events;
        self.messages += other.messages;
        self.duplicates += other.duplicates;
        self.gaps += other.gaps;
        self.turns += other.turns;
        self.folded += other.folded;
        self.refreshes += other.refreshes;
        self.sessions += other.sessions;
        self.sends += other.sends;
        self.resends += other.resends;
    }
}

/// All that takes part.
#[derive(Debug)]
pub struct Realm {
    /// Now.
    pub now: Instant,
    /// The agent at work, for whoever wants to know where a check failed.
    pub focus: usize,
    pub(crate) plan: Plan,
    pub(crate) net: Network,
    pub(crate) pilots: Vec<Pilot>,
    pub(crate) source: Source,
    pub(crate) shared: Shared,
    random: Random,
    restarting: Vec<(usize, u64, u32)>,
    sabotage: Option<Sabotage>,
    cuts: u32,
}

impl Realm {
    /// The world of a plan.
    pub fn new(plan: &Plan, sabotage: Option<Sabotage>) -> Self {
        let now = Instant::from_nanos(1);
        let shared = Shared::default();
        let mut random = Random::from_number(plan.seed);
        let sites = plan.sites.iter().enumerate();
        let sites = sites.map(|(index, site)| Site::new(index, site, &shared, sabotage, now));
        let net = Network { sites: sites.collect(), routes: plan.routes.clone(), sticky: false };
        let pilots = plan.agents.iter().enumerate();
        let pilots = pilots.map(|(id, agent)| Pilot::new(id, agent, shared.clone(), sabotage));
        let chance = Random::from_seed(random.fork());
        let source = Source::new(&plan.topics, plan.sites.len(), shared.clone(), chance);
        Self {
            now,
            focus: 0,
            net,
            pilots: pilots.collect(),
            source,
            shared,
            random,
            restarting: Vec::new(),
            sabotage,
            cuts: 0,
            plan: plan.clone(),
        }
    }

    /// Keeps traces of all agents and servers.
    pub fn keep_trace(&mut self) {
        self.pilots.iter_mut().for_each(|pilot| pilot.trace.keep());
    }

    /// The last lines of the agent at work.
    pub fn trace(&self, lines: usize) -> String {
        let last: Vec<_> = self.pilots[self.focus].trace.lines().rev().take(lines).collect();
        last.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Tells the whole story.
    ///
    /// # Panics
    ///
    /// If anything is not as it must be.
    pub fn run(&mut self) {
        let deeds = self.plan.deeds.clone();
        for deed in deeds {
            while self.now < deed.at {
                self.step(8, Some(deed.at));
            }
            self.act(&deed);
        }
        while self.now < self.plan.end {
            self.step(8, None);
        }
        self.settle();
        self.farewell();
    }

    /// Time passes: up to `millis`, and not beyond `until`.
    fn step(&mut self, millis: u64, until: Option<Instant>) {
        let long = if self.random.below(10) == 0 { 4 } else { 1 };
        let span = Span::from_micros(1 + self.random.below(millis * long * 1_000));
        let span = until.map_or(span, |until| span.min(until.since(self.now)));
        self.now += span;
        for site in &mut self.net.sites {
            site.step(span, self.now);
        }
        self.restarting.retain(|&(site, again, life)| {
            let server = &mut self.net.sites[site];
            let started = server.world.life != life;
            if started {
                self.source.restarted(server, again);
            }
            !started
        });
        self.source.turn(&mut self.net.sites);
        for at in 0..self.pilots.len() {
            self.focus = at;
            self.pilots[at].turn(&mut self.net, self.now);
        }
    }

    fn act(&mut self, deed: &Deed) {
        let mut random = deed.random();
        if let (Some(Sabotage::WrongCheck), What::Cut { .. }) = (self.sabotage, deed.what) {
            self.cuts += 1;
            assert!(self.cuts < 3, "a third cut");
        }
        self.pilots[self.focus].trace.note(self.now, || format!("DEED {:?}", deed.what));
        match deed.what {
            What::Restart { site, graceful, down, dark, again } => {
                let life = self.net.sites[site].world.life;
                self.net.sites[site].end(graceful, down, dark, self.now);
                self.restarting.push((site, again, life));
            }
            What::Drain { site, within, down, again } => {
                let life = self.net.sites[site].world.life;
                self.net.sites[site].drain(within, down, self.now);
                self.restarting.push((site, again, life));
            }
            What::Partition { site, span, dark } => self.part(site, span, dark, &mut random),
            What::SiteJump { site, span } => self.net.sites[site].jump(span),
            What::PublishTwice { topic } => {
                self.source.repeat(topic, &mut self.net.sites, &mut random);
            }
            What::CutPublisher { site } => self.source.cut(&mut self.net.sites[site]),
            What::Publish { topic, count } => {
                self.source.publish(topic, count, &mut self.net.sites, &mut random);
            }
            What::NewEpoch { topic } => self.source.begin_epoch(topic, &mut random),
            What::Hole { topic, count } => self.source.pass_over(topic, count),
            what => {
                let Some(agent) = what.agent() else { return };
                self.focus = agent;
                let topics = &self.plan.topics;
                let pilot = &mut self.pilots[agent];
                pilot.act(deed.what, self.plan.long, topics, &mut self.net, self.now, &mut random);
            }
        }
    }

    fn part(&mut self, site: usize, span: Span, dark: bool, random: &mut Random) {
        self.net.sites[site].part(span, dark, self.now);
        self.source.cut(&mut self.net.sites[site]);
        for pilot in &mut self.pilots {
            for cable in pilot.cables().into_iter().filter(|cable| cable.site == site) {
                let server = &mut self.net.sites[site];
                if dark {
                    cable.darken(server, random);
                } else {
                    cable.cut(server, random, self.now);
                }
            }
        }
    }

    /// Nothing goes wrong any more: in a bounded time all is well.
    fn settle(&mut self) {
        self.net.sites.iter_mut().for_each(|site| site.calm(self.now));
        self.net.sticky = true;
        for pilot in &mut self.pilots {
            pilot.lag = pilot.lag.min(Span::from_millis(20));
            pilot.twice = 0;
            let lag = pilot.lag;
            pilot.cables().into_iter().for_each(|cable| cable.lag(lag));
            pilot.trace.note(self.now, || "CALM".to_string());
        }
        // What one topic's publisher says last is known to all, so that heads can be compared.
        let mut random = Random::from_seed(self.random.fork());
        while !self.net.sites.iter().all(|site| site.is_open() && !site.is_leaving()) {
            self.step(8, None);
        }
        for topic in 0..self.plan.topics.len() {
            let numberer = self.plan.topics[topic].numberer;
            if matches!(numberer, Numberer::Source | Numberer::Site) {
                self.source.publish(topic, 1, &mut self.net.sites, &mut random);
            }
        }
        let until = self.now + RECOVERY;
        loop {
            self.step(12, None);
            let last = self.now >= until;
            let served = self.source.is_settled(self.net.sites.len());
            assert!(served || !last, "a publisher waits for an answer: {:?}", self.source);
            let mut all = served;
            for at in 0..self.pilots.len() {
                self.focus = at;
                let pilot = &mut self.pilots[at];
                pilot.last_words(&self.plan, &mut self.net, self.now);
                let why = pilot.unsettled(&self.plan, &self.net, &self.source, &self.shared);
                if let Some(why) = why {
                    assert!(!last, "agent {at} does not recover: {why}");
                    all = false;
                }
            }
            if all {
                break;
            }
        }
        // What was taken may still be on its way to its resource.
        let until = self.now + Span::from_millis(900);
        while self.now < until {
            self.step(20, None);
        }
        for at in 0..self.pilots.len() {
            self.focus = at;
            let doubled = self.pilots[at].doubled;
            self.shared.lock().inbound.check(at, doubled);
        }
    }

    /// Everybody leaves, one way or the other; nothing must stay behind.
    fn farewell(&mut self) {
        for at in 0..self.pilots.len() {
            self.focus = at;
            let pilot = &mut self.pilots[at];
            pilot.trace.note(self.now, || "FAREWELL".to_string());
            if self.random.below(2) == 0 {
                pilot.agent.stop(pilot.clock(self.now));
                pilot.drain(&mut self.net, self.now);
                assert_eq!(pilot.agent.state(), StreamState::Stopped);
                assert_eq!(pilot.agent.poll_timeout(), None, "a stopped agent waits");
            } else {
                pilot.die(&mut self.net);
            }
        }
        let until = self.now + Span::from_secs(2);
        while self.now < until {
            self.step(40, None);
        }
        for pilot in &mut self.pilots {
            pilot.die(&mut self.net);
        }
        let longest = self.net.sites.iter().map(|site| {
            let settings = site.settings();
            settings.idle_timeout.max(settings.linger) + settings.heartbeat_max.times(6)
        });
        let until = self.now + longest.max().unwrap_or_default() + Span::from_secs(4);
        while self.now < until {
            self.step(120, None);
        }
        for site in &self.net.sites {
            for (shard, hub) in site.world.hubs.iter().enumerate() {
                let counts = (hub.connection_count(), hub.session_count(), hub.document_count());
                let who = format!("server {} shard {shard}", site.index);
                assert_eq!(counts, (0, 0, 0), "connections, sessions, documents of {who}");
            }
        }
    }

    /// The channel that the agent at work was told of last.
    pub fn focus_name(&self) -> String {
        let of = self.pilots[self.focus].focus_name();
        of.map_or_else(String::new, |(key, topic)| format!("{key:?} {topic}"))
    }

    /// What this run has seen so far.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally { time: self.now.since(Instant::ZERO), ..Tally::default() };
        for pilot in &self.pilots {
            let counters = pilot.agent.counters();
            tally.events += pilot.shadow.events;
            tally.gaps += pilot.shadow.gaps.0;
            tally.turns += pilot.shadow.gaps.1;
            tally.sessions += pilot.shadow.sessions;
            tally.messages += counters.messages;
            tally.duplicates += counters.duplicates;
            tally.folded += counters.folded;
            tally.refreshes += counters.refreshes;
            tally.sends += counters.sends;
            tally.resends += counters.resends;
        }
        tally
    }
}
