//! Two streams to one subscriber: the first copy of a message counts, the second is dropped by its
//! number.

use serde::Serialize;

use crate::cli::bench::plan::Plan;
use crate::cli::bench::record::Percentiles;
use crate::cli::bench::swarm::{Subscriber, Swarm};
use crate::cli::bench::tally::{Mode, Slot, Tally};

/// What both streams of each subscriber came to together. Empty in runs with one server.
#[derive(Debug, Default)]
pub struct Copies {
    /// One for each subscriber and topic.
    pub slots: Vec<Slot>,
    /// `unique`: first copies; `repeated`: second ones.
    pub tally: Tally,
    /// Streams that broke while the other one of their subscriber went on, and might.
    pub cut: u64,
}

impl Copies {
    /// Accounts for `plan`.
    pub fn new(plan: &Plan) -> Self {
        let slots = if plan.twin.is_some() { plan.subscribers * plan.per } else { 0 };
        Self { slots: vec![Slot::default(); slots], ..Self::default() }
    }

    /// The accounts of subscriber `reader`, if there are any.
    pub(crate) fn of(&mut self, reader: usize, per: usize) -> Option<Pairing<'_>> {
        let slots = self.slots.get_mut(reader * per..)?.get_mut(..per)?;
        Some(Pairing { slots, tally: &mut self.tally })
    }
}

/// The accounts of one subscriber, open for the lines of one read.
#[derive(Debug)]
pub struct Pairing<'s> {
    slots: &'s mut [Slot],
    tally: &'s mut Tally,
}

impl Pairing<'_> {
    /// Notes that channel `at` was opened after offset `n` of `epoch` on one of the streams. False:
    /// the other one counts in another epoch.
    pub(crate) fn opened(&mut self, at: usize, epoch: u64, n: u64) -> bool {
        let slot = &mut self.slots[at];
        if slot.cid == 0 {
            slot.opened(1, epoch, n);
        }
        slot.is_of(epoch)
    }

    /// Notes a message; true if it is the first copy.
    pub(crate) fn message(&mut self, at: usize, n: u64, seq: u64) -> bool {
        let unique = self.tally.unique;
        self.slots[at].message(n, seq, Mode::Queue, self.tally);
        self.tally.unique > unique
    }
}

/// What became of runs with two servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Doubled {
    /// Messages that came first on either stream.
    pub first: u64,
    /// Copies dropped because they had come before.
    pub dropped: u64,
    /// First copies that came after a later message.
    pub out_of_order: u64,
    /// Messages passed over on both streams without a gap frame.
    pub silent: u64,
    /// Which server was killed, from 1; none: neither.
    pub killed: Option<usize>,
    /// Streams that it took along.
    pub cut: u64,
    /// Streams that there were to it.
    pub streams: u64,
    /// Latency of first copies up to half a second before the kill, or the middle where none is
    /// killed.
    pub before_ms: Percentiles,
    /// In the second around it.
    pub through_ms: Percentiles,
    /// After that.
    pub after_ms: Percentiles,
}

impl Doubled {
    /// What `swarm` came to; `killed`: a server was.
    pub fn of(swarm: &Swarm<'_>, killed: bool) -> Self {
        let Copies { tally, cut, .. } = swarm.copies;
        let victim = swarm.plan.victim.filter(|_| killed);
        let parts = swarm.gauge.split.as_ref().map(|split| &split.parts);
        let part = |at: usize| parts.map_or_else(Percentiles::default, |p| Percentiles::of(&p[at]));
        Self {
            first: tally.unique,
            dropped: tally.repeated,
            out_of_order: tally.out_of_order,
            silent: tally.silent,
            killed: victim.map(|victim| victim.server + 1),
            cut,
            streams: if victim.is_some() { swarm.plan.subscribers as u64 } else { 0 },
            before_ms: part(0),
            through_ms: part(1),
            after_ms: part(2),
        }
    }

    /// What makes the run a failure, one sentence each.
    pub fn failures(&self) -> Vec<String> {
        let counts = [
            (self.out_of_order, "first copies out of order"),
            (self.silent, "offsets passed over on both streams"),
            (self.streams.abs_diff(self.cut), "streams cut too few or too many"),
        ];
        let wrong = counts.iter().filter(|(count, _)| *count > 0);
        wrong.map(|(count, of)| format!("{count} {of}")).collect()
    }
}

impl Swarm<'_> {
    /// Whether stream `at` may break: its server is killed, and the other stream of its subscriber
    /// goes on.
    pub(crate) fn may_break(&self, at: usize) -> bool {
        let Plan { subscribers, victim, .. } = self.plan;
        let Some(victim) = victim else { return false };
        let other = (at + subscribers) % self.count;
        let goes_on = |other: &Subscriber| other.stream.is_some();
        at / subscribers == victim.server
            && self.breaks_from <= self.clock.now()
            && self.subscribers.get(other).is_some_and(goes_on)
    }

    /// The accounts that count: of each stream, or with two servers of each subscriber.
    fn accounts(&self) -> &[Slot] {
        if self.copies.slots.is_empty() { &self.slots } else { &self.copies.slots }
    }

    /// Deliveries that `accepted` messages of each topic should have made.
    pub fn expected(&self, accepted: &[u64]) -> u64 {
        (0..self.accounts().len()).map(|at| accepted[self.topic(at)]).sum()
    }

    /// Places where `accepted` messages of each topic should have arrived, or in mode `latest` the
    /// `newest`, and have not.
    pub fn missing(&self, accepted: &[u64], newest: &[u64]) -> u64 {
        let missing = self.accounts().iter().enumerate().map(|(at, slot)| {
            let topic = self.topic(at);
            match self.plan.mode {
                Mode::Queue => accepted[topic].saturating_sub(slot.unique),
                Mode::Latest => u64::from(slot.last_seq < newest[topic]),
            }
        });
        missing.sum()
    }

    /// The topic of account `at`.
    fn topic(&self, at: usize) -> usize {
        self.plan.topic(self.first + at / self.plan.per, at % self.plan.per)
    }
}
