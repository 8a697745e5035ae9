//! What writes are gathered from: own bytes and slices of shared runs, in order.

use std::io::IoSlice;
use std::sync::Arc;

use crate::base::id::{ConnKey, Key};
use crate::base::limits;
use crate::http::chunk;
use crate::proto::document::{Coding, Cursor, Piece, Unfinished};
use crate::proto::topic::Topics;
use crate::seal::line::Sealer;

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

impl Part {
    const fn len(&self) -> usize {
        match self {
            Self::Own(from, to) | Self::Shared { from, to, .. } => *to - *from,
        }
    }
}

/// The write of one document, among those that go out together.
#[derive(Clone, Copy, Debug)]
pub struct Write {
    /// The document.
    pub document: Key,
    /// Its connection.
    pub conn: ConnKey,
    /// Bytes of it; none where the document only goes on with what was left over.
    pub total: usize,
    /// Its parts, as a range of all of them.
    parts: (u32, u32),
}

/// A write that serves every document with a common cursor at the same place and nothing else to
/// send: its bytes are the same for all of them, from the chunk's header to its end.
#[derive(Clone, Copy, Debug)]
pub struct Common {
    /// The slot of the topic.
    pub topic: u32,
    /// Where the cursor stood before.
    pub from: u64,
    /// Where it stands afterwards.
    pub to: u64,
    /// Whether that is the end of the log.
    pub all: bool,
    /// Messages in it.
    pub messages: u64,
    /// How the document is framed.
    pub coding: Coding,
}

impl Common {
    /// Whether the write is also that of a document, framed like this, with this cursor.
    #[inline]
    pub fn serves(&self, cursor: &Cursor, coding: Coding) -> bool {
        (self.topic, self.from, self.coding) == (cursor.topic, cursor.place, coding)
            && cursor.is_common()
            && (self.is_one() || !cursor.latest)
    }

    /// Whether it is a single message, over which no reader passes.
    pub const fn is_one(&self) -> bool {
        self.messages == 1 && self.to == self.from + 1
    }
}

/// One per shard, used for all writes, empty between two rounds of them.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Own bytes: append to them freely between [`Scratch::begin`] and [`Scratch::finish`].
    pub bytes: Vec<u8>,
    parts: Vec<Part>,
    writes: Vec<Write>,
    /// What the last write has in common with others.
    common: Option<(Common, Write)>,
    /// Connections whose answers are gathered together with a document.
    answered: Vec<ConnKey>,
    /// Own bytes before this are in `parts`, or belong to no write.
    noted: usize,
    /// Bytes of what stands before the chunk.
    prefix: usize,
    /// Where the content of the chunk begins among the own bytes.
    content: usize,
    shared: usize,
    /// Parts before this are those of other writes.
    first_part: usize,
    /// Content that is being sealed, and one line of it.
    plain: Vec<u8>,
    line: Vec<u8>,
}

