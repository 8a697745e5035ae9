//! Runs: the frames that one turn added to a topic, encoded once and shared by every reader.

use crate::base::id::{Cid, Epoch, Offset};
use crate::base::limits;
use crate::base::name::TopicName;
use crate::base::reason::ChannelEnd;
use crate::base::time::Instant;
use crate::html::frame;

/// An entry of the log that concerns the whole topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A new epoch begins; its next message is the one after this offset.
    Epoch(Offset),
    /// Messages were lost before they reached this server.
    Gap {
        /// The next message is the one after this offset.
        after: Offset,
        /// How many are missing.
        missing: u64,
    },
    /// The topic has ended.
    End(ChannelEnd),
}

/// What a run holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Consecutive messages.
    Messages,
    /// One mark.
    Mark(Mark),
}

/// Consecutive entries of a topic's log, immutable, as contiguous frames.
///
/// A `place` counts every entry of a log, messages and marks, from the log's first; it never
/// leaves the process. An offset counts the messages of one epoch.
#[derive(Debug)]
pub struct Run {
    /// The place of the first entry.
    pub first_place: u64,
    /// The epoch of all entries.
    pub epoch: Epoch,
    /// The offset of the first message; of a mark: of the message that would be next.
    pub first_offset: Offset,
    /// When the run was sealed.
    pub at: Instant,
    /// What the run holds.
    pub kind: Kind,
    /// The place of the last message that its publisher called a snapshot.
    pub snapshot_place: Option<u64>,
    starts: Box<[u32]>,
    bytes: Box<[u8]>,
}

impl Run {
    /// A run of one mark, encoded for the topic's own number.
    pub fn mark(log: &Place, at: Instant, mark: Mark, cid: Cid, name: &TopicName) -> Self {
        let mut bytes = Vec::new();
        put_mark(&mut bytes, mark, cid, log.epoch, name);
        Self {
            first_place: log.place,
            epoch: log.epoch,
            first_offset: log.offset,
            at,
            kind: Kind::Mark(mark),
            snapshot_place: None,
            starts: Box::new([0]),
            bytes: bytes.into(),
        }
    }

    /// How many entries it holds.
    pub fn len(&self) -> u64 {
        self.starts.len() as u64
    }

    /// Whether it holds nothing; no run does.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The place after its last entry.
    pub fn end_place(&self) -> u64 {
        self.first_place + self.len()
    }

    /// How many messages it holds.
    pub fn messages(&self) -> u64 {
        if self.kind == Kind::Messages { self.len() } else { 0 }
    }

    /// The offset before its entries and the offset after them: who has everything up to the first
    /// has everything up to the second when it has read the run.
    pub fn span(&self) -> (u64, u64) {
        match self.kind {
            Kind::Messages => (self.first_offset.0 - 1, self.first_offset.0 - 1 + self.messages()),
            Kind::Mark(Mark::Gap { after, missing }) => (after.0 - missing, after.0),
            Kind::Mark(Mark::Epoch(before)) => (before.0, before.0),
            Kind::Mark(Mark::End(_)) => (self.first_offset.0 - 1, self.first_offset.0 - 1),
        }
    }

    /// The offset of the message at `place`, which must lie in this run.
    pub fn offset_at(&self, place: u64) -> Offset {
        Offset(self.first_offset.0 + (place - self.first_place))
    }

    /// The frames from `place` to the end of the run.
    pub fn bytes_from(&self, place: u64) -> &[u8] {
        &self.bytes[self.start_of(place)..]
    }

    /// The byte index of the frame at `place`; the length of the bytes for the end place.
    pub fn start_of(&self, place: u64) -> usize {
        let index = (place - self.first_place) as usize;
        self.starts.get(index).map_or(self.bytes.len(), |&start| start as usize)
    }

    /// The bytes of all frames.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The frame at `place`.
    pub fn frame(&self, place: u64) -> &[u8] {
        &self.bytes[self.start_of(place)..self.start_of(place + 1)]
    }

