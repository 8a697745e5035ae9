//! Several documents, one sequence of messages: each once, in order, and every gap declared.
//!
//! A **lane** is one channel as one document carries it; a **track** is the channel as the consumer
//! sees it. Every live document carries every channel, so a message may come on several lanes: what
//! is not after the track's place (epoch and offset) was delivered before and is dropped. Where a
//! lane has a gap, its frames wait while another lane may still bring what is missing: until that
//! one is past the gap, has ended or has a gap itself, or for the time the caller sets.
//!
//! Offsets of different epochs cannot be compared. A lane that comes to a new epoch takes the track
//! along, which always is a gap of unknown size; lanes of documents that were open at that moment
//! and still carry the old epoch are late and are ignored until they have followed. A document
//! opened later may bring an old epoch back (another server that counts for itself): that is a
//! change of epoch like any other.

use std::collections::{HashMap, VecDeque};

use crate::base::id::{Cid, Epoch, Offset};
use crate::base::reason::ChannelEnd;
use crate::base::time::Instant;
use crate::client::event::{ChannelKey, Event, StreamId};
use crate::client::track::{Item, LaneId, Sink, Track};
use crate::wire::command::Position;

/// Bytes of payload that a lane may hold back; beyond, the gap is declared at once.
pub const HOLD_BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Debug)]
struct Hold {
    until: Instant,
    /// Never empty; the first is the one that showed the gap.
    items: VecDeque<Item<'static>>,
    bytes: usize,
}

#[derive(Debug)]
struct Lane {
    channel: ChannelKey,
    /// The life of the track that this lane belongs to; of a past life nothing is taken.
    life: u32,
    /// Where the document is on this channel.
    place: Position,
    /// True until the first frame has been taken.
    fresh: bool,
    /// Where the consumer was when this lane was asked for; until its first frame.
    asked: Option<Position>,
    /// The offset to which the last `o` frame jumped; a gap frame to the same offset explains that
    /// jump and is no further gap.
    jumped: Option<Offset>,
    hold: Option<Hold>,
}

impl Lane {
    fn new(channel: ChannelKey, track: &Track, place: Position) -> Self {
        let (life, asked) = (track.life, track.asked);
        Self { channel, life, place, fresh: true, asked, jumped: None, hold: None }
    }
}

/// The merging of all lanes of one client.
#[derive(Debug, Default)]
pub struct Merge {
    tracks: HashMap<ChannelKey, Track>,
    lanes: HashMap<LaneId, Lane>,
    /// Lanes with a hold, in the order they came to it.
    held: Vec<LaneId>,
    newest: Option<StreamId>,
}

impl Merge {
    /// Starts a track. `folds`: the mode folds messages. `since`: the place after which to start.
    pub fn add(&mut self, channel: ChannelKey, folds: bool, since: Option<Position>) {
        let track = Track {
            place: since,
            asked: since,
            told: None,
            past: Vec::new(),
            folds,
            life: 0,
            open: false,
            lanes: Vec::new(),
        };
        self.tracks.insert(channel, track);
    }

    /// Forgets a track; frames for it are ignored from now on.
    pub fn remove(&mut self, channel: ChannelKey) {
        let Some(track) = self.tracks.remove(&channel) else { return };
        for id in &track.lanes {
            self.lanes.remove(id);
        }
        self.held.retain(|id| !track.lanes.contains(id));
    }

    /// A document is asked for. It may still begin with an epoch that ends while it is on its way.
    pub fn begin_stream(&mut self, stream: StreamId) {
        self.newest = self.newest.max(Some(stream));
        for track in self.tracks.values_mut() {
            track.asked = track.place;
        }
    }

    /// The server says where a channel starts, before its first frame has come.
    pub fn start(&mut self, channel: ChannelKey, place: Position) {
        if let Some(track) = self.tracks.get_mut(&channel)
            && track.place.is_none()
        {
            track.place = Some(place);
        }
    }

    /// A channel is asked for by itself.
    pub fn begin_channel(&mut self, channel: ChannelKey) {
        if let Some(track) = self.tracks.get_mut(&channel) {
            track.asked = track.place;
        }
    }

    /// The place of the last message delivered, or where the channel starts.
    pub fn place(&self, channel: ChannelKey) -> Option<Position> {
        self.tracks.get(&channel)?.place
    }