impl Scratch {
    /// Forgets all writes.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.parts.clear();
        self.writes.clear();
        self.common = None;
    }

    /// Begins a write with what stands before the chunk: answers that were not sent yet, and the
    /// document's head.
    pub fn begin(&mut self, answers: &[u8], head: &[u8]) {
        self.noted = self.bytes.len();
        self.first_part = self.parts.len();
        self.shared = 0;
        self.prefix = answers.len() + head.len();
        if self.prefix > 0 {
            self.bytes.extend_from_slice(answers);
            self.bytes.extend_from_slice(head);
        }
        self.bytes.resize(self.noted + self.prefix + HEADER_ROOM, 0);
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

    /// Whether no further slice should be added to the write.
    pub fn is_full(&self) -> bool {
        let parts = self.parts.len() - self.first_part;
        self.len() >= limits::CHUNK_BYTES_MAX || parts + 3 >= limits::SLICES_MAX
    }

    /// Whether the writes should go out before another is gathered: while what was copied is still
    /// near the processor.
    pub fn is_laden(&self) -> bool {
        self.bytes.len() >= limits::SCRATCH_BYTES
    }

    /// Answers of this connection, or its document's beginning, go out with the write.
    pub fn note_answered(&mut self, conn: ConnKey) {
        self.answered.push(conn);
    }

    /// The next of those connections.
    pub fn next_answered(&mut self) -> Option<ConnKey> {
        self.answered.pop()
    }

    /// Points at a range of a run.
    pub fn point(&mut self, topic: u32, run: usize, from: usize, to: usize) {
        self.note();
        self.shared += to - from;
        let run = run as u32;
        if let Some(Part::Shared { topic: t, run: r, to: end, .. }) =
            self.parts[self.first_part..].last_mut()
            && (*t, *r, *end) == (topic, run, from)
        {
            *end = to;
            return;
        }
        self.parts.push(Part::Shared { topic, run, from, to });
    }

    /// Seals the lines of the content but for its first `clear` bytes. False: not all of them,
    /// because `sealer` may seal no more.
    pub fn seal(&mut self, topics: &Topics, clear: usize, sealer: &mut Sealer) -> bool {
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        for part in &self.parts[self.first_part..] {
            match *part {
                Part::Own(from, to) => {
                    plain.extend_from_slice(&self.bytes[from.max(self.content)..to]);
                }
                Part::Shared { .. } => plain.extend_from_slice(self.resolve(topics, part)),
            }
        }
        plain.extend_from_slice(&self.bytes[self.noted.max(self.content)..]);
        self.parts.truncate(self.first_part);
        self.bytes.truncate(self.content);
        self.noted = self.content - HEADER_ROOM - self.prefix;
        self.shared = 0;
        let (open, lines) = plain.split_at(clear.min(plain.len()));
        self.bytes.extend_from_slice(open);
        let all = sealer.seal_lines(lines, &mut self.line, &mut self.bytes);
        self.plain = plain;
        all
    }

    /// Completes the write: header and end of the chunk, and of the whole body where `last`.
    pub fn finish(&mut self, document: Key, conn: ConnKey, chunked: bool, last: bool) {
        let length = self.len();
        let begin = self.content - HEADER_ROOM - self.prefix;
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
        self.bytes.copy_within(begin..begin + self.prefix, start);
        self.note();
        if let Some(Part::Own(from, _)) = self.parts.get_mut(self.first_part) {
            *from = start;
        }
        let parts = (self.first_part as u32, self.parts.len() as u32);
        let total = self.parts[self.first_part..].iter().map(Part::len).sum();
        self.writes.push(Write { document, conn, total, parts });
    }

    /// Adds a document that has nothing new to write, but goes on with what was left over.
    pub fn go_on(&mut self, document: Key, conn: ConnKey) {
        self.writes.push(Write { document, conn, total: 0, parts: (0, 0) });
    }

    /// Says that the last write serves others as well.
    pub fn share(&mut self, common: Common) {
        self.common = self.writes.last().map(|&write| (common, write));
    }

    /// What the last write has in common with others.
    pub fn common(&self) -> Option<&Common> {
        self.common.as_ref().map(|(common, _)| common)
    }

    /// Adds for this document the write that it has in common with another.
    pub fn repeat(&mut self, document: Key, conn: ConnKey) {
        if let Some((_, write)) = self.common {
            self.writes.push(Write { document, conn, ..write });
        }
    }

    /// The writes, in order.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// Calls `send` with the slices of a write.
    #[inline]
    pub fn with_slices<R>(
        &self,
        write: &Write,
        topics: &Topics,
        send: impl FnOnce(&[IoSlice<'_>]) -> R,
    ) -> R {
        let parts = self.parts_of(write);
        if let [part] = parts {
            return send(&[IoSlice::new(self.resolve(topics, part))]);
        }
        let mut slices = [IoSlice::new(&[]); limits::SLICES_MAX];
        let mut count = 0;
        for (slice, part) in slices.iter_mut().zip(parts) {
            *slice = IoSlice::new(self.resolve(topics, part));
            count += 1;
        }
        send(&slices[..count])
    }

    /// What is left of a write after its first `written` bytes.
    pub fn leave(&self, write: &Write, topics: &Topics, written: usize) -> Unfinished {
        let mut left = Unfinished { bytes: Vec::new(), pieces: Vec::new(), own: 0 };
        let mut skip = written;
        for part in self.parts_of(write) {
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

    fn parts_of(&self, write: &Write) -> &[Part] {
        &self.parts[write.parts.0 as usize..write.parts.1 as usize]
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
