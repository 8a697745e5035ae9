//! Home and follower shards: sealing what a turn published, and passing it on.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::id::{Cid, ShardId};
use crate::base::limits;
use crate::base::reason::ChannelEnd;
use crate::proto::hub::Hub;
use crate::proto::parcel::Parcel;
use crate::proto::run::{Mark, Place, Run};
use crate::proto::topic::Role;

/// Runs in one parcel at most.
const PARCEL_RUNS_MAX: usize = 1_024;

/// The way from this home to one follower shard.
#[derive(Debug)]
pub struct Lane {
    /// Parcels of runs that may still be posted.
    credits: u32,
    /// Topics with runs that were not posted yet.
    waiting: VecDeque<u32>,
}

impl Lane {
    /// A lane with all its credits.
    pub const fn new() -> Self {
        Self { credits: limits::FOLLOW_CREDITS, waiting: VecDeque::new() }
    }
}

impl Default for Lane {
    fn default() -> Self {
        Self::new()
    }
}

impl Hub {
    /// Carries out what waits for the end of the turn; says whether there was anything.
    pub(crate) fn settle(&mut self) -> bool {
        let mut any = false;
        while let Some(slot) = self.touched.pop() {
            self.seal(slot);
            any = true;
        }
        any | self.post_runs() | self.relieve()
    }

    /// Takes a parcel that is not about this hub's own connections alone.
    pub(crate) fn take_parcel(&mut self, parcel: Parcel) {
        match parcel {
            Parcel::Ask(ask) => self.take_ask(*ask),
            Parcel::Ruling(ask, name, ruling) => self.take_ruling(ask, &name, *ruling),
            Parcel::Runs(home, runs) => self.take_runs(home, runs),
            Parcel::Credit(shard) => self.lanes[shard.index()].credits += 1,
            Parcel::Unfollow(shard, number) => self.take_unfollow(shard, number),
            Parcel::Command(forwarded) => self.take_command(*forwarded),
            Parcel::Answer(reply, answer) => self.give(reply, *answer),
            Parcel::Publish(reply, items) => self.take_publish(reply, items),
            Parcel::Published(reply, outcomes) => self.take_published(reply, outcomes),
            Parcel::Delivery(delivery) => self.take_delivery(*delivery),
            Parcel::Joined(want, shard, topic) => self.take_joined(want, shard, topic),
            Parcel::Release(want) => self.release_want(want),
            Parcel::Told(want, told) => self.take_told(want, told),
            Parcel::Access(topic, list) => self.take_access(topic, list),
            Parcel::Reply(topic, reply) => self.take_reply(topic, reply),
            Parcel::Tell(mid, cid, said) => self.take_tell(mid, cid, &said.0, &said.1),
            Parcel::Outcome(mid, cid, n, outcome) => self.take_outcome(mid, cid, n, outcome),
            Parcel::History(ask) => self.take_history(*ask),
            Parcel::Metrics(reply) => self.tell_metrics(reply),
            Parcel::Control(reply, order) => self.take_control(reply, *order),
        }
    }

    /// Marks a topic as changed in this turn.
    pub(crate) fn touch(&mut self, slot: u32) {
        let Some(topic) = self.topics.slots.at_mut(slot) else { return };
        if !topic.touched {
            topic.touched = true;
            self.touched.push(slot);
        }
    }

    /// Puts the topic's new messages into its log and tells its readers.
    pub(crate) fn seal(&mut self, slot: u32) {
        let now = self.now;
        let Some(topic) = self.topics.slots.at_mut(slot) else { return };
        topic.touched = false;
        if topic.builder.is_empty() {
            return;
        }
        let run = topic.builder.seal(topic.log.end(), now);
        self.append(slot, Arc::new(run));
    }

    /// Puts a mark into the topic's log, after the messages before it.
    pub(crate) fn put_mark(&mut self, slot: u32, end: impl FnOnce(&Place) -> (Place, Mark)) {
        self.seal(slot);
        let now = self.now;
        let Some(topic) = self.topics.slots.at(slot) else { return };
        let (place, mark) = end(topic.log.end());
        let run = Run::mark(&place, now, mark, topic.number, &topic.name);
        self.append(slot, Arc::new(run));
    }

    /// Ends a topic for all its readers.
    pub(crate) fn end_topic(&mut self, slot: u32, end: ChannelEnd) {
        self.put_mark(slot, |place| (*place, Mark::End(end)));
    }

