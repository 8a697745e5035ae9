//! A topic's log: a bounded deque of shared runs, with epoch and offset.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::id::Offset;
use crate::base::time::Instant;
use crate::proto::run::{Kind, Mark, Place, Run};
use crate::proto::settings::History;
use crate::wire::position::Position;

/// Where a reader begins, and what it has missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located {
    /// The first place to read.
    pub place: u64,
    /// What lies between the wanted position and that place.
    pub missed: Missed,
}

/// What a reader has missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// Nothing.
    Nothing,
    /// So many messages.
    Messages(u64),
    /// Nobody can tell how many.
    Unknown,
}

impl Missed {
    /// What is missed where one stretch follows another.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, other) => other,
            (this, Self::Nothing) => this,
            (Self::Messages(first), Self::Messages(second)) => Self::Messages(first + second),
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
        }
    }
}

/// One append-only log with a bounded history. Home and followers hold the same runs; a follower
/// that lagged may have holes, which readers meet as gaps.
#[derive(Debug)]
pub struct Log {
    runs: VecDeque<Arc<Run>>,
    end: Place,
    /// No mark stands from here to the end, so places and offsets advance together.
    clean_from: u64,
    last_message: Option<u64>,
    snapshot: Option<u64>,
    messages: u64,
    bytes: usize,
}

impl Log {
    /// An empty log that begins at `end`.
    pub const fn new(end: Place) -> Self {
        Self {
            runs: VecDeque::new(),
            end,
            clean_from: end.place,
            last_message: None,
            snapshot: None,
            messages: 0,
            bytes: 0,
        }
    }

    /// Where the next entry will stand.
    pub const fn end(&self) -> &Place {
        &self.end
    }

    /// The offset of the newest message of the present epoch; 0 if there was none.
    pub const fn head(&self) -> Offset {
        Offset(self.end.offset.0 - 1)
    }

    /// The place of the newest message, if it is still kept.
    pub const fn last_message(&self) -> Option<u64> {
        self.last_message
    }

    /// Memory that the history holds, in bytes.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// When the oldest kept run was sealed.
    pub fn oldest(&self) -> Option<Instant> {
        self.runs.front().map(|run| run.at)
    }

    /// Whether the log has ended for good.
    pub fn ended(&self) -> bool {
        self.runs.back().is_some_and(|run| matches!(run.kind, Kind::Mark(Mark::End(_))))
    }

    /// Where a reader begins that wants nothing of the past: behind everything but the mark that
    /// ends the log, which all must read.
    pub fn end_to_read(&self) -> u64 {
        if self.ended() { self.end.place - 1 } else { self.end.place }
    }

    /// The run at `index`, counted from the oldest kept.
    pub fn run(&self, index: usize) -> &Arc<Run> {
        &self.runs[index]
    }

    /// All kept runs.
    pub fn runs(&self) -> impl DoubleEndedIterator<Item = &Arc<Run>> {
        self.runs.iter()
    }

    /// Kept runs that end after `place`.
    pub fn runs_from(&self, place: u64) -> impl Iterator<Item = &Arc<Run>> {
        let first = self.runs.partition_point(|run| run.end_place() <= place);
        self.runs.range(first..)
    }

    /// The index of the first run with an entry at or after `place`, and that entry's place.
    pub fn seek(&self, place: u64) -> Option<(usize, u64)> {
        if place >= self.end.place {
            return None;
        }
        // Readers are nearly always at the last run.
        let last = self.runs.len().checked_sub(1)?;
        if self.runs[last].first_place <= place {
            return Some((last, place));
        }
        let index = self.runs.partition_point(|run| run.end_place() <= place);
        let run = self.runs.get(index)?;
        Some((index, place.max(run.first_place)))
    }

    /// How many messages a reader misses that jumps from `from` to `to`.
    pub fn missed_between(&self, from: u64, to: u64) -> Missed {
        match to.saturating_sub(from) {
            0 => Missed::Nothing,
            count if from >= self.clean_from => Missed::Messages(count),
            _ => Missed::Unknown,
        }
    }

    /// Adds a run. It may stand beyond the end, where a follower was passed over.
    pub fn push(&mut self, run: Arc<Run>) {
        debug_assert!(run.first_place >= self.end.place);
        let places = run.first_place - self.end.place;
        let offsets = run.first_offset.0.checked_sub(self.end.offset.0);
        let alike = run.epoch == self.end.epoch && offsets == Some(places);
        let is_mark = run.kind != Kind::Messages;
        self.end = Place {
            place: run.end_place(),
            epoch: run.epoch,
            offset: Offset(run.first_offset.0 + run.messages()),
        };
        if is_mark {
            self.clean_from = run.end_place();
        } else {
            self.last_message = Some(run.end_place() - 1);
            if !alike {
                self.clean_from = run.first_place;
            }
        }
        self.snapshot = run.snapshot_place.or(self.snapshot);
        self.messages += run.messages();
        self.bytes += run.memory();
        self.runs.push_back(run);
    }

