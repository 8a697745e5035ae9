//! Several documents, one sequence of messages: each once, in order, and every gap declared.
//!
//! A **lane** is one channel as one document carries it; a **track** is the channel as the consumer
//! sees it. Every live document carries every channel, so a message may come on several lanes: what
//! is not after the track's place (epoch and offset) was delivered before and is dropped. Where a
//! lane has a gap, its frames wait while another lane may still bring what is missing: until that
//! one is past the gap, has ended or has a gap as wide itself, or for the time the caller sets. Of
//! several that wait, the narrowest gap is declared first: what lies behind it is in hand. So is
//! what a document held back that has ended meanwhile.
//!
//! Offsets of different epochs cannot be compared. A lane that comes to a new epoch takes the track
//! along, which is a gap of unknown size, unless one lane leads from an epoch in which nothing was
//! ever said to the beginning of another: so a channel begins that was open before its publisher
//! was there. Lanes of documents that were open at that moment and still carry the old epoch are
//! late: what they bring is kept for a while and not delivered until they have followed. A lane
//! that has followed, or a document opened later, may bring an old epoch back (the first publisher
//! after a restart, or another server that counts for itself): that is a change of epoch like any
//! other, but nothing of it is delivered again, and what late lanes have kept of it is.
//!
//! Documents of one session are of one **site**. Two sites that number a topic for themselves have
//! nothing in common: while the track has a lane of one site, a lane of another that comes with an
//! epoch of its own waits, and if nothing has changed after a while **stands apart**: what it
//! brings is dropped, until it comes to the track's epoch or the track has nobody else. The site of
//! the main session does not stand apart for long: the track follows it, once it has said
//! something. A lane that begins in an epoch without any message waits as at a gap: a server that
//! was just started has such a one until its publisher speaks.

use std::collections::HashMap;

use crate::base::id::{Cid, Epoch, Offset};
use crate::base::reason::ChannelEnd;
use crate::base::time::Instant;
use crate::client::channel::comes_back;
use crate::client::event::{ChannelKey, Event, StreamId};
use crate::client::lane::{Hold, Lane};
use crate::client::track::{From, Item, LaneId, Sink, Track};
use crate::wire::command::Position;

/// Bytes of payload that a lane may hold back; beyond, the gap is declared at once.
pub const HOLD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The merging of all lanes of one client.
#[derive(Debug, Default)]
pub struct Merge {
    pub(crate) tracks: HashMap<ChannelKey, Track>,
    pub(crate) lanes: HashMap<LaneId, Lane>,
    /// Lanes with a hold, in the order they came to it.
    pub(crate) held: Vec<LaneId>,
    /// Lanes that have joined their track, and kept something while they stood apart.
    pub(crate) joined: Vec<LaneId>,
    pub(crate) newest: Option<StreamId>,
    /// The site of the main session, where sends go.
    pub(crate) main_site: u32,
    /// From then on it has shown whether the main session numbers for itself.
    pub(crate) main_since: Instant,
    /// The site of each document that runs.
    pub(crate) sites: HashMap<StreamId, u32>,
}

impl Merge {
    /// Starts a track. `folds`: the mode folds messages. `since`: the place after which to start.
    pub fn add(&mut self, channel: ChannelKey, folds: bool, since: Option<Position>) {
        self.tracks.insert(channel, Track::new(folds, since));
    }

    /// Forgets a track; frames for it are ignored from now on.
    pub fn remove(&mut self, channel: ChannelKey) {
        self.end(channel);
        self.tracks.remove(&channel);
    }

    /// A channel is over for good: what documents still bring of it, or hold, is nobody's.
    pub fn end(&mut self, channel: ChannelKey) {
        let Some(track) = self.tracks.get_mut(&channel) else { return };
        let lanes = std::mem::take(&mut track.lanes);
        for id in &lanes {
            self.lanes.remove(id);
        }
        self.held.retain(|id| !lanes.contains(id));
    }

    /// A document is asked for. It may still begin with an epoch that ends while it is on its way.
    pub fn begin_stream(&mut self, stream: StreamId) {
        self.newest = self.newest.max(Some(stream));
    }

    /// A document has begun; `site` is the number of its session.
    pub fn begin_site(&mut self, stream: StreamId, site: u32) {
        self.sites.insert(stream, site);
    }

