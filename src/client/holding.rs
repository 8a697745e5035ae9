//! What waits at a gap: whether another lane may still fill it, and what is let go when.

use crate::base::id::Offset;
use crate::base::time::Instant;
use crate::client::lane::Hold;
use crate::client::merge::{HOLD_BYTES_MAX, Merge};
use crate::client::track::{Item, LaneId, Sink};

/// Times that a lane in an epoch of its own waits, where another site leads the track.
const APART_AFTER: u64 = 5;

impl Merge {
    /// Whether `item` on lane `id` shows a gap that another lane may still fill.
    pub(crate) fn must_wait(&self, id: LaneId, item: &Item<'_>) -> bool {
        let Some((lane, track, place)) = self.lanes.get(&id).and_then(|lane| {
            let track = self.tracks.get(&lane.channel)?;
            Some((lane, track, track.place?))
        }) else {
            return false;
        };
        let opens = matches!(item, Item::Opened { .. });
        let late = !opens && lane.era != track.era;
        if late || lane.life != track.life || matches!(item, Item::Closed(_)) {
            return false;
        }
        let to = lane.place_before(item);
        let others = track.lanes.iter().filter(|other| **other != id);
        let mut others = others
            .filter_map(|other| self.lanes.get(other))
            .filter(|other| other.life == track.life)
            // One that waits in the track's epoch has come to it, and has in hand what it holds.
            .filter(|other| other.era == track.era || other.hold.is_some())
            .filter(|other| other.reach().ep == place.ep);
        if to.ep == place.ep {
            !track.folds && to.n > place.n && others.any(|other| other.reach().n < to.n)
        } else {
            let from = self.from(id, lane);
            let empty = matches!(item, Item::Opened { head: Offset(0), .. })
                && !lane.hold.as_ref().is_some_and(Hold::has_content);
            lane.fresh
                && track.late_era(to.ep, from).is_none()
                && (empty || others.next().is_some())
        }
    }

    /// Lets go what need not wait any longer, one frame at a time: with each, what other lanes of
    /// the channel hold may be the next, and none of it is passed over.
    pub(crate) fn settle(&mut self, sink: &mut Sink<'_>) {
        loop {
            self.deliver_kept(sink);
            let Some(due) = self.held.iter().find(|id| self.is_due(**id, sink.now)) else { return };
            let mut next = Some(*due);
            while let Some(due) = next {
                let id = self.narrowest(due);
                let channel = self.lanes.get(&id).map(|lane| lane.channel);
                self.release(id, sink);
                self.deliver_kept(sink);
                let track = channel.and_then(|channel| self.tracks.get(&channel));
                let mut lanes = track.iter().flat_map(|track| &track.lanes);
                next = lanes.find(|id| self.is_due(**id, sink.now)).copied();
            }
        }
    }

    /// Whether the first frame that the lane holds need not wait any longer.
    fn is_due(&self, id: LaneId, now: Instant) -> bool {
        let hold = self.lanes.get(&id).and_then(|lane| lane.hold.as_ref());
        hold.is_some_and(|hold| {
            hold.until <= now || !hold.items.front().is_some_and(|item| self.must_wait(id, item))
        })
    }

    /// The lane whose frame goes before that of lane `due`: what it holds is in hand, and must not
    /// be passed over.
    fn narrowest(&self, due: LaneId) -> LaneId {
        let Some((track, place)) = self.lanes.get(&due).and_then(|lane| {
            let track = self.tracks.get(&lane.channel)?;
            Some((track, track.place?))
        }) else {
            return due;
        };
        let held = track.lanes.iter().filter_map(|id| Some((id, self.lanes.get(id)?)));
        let first = held
            .filter(|(_, lane)| lane.hold.is_some() && lane.life == track.life)
            .filter(|(_, lane)| lane.reach().ep == place.ep)
            .min_by_key(|(_, lane)| lane.reach().n);
        first.map_or(due, |(id, _)| *id)
    }

    /// Lets go the first frame that the lane holds.
    fn release(&mut self, id: LaneId, sink: &mut Sink<'_>) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let Some(mut hold) = lane.hold.take() else { return };
        let Some(first) = hold.items.pop_front() else { return };
        let gaps = sink.counters.gaps;
        if self.will_stand_apart(id, &first, sink.now) {
            self.held.retain(|held| *held != id);
            hold.items.push_front(first);
            return self.set_apart(id, hold.items, sink);
        }
        hold.bytes -= first.bytes();
        self.apply(id, first, sink);
        if hold.at_gap && sink.counters.gaps == gaps {
            sink.counters.gaps_healed += 1;
        }
        self.hold_rest(id, hold, sink);
    }

    /// What came behind a frame that was let go: its first waits as it would if it came now.
    fn hold_rest(&mut self, id: LaneId, mut hold: Hold, sink: &mut Sink<'_>) {
        if let Some(first) = hold.items.front() {
            hold.at_gap = self.must_wait(id, first);
            if hold.at_gap && hold.bytes <= HOLD_BYTES_MAX {
                hold.until = self.patience(id, first, sink);
            }
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.hold = Some(hold);
                return;
            }
        }
        self.held.retain(|held| *held != id);
        if self.lanes.get(&id).is_some_and(|lane| lane.over)
            && let Some(lane) = self.forget_lane(id)
        {
            self.rejoin(lane.channel, sink);
        }
    }

    /// Until when a frame waits that shows a gap.
    pub(crate) fn patience(&self, id: LaneId, item: &Item<'_>, sink: &Sink<'_>) -> Instant {
        // Whether the other site still lives is known when it was silent for the drop time.
        let apart = self.will_stand_apart(id, item, sink.now);
        sink.now + sink.hold_for.times(if apart { APART_AFTER } else { 1 })
    }
}
