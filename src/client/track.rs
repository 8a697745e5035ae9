//! One channel as the consumer sees it: where it is, and what a frame does to it.

use std::borrow::Cow;
use std::collections::VecDeque;

use crate::base::id::{Cid, Epoch, Offset};
use crate::base::reason::ChannelEnd;
use crate::base::time::{Instant, Span};
use crate::client::event::{ChannelKey, Counters, Event, StreamId};
use crate::wire::command::Position;

/// Where the outcome of a frame goes.
#[derive(Debug)]
pub struct Sink<'a> {
    /// Now.
    pub now: Instant,
    /// How long a lane waits at a gap.
    pub hold_for: Span,
    /// What the consumer is told.
    pub events: &'a mut VecDeque<Event>,
    /// Channels that ended, for their owner to act on.
    pub ended: &'a mut Vec<(ChannelKey, ChannelEnd)>,
    /// What happened, in numbers.
    pub counters: &'a mut Counters,
}

/// A frame of one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// The lane continues after `n` of epoch `ep`.
    Opened {
        /// The epoch.
        ep: Epoch,
        /// The next message is after this offset.
        n: Offset,
        /// Messages up to this offset are history.
        head: Offset,
    },
    /// A message.
    Message {
        /// Its offset.
        n: Offset,
        /// Whether the publisher calls it a snapshot.
        snapshot: bool,
        /// What the publisher wrote.
        payload: Cow<'a, [u8]>,
    },
    /// Messages are missing.
    Gap {
        /// The epoch of the next message.
        ep: Epoch,
        /// The next message is after this offset.
        n: Offset,
        /// How many are missing, where that is known.
        missing: Option<u64>,
    },
    /// The channel has ended.
    Closed(ChannelEnd),
}

impl Item<'_> {
    /// The same, on its own.
    pub(crate) fn into_owned(self) -> Item<'static> {
        match self {
            Self::Opened { ep, n, head } => Item::Opened { ep, n, head },
            Self::Message { n, snapshot, payload } => {
                Item::Message { n, snapshot, payload: Cow::Owned(payload.into_owned()) }
            }
            Self::Gap { ep, n, missing } => Item::Gap { ep, n, missing },
            Self::Closed(end) => Item::Closed(end),
        }
    }

    /// The memory it takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let payload = if let Self::Message { payload, .. } = self { payload.len() } else { 0 };
        size_of::<Self>() + payload
    }
}

/// A channel of a document.
pub(crate) type LaneId = (StreamId, Cid);

/// Epochs that are over and are remembered.
const PAST_MAX: usize = 8;

/// An epoch that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Past {
    ep: Epoch,
    /// Its place in the order of the track's epochs.
    era: u32,
    /// The newest document that may still carry it.
    newest: StreamId,
    /// Up to here it was delivered.
    reached: Offset,
}

/// The lane that a frame comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct From {
    /// Its document.
    pub(crate) stream: StreamId,
    /// The newest document of all.
    pub(crate) newest: StreamId,
    /// The track's epoch that it has come to; `None` until its first frame.
    pub(crate) era: Option<u32>,
    /// Whether it is, with the track, at the beginning of an epoch of which nothing was ever said.
    pub(crate) unsaid: bool,
}

/// One channel as the consumer sees it.
#[derive(Debug)]
pub(crate) struct Track {
    /// The last message delivered, or where the channel starts; `None` until it was opened.
    pub(crate) place: Option<Position>,
    /// The place of the last gap that was declared.
    pub(crate) told: Option<Position>,
    /// Counts the epochs.
    pub(crate) era: u32,
    /// Nobody is left in its epoch; until then those that have not come to it are waited for.
    pub(crate) alone_until: Instant,
    /// Epochs that are over; the latest comes last.
    pub(crate) past: Vec<Past>,
    /// Whether a jump in offsets is conflation and not a gap.
    pub(crate) folds: bool,
    /// Counts the times that the channel ended.
    pub(crate) life: u32,
    /// Whether `Opened` was told in this life.
    pub(crate) open: bool,
    /// Where its frames come from.
    pub(crate) lanes: Vec<LaneId>,
}

impl Track {
    /// A track that starts after `since`. `folds`: its mode folds messages.
    pub(crate) fn new(folds: bool, since: Option<Position>) -> Self {
        Self {
            place: since,
            told: None,
            era: 0,
            alone_until: Instant::ZERO,
            past: Vec::new(),
            folds,
            life: 0,
            open: false,
            lanes: Vec::new(),
        }
    }

    /// Which of the track's epochs a lane has come to that says `ep`, if it is late: its document
    /// was open when that epoch ended and has not followed yet, or has not followed so far. Where
    /// others have passed over an epoch, one that comes to it stays where it was.
    pub(crate) fn late_era(&self, ep: Epoch, from: From) -> Option<u32> {
        let past = self.past.iter().find(|past| past.ep == ep);
        match (from.era, past) {
            (None, Some(past)) => (from.stream <= past.newest).then_some(past.era),
            (Some(era), Some(past)) => (era <= past.era).then_some(past.era),
            (Some(era), None) => (era < self.era).then_some(era),
            (None, None) => None,
        }
    }

