//! The end of a shard: it drains, together with the others, and then it stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::base::id::ShardId;
use crate::base::time::{Instant, Span};
use crate::proto::connection::Door;
use crate::shard::mail::Mail;
use crate::shard::turn::Shard;

/// How long last frames and answers may take when the server stops.
const STOP_SPAN: Span = Span::from_secs(5);

/// How many shards of a server still have documents, or have not begun to drain. Only looked at
/// while they drain.
///
/// ```
/// use ahm::shard::leaving::Occupied;
/// let occupied = Occupied::new(2);
/// let other = occupied.clone();
/// assert!(!occupied.change(false), "the other may have documents");
/// occupied.change(true); // a client has come back to a session that was cut off
/// assert!(!other.change(false));
/// assert!(occupied.change(false), "nobody has any");
/// ```
#[derive(Clone, Debug)]
pub struct Occupied(Arc<AtomicUsize>);

impl Occupied {
    /// For that many shards.
    pub fn new(shards: u8) -> Self {
        Self(Arc::new(AtomicUsize::new(usize::from(shards))))
    }

    /// One shard has got its first document or lost its last; says whether none is left anywhere.
    pub fn change(&self, occupied: bool) -> bool {
        if occupied {
            self.0.fetch_add(1, Ordering::AcqRel);
            return false;
        }
        self.0.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

/// How far a shard is on its way to the end.
#[derive(Debug)]
pub(crate) struct Leaving {
    occupied: Occupied,
    /// While it drains: when it stops, whoever is still there.
    drain_until: Option<Instant>,
    /// Whether this shard counts among the occupied ones.
    counted: bool,
    /// When it ends at the latest.
    stop_at: Option<Instant>,
}

impl Leaving {
    /// A shard that stays.
    pub(crate) const fn new(occupied: Occupied) -> Self {
        Self { occupied, drain_until: None, counted: true, stop_at: None }
    }

    /// The moment at which something is to be done, whatever else happens.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.stop_at.or(self.drain_until)
    }
}

impl Shard {
    /// The server stops soon: documents are told, and whoever connects comes to another server.
    pub(crate) fn begin_drain(&mut self, within: Span) {
        if self.leaving.stop_at.is_some() {
            return;
        }
        if within == Span::ZERO {
            return self.begin_stop();
        }
        let until = self.now + within;
        if self.leaving.drain_until.is_none_or(|known| until < known) {
            self.leaving.drain_until = Some(until);
        }
        for entrance in &mut self.doors {
            if entrance.gate.door != Door::Private && entrance.listener.is_some() {
                // Who has connected already is let in first: closing would reset it.
                entrance.closing = true;
                entrance.waiting = true;
            }
        }
        self.hub.handle_drain(within, self.now);
    }

    /// The server stops: nobody comes in, and what is under way gets a short while.
    pub(crate) fn begin_stop(&mut self) {
        self.doors.clear();
        self.leaving.stop_at.get_or_insert(self.now + STOP_SPAN);
        self.hub.handle_shutdown(self.now);
    }

    /// While it drains: whether its time is over.
    pub(crate) fn end_drain(&mut self) {
        if self.leaving.stop_at.is_none()
            && self.leaving.drain_until.is_some_and(|until| until <= self.now)
        {
            self.begin_stop();
        }
    }

    /// While it drains: the shard that loses the last document of all tells the others to stop.
    pub(crate) fn watch_drain(&mut self) {
        if self.leaving.drain_until.is_none() || self.leaving.stop_at.is_some() {
            return;
        }
        let occupied = self.hub.document_count() > 0 || self.doors.iter().any(|door| door.closing);
        if occupied == self.leaving.counted {
            return;
        }
        self.leaving.counted = occupied;
        if self.leaving.occupied.change(occupied) {
            for shard in 0..self.peers.len() {
                self.post(ShardId(shard as u8), Mail::Stop);
            }
        }
    }

    /// Whether the server stops and nothing is left to be sent, or it took too long.
    pub(crate) fn is_over(&self) -> bool {
        let Some(stop_at) = self.leaving.stop_at else { return false };
        let mail_left = self.outbox.iter().any(|mail| !mail.is_empty());
        (self.hub.connection_count() == 0 && !mail_left) || self.now >= stop_at
    }
}