    /// Adds a run to a topic's log, bounds the log, and tells readers and followers.
    pub(crate) fn append(&mut self, slot: u32, run: Arc<Run>) {
        let now = self.now;
        let Some(topic) = self.topics.slots.at_mut(slot) else { return };
        let before = topic.log.bytes();
        topic.log.push(run);
        let history = topic.options.history.unwrap_or(self.settings.history);
        topic.log.trim(&history, topic.held.place(), now);
        let after = topic.log.bytes();
        if !matches!(topic.role, Role::Follower(_)) {
            self.history_bytes = self.history_bytes + after - before;
        }
        if let Role::Home { followers, .. } = &mut topic.role {
            for follower in followers {
                if !follower.waiting {
                    follower.waiting = true;
                    self.lanes[follower.shard.index()].waiting.push_back(slot);
                }
            }
        }
        self.wake_readers(slot);
        if self.history_bytes > self.settings.history_bytes_max / usize::from(self.shards) {
            self.cut_histories();
        }
    }

    /// Posts each follower shard what it has not got, one parcel while it has credit.
    fn post_runs(&mut self) -> bool {
        let mut any = false;
        for index in 0..self.lanes.len() {
            while self.lanes[index].credits > 0 && !self.lanes[index].waiting.is_empty() {
                let runs = self.collect_runs(index);
                if runs.is_empty() {
                    continue;
                }
                self.lanes[index].credits -= 1;
                self.post(ShardId(index as u8), Parcel::Runs(self.shard, runs));
                any = true;
            }
        }
        any
    }

    fn collect_runs(&mut self, lane: usize) -> Vec<(Cid, Arc<Run>)> {
        let shard = ShardId(lane as u8);
        let mut runs = Vec::new();
        while runs.len() < PARCEL_RUNS_MAX
            && let Some(slot) = self.lanes[lane].waiting.pop_front()
        {
            let Some(topic) = self.topics.slots.at_mut(slot) else { continue };
            let Role::Home { followers, .. } = &mut topic.role else { continue };
            let Some(follower) = followers.iter_mut().find(|follower| follower.shard == shard)
            else {
                continue;
            };
            follower.waiting = false;
            let number = topic.number;
            runs.extend(topic.log.runs_from(follower.sent).map(|run| (number, Arc::clone(run))));
            follower.sent = topic.log.end().place;
        }
        runs
    }

    fn take_runs(&mut self, home: ShardId, runs: Vec<(Cid, Arc<Run>)>) {
        for (number, run) in runs {
            let Some(slot) = self.topics.find_number(number) else { continue };
            let Some(topic) = self.topics.slots.at(slot) else { continue };
            if run.first_place >= topic.log.end().place {
                self.append(slot, run);
            }
        }
        self.post(home, Parcel::Credit(self.shard));
    }

    fn take_unfollow(&mut self, shard: ShardId, number: Cid) {
        let Some(slot) = self.topics.find_number(number) else { return };
        let now = self.now;
        let Some(topic) = self.topics.slots.at_mut(slot) else { return };
        if let Role::Home { followers, .. } = &mut topic.role {
            followers.retain(|follower| follower.shard != shard);
            topic.quiet_since = now;
        }
    }

    /// Drops the oldest runs of all topics until the histories together fit well again.
    fn cut_histories(&mut self) {
        let limit = self.settings.history_bytes_max / usize::from(self.shards);
        let target = limit - limit / 16;
        let slots = &self.topics.slots;
        let mut oldest: std::collections::BinaryHeap<_> = slots
            .keys()
            .filter_map(|key| {
                let topic = slots.get(key)?;
                let shared = !matches!(topic.role, Role::Follower(_));
                shared.then(|| topic.log.oldest().map(|at| (at, key.slot))).flatten()
            })
            .map(std::cmp::Reverse)
            .collect();
        while self.history_bytes > target
            && let Some(std::cmp::Reverse((_, slot))) = oldest.pop()
        {
            let Some(topic) = self.topics.slots.at_mut(slot) else { continue };
            let before = topic.log.bytes();
            if topic.log.drop_oldest() {
                self.stats.histories_cut += 1;
                self.history_bytes -= before - topic.log.bytes();
                if let Some(at) = topic.log.oldest() {
                    oldest.push(std::cmp::Reverse((at, slot)));
                }
            }
        }
    }
}