    /// Drops what the bounds do not keep; the run of the newest message stays. A run goes as a
    /// whole, and only when the rest still fills the bound, so that a burst in one run does not
    /// shrink the past that readers can resume from. What stands at `held` or behind it stays.
    pub fn trim(&mut self, history: &History, held: u64, now: Instant) {
        while let Some(front) = self.runs.front().filter(|front| front.end_place() <= held) {
            let surplus = self.messages - front.messages() >= u64::from(history.messages_max)
                || self.bytes - front.memory() >= history.bytes_max as usize;
            let aged = now.since(front.at) > history.age_max;
            if !(surplus || aged) || !self.drop_oldest() {
                return;
            }
        }
    }

    /// The place at which, or before which, a reader has half of what the bounds keep still to
    /// read, or more; `None` where not so much is kept.
    pub fn brink(&self, history: &History) -> Option<u64> {
        let (mut messages, mut bytes) = (0, 0);
        let full = self.runs.iter().rev().find(|run| {
            messages += run.messages();
            bytes += run.memory();
            messages >= u64::from(history.messages_max / 2)
                || bytes >= history.bytes_max as usize / 2
        });
        full.map(|run| run.first_place)
    }

    /// Drops the oldest run, unless it holds the newest message or is the last, which may be the
    /// mark that the topic has ended; says whether it did.
    pub fn drop_oldest(&mut self) -> bool {
        let Some(front) = self.runs.front() else { return false };
        let newest = self.last_message.is_some_and(|place| place < front.end_place());
        if newest || self.runs.len() == 1 {
            return false;
        }
        let Some(front) = self.runs.pop_front() else { return false };
        self.messages -= front.messages();
        self.bytes -= front.memory();
        if self.snapshot.is_some_and(|place| place < front.end_place()) {
            self.snapshot = None;
        }
        true
    }

    /// Where a reader begins that wants the present state first: at the last snapshot that the
    /// publisher flagged, else, where `each_is_state`, at the newest message, else at the end.
    pub fn fresh(&self, each_is_state: bool) -> u64 {
        let state = if each_is_state { self.last_message } else { None };
        self.snapshot.or(state).unwrap_or_else(|| self.end_to_read())
    }

    /// Where a reader begins that has everything up to `position`.
    pub fn locate(&self, position: Position) -> Located {
        let n = position.n.0;
        let mut after = None;
        for run in self.runs.iter().filter(|run| run.epoch == position.ep) {
            let (from, to) = run.span();
            if to <= n && !matches!(run.kind, Kind::Mark(Mark::End(_))) {
                after = Some(run.end_place());
                continue;
            }
            let (place, missing) = match run.kind {
                Kind::Messages if from <= n => (run.first_place + (n - from), 0),
                // The reader is inside the gap, or its epoch began elsewhere before it did here:
                // the mark would tell it something else than what it misses.
                Kind::Mark(Mark::Gap { .. }) if from < n => (run.end_place(), to - n),
                Kind::Mark(Mark::Epoch(_)) => (run.end_place(), to - n),
                _ => (run.first_place, from.saturating_sub(n)),
            };
            let missed = if missing > 0 { Missed::Messages(missing) } else { Missed::Nothing };
            return Located { place, missed };
        }
        let found = |place| Located { place, missed: Missed::Nothing };
        match after {
            // Nothing new, or the reader is ahead of us: it will drop what it has by number.
            _ if position.ep == self.end.epoch => found(self.end.place),
            // All of an earlier epoch was read: what follows is the mark that ended it.
            Some(after) => found(after),
            None => {
                let place = self.runs.front().map_or(self.end.place, |run| run.first_place);
                Located { place, missed: Missed::Unknown }
            }
        }
    }

    /// The same for a reader for whom a place was found some time ago: what was trimmed since then,
    /// or never came to this shard, is missed too.
    pub fn still(&self, located: Located) -> Located {
        match self.seek(located.place) {
            Some((_, place)) if place > located.place => Located {
                place,
                missed: located.missed.and(self.missed_between(located.place, place)),
            },
            _ => located,
        }
    }

