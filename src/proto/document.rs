//! Documents: one physical stream each, made of cursors into logs.

use std::sync::Arc;

use crate::base::id::{Cid, Key};
use crate::base::reason::DocumentEnd;
use crate::base::time::{Instant, Millis, Span};
use crate::mem::few::Few;
use crate::mem::lent::Lent;
use crate::proto::run::Run;
use crate::proto::sealing::DocumentSeal;
use crate::proto::session::NONE;

/// A place in a topic's log, for one channel on one document.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    /// The slot of the topic; [`NONE`] while the channel has none.
    pub topic: u32,
    /// Its index among the topic's subscribers.
    pub subscriber: u32,
    /// The next place to read.
    pub place: u64,
    /// With a rate: not before this moment.
    pub due: Instant,
    /// The number in frames, where a client chose it; else 0 and the topic's own number counts.
    pub cid: Cid,
    /// Messages a second at most; 0 for no bound.
    pub rate: u16,
    /// Whether a reader that is behind jumps to the newest.
    pub latest: bool,
    /// Whether the channel ends when history moves past it.
    pub strict: bool,
}

impl Cursor {
    /// Whether it may pass over messages.
    pub const fn folds(&self) -> bool {
        self.latest || self.rate > 0
    }

    /// Whether it reads messages as they are in the log, with the topic's own number, and as fast
    /// as the socket takes them.
    pub const fn is_common(&self) -> bool {
        self.cid.0 == 0 && self.rate == 0
    }

    /// A cursor that reads nothing.
    pub const VACANT: Self = Self {
        topic: NONE,
        subscriber: 0,
        place: 0,
        due: Instant::ZERO,
        cid: Cid(0),
        rate: 0,
        latest: false,
        strict: false,
    };
}

/// Which cursors may have something to read: a bit each, the first 64 without an allocation.
#[derive(Debug, Default)]
pub struct Ready {
    first: u64,
    #[expect(clippy::box_collection, reason = "8 bytes, not 24: nearly no document has so many")]
    rest: Option<Box<Vec<u64>>>,
}

impl Ready {
    /// Sets the bit of cursor `index`.
    pub fn set(&mut self, index: u32) {
        if index < 64 {
            self.first |= 1 << index;
            return;
        }
        let word = index as usize / 64 - 1;
        let rest = self.rest.get_or_insert_default();
        if word >= rest.len() {
            rest.resize(word + 1, 0);
        }
        rest[word] |= 1 << (index % 64);
    }

    /// Clears the bit of cursor `index`.
    pub fn clear(&mut self, index: u32) {
        if index < 64 {
            self.first &= !(1 << index);
        } else if let Some(rest) = &mut self.rest
            && let Some(word) = rest.get_mut(index as usize / 64 - 1)
        {
            *word &= !(1 << (index % 64));
        }
    }

    /// Whether no bit is set.
    pub fn is_empty(&self) -> bool {
        self.first == 0 && self.rest().iter().all(|&word| word == 0)
    }

    /// The one bit that is set, if it is the only one, and among the first.
    pub fn only(&self) -> Option<u32> {
        (self.first.is_power_of_two() && self.rest.is_none()).then(|| self.first.trailing_zeros())
    }

    /// The first set bit at or after `from`, else the first set bit of all.
    pub fn next(&self, from: u32) -> Option<u32> {
        self.at_or_after(from).or_else(|| self.at_or_after(0))
    }

    /// Memory beside the struct itself, in bytes.
    pub fn bytes(&self) -> usize {
        self.rest.as_ref().map_or(0, |rest| size_of_val(rest) + rest.capacity() * 8)
    }

    fn rest(&self) -> &[u64] {
        self.rest.as_ref().map_or(&[], |rest| rest.as_slice())
    }

    fn at_or_after(&self, from: u32) -> Option<u32> {
        if from < 64 {
            let word = self.first & (u64::MAX << from);
            if word != 0 {
                return Some(word.trailing_zeros());
            }
        }
        let from = from.max(64);
        let first_word = from as usize / 64 - 1;
        self.rest().iter().enumerate().skip(first_word).find_map(|(at, &word)| {
            let mask = if at == first_word { u64::MAX << (from % 64) } else { u64::MAX };
            let word = word & mask;
            (word != 0).then(|| (at as u32 + 1) * 64 + word.trailing_zeros())
        })
    }
}

/// A piece of a chunk that is not out yet.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Bytes of the unfinished chunk's own buffer.
    Own(usize, usize),
    /// Bytes of a shared run, which stays alive until they are out.
    Shared(Arc<Run>, usize, usize),
}

/// What a short write left over.
#[derive(Debug)]
pub struct Unfinished {
    /// Header, notes and copied frames.
    pub bytes: Vec<u8>,
    /// What is still to be written, in order.
    pub pieces: Vec<Piece>,
    /// Bytes of its own, for the accounts.
    pub own: usize,
}

/// How the document's bytes are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Chunked, and the head that nearly all have is still to be written.
    Fresh,
    /// Chunked.
    Chunked,
    /// A very large `Content-Length`, ended by closing early.
    Large,
    /// Not at all: lines on a connection without HTTP.
    Raw,
    /// The same, and the first is still to be written: commands behind its own wait for that.
    RawFresh,
}

