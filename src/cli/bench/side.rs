//! The streams beside the running ones, on a thread of their own: they stall and wake up, or are
//! cut and come back.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};

use crate::base::backoff::Backoff;
use crate::base::random::Random;
use crate::base::time::{Instant, Span};
use crate::cli::bench::plan::{Plan, Role};
use crate::cli::bench::publisher::Published;
use crate::cli::bench::record::{Percentiles, seconds};
use crate::cli::bench::scenario::{Scenario, Stalled, Storm, Unread, Woken};
use crate::cli::bench::sink::{histogram, record};
use crate::cli::bench::swarm::Swarm;
use crate::reactor::clock::Clock;

/// From one stream's waking up to the next one's.
const WAKE_EVERY: Span = Span::from_millis(5);
/// The longest wait of a turn.
const TURN: Span = Span::from_millis(5);
/// The longest wait while streams come back.
const TURN_OF_STORM: Span = Span::from_millis(1);
/// No stream comes back sooner than this after it was cut.
const FLOOR: Span = Span::from_millis(50);
/// What was expected is there: what comes twice shows within this.
const SILENCE: Span = Span::from_millis(50);

/// What the other threads see of it while it runs.
#[derive(Debug, Default)]
pub struct Watch {
    /// When all streams of the storm were cut, in nanoseconds of the driver's clock; 0 before.
    pub cut: AtomicU64,
    /// When all streams of the storm were back, in nanoseconds of the driver's clock; 0 before.
    pub back: AtomicU64,
    /// Stalled streams that the server has dropped.
    pub dropped: AtomicU64,
}

/// What was published, once that is known.
#[derive(Debug)]
pub struct Counts {
    /// Messages taken, by topic.
    pub accepted: Vec<u64>,
    /// Sequence number of the last message taken, by topic.
    pub newest: Vec<u64>,
}

impl Counts {
    /// Those of `published`.
    pub fn of(published: &Published) -> Self {
        let Published { accepted, newest, .. } = published;
        Self { accepted: accepted.clone(), newest: newest.clone() }
    }
}

/// The thread's state.
#[derive(Debug)]
pub struct Side<'p> {
    plan: &'p Plan,
    role: Role,
    clock: Clock,
    watch: &'p Watch,
    swarm: Swarm<'p>,
    start: Instant,
    random: Random,
    /// When which stream comes back.
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    backoffs: Vec<Backoff>,
    /// How long it took to reset all streams of the storm, once that is done.
    cut: Option<Span>,
    attempts_failed: u64,
    back_at: Option<Instant>,
    woken: usize,
    woken_streams: u64,
    /// What lay unread in the stalled streams at the end of the warm-up, and of the messages.
    looks: Vec<Vec<Option<usize>>>,
    counts: Option<Counts>,
}

impl<'p> Side<'p> {
    /// The streams of `swarm`, all open, in a run whose first message is due at `start`.
    pub fn new(
        plan: &'p Plan,
        role: Role,
        clock: Clock,
        watch: &'p Watch,
        swarm: Swarm<'p>,
        start: Instant,
    ) -> Self {
        Self {
            plan,
            role,
            clock,
            watch,
            swarm,
            start,
            random: Random::from_number(u64::from(plan.run)),
            due: BinaryHeap::new(),
            backoffs: Vec::new(),
            cut: None,
            attempts_failed: 0,
            back_at: None,
            woken: 0,
            woken_streams: 0,
            looks: Vec::new(),
            counts: None,
        }
    }

    /// Goes on until everything that was published has arrived or nothing does any more; at once
    /// if the other end of `counts` is dropped.
    ///
    /// # Errors
    /// A sentence: the poller failed.
    pub fn run(mut self, counts: &Receiver<Counts>) -> Result<(Scenario, Swarm<'p>), String> {
        let (mut deliveries, mut since) = (0, self.clock.now());
        loop {
            match self.role {
                Role::Storm => self.storm(),
                Role::Stalled | Role::Running => {
                    self.wake();
                    self.look();
                }
            }
            let turn =
                if self.cut.is_some() && self.back_at.is_none() { TURN_OF_STORM } else { TURN };
            self.swarm.turn(turn)?;
            self.watch.dropped.store(self.swarm.dropped.len() as u64, Ordering::Relaxed);
            match counts.try_recv() {
                Ok(counts) => (self.counts, since) = (Some(counts), self.clock.now()),
                Err(TryRecvError::Disconnected) if self.counts.is_none() => break,
                Err(_) => {}
            }
            let now = self.clock.now();
            if self.swarm.gauge.tally.deliveries > deliveries {
                (deliveries, since) = (self.swarm.gauge.tally.deliveries, now);
            }
            let patience = if self.is_complete() { SILENCE } else { self.plan.drain };
            if self.counts.is_some() && now.since(since) >= patience {
                break;
            }
        }
        Ok((self.scenario(), self.swarm))
    }