    /// The position a reader has who reads on at `place`: epoch, and the offset before it.
    pub fn position_before(&self, place: u64) -> Position {
        let Some((index, place)) = self.seek(place) else {
            return Position { ep: self.end.epoch, n: self.head() };
        };
        let run = &self.runs[index];
        let before = index.checked_sub(1).map(|index| &self.runs[index]);
        match (run.kind, before) {
            (Kind::Mark(Mark::Epoch(_)), Some(before)) => {
                Position { ep: before.epoch, n: Offset(before.span().1) }
            }
            (Kind::Messages, _) => {
                Position { ep: run.epoch, n: Offset(run.span().0 + (place - run.first_place)) }
            }
            (Kind::Mark(_), _) => Position { ep: run.epoch, n: Offset(run.span().0) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::{Cid, Epoch};
    use crate::base::name::TopicName;
    use crate::base::time::Span;
    use crate::proto::run::RunBuilder;

    fn place(place: u64, epoch: u64, offset: u64) -> Place {
        Place { place, epoch: Epoch(epoch), offset: Offset(offset) }
    }

    fn add(log: &mut Log, count: u64, at: Instant) {
        let mut builder = RunBuilder::default();
        for index in 0..count {
            builder.add(Cid(1 << 20), Offset(log.end().offset.0 + index), false, b"x");
        }
        let run = builder.seal(log.end(), at);
        log.push(Arc::new(run));
    }

    fn mark(log: &mut Log, end: Place, mark: Mark) {
        let name = TopicName::new("r", "s").unwrap();
        log.push(Arc::new(Run::mark(&end, Instant::ZERO, mark, Cid(1 << 20), &name)));
    }

    fn at(ep: u64, n: u64) -> Position {
        Position { ep: Epoch(ep), n: Offset(n) }
    }

    /// Offsets 1..=6 of epoch 1 in two runs, then epoch 2 from offset 1 with two messages.
    fn two_epochs() -> Log {
        let mut log = Log::new(place(0, 1, 1));
        add(&mut log, 3, Instant::ZERO);
        add(&mut log, 3, Instant::ZERO);
        mark(&mut log, place(6, 2, 1), Mark::Epoch(Offset(0)));
        add(&mut log, 2, Instant::ZERO);
        log
    }

    #[test]
    fn positions_of_present_and_earlier_epochs_are_found() {
        let log = two_epochs();
        for (position, expected) in [
            (at(2, 2), 9),
            (at(2, 1), 8),
            (at(2, 0), 7),
            (at(2, 99), 9),
            (at(1, 6), 6),
            (at(1, 3), 3),
            (at(1, 0), 0),
        ] {
            let found = log.locate(position);
            assert_eq!(found, Located { place: expected, missed: Missed::Nothing }, "{position:?}");
        }
        let unknown = log.locate(at(3, 1));
        assert_eq!(unknown, Located { place: 0, missed: Missed::Unknown });
    }

    #[test]
    fn position_before_is_the_inverse_of_locate() {
        let log = two_epochs();
        for place in 0..=9 {
            let position = log.position_before(place);
            let found = log.locate(position).place;
            // Standing on the epoch's mark, or right behind it, are two places for two positions.
            assert_eq!(found, place, "{position:?}");
        }
    }

    #[test]
    fn what_was_trimmed_is_a_counted_gap() {
        let mut log = Log::new(place(0, 1, 1));
        for _ in 0..10 {
            add(&mut log, 1, Instant::ZERO);
        }
        let history = History { messages_max: 4, ..History::default() };
        log.trim(&history, u64::MAX, Instant::ZERO);
        assert_eq!(log.locate(at(1, 2)), Located { place: 6, missed: Missed::Messages(4) });
        assert_eq!(log.seek(2), Some((0, 6)));
        let opened = Located { place: 3, missed: Missed::Nothing };
        assert_eq!(log.still(opened), Located { place: 6, missed: Missed::Messages(3) });
        let unsaid = Located { place: 3, missed: Missed::Unknown };
        assert_eq!(log.still(unsaid), Located { place: 6, missed: Missed::Unknown });
        assert_eq!(log.missed_between(2, 6), Missed::Messages(4));
    }

    #[test]
    fn the_newest_message_outlives_every_bound() {
        let mut log = Log::new(place(0, 1, 1));
        add(&mut log, 2, Instant::ZERO);
        add(&mut log, 1, Instant::ZERO);
        let none = History { messages_max: 0, bytes_max: 0, age_max: Span::ZERO };
        log.trim(&none, u64::MAX, Instant::from_nanos(9));
        assert_eq!(log.runs().count(), 1);
        assert_eq!(log.fresh(true), 2);
        assert_eq!(log.fresh(false), 3);
    }

    #[test]
    fn the_end_of_a_topic_without_messages_stays_to_be_read() {
        let mut log = Log::new(place(0, 1, 1));
        mark(&mut log, place(0, 1, 1), Mark::Gap { after: Offset(4), missing: 4 });
        mark(&mut log, place(1, 1, 5), Mark::End(crate::base::reason::ChannelEnd::Gone));
        let none = History { messages_max: 0, bytes_max: 0, age_max: Span::ZERO };
        log.trim(&none, u64::MAX, Instant::from_nanos(9));
        assert_eq!(log.seek(0), Some((0, 1)));
        assert!(log.ended());
    }

    #[test]
    fn a_hole_of_messages_is_counted_and_a_hole_with_a_mark_is_unknown() {
        let mut log = Log::new(place(0, 1, 1));
        add(&mut log, 1, Instant::ZERO);
        let mut builder = RunBuilder::default();
        builder.add(Cid(1 << 20), Offset(5), false, b"x");
        log.push(Arc::new(builder.seal(&place(4, 1, 5), Instant::ZERO)));
        assert_eq!(log.seek(1), Some((1, 4)));
        assert_eq!(log.missed_between(1, 4), Missed::Messages(3));
        builder.add(Cid(1 << 20), Offset(9), false, b"x");
        log.push(Arc::new(builder.seal(&place(7, 1, 9), Instant::ZERO)));
        assert_eq!(log.missed_between(5, 7), Missed::Unknown);
    }

    #[test]
    fn an_upstream_gap_is_read_as_its_mark() {
        let mut log = Log::new(place(0, 1, 1));
        add(&mut log, 2, Instant::ZERO);
        mark(&mut log, place(2, 1, 6), Mark::Gap { after: Offset(5), missing: 3 });
        add(&mut log, 1, Instant::ZERO);
        assert_eq!(log.locate(at(1, 2)), Located { place: 2, missed: Missed::Nothing });
        // Who has more than we had is missing less than the mark says.
        assert_eq!(log.locate(at(1, 4)), Located { place: 3, missed: Missed::Messages(1) });
        assert_eq!(log.locate(at(1, 5)), Located { place: 3, missed: Missed::Nothing });
    }

    #[test]
    fn what_went_before_the_first_mark_that_is_kept_is_missing() {
        let mut log = Log::new(place(10, 1, 100));
        mark(&mut log, place(10, 1, 103), Mark::Gap { after: Offset(102), missing: 3 });
        add(&mut log, 2, Instant::ZERO);
        assert_eq!(log.locate(at(1, 90)), Located { place: 10, missed: Missed::Messages(9) });
        assert_eq!(log.position_before(10), at(1, 99));
        assert_eq!(log.position_before(11), at(1, 102));

        // An epoch that went on elsewhere, and begins here in its middle.
        let mut log = Log::new(place(0, 7, 1));
        mark(&mut log, place(0, 1, 51), Mark::Epoch(Offset(50)));
        add(&mut log, 2, Instant::ZERO);
        assert_eq!(log.locate(at(1, 45)), Located { place: 1, missed: Missed::Messages(5) });
        assert_eq!(log.locate(at(1, 50)), Located { place: 1, missed: Missed::Nothing });
        assert_eq!(log.position_before(1), at(1, 50));
    }

    #[test]
    fn a_place_in_a_hole_misses_only_the_rest_of_the_hole() {
        let mut log = Log::new(place(0, 1, 1));
        add(&mut log, 3, Instant::ZERO);
        let mut builder = RunBuilder::default();
        builder.add(Cid(1 << 20), Offset(7), false, b"x");
        log.push(Arc::new(builder.seal(&place(6, 1, 7), Instant::ZERO)));
        assert_eq!(log.locate(at(1, 4)), Located { place: 6, missed: Missed::Messages(2) });
        assert_eq!(log.position_before(6), at(1, 6));
        mark(&mut log, place(9, 1, 13), Mark::Gap { after: Offset(12), missing: 3 });
        assert_eq!(log.position_before(9), at(1, 9));
    }

    #[test]
    fn the_end_is_still_to_be_read_by_who_has_every_message() {
        let mut log = Log::new(place(0, 1, 1));
        add(&mut log, 2, Instant::ZERO);
        mark(&mut log, place(2, 1, 3), Mark::End(crate::base::reason::ChannelEnd::Gone));
        assert_eq!(log.locate(at(1, 2)), Located { place: 2, missed: Missed::Nothing });
        assert_eq!(log.locate(at(1, 9)), Located { place: 2, missed: Missed::Nothing });
    }
}
