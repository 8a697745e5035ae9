//! Timers of one hub. They are lazy: an entry of the wheel that fires is checked against its
//! owner's own moment, and one that no longer counts does nothing.

use crate::base::id::{Key, Mid};
use crate::base::reason::CloseReason;
use crate::base::time::{Instant, Span};
use crate::http::status::Refusal;
use crate::mem::slab::Slots;
use crate::mem::wheel::Wheel;
use crate::proto::connection::Phase;
use crate::proto::document::Document;
use crate::proto::hub::Hub;
use crate::proto::parcel::Parcel;
use crate::proto::topic::Role;

/// How often a slice of the topics is looked through.
const SWEEP_EVERY: Span = Span::from_millis(50);
/// Topics in one slice.
const SWEEP_SLICE: u32 = 1_024;

/// Whose moment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// A connection: its phase takes too long.
    Connection(Key),
    /// A document: heartbeat, successor, or a socket that makes no progress.
    Document(Key),
    /// A document: what waits for more, or for its rate, goes out. Apart from the above, which lies
    /// seconds ahead: each of many short waits would leave one of that kind behind in the wheel.
    Soon(Key),
    /// A session: no document within the linger time, a client that is not heard, or a gap in its
    /// numbered sends.
    Session(Key),
    /// Sessions that are to be looked at again, as the access lists are others.
    Recheck,
    /// The topics: what has aged or is wanted no more.
    Sweep,
}

/// A timer in eight bytes, as the wheel holds it: the slot, the generation above it, the kind on
/// top.
#[derive(Clone, Copy, Debug)]
pub struct Packed(u64);

impl Timer {
    const KIND_SHIFT: u32 = 60;

    /// Packs it; a generation has 24 bits.
    pub fn pack(self) -> Packed {
        let (kind, key) = match self {
            Self::Sweep => (0, Key::default()),
            Self::Connection(key) => (1, key),
            Self::Document(key) => (2, key),
            Self::Session(key) => (3, key),
            Self::Soon(key) => (4, key),
            Self::Recheck => (5, Key::default()),
        };
        debug_assert!(key.generation < Mid::GENERATION_END);
        let key = u64::from(key.generation) << 32 | u64::from(key.slot);
        Packed(kind << Self::KIND_SHIFT | key)
    }
}

impl Packed {
    /// The timer.
    pub fn unpack(self) -> Timer {
        let generation = (self.0 >> 32) as u32 & (Mid::GENERATION_END - 1);
        let key = Key { slot: self.0 as u32, generation };
        match self.0 >> Timer::KIND_SHIFT {
            0 => Timer::Sweep,
            1 => Timer::Connection(key),
            2 => Timer::Document(key),
            3 => Timer::Session(key),
            4 => Timer::Soon(key),
            _ => Timer::Recheck,
        }
    }
}

/// Makes sure that the document's timers fire no later than they must.
pub(crate) fn arm_document(
    documents: &mut Slots<Document>,
    wheel: &mut Wheel<Packed>,
    key: Key,
    drop_intervals: u32,
    now: Instant,
) {
    let Some(document) = documents.get_mut(key) else { return };
    let at = document.next_moment(phase_of(key), drop_intervals);
    if at < document.timer_at {
        document.timer_at = at;
        wheel.insert(at, Timer::Document(key).pack());
    }
    if document.rated {
        document.wake_at(document.next_due(now), key, wheel);
    }
}

/// Spreads heartbeats of documents that began together.
fn phase_of(key: Key) -> u8 {
    (key.slot.wrapping_mul(0x9e37_79b9) >> 24) as u8
}