    /// An `o` frame; returns the era that its lane has come to.
    pub(crate) fn open(
        &mut self,
        channel: ChannelKey,
        from: From,
        (ep, n, head): (Epoch, Offset, Offset),
        sink: &mut Sink<'_>,
    ) -> u32 {
        let opened = Event::Opened { channel, ep, n, head };
        match self.place {
            None => {
                self.place = Some(Position { ep, n });
                self.open = true;
                sink.events.push_back(opened);
            }
            Some(place) if place.ep == ep => {
                if !self.open {
                    self.open = true;
                    // The next message comes after the place, wherever this document begins.
                    let n = if self.folds { place.n } else { n.max(place.n) };
                    sink.events.push_back(Event::Opened { channel, ep, n, head: head.max(n) });
                }
                if n > place.n && !self.folds {
                    self.declare(channel, Position { ep, n }, Some(n.0 - place.n.0), sink);
                }
            }
            Some(_) => match self.late_era(ep, from) {
                Some(era) => return era,
                None if from.unsaid && n.0 == 0 => {
                    let place = self.enter(channel, from.newest, (ep, n, head), sink);
                    self.place = Some(place);
                }
                None => self.turn(channel, from.newest, (ep, n, head), sink),
            },
        }
        self.era
    }

    /// Another epoch begins: what is missing between the two nobody knows.
    pub(crate) fn turn(
        &mut self,
        channel: ChannelKey,
        newest: StreamId,
        begins: (Epoch, Offset, Offset),
        sink: &mut Sink<'_>,
    ) {
        let place = self.enter(channel, newest, begins, sink);
        self.declare(channel, place, None, sink);
    }

    /// Goes over to another epoch; returns the place where it is entered.
    fn enter(
        &mut self,
        channel: ChannelKey,
        newest: StreamId,
        (ep, n, head): (Epoch, Offset, Offset),
        sink: &mut Sink<'_>,
    ) -> Position {
        let before = self.past.iter().position(|past| past.ep == ep);
        // What was delivered before the epoch was left is not delivered again.
        let reached = before.map_or(Offset(0), |at| self.past.remove(at).reached);
        let n = n.max(reached);
        if let Some(Position { ep, n: reached }) = self.place {
            self.past.push(Past { ep, era: self.era, newest, reached });
            if self.past.len() > PAST_MAX {
                self.past.remove(0);
            }
        }
        self.era += 1;
        self.open = true;
        sink.events.push_back(Event::Opened { channel, ep, n, head: head.max(n) });
        Position { ep, n }
    }

    /// A message.
    pub(crate) fn deliver(
        &mut self,
        channel: ChannelKey,
        to: Position,
        (snapshot, payload): (bool, Cow<'_, [u8]>),
        sink: &mut Sink<'_>,
    ) {
        let Some(place) = self.place.filter(|place| place.ep == to.ep) else {
            sink.counters.late += 1;
            return;
        };
        if to.n <= place.n {
            sink.counters.duplicates += 1;
            return;
        }
        let passed = to.n.0 - place.n.0 - 1;
        let folded = if self.folds { passed } else { 0 };
        if passed > 0 && !self.folds {
            let before = Position { ep: to.ep, n: Offset(to.n.0 - 1) };
            self.declare(channel, before, Some(passed), sink);
        }
        self.place = Some(to);
        sink.counters.messages += 1;
        sink.counters.folded += folded;
        sink.counters.payload_bytes += payload.len() as u64;
        let payload = payload.into_owned();
        let Position { ep, n } = to;
        sink.events.push_back(Event::Message { channel, ep, n, snapshot, folded, payload });
    }

    /// A gap frame to `to`; `here`: the lane was there already, so what is missing has no numbers.
    /// Returns the era that the lane has come to.
    pub(crate) fn pass(
        &mut self,
        channel: ChannelKey,
        from: From,
        (to, missing, here): (Position, Option<u64>, bool),
        sink: &mut Sink<'_>,
    ) -> u32 {
        match self.place {
            None => {}
            Some(place) if to.ep != place.ep => {
                return self.open(channel, from, (to.ep, to.n, to.n), sink);
            }
            Some(place) if to.n > place.n => {
                // The numbers say it, also where the server cannot.
                self.declare(channel, to, Some(to.n.0 - place.n.0), sink);
            }
            Some(place) if to.n == place.n && here && self.told != Some(to) => {
                self.declare(channel, to, missing, sink);
            }
            Some(_) => {}
        }
        self.era
    }

    fn declare(
        &mut self,
        channel: ChannelKey,
        to: Position,
        missing: Option<u64>,
        sink: &mut Sink<'_>,
    ) {
        self.place = Some(to);
        self.told = Some(to);
        sink.counters.gaps += 1;
        sink.counters.missing += missing.unwrap_or(0);
        sink.events.push_back(Event::Gap { channel, ep: to.ep, n: to.n, missing });
    }
}
