//! What waits at a gap: whether another lane may still fill it, and what is let go when.

use crate::base::id::Offset;
use crate::base::time::Instant;
use crate::client::lane::Hold;
use crate::client::merge::Merge;
use crate::client::track::{Item, LaneId, Sink};

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

    /// Ends the holds that need not wait any longer.
    pub(crate) fn settle(&mut self, sink: &mut Sink<'_>) {
        loop {
            self.deliver_kept(sink);
            let Some(id) = self.next_release(sink.now) else { return };
            self.held.retain(|held| *held != id);
            self.release(id, sink);
        }
    }

    fn next_release(&self, now: Instant) -> Option<LaneId> {
        let is_due = |id: &&LaneId| {
            let hold = self.lanes.get(id).and_then(|lane| lane.hold.as_ref());
            hold.is_none_or(|hold| {
                hold.until <= now || !hold.items.front().is_some_and(|i| self.must_wait(**id, i))
            })
        };
        let due = self.held.iter().find(is_due)?;
        let Some(lane) = self.lanes.get(due) else { return Some(*due) };
        let Some(track) = self.tracks.get(&lane.channel) else { return Some(*due) };
        // What another lane holds before it is in hand, and must not be passed over.
        let held = self.held.iter().filter_map(|id| Some((id, self.lanes.get(id)?)));
        let first = held
            .filter(|(_, other)| other.channel == lane.channel && other.life == track.life)
            .filter(|(_, other)| track.place.is_some_and(|place| place.ep == other.reach().ep))
            .min_by_key(|(_, other)| other.reach().n);
        Some(first.map_or(*due, |(id, _)| *id))
    }

    fn release(&mut self, id: LaneId, sink: &mut Sink<'_>) {
        let hold = self.lanes.get_mut(&id).and_then(|lane| lane.hold.take());
        let mut items = hold.map(|hold| hold.items).unwrap_or_default();
        let gaps = sink.counters.gaps;
        if items.front().is_some_and(|first| self.will_stand_apart(id, first, sink.now)) {
            return self.set_apart(id, items, sink);
        }
        if let Some(first) = items.pop_front() {
            self.apply(id, first, sink);
        }
        if sink.counters.gaps == gaps {
            sink.counters.gaps_healed += 1;
        }
        for item in items {
            self.take(id, item, sink);
        }
        if self.lanes.get(&id).is_some_and(|lane| lane.over && lane.hold.is_none())
            && let Some(lane) = self.forget_lane(id)
        {
            self.rejoin(lane.channel, sink);
        }
    }
}
