//! Flush spans: messages wait a while for more, so that one write carries them all.
//!
//! Only what stands in the logs waits, and only on documents with a flush span. Whatever else a
//! document has to say goes out at once and takes along what waits. A reader that waits loses
//! nothing by it: what it has not read stays in the log, and half of what the history keeps is as
//! much as waits.

use crate::base::id::{ConnKey, Key};
use crate::base::time::{Instant, Millis, Span};
use crate::mem::wheel::Wheel;
use crate::proto::document::Document;
use crate::proto::hub::Hub;
use crate::proto::log::Log;
use crate::proto::settings::{History, Settings};
use crate::proto::timer::Packed;

impl Hub {
    /// The flush span of a document that begins: what its request says, else what its session has
    /// said last, else what the listener says. The session remembers what was asked for, not what
    /// its bounds made of it.
    pub(crate) fn agree_on_flush(
        &mut self,
        session: Key,
        conn: ConnKey,
        wanted: Option<Span>,
        heartbeat: Span,
    ) -> Millis {
        let usual = self.conns.get(conn).and_then(|connection| connection.flush);
        let Some(session) = self.sessions.get_mut(session) else { return Millis::ZERO };
        session.flush = wanted.map(Millis::from).or(session.flush);
        let agreed = session.flush.or(usual).map_or(self.settings.flush, Millis::span);
        self.settings.bound_flush(agreed, heartbeat).into()
    }
}

/// What a topic's log keeps for readers that wait for more.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// The first place of it, as the last round of telling has found.
    place: u64,
    /// The same of the round that goes on.
    round: u64,
}

impl Default for Held {
    fn default() -> Self {
        Self { place: u64::MAX, round: u64::MAX }
    }
}

impl Held {
    /// The first place that must stay in the log, because somebody waits who has read no further.
    pub fn place(&self) -> u64 {
        self.place.min(self.round)
    }

    /// Somebody waits who has not read that place.
    fn add(&mut self, place: u64) {
        self.round = self.round.min(place);
    }

    /// All readers were told.
    pub(crate) fn end_round(&mut self) {
        *self = Self { place: self.round, round: u64::MAX };
    }
}

/// What decides whether readers of a topic wait for more.
pub(crate) struct Pause<'a> {
    pub(crate) log: &'a Log,
    pub(crate) held: &'a mut Held,
    pub(crate) history: History,
    /// The brink of the log, once it is known.
    pub(crate) brink: Option<Option<u64>>,
    pub(crate) now: Instant,
    pub(crate) wheel: &'a mut Wheel<Packed>,
}

impl Pause<'_> {
    /// Whether the messages that this reader has before it wait; its timer is set then.
    pub(crate) fn begin(&mut self, document: &mut Document, key: Key, cursor: u32) -> bool {
        let cursor = &document.cursors[cursor as usize];
        let brink = *self.brink.get_or_insert_with(|| self.log.brink(&self.history));
        let full = brink.is_some_and(|brink| cursor.place <= brink) && !cursor.folds();
        if !cursor.folds() {
            self.held.add(cursor.place);
        }
        // Age is the one bound that a log reaches without growing.
        let wait = document.patience().min(self.history.age_max.fraction(1, 2));
        if full || wait == Span::ZERO {
            return false;
        }
        document.wake_at(self.now + wait, key, self.wheel);
        true
    }
}

impl Document {
    /// How long its messages wait for more: what its client was told, and half of an interval that
    /// has become shorter since.
    fn patience(&self) -> Span {
        self.flush.span().min(self.heartbeat.span().fraction(1, 2))
    }
}

impl Settings {
    /// A flush span that somebody asks for, within the bounds.
    pub fn bound_flush(&self, wanted: Span, heartbeat: Span) -> Span {
        wanted.min(self.flush_max).min(heartbeat.fraction(1, 2))
    }
}
