//! Lanes of several sites on one track: who leads it, who stands apart, who takes over.

use std::collections::VecDeque;

use crate::base::id::{Epoch, Offset};
use crate::base::time::Instant;
use crate::client::event::{ChannelKey, StreamId};
use crate::client::lane::Lane;
use crate::client::merge::Merge;
use crate::client::track::{From, Item, LaneId, Sink};
use crate::wire::command::Position;

impl Merge {
    /// Whether `newer` carries each channel that `older` carries, and none of them waits, stands
    /// apart, or is ahead of the track as one may be that has stood apart.
    pub fn covers(&self, newer: StreamId, older: StreamId) -> bool {
        self.held.iter().all(|(stream, _)| *stream != newer)
            && self.tracks.values().all(|track| {
                let takes_part = |id: &LaneId| {
                    self.lanes.get(id).is_some_and(|lane| {
                        let ahead =
                            |place: Position| place.ep == lane.place.ep && place.n < lane.place.n;
                        !lane.apart && !track.place.is_some_and(ahead)
                    })
                };
                let mut on_newer = track.lanes.iter().filter(|(other, _)| *other == newer);
                let on_older = track.lanes.iter().any(|(other, _)| *other == older);
                !on_older || on_newer.any(takes_part)
            })
    }

    /// Whether one of `streams` carries the channel.
    pub fn lives_on(&self, channel: ChannelKey, streams: &[StreamId]) -> bool {
        let Some(track) = self.tracks.get(&channel) else { return false };
        let mut lanes = track.lanes.iter().filter_map(|id| Some((id.0, self.lanes.get(id)?)));
        lanes.any(|(stream, lane)| {
            lane.life == track.life && !lane.fresh && streams.contains(&stream)
        })
    }

    /// The site of `stream` has the channel no more, and others have.
    pub fn leave(&mut self, channel: ChannelKey, stream: StreamId, sink: &mut Sink<'_>) {
        let Some(track) = self.tracks.get(&channel) else { return };
        let site = self.sites.get(&stream).copied();
        let of_site = |id: &&LaneId| self.lanes.get(id).map(|lane| lane.site) == site;
        let leaving: Vec<LaneId> = track.lanes.iter().filter(of_site).copied().collect();
        for id in leaving {
            self.forget_lane(id);
        }
        self.settle(sink);
        self.rejoin(channel, sink);
    }

    /// A document has ended. If nobody is left in the track's epoch, and some stand apart or are in
    /// an epoch that it has not come to, it goes on there. Those that were open when the others
    /// left their epoch follow by themselves, unless they go on speaking after a while; and where
    /// nothing was said yet there is nothing to go on with.
    pub(crate) fn rejoin(&mut self, channel: ChannelKey, sink: &mut Sink<'_>) {
        let Some(track) = self.tracks.get(&channel) else { return };
        let all = track.lanes.iter().filter_map(|id| Some((*id, self.lanes.get(id)?)));
        let live = all.filter(|(_, lane)| lane.life == track.life && !lane.fresh && !lane.over);
        let here = |lane: &Lane| track.place.is_some_and(|place| place.ep == lane.place.ep);
        if live.clone().any(|(_, lane)| here(lane)) {
            return self.gather(channel);
        }
        let spoken = live.filter(|(_, lane)| !lane.apart || lane.place.n > Offset(0));
        // The furthest one: what stood apart has dropped what it was past.
        let furthest = |(_, lane): &(LaneId, &Lane)| lane.place.n;
        let in_time = spoken.filter(|(id, lane)| !self.is_late(*id, lane.place.ep));
        let next = in_time.max_by_key(furthest).map(|(id, _)| id);
        if let Some(id) = next {
            self.turn_to(id, sink);
        } else if let Some(track) = self.tracks.get_mut(&channel) {
            track.alone_until = sink.now + sink.hold_for;
        }
    }

    /// Whoever is in the track's epoch belongs to it from now on; who is of another site, and is
    /// not, stands apart.
    pub(crate) fn gather(&mut self, channel: ChannelKey) {
        let Some(track) = self.tracks.get(&channel) else { return };
        let here = |lane: &Lane| track.place.is_some_and(|place| place.ep == lane.place.ep);
        let lanes = track.lanes.iter().filter_map(|id| self.lanes.get(id));
        let sites: Vec<u32> =
            lanes.filter(|lane| !lane.fresh && here(lane)).map(|lane| lane.site).collect();
        for id in &track.lanes {
            let Some(lane) = self.lanes.get_mut(id).filter(|lane| !lane.fresh) else { continue };
            if here(lane) {
                lane.era = track.era;
                lane.apart = false;
                if !lane.kept.is_empty() {
                    self.joined.push(*id);
                }
            } else if lane.hold.is_none() && !sites.contains(&lane.site) {
                lane.apart = true;
            }
        }
    }

    /// The track has come to another epoch. What waited there for the others to follow waits at a
    /// gap now, if at all, which those who have followed may only just have begun to fill.
    pub(crate) fn turned(&mut self, channel: ChannelKey, sink: &Sink<'_>) {
        self.gather(channel);
        let Some(track) = self.tracks.get(&channel) else { return };
        let place = track.place;
        for id in &track.lanes {
            let Some(lane) = self.lanes.get_mut(id) else { continue };
            let here = place.is_some_and(|place| place.ep == lane.reach().ep);
            if let Some(hold) = lane.hold.as_mut().filter(|_| here) {
                hold.until = hold.until.max(sink.now + sink.hold_for);
            }
        }
    }