/// One physical stream of a session.
#[derive(Debug)]
pub struct Document {
    /// Its connection.
    pub conn: Key,
    /// The slot of its session.
    pub session: u32,
    /// Its number in the session.
    pub number: u32,
    /// One for each channel of the session, at the same index.
    pub cursors: Few<Cursor>,
    /// Which of them may have something to read.
    pub ready: Ready,
    /// The cursor whose turn it is.
    pub turn: u32,
    /// Frames of this document alone, written before messages.
    pub notes: Lent,
    /// Bytes of `notes` that are in the accounts, because the socket takes nothing.
    pub noted: u32,
    /// What the last write left over.
    pub unfinished: Option<Box<Unfinished>>,
    /// What seals its lines, where they are sealed.
    pub seal: Option<Box<DocumentSeal>>,
    /// The heartbeat interval.
    pub heartbeat: Millis,
    /// How long a message may wait for more, as the client was told; never longer than half of the
    /// heartbeat interval in force.
    pub flush: Millis,
    /// When what waits for more, or for its rate, goes out at the latest; [`Instant::NEVER`] while
    /// nothing waits. May be earlier than it must, where what it was set for has gone already.
    pub soon_at: Instant,
    /// When bytes were last handed to the socket.
    pub sent_at: Instant,
    /// When the last heartbeat frame was sent.
    pub stamped_at: Instant,
    /// When it must end, its successor having begun; [`Instant::NEVER`] while it has none.
    pub replaced_at: Instant,
    /// The moment of its timer that counts; others are stale.
    pub timer_at: Instant,
    /// The end that is to be written.
    pub ending: Option<DocumentEnd>,
    /// How it is framed.
    pub coding: Coding,
    /// Whether it is a lasting duplicate.
    pub dup: bool,
    /// True exactly when it waits to be written.
    pub named: bool,
    /// True exactly when the socket takes nothing until it says so.
    pub blocked: bool,
    /// Whether a heartbeat goes out with the next write.
    pub heartbeat_due: bool,
    /// Whether the last frame was written.
    pub ended: bool,
    /// Whether a cursor has a rate.
    pub rated: bool,
}

impl Document {
    /// A document on which nothing was sent yet: chunked, with a heartbeat of 15 s.
    pub fn new(conn: Key, session: u32, number: u32, now: Instant) -> Self {
        Self {
            conn,
            session,
            number,
            cursors: Few::default(),
            ready: Ready::default(),
            turn: 0,
            notes: Lent::default(),
            noted: 0,
            unfinished: None,
            seal: None,
            heartbeat: Span::from_secs(15).into(),
            flush: Millis::ZERO,
            soon_at: Instant::NEVER,
            sent_at: now,
            stamped_at: now,
            replaced_at: Instant::NEVER,
            timer_at: Instant::NEVER,
            ending: None,
            coding: Coding::Chunked,
            dup: false,
            named: false,
            blocked: false,
            heartbeat_due: false,
            ended: false,
            rated: false,
        }
    }

    /// Whether its successor has begun, or it has been told to end.
    pub fn is_succeeded(&self) -> bool {
        self.replaced_at != Instant::NEVER || self.ending.is_some()
    }

    /// Whether there is anything to write.
    pub fn has_output(&self) -> bool {
        let more = !self.notes.is_empty()
            || self.heartbeat_due
            || self.ending.is_some()
            || !self.ready.is_empty();
        self.unfinished.is_some() || (more && !self.ended)
    }

    /// Whether what it has to send, itself not being heard, are messages and nothing else, as
    /// others may be sent too.
    pub fn has_messages_alone(&self) -> bool {
        self.notes.is_empty()
            && self.ending.is_none()
            && !self.ended
            && self.coding != Coding::Fresh
            && self.seal.is_none()
    }

    /// When the next heartbeat is due if nothing else is sent: between 0.75 and 1.0 intervals after
    /// the last bytes, by the document's own phase.
    pub fn heartbeat_at(&self, phase: u8) -> Instant {
        let quiet = self.heartbeat.span().fraction(3 * 255 + u64::from(phase), 4 * 255);
        (self.sent_at + quiet).min(self.stamp_at())
    }

    /// When the next heartbeat is due whatever else is sent.
    pub fn stamp_at(&self) -> Instant {
        // Fifteen quarters of the interval, so that a turn more still makes less than four.
        self.stamped_at + Span::from_nanos(self.heartbeat.span().times(15).as_nanos() / 4)
    }

    /// Memory beside the struct itself, in bytes.
    pub fn bytes(&self) -> usize {
        let unfinished = self.unfinished.as_ref().map_or(0, |left| {
            size_of::<Unfinished>()
                + left.bytes.capacity()
                + left.pieces.capacity() * size_of::<Piece>()
        });
        let seal = self.seal.as_ref().map_or(0, |_| size_of::<DocumentSeal>());
        self.cursors.bytes() + self.ready.bytes() + self.notes.bytes() + unfinished + seal
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;
    use crate::proto::session::Channel;

    #[test]
    fn what_a_stream_is_made_of_stays_small() {
        let sizes = [size_of::<Few<Cursor>>(), size_of::<Few<Channel>>(), size_of::<Document>()];
        assert_eq!(sizes, [32, 32, 152]);
    }

    #[test]
    fn ready_bits_agree_with_a_plain_set() {
        let mut random = Random::from_number(3);
        let mut ready = Ready::default();
        let mut plain = std::collections::BTreeSet::new();
        for _ in 0..5_000 {
            let index = random.below(200) as u32;
            if random.below(3) == 0 {
                ready.set(index);
                plain.insert(index);
            } else {
                ready.clear(index);
                plain.remove(&index);
            }
            let from = random.below(200) as u32;
            let expected = plain.range(from..).next().or_else(|| plain.first());
            assert_eq!(ready.next(from), expected.copied());
            assert_eq!(ready.is_empty(), plain.is_empty());
            if let Some(only) = ready.only() {
                assert_eq!(plain.iter().collect::<Vec<_>>(), [&only]);
            }
        }
    }
}