impl Hub {
    #[inline]
    pub(crate) fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Connection(key) => self.fire_connection(key),
            Timer::Document(key) => self.fire_document(key),
            Timer::Soon(key) => self.fire_soon(key),
            Timer::Session(key) => self.fire_session(key),
            Timer::Sweep => self.sweep(),
            Timer::Recheck => self.fire_recheck(),
        }
    }

    /// The connection must get on within `span`.
    pub(crate) fn set_deadline(&mut self, conn: Key, span: Span) {
        let at = self.now + span;
        let Some(connection) = self.conns.get_mut(conn) else { return };
        connection.deadline = at;
        if at < connection.timer_at {
            connection.timer_at = at;
            self.wheel.insert(at, Timer::Connection(conn).pack());
        }
    }

    fn fire_connection(&mut self, conn: Key) {
        let now = self.now;
        let Some(connection) = self.conns.get_mut(conn) else { return };
        if connection.timer_at > now {
            return;
        }
        connection.timer_at = Instant::NEVER;
        if connection.moving {
            // Its request is whole and goes with it; the other shard counts from its arrival.
            return;
        }
        if let Phase::Relay(key) = connection.phase {
            return self.fire_relay(conn, key);
        }
        if connection.deadline > now {
            let rest = connection.deadline.since(now);
            if connection.deadline < Instant::NEVER {
                self.set_deadline(conn, rest);
            }
            return;
        }
        let idle = connection.is_idle();
        match connection.phase {
            // A line that was begun beside the document.
            Phase::Stream(_) if !connection.input.is_empty() && !connection.paused => {
                self.refuse(conn, Refusal::Timeout, CloseReason::RequestTimeout);
            }
            Phase::Stream(_) | Phase::Relay(_) => {}
            Phase::Asking(_) => self.give_up_asking(conn),
            Phase::Introduction => self.close(conn, CloseReason::RequestTimeout),
            Phase::Drain(reason, _) => self.close(conn, reason),
            Phase::Head if idle && connection.input.is_empty() => {
                self.close(conn, CloseReason::Idle)
            }
            Phase::Head | Phase::Body(_) if idle => {
                self.count_slow(conn);
                self.refuse(conn, Refusal::Timeout, CloseReason::RequestTimeout);
            }
            // Answers are waited for or the peer does not read them.
            Phase::Head | Phase::Body(_) => self.close(conn, CloseReason::Stale),
        }
    }

    /// Makes sure that the document's timers fire no later than they must.
    pub(crate) fn arm_document(&mut self, slot: u32) {
        if let Some(key) = self.document_key(slot) {
            let drop_intervals = self.settings.drop_intervals;
            arm_document(&mut self.documents, &mut self.wheel, key, drop_intervals, self.now);
        }
    }

    fn fire_document(&mut self, key: Key) {
        let now = self.now;
        let drop_intervals = u64::from(self.settings.drop_intervals);
        let Some(document) = self.documents.get_mut(key) else { return };
        if document.timer_at > now {
            return;
        }
        document.timer_at = Instant::NEVER;
        let conn = document.conn;
        if document.blocked
            && now.since(document.sent_at) >= document.heartbeat.span().times(drop_intervals)
        {
            self.close(conn, CloseReason::Stale);
            return;
        }
        if document.replaced_at <= now {
            document.replaced_at = Instant::NEVER;
            if document.blocked {
                // Its successor carries everything; nobody reads this one to its end.
                self.close(conn, CloseReason::Refreshed);
                return;
            }
            self.end_document(key.slot, crate::base::reason::DocumentEnd::Refreshed);
        }
        let Some(document) = self.documents.get_mut(key) else { return };
        if document.heartbeat_at(phase_of(key)) <= now && !document.blocked {
            document.heartbeat_due = true;
        }
        // Messages may have to wait for more.
        if document.heartbeat_due && !document.blocked {
            self.name_document(key.slot);
        }
        self.arm_document(key.slot);
    }

    fn fire_soon(&mut self, key: Key) {
        let now = self.now;
        let Some(document) = self.documents.get_mut(key) else { return };
        if document.soon_at > now {
            return;
        }
        document.soon_at = Instant::NEVER;
        for (index, cursor) in document.cursors.iter().enumerate() {
            let behind = self.topics.slots.at(cursor.topic).is_some_and(|topic| {
                cursor.place < topic.log.end().place && cursor.rate > 0 && cursor.due <= now
            });
            if behind {
                document.ready.set(index as u32);
            }
        }
        if document.has_output() && !document.blocked {
            self.name_document(key.slot);
        }
        self.arm_document(key.slot);
    }

    /// Makes sure that the session's timer fires no later than it must.
    pub(crate) fn arm_session(&mut self, key: Key) {
        let user = self.sessions.get(key).map(|session| self.user_moment(session));
        let settings = &self.settings;
        let Some((session, user)) = self.sessions.get_mut(key).zip(user) else { return };
        let linger = match session.document_slots().next() {
            Some(_) => Instant::NEVER,
            None => session.idle_since + settings.linger,
        };
        let gap = session.inboxes.as_ref().and_then(|inboxes| inboxes.deadline(settings.skip));
        let at = gap.map_or(linger, |gap| gap.min(linger)).min(settings.silence_ends_at(session));
        let at = at.min(user);
        if at < session.timer_at {
            session.timer_at = at;
            self.wheel.insert(at, Timer::Session(key).pack());
        }
    }

    fn fire_session(&mut self, key: Key) {
        let now = self.now;
        let linger = self.settings.linger;
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.timer_at > now {
            return;
        }
        session.timer_at = Instant::NEVER;
        if self.watch_user(key) {
            return;
        }
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.document_slots().next().is_none() && session.idle_since + linger <= now {
            self.stats.sessions_expired += 1;
            self.end_session(key);
            return;
        }
        if self.settings.client_heartbeat && session.document_slots().next().is_some() {
            self.watch_client(key);
        }
        self.give_up_gaps(key);
        self.arm_session(key);
    }

    /// Starts looking through the topics, unless that goes on already.
    pub(crate) fn start_sweep(&mut self) {
        if !self.sweeping {
            self.sweeping = true;
            self.wheel.insert(self.now + SWEEP_EVERY, Timer::Sweep.pack());
        }
    }

    /// Looks through a slice of the topics: what has aged goes, and topics that nobody wants.
    fn sweep(&mut self) {
        self.sweeping = false;
        let end = self.topics.slots.slot_end();
        for _ in 0..SWEEP_SLICE.min(end) {
            let slot = if self.sweep_at < end { self.sweep_at } else { 0 };
            self.sweep_at = slot + 1;
            self.sweep_topic(slot);
        }
        if !self.topics.slots.is_empty() {
            self.start_sweep();
        }
    }

    fn sweep_topic(&mut self, slot: u32) {
        let now = self.now;
        let Some(key) = self.topics.slots.key_at(slot) else { return };
        let Some(topic) = self.topics.slots.at_mut(slot) else { return };
        let history = topic.options.history.unwrap_or(self.settings.history);
        let before = topic.log.bytes();
        topic.log.trim(&history, u64::MAX, now);
        let trimmed = before - topic.log.bytes();
        let quiet = now.since(topic.quiet_since) >= self.settings.topic_grace;
        let asked = self.asks.contains_key(&topic.name);
        let idle = quiet && !asked && !topic.is_wanted() && !topic.touched;
        match topic.role {
            Role::Follower(home) if idle => {
                let number = topic.number;
                self.topics.remove(key);
                self.post(home, Parcel::Unfollow(self.shard, number));
            }
            Role::Follower(_) => {}
            Role::Home { .. } | Role::Private => {
                self.history_bytes -= trimmed;
                if topic.role == Role::Private {
                    return self.look_at_stream(slot);
                }
                if !idle {
                    return self.tell_consumers(slot);
                }
                let (name, empty) = (topic.name.clone(), topic.log.is_empty());
                // What a resource elsewhere no longer sends is not kept: it would look like news.
                if self.release_topic_want(&name) || empty {
                    self.remove_topic(slot);
                }
            }
        }
    }
}

