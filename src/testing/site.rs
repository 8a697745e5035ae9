//! One server of the large world: its process, its clock, and whether it can be reached.

use std::sync::Arc;

use crate::base::time::{Instant, Span};
use crate::proto::connection::Door;
use crate::testing::ledger::{Shared, Standing};
use crate::testing::offices::directory;
use crate::testing::plan::SitePlan;
use crate::testing::sabotage::Sabotage;
use crate::testing::world::World;

/// How long a server that stops waits for its connections.
const GRACE: Span = Span::from_millis(250);

/// What a client finds that connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialled {
    /// The connection, in the server's world.
    Wire(usize),
    /// Nobody listens.
    Refused,
    /// Nobody answers.
    Silence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Open,
    /// Until then; `true`: nobody even refuses.
    Away(Instant, bool),
}

/// One server.
#[derive(Debug)]
pub struct Site {
    /// Its number.
    pub index: usize,
    /// Its process.
    pub world: World,
    shared: Shared,
    reach: Reach,
    /// The process ends at this moment; then: for how long nobody is there, and whether in silence.
    stopping: Option<(Instant, Span, bool)>,
    /// At this moment a process that drains ends; then: for how long nobody is there.
    draining: Option<(Instant, Span)>,
    /// No process runs until then.
    dead_until: Option<Instant>,
    /// Time that the process has not seen yet.
    owed: Span,
}

impl Site {
    /// A server that has just been started.
    pub fn new(
        index: usize,
        plan: &SitePlan,
        shared: &Shared,
        sabotage: Option<Sabotage>,
        now: Instant,
    ) -> Self {
        let directory = directory(index, shared, sabotage);
        let mut world = World::new(plan.seed, plan.shards, plan.settings.clone(), directory);
        world.rough = plan.rough;
        let history = plan.settings.history;
        shared.lock().sites.push(Standing { life: world.life, now: world.now, history });
        let owed = now.since(world.now) + plan.ahead;
        let mut site = Self {
            index,
            world,
            shared: shared.clone(),
            reach: Reach::Open,
            stopping: None,
            draining: None,
            dead_until: None,
            owed,
        };
        site.step(Span::ZERO, now);
        site
    }

    /// Whether it takes connections and they reach it.
    pub fn is_open(&self) -> bool {
        self.reach == Reach::Open && self.stopping.is_none()
    }

    /// Whether its process is about to end.
    pub fn is_leaving(&self) -> bool {
        self.stopping.is_some() || self.draining.is_some()
    }

    /// Whether its process runs.
    pub fn is_alive(&self) -> bool {
        self.dead_until.is_none()
    }

    /// A client connects.
    pub fn dial(&mut self, door: Door) -> Dialled {
        match self.reach {
            Reach::Away(_, true) => Dialled::Silence,
            Reach::Away(_, false) => Dialled::Refused,
            Reach::Open if self.stopping.is_some() => Dialled::Refused,
            Reach::Open => self.world.try_connect(door).map_or(Dialled::Refused, Dialled::Wire),
        }
    }

    /// Time passes.
    pub fn step(&mut self, span: Span, now: Instant) {
        self.owed = self.owed + span;
        if let Reach::Away(until, _) = self.reach
            && until <= now
        {
            self.reach = Reach::Open;
        }
        if self.dead_until.is_some_and(|until| until <= now) {
            self.dead_until = None;
        }
        if let Some((at, down)) = self.draining
            && at <= now
        {
            self.draining = None;
            self.end(true, down, false, now);
        }
        if let Some((at, down, dark)) = self.stopping
            && at <= now
        {
            self.stopping = None;
            self.kill(down, dark, now);
        }
        if self.dead_until.is_none() {
            // Before what happens in it, so that whoever asks during the step is told this time.
            let owed = std::mem::replace(&mut self.owed, Span::ZERO);
            self.shared.lock().sites[self.index].now = self.world.now + owed;
            self.world.step(owed);
        }
    }

    /// Its clock jumps ahead at the next step.
    pub fn jump(&mut self, span: Span) {
        self.owed = self.owed + span;
    }

    /// It cannot be reached for a while.
    pub fn part(&mut self, span: Span, dark: bool, now: Instant) {
        if self.reach == Reach::Open {
            self.reach = Reach::Away(now + span, dark);
        }
    }

    /// Its process ends, at once or after it has said so; `down` later another is there.
    pub fn end(&mut self, graceful: bool, down: Span, dark: bool, now: Instant) {
        if !self.is_alive() || self.stopping.is_some() {
            return;
        }
        if !graceful {
            return self.kill(down, dark, now);
        }
        self.stopping = Some((now + GRACE, down, dark));
        let clock = self.world.now;
        self.world.hubs.iter_mut().for_each(|hub| hub.handle_shutdown(clock));
    }

    /// Its clients are asked to go elsewhere; `within` later its process ends.
    pub fn drain(&mut self, within: Span, down: Span, now: Instant) {
        if self.is_alive() && self.stopping.is_none() && self.draining.is_none() {
            self.draining = Some((now + within, down));
            let clock = self.world.now;
            self.world.hubs.iter_mut().for_each(|hub| hub.handle_drain(within, clock));
        }
    }

    fn kill(&mut self, down: Span, dark: bool, now: Instant) {
        self.draining = None;
        self.world.restart(false);
        let mut ledger = self.shared.lock();
        for payload in self.world.take_lost() {
            ledger.inbound.lose(&payload);
        }
        ledger.sites[self.index].life = self.world.life;
        self.reach = Reach::Away(now + down, dark);
        self.dead_until = Some(now + down);
    }

    /// From now on nothing goes wrong.
    pub fn calm(&mut self, now: Instant) {
        self.world.calm();
        self.reach = match self.reach {
            Reach::Away(until, dark) => Reach::Away(until.min(now), dark),
            Reach::Open => Reach::Open,
        };
        if self.dead_until.is_some() {
            self.dead_until = Some(now);
        }
    }

    /// The settings of every process.
    pub fn settings(&self) -> Arc<crate::proto::settings::Settings> {
        self.world.settings.clone()
    }
}