    /// The last place, from `place` on, whose frames up to it (it excluded) have at most `room`
    /// bytes; at least one frame is always let through.
    pub fn fit(&self, place: u64, room: usize) -> u64 {
        let index = (place - self.first_place) as usize;
        let limit = self.start_of(place) + room;
        let ends = &self.starts[index + 1..];
        let mut count = ends.partition_point(|&end| end as usize <= limit);
        if self.bytes.len() <= limit {
            count += 1; // the last frame has no start behind it to be compared with
        }
        place + count.max(1) as u64
    }

    /// Memory that the run holds, in bytes.
    pub fn memory(&self) -> usize {
        self.bytes.len() + self.starts.len() * 4 + size_of::<Self>()
    }
}

/// The end of a log: where the next entry will stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The place of the next entry.
    pub place: u64,
    /// The epoch of the next message.
    pub epoch: Epoch,
    /// The offset of the next message.
    pub offset: Offset,
}

/// Encodes the frame of a mark for channel `cid`.
pub fn put_mark(out: &mut Vec<u8>, mark: Mark, cid: Cid, epoch: Epoch, name: &TopicName) {
    match mark {
        Mark::Epoch(after) => frame::opened(out, (cid, None), name, (epoch, after), after),
        Mark::Gap { after, missing } => frame::gap(out, cid, epoch, after, Some(missing)),
        Mark::End(end) => frame::closed(out, cid, None, end),
    }
}

/// Collects the messages of one turn of a topic's home.
#[derive(Debug, Default)]
pub struct RunBuilder {
    starts: Vec<u32>,
    bytes: Vec<u8>,
    snapshot: Option<u64>,
}

impl RunBuilder {
    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// How many messages were added.
    pub fn len(&self) -> u64 {
        self.starts.len() as u64
    }

    /// Whether a further frame would make it larger than a run should be.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= limits::RUN_BYTES_MAX
    }

    /// Adds the message at `offset`.
    pub fn add(&mut self, cid: Cid, offset: Offset, snapshot: bool, payload: &[u8]) {
        if snapshot {
            self.snapshot = Some(self.len());
        }
        self.starts.push(self.bytes.len() as u32);
        frame::message(&mut self.bytes, cid, offset, snapshot, payload);
    }

    /// Makes the run that stands at `place` and empties the builder, which keeps its buffers.
    pub fn seal(&mut self, place: &Place, at: Instant) -> Run {
        debug_assert!(!self.is_empty());
        let run = Run {
            first_place: place.place,
            epoch: place.epoch,
            first_offset: place.offset,
            at,
            kind: Kind::Messages,
            snapshot_place: self.snapshot.map(|index| place.place + index),
            starts: self.starts.as_slice().into(),
            bytes: self.bytes.as_slice().into(),
        };
        self.starts.clear();
        self.bytes.clear();
        self.snapshot = None;
        run
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_of(payloads: &[&str]) -> Run {
        let mut builder = RunBuilder::default();
        for (index, payload) in payloads.iter().enumerate() {
            builder.add(Cid(1_048_576), Offset(5 + index as u64), index == 1, payload.as_bytes());
        }
        let place = Place { place: 10, epoch: Epoch(1), offset: Offset(5) };
        builder.seal(&place, Instant::ZERO)
    }

    #[test]
    fn frames_are_found_by_place() {
        let run = run_of(&["one", "two", "three"]);
        assert_eq!((run.len(), run.end_place()), (3, 13));
        assert_eq!(run.offset_at(12), Offset(7));
        assert_eq!(run.snapshot_place, Some(11));
        assert_eq!(run.frame(12), b"<p c=1048576 n=7>three\n");
        assert_eq!(run.bytes_from(13), b"");
    }

    #[test]
    fn fit_lets_through_what_has_room_and_at_least_one() {
        let run = run_of(&["one", "two", "three"]);
        let one = run.frame(10).len();
        assert_eq!(run.fit(10, 0), 11);
        assert_eq!(run.fit(10, one), 11);
        assert_eq!(run.fit(10, one + run.frame(11).len()), 12);
        assert_eq!(run.fit(10, run.bytes().len()), 13);
        assert_eq!(run.fit(10, run.bytes().len() - 1), 12);
        assert_eq!(run.fit(12, 1), 13);
    }
}
