//! The log of one subject at its source: offsets, a bounded history, and where a reader begins.

use std::collections::VecDeque;

use crate::base::id::{Epoch, Offset};
use crate::base::time::{Instant, Span};

/// How much of a subject's past is kept. The newest message always is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Messages at most.
    pub messages: u32,
    /// Bytes at most, with what it takes to keep them.
    pub bytes: u32,
    /// Age at most.
    pub age: Span,
}

impl Default for History {
    /// More than a server keeps: a source also bridges the time in which a connection is down.
    fn default() -> Self {
        Self { messages: 1_024, bytes: 1024 * 1024, age: Span::from_secs(60) }
    }
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its offset.
    pub n: Offset,
    /// When it was published.
    pub at: Instant,
    /// Whether the source calls it a snapshot.
    pub snapshot: bool,
    /// What it says.
    pub payload: Box<[u8]>,
}

impl Entry {
    /// What it takes to keep it.
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.payload.len()
    }
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The offset of the first message that it gets.
    pub next: Offset,
    /// Whether that one is the present state.
    pub is_state: bool,
}

/// The messages of one subject.
///
/// ```
/// use ahm::base::id::{Epoch, Offset};
/// use ahm::base::time::Instant;
/// use ahm::link::source_log::{Log, Start};
/// let mut log = Log::new(Epoch(7));
/// for payload in ["a", "b", "c"] {
///     log.push(log.next(), false, payload.as_bytes().into(), Instant::ZERO);
/// }
/// let start = |next, is_state| Start { next: Offset(next), is_state };
/// assert_eq!(log.locate(Some((Epoch(7), Offset(1))), false), start(2, false), "it goes on");
/// assert_eq!(log.locate(None, false), start(4, false), "only what is new");
/// assert_eq!(log.locate(None, true), start(3, true), "the state first");
/// ```
#[derive(Debug)]
pub struct Log {
    ep: Epoch,
    next: Offset,
    /// Ascending; where one was not published here, there is none.
    entries: VecDeque<Entry>,
    bytes: usize,
    snapshot: Option<Offset>,
}

impl Log {
    /// An empty log, whose first message has offset 1.
    pub const fn new(ep: Epoch) -> Self {
        Self { ep, next: Offset(1), entries: VecDeque::new(), bytes: 0, snapshot: None }
    }

    /// The epoch.
    pub const fn ep(&self) -> Epoch {
        self.ep
    }

    /// The offset of the next message.
    pub const fn next(&self) -> Offset {
        self.next
    }

    /// The offset of the oldest message that is kept; [`Log::next`] if none is.
    pub fn first(&self) -> Offset {
        self.entries.front().map_or(self.next, |entry| entry.n)
    }

    /// Memory that the history holds, in bytes.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many messages are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is kept, which is so only before the first of an epoch.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The newest message.
    pub fn newest(&self) -> Option<&Entry> {
        self.entries.back()
    }

    /// When the oldest was published, if bounds may still drop it.
    pub fn oldest(&self) -> Option<Instant> {
        if self.entries.len() > 1 { self.entries.front().map(|entry| entry.at) } else { None }
    }

    /// Adds a message. Its offset is not below [`Log::next`].
    pub fn push(&mut self, n: Offset, snapshot: bool, payload: Box<[u8]>, at: Instant) {
        debug_assert!(n >= self.next);
        let entry = Entry { n, at, snapshot, payload };
        self.bytes += entry.bytes();
        if snapshot {
            self.snapshot = Some(n);
        }
        self.next = n.next();
        self.entries.push_back(entry);
    }

    /// The numbering goes on elsewhere; what was kept is forgotten.
    pub fn begin(&mut self, ep: Epoch, next: Offset) {
        *self = Self { next, ..Self::new(ep) };
    }

    /// The messages that are kept, from offset `n` on.
    pub fn messages_from(&self, n: Offset) -> impl Iterator<Item = &Entry> {
        // Readers are nearly always at the end.
        let newest = self.entries.len().saturating_sub(1);
        let first = match self.entries.get(newest) {
            Some(entry) if entry.n < n => self.entries.len(),
            Some(_) if newest > 0 && self.entries[newest - 1].n < n => newest,
            _ => self.entries.partition_point(|entry| entry.n < n),
        };
        self.entries.range(first..)
    }