    /// Whether nothing more is waited for.
    fn is_complete(&self) -> bool {
        let Some(Counts { accepted, newest }) = &self.counts else { return false };
        match self.role {
            Role::Storm => self.back_at.is_some() && self.swarm.missing(accepted, newest) == 0,
            Role::Stalled | Role::Running => self.swarm.waking() == 0,
        }
    }

    /// Cuts when it is time, and has those come back whose moment has come.
    fn storm(&mut self) {
        let now = self.clock.now();
        if self.cut.is_none() {
            if now < self.plan.cut_at(self.start) {
                return;
            }
            self.swarm.cut_all();
            let done = self.clock.now();
            self.cut = Some(done.since(now));
            self.watch.cut.store(done.as_nanos(), Ordering::Relaxed);
            self.swarm.opening = histogram();
            let (base, cap) = (self.plan.spread, self.plan.spread.times(4));
            let backoff = Backoff { floor: FLOOR, base, cap, failed: 0 };
            self.backoffs = vec![backoff; self.swarm.count()];
            (0..self.swarm.count()).for_each(|at| self.schedule(at, now));
        }
        for at in std::mem::take(&mut self.swarm.failed) {
            self.attempts_failed += 1;
            self.schedule(at, now);
        }
        while let Some(Reverse((due, at))) = self.due.peek().copied()
            && due <= now
        {
            self.due.pop();
            self.swarm.come_back(at);
        }
        if self.back_at.is_none() && self.swarm.is_open() {
            self.back_at = Some(now);
            self.watch.back.store(now.as_nanos(), Ordering::Relaxed);
        }
    }

    fn schedule(&mut self, at: usize, now: Instant) {
        let wait = self.backoffs[at].wait(&mut self.random);
        self.due.push(Reverse((now + wait, at)));
    }

    /// Wakes the streams up whose moment has come.
    fn wake(&mut self) {
        let Some(after) = self.plan.wake_after else { return };
        let now = self.clock.now();
        let due = |woken: usize| self.start + after + WAKE_EVERY.times(woken as u64);
        while self.woken < self.swarm.count() && due(self.woken) <= now {
            self.woken_streams += u64::from(self.swarm.wake(self.woken));
            self.woken += 1;
        }
    }

    /// Looks at what lies unread in the stalled streams, when it is time.
    fn look(&mut self) {
        let measured = self.start + self.plan.warmup;
        let moments = [measured, measured + self.plan.measured];
        let next = moments.get(self.looks.len()).filter(|_| self.plan.wake_after.is_none());
        if next.is_some_and(|at| *at <= self.clock.now()) {
            let unread = self.swarm.unread();
            self.looks.push(unread);
        }
    }

    fn scenario(&self) -> Scenario {
        let tally = self.swarm.gauge.tally;
        let streams = self.swarm.count() as u64;
        if self.role != Role::Storm {
            let mut dropped = histogram();
            let spans = self.swarm.dropped.iter().map(|at| at.since(self.start));
            spans.for_each(|span| record(&mut dropped, span));
            let woken = || Woken::of(self.woken_streams, &self.swarm.awake, tally);
            return Scenario::Stalled(Stalled {
                streams,
                dropped: self.swarm.dropped.len() as u64,
                dropped_ms: Percentiles::of(&dropped),
                unread: match &self.looks[..] {
                    [full, end] => Some(Unread::of(full, end)),
                    _ => None,
                },
                woken: self.plan.wake_after.map(|_| woken()),
            });
        }
        let took = |back: Instant| seconds(back.since(self.plan.cut_at(self.start)));
        let counts = self.counts.as_ref();
        Scenario::Storm(Storm {
            streams,
            cut_seconds: self.cut.map_or(0.0, seconds),
            spread: seconds(self.plan.spread),
            back: self.swarm.open() as u64,
            seconds: self.back_at.map(took),
            attempts_failed: self.attempts_failed,
            reopen_ms: Percentiles::of(&self.swarm.opening),
            expected: counts.map_or(0, |counts| self.swarm.expected(&counts.accepted)),
            lost: counts.map_or(0, |counts| self.swarm.missing(&counts.accepted, &counts.newest)),
            tally,
            ..Storm::default()
        })
    }
}