    /// The channel that `stream` calls `cid`.
    pub fn channel(&self, stream: StreamId, cid: Cid) -> Option<ChannelKey> {
        self.lanes.get(&(stream, cid)).map(|lane| lane.channel)
    }

    /// Whether `newer` carries each channel that `older` carries, and none of them waits.
    pub fn covers(&self, newer: StreamId, older: StreamId) -> bool {
        self.held.iter().all(|(stream, _)| *stream != newer)
            && self.tracks.values().all(|track| {
                let on = |stream| track.lanes.iter().any(|(other, _)| *other == stream);
                !on(older) || on(newer)
            })
    }

    /// When [`Merge::handle_timeout`] must be called at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let holds = self.held.iter().filter_map(|id| self.lanes.get(id)?.hold.as_ref());
        holds.map(|hold| hold.until).min()
    }

    /// Gives up the holds that are due.
    pub fn handle_timeout(&mut self, sink: &mut Sink<'_>) {
        self.settle(sink);
    }

    /// A document has ended or was abandoned. What it held back is dropped: only while another
    /// document carries the same is anything held back.
    pub fn end_stream(&mut self, stream: StreamId, sink: &mut Sink<'_>) {
        self.held.retain(|(held, _)| *held != stream);
        self.lanes.retain(|(lane, _), _| *lane != stream);
        for track in self.tracks.values_mut() {
            track.lanes.retain(|(lane, _)| *lane != stream);
        }
        self.settle(sink);
    }

    /// An `o` frame: `stream` calls `channel` `cid` from here on.
    pub fn handle_opened(
        &mut self,
        id: (StreamId, Cid),
        channel: ChannelKey,
        item: Item<'_>,
        sink: &mut Sink<'_>,
    ) {
        let Item::Opened { ep, n, .. } = item else { return };
        let Some(track) = self.tracks.get_mut(&channel) else { return };
        if self.lanes.get(&id).is_none_or(|lane| lane.channel != channel) {
            self.forget_lane(id);
            let place = Position { ep, n };
            if let Some(track) = self.tracks.get_mut(&channel) {
                track.lanes.push(id);
                self.lanes.insert(id, Lane::new(channel, track, place));
            }
        } else if let Some(lane) = self.lanes.get_mut(&id)
            && lane.hold.is_none()
        {
            lane.life = track.life;
        }
        self.handle(id, item, sink);
    }

    /// An `x` frame for `channel`, which the document may not have named before.
    pub fn handle_closed(
        &mut self,
        id: (StreamId, Cid),
        channel: ChannelKey,
        end: ChannelEnd,
        sink: &mut Sink<'_>,
    ) {
        let Some(track) = self.tracks.get_mut(&channel) else { return };
        self.lanes.entry(id).or_insert_with(|| {
            let place = track.place.unwrap_or(Position { ep: Epoch(0), n: Offset(0) });
            track.lanes.push(id);
            Lane::new(channel, track, place)
        });
        self.handle(id, Item::Closed(end), sink);
    }

    /// Any other frame of the channel that `stream` calls `cid`.
    pub fn handle(&mut self, id: (StreamId, Cid), item: Item<'_>, sink: &mut Sink<'_>) {
        self.take(id, item, sink);
        if !self.held.is_empty() {
            self.settle(sink);
        }
    }

    fn take(&mut self, id: LaneId, item: Item<'_>, sink: &mut Sink<'_>) {
        let waits = self.must_wait(id, &item);
        let Some(lane) = self.lanes.get_mut(&id) else {
            sink.counters.strays += 1;
            return;
        };
        if let Some(hold) = &mut lane.hold {
            hold.bytes += item.bytes();
            if hold.bytes > HOLD_BYTES_MAX {
                hold.until = sink.now;
            }
            hold.items.push_back(item.into_owned());
        } else if waits {
            let bytes = item.bytes();
            let until = sink.now + sink.hold_for;
            lane.hold = Some(Hold { until, items: [item.into_owned()].into(), bytes });
            self.held.push(id);
        } else {
            self.apply(id, item, sink);
        }
    }

    /// Whether `item` on lane `id` shows a gap that another lane may still fill.
    fn must_wait(&self, id: LaneId, item: &Item<'_>) -> bool {
        let Some((lane, track, place)) = self.lanes.get(&id).and_then(|lane| {
            let track = self.tracks.get(&lane.channel)?;
            Some((lane, track, track.place?))
        }) else {
            return false;
        };
        let to = match *item {
            Item::Opened { ep, n, .. } | Item::Gap { ep, n, .. } => Position { ep, n },
            Item::Message { n, .. } => {
                Position { ep: lane.place.ep, n: Offset(n.0.saturating_sub(1)) }
            }
            Item::Closed(_) => return false,
        };
        if track.folds || lane.life != track.life {
            return false;
        }
        let others = track.lanes.iter().filter(|other| **other != id);
        let mut ready = others.filter_map(|other| self.lanes.get(other)).filter(|other| {
            other.hold.is_none() && other.life == track.life && other.place.ep == place.ep
        });
        if to.ep == place.ep {
            to.n > place.n && ready.any(|other| other.place.n < to.n)
        } else {
            lane.fresh && !track.is_past(to.ep, id.0) && ready.next().is_some()
        }
    }

    /// Ends the holds that need not wait any longer, in the order they began.
    fn settle(&mut self, sink: &mut Sink<'_>) {
        let mut at = 0;
        while let Some(&id) = self.held.get(at) {
            let hold = self.lanes.get(&id).and_then(|lane| lane.hold.as_ref());
            let waits = hold.is_some_and(|hold| {
                sink.now < hold.until && hold.items.front().is_some_and(|i| self.must_wait(id, i))
            });
            if waits {
                at += 1;
            } else {
                self.held.remove(at);
                self.release(id, sink);
                at = 0; // what was released may be what an earlier hold waits for
            }
        }
    }

    fn release(&mut self, id: LaneId, sink: &mut Sink<'_>) {
        let hold = self.lanes.get_mut(&id).and_then(|lane| lane.hold.take());
        let mut items = hold.map(|hold| hold.items).unwrap_or_default();
        let gaps = sink.counters.gaps;
        if let Some(first) = items.pop_front() {
            self.apply(id, first, sink);
        }
        if sink.counters.gaps == gaps {
            sink.counters.gaps_healed += 1;
        }
        for item in items {
            self.take(id, item, sink);
        }
    }

    fn apply(&mut self, id: LaneId, item: Item<'_>, sink: &mut Sink<'_>) {
        if let Item::Closed(end) = item {
            return self.apply_closed(id, end, sink);
        }
        let newest = self.newest.unwrap_or(id.0);
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let Some(track) = self.tracks.get_mut(&lane.channel) else { return };
        lane.fresh = false;
        match item {
            Item::Opened { ep, n, head } => {
                lane.jumped = match lane.asked.take() {
                    Some(asked) => (asked.ep != ep || asked.n < n).then_some(n),
                    None => (lane.place.ep != ep).then_some(n),
                };
                lane.place = Position { ep, n };
                lane.life = track.life;
                track.open(lane.channel, id.0, newest, (ep, n, head), sink);
            }
            Item::Message { n, snapshot, payload } => {
                lane.place.n = n;
                if lane.life != track.life {
                    sink.counters.late += 1;
                    return;
                }
                let ep = lane.place.ep;
                track.deliver(lane.channel, Position { ep, n }, (snapshot, payload), sink);
            }
            Item::Gap { ep, n, missing } => {
                let to = Position { ep, n };
                let explained = lane.jumped.take() == Some(n);
                let here = lane.place == to && !explained;
                lane.place = to;
                if lane.life == track.life {
                    track.pass(lane.channel, id.0, newest, (to, missing, here), sink);
                }
            }
            Item::Closed(_) => {}
        }
    }

    fn apply_closed(&mut self, id: LaneId, end: ChannelEnd, sink: &mut Sink<'_>) {
        let Some(lane) = self.forget_lane(id) else { return };
        let Some(track) = self.tracks.get_mut(&lane.channel) else { return };
        if lane.life == track.life {
            track.life += 1;
            track.open = false;
            sink.events.push_back(Event::Closed { channel: lane.channel, end });
            sink.ended.push((lane.channel, end));
        }
    }

    fn forget_lane(&mut self, id: LaneId) -> Option<Lane> {
        let lane = self.lanes.remove(&id)?;
        self.held.retain(|held| *held != id);
        if let Some(track) = self.tracks.get_mut(&lane.channel) {
            track.lanes.retain(|other| *other != id);
        }
        Some(lane)
    }
}
