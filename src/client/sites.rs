//! Lanes of several sites on one track: who leads it, who stands apart, who takes over.

use std::collections::VecDeque;

use crate::base::id::{Epoch, Offset};
use crate::client::event::{ChannelKey, StreamId};
use crate::client::lane::Lane;
use crate::client::merge::Merge;
use crate::client::track::{Item, LaneId, Sink};
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

    /// Whether a document of another site than that of `stream` carries the channel.
    pub fn lives_elsewhere(&self, channel: ChannelKey, stream: StreamId) -> bool {
        let Some(track) = self.tracks.get(&channel) else { return false };
        let site = self.sites.get(&stream).copied();
        let mut lanes = track.lanes.iter().filter_map(|id| self.lanes.get(id));
        lanes.any(|lane| lane.life == track.life && !lane.fresh && Some(lane.site) != site)
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
    /// an epoch that it has not come to, it goes on there. Those in an earlier one follow by
    /// themselves, and where nothing was said yet there is nothing to go on with.
    pub(crate) fn rejoin(&mut self, channel: ChannelKey, sink: &mut Sink<'_>) {
        let Some(track) = self.tracks.get_mut(&channel) else { return };
        let lanes = track.lanes.iter().filter_map(|id| self.lanes.get(id));
        let live = lanes.filter(|lane| lane.life == track.life && !lane.fresh);
        let here = |lane: &Lane| track.place.is_some_and(|place| place.ep == lane.place.ep);
        if live.clone().any(here) {
            return self.gather(channel);
        }
        let fit = |lane: &&Lane| match lane.apart {
            true => lane.place.n > Offset(0),
            false => !track.has_left(lane.place.ep),
        };
        // The furthest one: what stood apart has dropped what it was past.
        let fit = live.clone().filter(fit).map(|lane| lane.place);
        if let Some(place) = fit.max_by_key(|place| place.n) {
            let newest = self.newest.unwrap_or(StreamId(0));
            track.turn(channel, newest, (place.ep, place.n, place.n), sink);
            self.gather(channel);
        }
    }

    /// Whoever is in the track's epoch belongs to it from now on.
    pub(crate) fn gather(&mut self, channel: ChannelKey) {
        let Some(track) = self.tracks.get(&channel) else { return };
        for id in &track.lanes {
            if let Some(lane) = self.lanes.get_mut(id)
                && !lane.fresh
                && track.place.is_some_and(|place| place.ep == lane.place.ep)
            {
                lane.era = track.era;
                lane.apart = false;
            }
        }
    }

    /// Whether a lane that is, or wants to be, in epoch `ep` finds the track in another one, in which
    /// a living lane of another site leads it.
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

    /// The lane stands apart from now on, and what it held back is dropped.
    pub(crate) fn set_apart(&mut self, id: LaneId, items: VecDeque<Item<'_>>, sink: &mut Sink<'_>) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.apart = true;
        lane.fresh = false;
        lane.asked = None;
        for item in items {
            match item {
                Item::Opened { ep, n, .. } | Item::Gap { ep, n, .. } => {
                    lane.place = Position { ep, n };
                }
                Item::Message { n, .. } => {
                    lane.place.n = n;
                    sink.counters.strange += 1;
                }
                Item::Closed(_) => {}
            }
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
        let (channel, at) = (lane.channel, lane.place);
        let led = match *item {
            Item::Opened { ep, .. } => self.is_led(id, ep),
            _ => self.is_led(id, at.ep),
        };
        let Some(lane) = self.lanes.get_mut(&id) else { return false };
        match *item {
            Item::Opened { ep, n, .. } => {
                lane.apart = led;
                if led {
                    lane.place = Position { ep, n };
                }
                led
            }
            Item::Gap { ep, n, .. } => {
                lane.place = Position { ep, n };
                true
            }
            Item::Message { n, .. } if led => {
                lane.place.n = n;
                sink.counters.strange += 1;
                true
            }
            Item::Message { .. } => {
                // The first word of a numbering that nobody contests.
                let newest = self.newest.unwrap_or(id.0);
                if let Some(track) = self.tracks.get_mut(&channel) {
                    track.turn(channel, newest, (at.ep, at.n, at.n), sink);
                }
                self.gather(channel);
                false
            }
            Item::Closed(_) => false,
        }
    }
}