    /// Where a reader begins that has `last` already: behind it, if that was in this epoch and is
    /// still kept, else at the oldest that is kept; a reader that has nothing of this epoch begins
    /// at the newest message if each `is_state`, else at the last snapshot, else it gets only what
    /// is new.
    pub fn locate(&self, last: Option<(Epoch, Offset)>, is_state: bool) -> Start {
        if let Some((ep, n)) = last
            && ep == self.ep
        {
            // Who is ahead of this source, which replicas may be of each other, drops by number.
            let next = self.messages_from(n.next()).next().map_or(self.next, |entry| entry.n);
            return Start { next, is_state: false };
        }
        let newest = self.newest().map(|entry| entry.n).filter(|_| is_state);
        match newest.or(self.snapshot) {
            Some(next) => Start { next, is_state: true },
            None => Start { next: self.next, is_state: false },
        }
    }

    /// Drops what the bounds do not keep.
    pub fn trim(&mut self, history: &History, now: Instant) {
        while let Some(oldest) = self.oldest() {
            let surplus = self.entries.len() > history.messages as usize
                || self.bytes > history.bytes as usize
                || now.since(oldest) > history.age;
            if !surplus {
                return;
            }
            self.drop_oldest();
        }
    }

    /// Drops what stands before `n`, which nobody will read any more.
    pub fn drop_before(&mut self, n: Offset) {
        while self.oldest().is_some() && self.entries.front().is_some_and(|entry| entry.n < n) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(entry) = self.entries.pop_front() else { return };
        self.bytes -= entry.bytes();
        self.snapshot = self.snapshot.filter(|snapshot| *snapshot > entry.n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: History = History { messages: 3, bytes: 1 << 20, age: Span::from_secs(10) };

    fn filled(offsets: impl IntoIterator<Item = u64>) -> Log {
        let mut log = Log::new(Epoch(1));
        for n in offsets {
            log.push(Offset(n), false, n.to_string().into_bytes().into(), Instant::from_nanos(n));
        }
        log
    }

    fn kept(log: &Log) -> Vec<u64> {
        log.messages_from(Offset(0)).map(|entry| entry.n.0).collect()
    }

    fn next(log: &Log, ep: u64, n: u64) -> u64 {
        log.locate(Some((Epoch(ep), Offset(n))), false).next.0
    }

    #[test]
    fn each_bound_drops_the_oldest_and_none_the_newest() {
        let mut log = filled(1..=6);
        log.trim(&KEEP, Instant::ZERO);
        assert_eq!(kept(&log), [4, 5, 6]);
        let bytes = log.bytes();
        log.trim(&History { bytes: bytes as u32 - 1, ..KEEP }, Instant::ZERO);
        assert_eq!(kept(&log), [5, 6]);
        let old = Instant::from_nanos(5) + KEEP.age;
        log.trim(&KEEP, old);
        assert_eq!(kept(&log), [5, 6], "as old as it may be");
        log.trim(&KEEP, old + Span::from_nanos(1));
        assert_eq!(kept(&log), [6]);
        log.trim(&History { messages: 0, bytes: 0, age: Span::ZERO }, Instant::NEVER);
        assert_eq!(kept(&log), [6]);
        assert_eq!(log.bytes(), size_of::<Entry>() + 1);
    }

    #[test]
    fn a_reader_goes_on_where_it_was_or_from_what_is_kept() {
        let mut log = filled(1..=6);
        log.trim(&KEEP, Instant::ZERO);
        assert_eq!(next(&log, 1, 6), 7, "nothing new");
        assert_eq!(next(&log, 1, 5), 6);
        assert_eq!(next(&log, 1, 3), 4);
        assert_eq!(next(&log, 1, 1), 4, "2 and 3 are lost");
        assert_eq!(next(&log, 1, 9), 7, "it is ahead");
        assert_eq!(next(&log, 2, 5), 7, "another epoch: only what is new");
        assert_eq!(next(&filled([]), 1, 0), 1);
        let holes = filled([2, 3, 7]);
        assert_eq!((next(&holes, 1, 0), next(&holes, 1, 3), next(&holes, 1, 7)), (2, 7, 8));
    }

    #[test]
    fn a_new_reader_begins_at_the_state() {
        let mut log = filled(1..=2);
        log.push(Offset(3), true, b"all".as_slice().into(), Instant::ZERO);
        log.push(Offset(4), false, b"change".as_slice().into(), Instant::ZERO);
        let start = |next, is_state| Start { next: Offset(next), is_state };
        assert_eq!(log.locate(None, false), start(3, true), "what the source calls a snapshot");
        assert_eq!(log.locate(None, true), start(4, true), "each is the whole state");
        assert_eq!(log.locate(Some((Epoch(2), Offset(9))), true), start(4, true));
        log.trim(&History { messages: 1, ..KEEP }, Instant::ZERO);
        assert_eq!(log.locate(None, false), start(5, false), "the snapshot is not kept");
        log.begin(Epoch(2), Offset(40));
        assert_eq!(log.locate(None, true), start(40, false));
        assert!(log.is_empty() && log.bytes() == 0);
    }
}