    /// The main session is another from now on: what it numbers for itself is followed, since it is
    /// there that the consumer's sends are heard. Whether it numbers for itself shows after a
    /// while.
    pub(crate) fn set_main(&mut self, site: u32, sink: &Sink<'_>) {
        if self.main_site != site {
            self.main_site = site;
            self.main_since = sink.now + sink.hold_for;
        }
    }

    /// Has what lanes kept while they stood apart delivered, where it is not yet, now that the
    /// track has come to their epoch.
    pub(crate) fn deliver_kept(&mut self, sink: &mut Sink<'_>) {
        while let Some(id) = self.joined.pop() {
            let Some(lane) = self.lanes.get_mut(&id) else { continue };
            let kept = lane.kept.take();
            if lane.hold.is_some() {
                continue;
            }
            match kept.front() {
                Some(Item::Message { n, .. }) => lane.place.n = Offset(n.0.saturating_sub(1)),
                // What is missing before the first of them is told by its place.
                Some(Item::Gap { n, .. }) => (lane.place.n, lane.jumped) = (*n, Some(*n)),
                _ => continue,
            }
            for item in kept {
                self.take(id, item, sink);
            }
        }
    }

    /// The track goes on where the lane is, which others have led so far: what it kept of the time
    /// before is history.
    fn turn_to(&mut self, id: LaneId, sink: &mut Sink<'_>) {
        let newest = self.newest.unwrap_or(id.0);
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let (channel, at) = (lane.channel, lane.place);
        lane.kept.take();
        if let Some(track) = self.tracks.get_mut(&channel) {
            track.turn(channel, newest, (at.ep, at.n, at.n), sink);
        }
        self.turned(channel, sink);
    }

    /// Whether a lane that is, or wants to be, in epoch `ep` finds the track in another one, in
    /// which a living lane of another site leads it.
    pub(crate) fn is_led(&self, id: LaneId, ep: Epoch) -> bool {
        let Some(lane) = self.lanes.get(&id) else { return false };
        let Some(track) = self.tracks.get(&lane.channel) else { return false };
        let Some(place) = track.place.filter(|place| place.ep != ep) else { return false };
        let others = track.lanes.iter().filter_map(|other| self.lanes.get(other));
        let mut live = others.filter(|other| other.life == track.life && !other.fresh);
        live.any(|other| {
            let leads = !other.apart && !other.over && other.place.ep == place.ep;
            leads && other.site != lane.site
        })
    }

    /// Whether the lane was open when the track left epoch `ep`.
    fn is_late(&self, id: LaneId, ep: Epoch) -> bool {
        let track = self.lanes.get(&id).and_then(|lane| self.tracks.get(&lane.channel));
        let from =
            From { stream: id.0, newest: self.newest.unwrap_or(id.0), era: None, unsaid: false };
        track.is_some_and(|track| track.late_era(ep, from).is_some())
    }

    /// Whether epoch `ep`, in which something was said, is of the main session, and not one that
    /// the lane is about to leave because the others have.
    fn takes_over(&self, id: LaneId, ep: Epoch, now: Instant) -> bool {
        let main = self.lanes.get(&id).is_some_and(|lane| lane.site == self.main_site);
        main && (!self.is_late(id, ep) || now >= self.main_since)
    }

    /// Whether the lane, which begins with `item`, stands apart once it has waited.
    pub(crate) fn will_stand_apart(&self, id: LaneId, item: &Item<'_>, now: Instant) -> bool {
        let Item::Opened { ep, head, .. } = *item else { return false };
        let fresh = self.lanes.get(&id).is_some_and(|lane| lane.fresh && !lane.over);
        let takes_over = head > Offset(0) && self.takes_over(id, ep, now);
        fresh && self.is_led(id, ep) && !takes_over
    }

    /// The lane stands apart from now on, and what it held back is dropped, up to where it comes to
    /// the track's epoch.
    pub(crate) fn set_apart(&mut self, id: LaneId, items: VecDeque<Item<'_>>, sink: &mut Sink<'_>) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.apart = true;
        lane.fresh = false;
        for item in items {
            self.take(id, item, sink);
        }
    }

    /// Whether the lane stands apart, and the item was all taken in by that.
    pub(crate) fn stands_apart(
        &mut self,
        id: LaneId,
        item: &Item<'_>,
        sink: &mut Sink<'_>,
    ) -> bool {
        let Some(lane) = self.lanes.get(&id).filter(|lane| lane.apart) else { return false };
        let (at, now) = (lane.place, sink.now);
        let alone = self.tracks.get(&lane.channel).is_some_and(|track| now < track.alone_until);
        let led = match *item {
            Item::Opened { ep, .. } => self.is_led(id, ep),
            _ if self.is_led(id, at.ep) => !self.takes_over(id, at.ep, now),
            _ => alone && self.is_late(id, at.ep),
        };
        let Some(lane) = self.lanes.get_mut(&id) else { return false };
        match *item {
            Item::Opened { ep, n, .. } => {
                lane.apart = led;
                lane.kept.take();
                if led {
                    lane.place = Position { ep, n };
                }
                led
            }
            Item::Gap { ep, n, .. } => {
                if lane.place.ep == ep {
                    lane.kept.push(item.clone().into_owned());
                } else {
                    lane.kept.take();
                }
                lane.place = Position { ep, n };
                true
            }
            Item::Message { n, .. } if led => {
                lane.place.n = n;
                lane.kept.push(item.clone().into_owned());
                sink.counters.strange += 1;
                true
            }
            Item::Message { .. } => {
                // The first word of a numbering that nobody contests, or of the one to follow.
                self.turn_to(id, sink);
                false
            }
            Item::Closed(_) => false,
        }
    }
}
