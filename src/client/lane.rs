//! One channel as one document carries it, and what it holds back at a gap.

use std::borrow::Cow;
use std::collections::VecDeque;

use crate::base::id::{Epoch, Offset};
use crate::base::time::Instant;
use crate::client::event::ChannelKey;
use crate::client::track::{From, Item, Sink, Track};
use crate::wire::command::Position;

/// Frames that wait behind a gap.
#[derive(Debug)]
pub(crate) struct Hold {
    /// The gap is declared at this moment at the latest.
    pub(crate) until: Instant,
    /// Whether the first frame shows a gap, and does not just come behind one that did.
    pub(crate) at_gap: bool,
    /// Never empty; the first is the one that is let go next.
    pub(crate) items: VecDeque<Item<'static>>,
    /// The memory they take.
    pub(crate) bytes: usize,
}

impl Hold {
    /// Whether anything in it is lost with it: what only tells where its document began, the next
    /// document tells anew.
    pub(crate) fn has_content(&self) -> bool {
        self.items.iter().any(|item| matches!(item, Item::Message { .. } | Item::Closed(_)))
    }
}

/// Bytes of messages that a lane keeps while it is in another epoch than the track, which may
/// come there yet.
const KEPT_BYTES_MAX: usize = 256 * 1024;

/// The last messages of one epoch, and the gaps between them.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    items: VecDeque<Item<'static>>,
    bytes: usize,
}

impl Kept {
    /// Adds a message; the oldest go where there are too many.
    pub(crate) fn push(&mut self, item: Item<'static>) {
        self.bytes += item.bytes();
        self.items.push_back(item);
        while self.bytes > KEPT_BYTES_MAX
            && let Some(oldest) = self.items.pop_front()
        {
            self.bytes -= oldest.bytes();
        }
    }

    /// Takes all out.
    pub(crate) fn take(&mut self) -> VecDeque<Item<'static>> {
        self.bytes = 0;
        std::mem::take(&mut self.items)
    }

    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// A channel of a document.
#[derive(Debug)]
pub(crate) struct Lane {
    /// The channel as the consumer knows it.
    pub(crate) channel: ChannelKey,
    /// The session of its document: what is numbered alike within it need not be so elsewhere.
    pub(crate) site: u32,
    /// Whether it has a numbering that is not the track's; see [`crate::client::merge`].
    pub(crate) apart: bool,
    /// The life of the track that this lane belongs to; of a past life nothing is taken.
    pub(crate) life: u32,
    /// The track's epoch that this lane has come to.
    pub(crate) era: u32,
    /// Where the document is on this channel.
    pub(crate) place: Position,
    /// True until the first frame has been taken.
    pub(crate) fresh: bool,
    /// The offset to which the last `o` frame jumped; a gap frame to the same offset explains that
    /// jump and is no further gap.
    pub(crate) jumped: Option<Offset>,
    /// What waits; `None` where nothing does.
    pub(crate) hold: Option<Hold>,
    /// The last messages that it brought while it stood apart, or was late.
    pub(crate) kept: Kept,
    /// The document has ended; what it held back is still in hand.
    pub(crate) over: bool,
}

impl Lane {
    /// A lane before its first frame.
    pub(crate) fn new(channel: ChannelKey, site: u32, track: &Track, place: Position) -> Self {
        Self {
            channel,
            site,
            apart: false,
            life: track.life,
            era: track.era,
            place,
            fresh: true,
            jumped: None,
            hold: None,
            kept: Kept::default(),
            over: false,
        }
    }

    /// An `o` frame; `fresh`: the first frame of all.
    pub(crate) fn open(
        &mut self,
        track: &mut Track,
        from: From,
        fresh: bool,
        (ep, n, head): (Epoch, Offset, Offset),
        sink: &mut Sink<'_>,
    ) {
        // What is missing before the place where a lane begins is told by that place itself, unless
        // the consumer has no other.
        let begins = fresh && track.place.is_some();
        let before = self.place;
        if before.ep != ep {
            self.kept.take();
        }
        let unsaid = !fresh && before.n.0 == 0 && track.place == Some(before);
        let from = From { unsaid, ..from };
        self.jumped = (begins || before.ep != ep || before.n < n).then_some(n);
        self.place = Position { ep, n };
        self.life = track.life;
        self.era = track.open(self.channel, from, (ep, n, head), sink);
    }

    /// A message.
    pub(crate) fn message(
        &mut self,
        track: &mut Track,
        n: Offset,
        (snapshot, payload): (bool, Cow<'_, [u8]>),
        sink: &mut Sink<'_>,
    ) {
        self.place.n = n;
        let lives = self.life == track.life;
        if lives && self.era == track.era {
            return track.deliver(self.channel, self.place, (snapshot, payload), sink);
        }
        sink.counters.late += 1;
        if lives {
            self.kept.push(Item::Message { n, snapshot, payload }.into_owned());
        }
    }

    /// A gap frame, to that place.
    pub(crate) fn gap(
        &mut self,
        track: &mut Track,
        from: From,
        (to, missing): (Position, Option<u64>),
        sink: &mut Sink<'_>,
    ) {
        let explained = self.jumped.take() == Some(to.n);
        let here = self.place == to && !explained;
        let leaves = self.place.ep != to.ep;
        self.place = to;
        if leaves {
            // What it kept is of the epoch that it has left.
            self.kept.take();
        }
        let lives = self.life == track.life;
        if lives && (leaves || self.era == track.era) {
            self.era = track.pass(self.channel, from, (to, missing, here), sink);
        } else if lives {
            self.kept.push(Item::Gap { ep: to.ep, n: to.n, missing });
        }
    }

    /// The place before the message that `item` is, or leads to.
    pub(crate) fn place_before(&self, item: &Item<'_>) -> Position {
        match *item {
            Item::Opened { ep, n, .. } | Item::Gap { ep, n, .. } => Position { ep, n },
            Item::Message { n, .. } => {
                Position { ep: self.place.ep, n: Offset(n.0.saturating_sub(1)) }
            }
            Item::Closed(_) => self.place,
        }
    }

    /// The place after which this lane goes on.
    pub(crate) fn reach(&self) -> Position {
        let held = self.hold.as_ref().and_then(|hold| hold.items.front());
        held.map_or(self.place, |item| self.place_before(item))
    }
}
