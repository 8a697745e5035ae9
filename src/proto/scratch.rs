//! What one write is gathered from: own bytes and slices of shared runs, in order.

use std::io::IoSlice;
use std::sync::Arc;

use crate::base::limits;
use crate::http::chunk;
use crate::proto::document::{Piece, Unfinished};
use crate::proto::topic::Topics;

/// Room for a chunk's header before its content, filled in from the right.
const HEADER_ROOM: usize = chunk::HEADER_MAX;

/// A piece of the write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// A range of the scratch's own bytes.
    Own(usize, usize),
    /// A range of a run, by the topic's slot and the run's index in its log.
    Shared { topic: u32, run: u32, from: usize, to: usize },
}

/// One per shard, used for every write, empty between two.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Own bytes: append to them freely between [`Scratch::begin`] and [`Scratch::finish`].
    pub bytes: Vec<u8>,
    parts: Vec<Part>,
    /// Own bytes before this are in `parts`.
    noted: usize,
    /// Bytes of what stands before the chunk.
    prefix: usize,
    /// Where the content of the chunk begins among the own bytes.
    content: usize,
    shared: usize,
}

impl Scratch {
    /// Begins a write with what stands before the chunk: answers that were not sent yet, and the
    /// document's head.
    pub fn begin(&mut self, answers: &[u8], head: &[u8]) {
        self.bytes.clear();
        self.parts.clear();
        self.noted = 0;
        self.shared = 0;
        self.prefix = answers.len() + head.len();
        if self.prefix > 0 {
            self.bytes.extend_from_slice(answers);
            self.bytes.extend_from_slice(head);
        }
        self.bytes.resize(self.prefix + HEADER_ROOM, 0);
        self.content = self.bytes.len();
    }

    /// Bytes of content so far.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.content + self.shared
    }

    /// Whether there is no content.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no further slice should be added.
    pub fn is_full(&self) -> bool {
        self.len() >= limits::CHUNK_BYTES_MAX || self.parts.len() + 3 >= limits::SLICES_MAX
    }

    /// Points at a range of a run.
    pub fn point(&mut self, topic: u32, run: usize, from: usize, to: usize) {
        self.note();
        self.shared += to - from;
        let run = run as u32;
        if let Some(Part::Shared { topic: t, run: r, to: end, .. }) = self.parts.last_mut()
            && (*t, *r, *end) == (topic, run, from)
        {
            *end = to;
            return;
        }
        self.parts.push(Part::Shared { topic, run, from, to });
    }

    /// Completes the write: header and end of the chunk, and of the whole body where `last`.
    pub fn finish(&mut self, chunked: bool, last: bool) {
        let length = self.len();
        let mut start = self.content;
        if chunked && length > 0 {
            let mut header = [0u8; HEADER_ROOM];
            let digits = chunk_header(length, &mut header);
            start = self.content - digits.len();
            self.bytes[start..self.content].copy_from_slice(digits);
            self.bytes.extend_from_slice(b"\r\n");
        }
        if chunked && last {
            self.bytes.extend_from_slice(chunk::LAST);
        }
        // What stands before the chunk is moved up to it, so that both are one slice.
        start -= self.prefix;
        self.bytes.copy_within(..self.prefix, start);
        self.note();
        if let Some(Part::Own(from, _)) = self.parts.first_mut() {
            *from = start;
        }
    }

    /// Calls `write` with the slices of the write.
    #[inline]
    pub fn with_slices<R>(&self, topics: &Topics, write: impl FnOnce(&[IoSlice<'_>]) -> R) -> R {
        let mut slices = [IoSlice::new(&[]); limits::SLICES_MAX];
        let mut count = 0;
        for (slice, part) in slices.iter_mut().zip(&self.parts) {
            *slice = IoSlice::new(self.resolve(topics, part));
            count += 1;
        }
        write(&slices[..count])
    }

    /// Bytes of the whole write.
    pub fn total(&self) -> usize {
        let own = self.parts.iter().map(|part| match part {
            Part::Own(from, to) => to - from,
            Part::Shared { from, to, .. } => to - from,
        });
        own.sum()
    }

    /// What is left of the write after its first `written` bytes.
    pub fn leave(&self, topics: &Topics, written: usize) -> Unfinished {
        let mut left = Unfinished { bytes: Vec::new(), pieces: Vec::new(), own: 0 };
        let mut skip = written;
        for part in &self.parts {
            let (from, to) = match *part {
                Part::Own(from, to) | Part::Shared { from, to, .. } => (from, to),
            };
            let skipped = skip.min(to - from);
            skip -= skipped;
            let from = from + skipped;
            if from == to {
                continue;
            }
            match *part {
                Part::Own(..) => {
                    let start = left.bytes.len();
                    left.bytes.extend_from_slice(&self.bytes[from..to]);
                    left.pieces.push(Piece::Own(start, left.bytes.len()));
                }
                Part::Shared { topic, run, .. } => {
                    let Some(topic) = topics.slots.at(topic) else { continue };
                    let run = Arc::clone(topic.log.run(run as usize));
                    left.pieces.push(Piece::Shared(run, from, to));
                }
            }
        }
        left.own = left.bytes.len() + left.pieces.len() * size_of::<Piece>();
        left
    }

    fn resolve<'a>(&'a self, topics: &'a Topics, part: &Part) -> &'a [u8] {
        match *part {
            Part::Own(from, to) => &self.bytes[from..to],
            Part::Shared { topic, run, from, to } => topics
                .slots
                .at(topic)
                .map_or(&[], |topic| &topic.log.run(run as usize).bytes()[from..to]),
        }
    }

    fn note(&mut self) {
        if self.noted < self.bytes.len() {
            self.parts.push(Part::Own(self.noted, self.bytes.len()));
            self.noted = self.bytes.len();
        }
    }
}

impl Unfinished {
    /// Calls `write` with the slices that are left.
    pub fn with_slices<R>(&self, write: impl FnOnce(&[IoSlice<'_>]) -> R) -> R {
        let mut slices = [IoSlice::new(&[]); limits::SLICES_MAX];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(match piece {
                Piece::Own(from, to) => &self.bytes[*from..*to],
                Piece::Shared(run, from, to) => &run.bytes()[*from..*to],
            });
            count += 1;
        }
        write(&slices[..count])
    }

    /// Forgets the first `written` bytes, and calls `out` for each piece that goes with them; says
    /// whether nothing is left.
    pub fn advance(&mut self, mut written: usize, mut out: impl FnMut(&Piece)) -> bool {
        self.pieces.retain_mut(|piece| {
            let (Piece::Own(from, to) | Piece::Shared(_, from, to)) = piece;
            let skipped = written.min(*to - *from);
            *from += skipped;
            written -= skipped;
            let stays = from < to;
            if !stays {
                out(piece);
            }
            stays
        });
        self.pieces.is_empty()
    }
}

/// Writes `length` in hexadecimal and CRLF into `room`, and returns what was written.
fn chunk_header(length: usize, room: &mut [u8; HEADER_ROOM]) -> &[u8] {
    let end = room.len();
    room[end - 2..].copy_from_slice(b"\r\n");
    let mut at = end - 2;
    let mut rest = length;
    while rest > 0 {
        at -= 1;
        room[at] = b"0123456789abcdef"[rest % 16];
        rest /= 16;
    }
    &room[at..]
}