    /// The server says where a channel starts, before its first frame has come.
    pub fn start(&mut self, channel: ChannelKey, place: Position) {
        if let Some(track) = self.tracks.get_mut(&channel)
            && track.place.is_none()
        {
            track.place = Some(place);
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

    /// When [`Merge::handle_timeout`] must be called at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let holds = self.held.iter().filter_map(|id| self.lanes.get(id)?.hold.as_ref());
        holds.map(|hold| hold.until).min()
    }

    /// Gives up the holds that are due.
    pub fn handle_timeout(&mut self, sink: &mut Sink<'_>) {
        self.settle(sink);
    }

    /// A document has ended or was abandoned. What it held back waits for the others.
    pub fn end_stream(&mut self, stream: StreamId, sink: &mut Sink<'_>) {
        let mut stranded = Vec::new();
        self.sites.remove(&stream);
        self.lanes.retain(|(of, cid), lane| {
            if *of == stream && lane.hold.as_ref().is_some_and(Hold::has_content) {
                lane.over = true;
            } else if *of == stream {
                let track = self.tracks.get_mut(&lane.channel);
                if let Some(track) = track {
                    track.lanes.retain(|other| *other != (stream, *cid));
                    stranded.push(lane.channel);
                }
                self.held.retain(|held| *held != (stream, *cid));
                return false;
            }
            true
        });
        self.settle(sink);
        for channel in stranded {
            self.rejoin(channel, sink);
        }
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
            let site = self.sites.get(&id.0).copied().unwrap_or(0);
            if let Some(track) = self.tracks.get_mut(&channel) {
                track.lanes.push(id);
                self.lanes.insert(id, Lane::new(channel, site, track, place));
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
        let site = self.sites.get(&id.0).copied().unwrap_or(0);
        let Some(track) = self.tracks.get_mut(&channel) else { return };
        self.lanes.entry(id).or_insert_with(|| {
            let place = track.place.unwrap_or(Position { ep: Epoch(0), n: Offset(0) });
            track.lanes.push(id);
            Lane::new(channel, site, track, place)
        });
        self.handle(id, Item::Closed(end), sink);
    }

    /// Any other frame of the channel that `stream` calls `cid`.
    pub fn handle(&mut self, id: (StreamId, Cid), item: Item<'_>, sink: &mut Sink<'_>) {
        self.take(id, item, sink);
        if !self.held.is_empty() || !self.joined.is_empty() {
            self.settle(sink);
        }
    }

    pub(crate) fn take(&mut self, id: LaneId, item: Item<'_>, sink: &mut Sink<'_>) {
        if self.stands_apart(id, &item, sink) {
            return;
        }
        self.skip_earlier_epochs(id, &item, sink);
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
            let until = self.patience(id, &item, sink);
            let Some(lane) = self.lanes.get_mut(&id) else { return };
            let items = [item.into_owned()].into();
            lane.hold = Some(Hold { until, at_gap: true, items, bytes });
            self.held.push(id);
        } else {
            self.apply(id, item, sink);
        }
    }

    /// A lane that waited in another epoch comes to the track's: it was in an earlier one.
    fn skip_earlier_epochs(&mut self, id: LaneId, item: &Item<'_>, sink: &mut Sink<'_>) {
        let Item::Opened { ep, .. } = item else { return };
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let place = self.tracks.get(&lane.channel).and_then(|track| track.place);
        if lane.hold.is_some()
            && place.is_some_and(|place| place.ep == *ep && lane.reach().ep != *ep)
            && let Some(hold) = lane.hold.take()
        {
            self.held.retain(|held| *held != id);
            let messages = hold.items.iter().filter(|item| matches!(item, Item::Message { .. }));
            sink.counters.late += messages.count() as u64;
        }
    }

    pub(crate) fn from(&self, id: LaneId, lane: &Lane) -> From {
        let newest = self.newest.unwrap_or(id.0);
        From { stream: id.0, newest, era: (!lane.fresh).then_some(lane.era), unsaid: false }
    }

    pub(crate) fn apply(&mut self, id: LaneId, item: Item<'_>, sink: &mut Sink<'_>) {
        if let Item::Closed(end) = item {
            return self.apply_closed(id, end, sink);
        }
        let Some(from) = self.lanes.get(&id).map(|lane| self.from(id, lane)) else { return };
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let channel = lane.channel;
        let Some(track) = self.tracks.get_mut(&channel) else { return };
        let era = track.era;
        let fresh = std::mem::replace(&mut lane.fresh, false);
        match item {
            Item::Opened { ep, n, head } => {
                lane.open(track, from, fresh, (ep, n, head), sink);
            }
            Item::Message { n, snapshot, payload } => {
                lane.message(track, n, (snapshot, payload), sink);
            }
            Item::Gap { ep, n, missing } => {
                lane.gap(track, from, (Position { ep, n }, missing), sink);
            }
            Item::Closed(_) => {}
        }
        if track.era != era {
            self.turned(channel, sink);
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
            if !comes_back(end) {
                self.end(lane.channel);
            }
        }
    }

    /// A lane is of a channel that is over, and its document says nothing more of it.
    pub fn drop_lane(&mut self, id: LaneId, sink: &mut Sink<'_>) {
        if let Some(lane) = self.forget_lane(id) {
            self.settle(sink);
            self.rejoin(lane.channel, sink);
        }
    }

    pub(crate) fn forget_lane(&mut self, id: LaneId) -> Option<Lane> {
        let lane = self.lanes.remove(&id)?;
        self.held.retain(|held| *held != id);
        if let Some(track) = self.tracks.get_mut(&lane.channel) {
            track.lanes.retain(|other| *other != id);
        }
        Some(lane)
    }
}