impl Document {
    /// The next moment at which its heartbeat, its end or the end of patience with it is due.
    fn next_moment(&self, phase: u8, drop_intervals: u32) -> Instant {
        let quiet = if self.blocked {
            self.sent_at + self.heartbeat.span().times(u64::from(drop_intervals))
        } else if self.heartbeat_due || self.ended {
            Instant::NEVER
        } else {
            self.heartbeat_at(phase)
        };
        quiet.min(self.replaced_at)
    }

    /// The next moment after `now` at which a cursor's rate lets something out.
    fn next_due(&self, now: Instant) -> Instant {
        let dues = self.cursors.iter().filter(|cursor| cursor.rate > 0).map(|cursor| cursor.due);
        dues.filter(|&due| due > now).fold(Instant::NEVER, Instant::min)
    }

    /// Makes sure that what waits goes out at `at` at the latest.
    pub(crate) fn wake_at(&mut self, at: Instant, key: Key, wheel: &mut Wheel<Packed>) {
        if at < self.soon_at {
            self.soon_at = at;
            wheel.insert(at, Timer::Soon(key).pack());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_timer_is_the_same() {
        let keys = [(0, 1), (u32::MAX, Mid::GENERATION_END - 1), (77, 0xabcdef)];
        for (slot, generation) in keys {
            let key = Key { slot, generation };
            let kinds = [Timer::Connection, Timer::Document, Timer::Session, Timer::Soon];
            for timer in kinds.map(|kind| kind(key)) {
                assert_eq!(timer.pack().unpack(), timer);
            }
        }
        assert_eq!(Timer::Sweep.pack().unpack(), Timer::Sweep);
    }
}
