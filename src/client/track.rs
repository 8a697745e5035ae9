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

/// One channel as the consumer sees it.
#[derive(Debug)]
pub(crate) struct Track {
    /// The last message delivered, or where the channel starts; `None` until it was opened.
    pub(crate) place: Option<Position>,
    /// The place when it was last asked for.
    pub(crate) asked: Option<Position>,
    /// The place of the last gap that was declared.
    pub(crate) told: Option<Position>,
    /// Epochs that are over, each with the newest document that may still carry it.
    pub(crate) past: Vec<(Epoch, StreamId)>,
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
    /// Whether `ep` is over for `stream`.
    pub(crate) fn is_past(&self, ep: Epoch, stream: StreamId) -> bool {
        self.past.iter().any(|(past, newest)| *past == ep && stream <= *newest)
    }

    /// An `o` frame of `stream`; `newest` is the newest document of all.
    pub(crate) fn open(
        &mut self,
        channel: ChannelKey,
        stream: StreamId,
        newest: StreamId,
        (ep, n, head): (Epoch, Offset, Offset),
        sink: &mut Sink<'_>,
    ) {
        let to = Position { ep, n };
        let opened = Event::Opened { channel, ep, n, head };
        match self.place {
            None => {
                self.place = Some(to);
                self.open = true;
                sink.events.push_back(opened);
            }
            Some(place) if place.ep == ep => {
                if !self.open {
                    self.open = true;
                    sink.events.push_back(opened);
                }
                if n > place.n && !self.folds {
                    self.declare(channel, to, Some(n.0 - place.n.0), sink);
                }
            }
            Some(_) if self.is_past(ep, stream) => {}
            Some(place) => {
                self.past.retain(|(past, _)| *past != ep);
                self.past.push((place.ep, newest));
                if self.past.len() > 8 {
                    self.past.remove(0);
                }
                self.open = true;
                sink.events.push_back(opened);
                self.declare(channel, to, None, sink);
            }
        }
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
    pub(crate) fn pass(
        &mut self,
        channel: ChannelKey,
        stream: StreamId,
        newest: StreamId,
        (to, missing, here): (Position, Option<u64>, bool),
        sink: &mut Sink<'_>,
    ) {
        let Some(place) = self.place else { return };
        if to.ep != place.ep {
            self.open(channel, stream, newest, (to.ep, to.n, to.n), sink);
        } else if to.n > place.n {
            let missing = missing.map(|missing| missing.min(to.n.0 - place.n.0));
            self.declare(channel, to, missing, sink);
        } else if to.n == place.n && here && self.told != Some(to) {
            self.declare(channel, to, missing, sink);
        }
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
