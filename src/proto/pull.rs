//! The pull: a document gathers what lies between its cursors and the heads of their logs.

use std::io::Write as _;

use crate::base::id::{Cid, ConnKey, Key};
use crate::base::limits;
use crate::base::time::{Instant, Span};
use crate::html::frame;
use crate::proto::connection::Connection;
use crate::proto::document::{Coding, Cursor, Document};
use crate::proto::hub::Hub;
use crate::proto::log::Missed;
use crate::proto::run::{Kind, Mark, Run, put_mark};
use crate::proto::scratch::{Common, Scratch};
use crate::proto::stats::Stats;
use crate::proto::topic::{Topic, Topics};

/// Bytes that one channel may add before the next has its turn.
const QUANTUM: usize = 4 * 1024;

/// Where a cursor stands after its turn.
enum Turn {
    /// It could go on.
    More,
    /// It has read everything.
    Done,
    /// Its topic has ended; the frame is written.
    Ended,
    /// History has passed a strict channel; nobody is told yet.
    Overrun,
}

/// What came of gathering for a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gathered {
    /// It is among those to be written, unless it has nothing to send.
    Goes,
    /// The same; a channel of it is over, or itself, which must be looked after before anything
    /// else is gathered.
    GoesLast,
    /// Those that were gathered must go out first; it is as it was.
    Waits,
}

impl Hub {
    /// Puts into the scratch what the document has to send, if there is anything.
    pub(crate) fn gather(&mut self, conn: ConnKey, key: Key) -> Gathered {
        let Some(document) = self.documents.get_mut(key) else { return Gathered::Goes };
        // Whoever is always behind finds every chunk full, and needs the clock no less for it.
        let beats = document.heartbeat_due || document.stamp_at() <= self.now;
        let answers = self.conns.get(conn).is_some_and(Connection::has_answers);
        let alone = !answers && !beats && document.has_messages_alone();
        let only = if alone { document.ready.only() } else { None };
        let mut wanted = None;
        if let Some(index) = only {
            let cursor = &mut document.cursors[index as usize];
            let common = self.scratch.common();
            if let Some(common) = common.filter(|common| common.serves(cursor, document.coding)) {
                cursor.place = common.to;
                self.stats.delivered += common.messages;
                if common.all {
                    document.ready.clear(index);
                }
                document.turn = index + 1;
                self.scratch.repeat(key, conn);
                return Gathered::Goes;
            }
            wanted = cursor.is_common().then_some((cursor.topic, cursor.place));
        }
        if self.scratch.is_laden() {
            return Gathered::Waits;
        }
        let Stats { delivered, gaps, .. } = self.stats;
        if !self.fill(conn, key, beats) {
            return Gathered::GoesLast;
        }
        if let Some((topic, from)) = wanted
            && gaps == self.stats.gaps
            && let Some(document) = self.documents.get(key)
        {
            let cursor = &document.cursors[document.turn as usize - 1];
            let (to, all, coding) = (cursor.place, document.ready.is_empty(), document.coding);
            let messages = self.stats.delivered - delivered;
            let common = Common { topic, from, to, messages, all, coding };
            if common.is_one() || !cursor.latest {
                self.scratch.share(common);
            }
        }
        Gathered::Goes
    }

    /// Gathers everything, in its order: answers and the document's head, notes, messages, a
    /// heartbeat, the end. Says whether it goes on as it is: it is not over, nor a channel of it.
    fn fill(&mut self, conn: ConnKey, key: Key, beats: bool) -> bool {
        let (now, unix_micros) = (self.now, self.unix_micros());
        let Some(document) = self.documents.get_mut(key) else { return true };
        let scratch = &mut self.scratch;
        let head = match document.coding {
            Coding::Fresh => {
                document.coding = Coding::Chunked;
                self.common_head.at(unix_micros / 1_000_000)
            }
            Coding::RawFresh => {
                document.coding = Coding::Raw;
                scratch.note_answered(conn);
                &[]
            }
            Coding::Chunked | Coding::Large | Coding::Raw => &[],
        };
        let connection = self.conns.get_mut(conn);
        let (answers, closing) = connection.map(Connection::take_answers).unwrap_or_default();
        if !answers.is_empty() {
            scratch.note_answered(conn);
        }
        scratch.begin(&answers, head);
        if closing {
            // Its client has sent what is no command: nothing comes behind the answer.
            document.ended = true;
            scratch.finish(key, conn, false, true);
            return false;
        }
        if !document.notes.is_empty() {
            self.stalled.note(std::mem::take(&mut document.noted), 0);
            scratch.bytes.extend_from_slice(&document.notes.take());
        }
        read_ready(document, &self.topics, scratch, (&mut self.stats, &mut self.read_out), now);
        if beats {
            frame::heartbeat(&mut scratch.bytes, document.heartbeat.span(), unix_micros);
            document.heartbeat_due = false;
            document.stamped_at = now;
        }
        if document.ready.is_empty()
            && let Some(end) = document.ending
        {
            let asks_back = self.stopping.then_some(self.settings.return_spread);
            frame::end(&mut scratch.bytes, end, asks_back);
            document.ended = true;
        }
        if let Some(seal) = &mut document.seal {
            document.ended |= !seal.apply(scratch, &self.topics);
        }
        scratch.finish(key, conn, document.coding == Coding::Chunked, document.ended);
        !document.ended && self.read_out.is_empty()
    }
}

/// Adds what the document's cursors have to read, in turn, and notes those that are over.
fn read_ready(
    document: &mut Document,
    topics: &Topics,
    scratch: &mut Scratch,
    (stats, read_out): (&mut Stats, &mut Vec<(u32, bool)>),
    now: Instant,
) {
    while !scratch.is_full()
        && let Some(index) = document.ready.next(document.turn)
    {
        let cursor = &mut document.cursors[index as usize];
        let turn = match topics.slots.at(cursor.topic) {
            Some(topic) => read(cursor, topic, scratch, stats, now),
            None => Turn::Done,
        };
        match turn {
            Turn::More => {}
            Turn::Done => document.ready.clear(index),
            Turn::Ended | Turn::Overrun => {
                document.ready.clear(index);
                read_out.push((index, matches!(turn, Turn::Overrun)));
            }
        }
        document.turn = index + 1;
    }
}

/// Adds what `cursor` has to read, at most about a quantum.
fn read(
    cursor: &mut Cursor,
    topic: &Topic,
    scratch: &mut Scratch,
    stats: &mut Stats,
    now: Instant,
) -> Turn {
    let log = &topic.log;
    let cid = if cursor.cid.0 == 0 { topic.number } else { cursor.cid };
    if cursor.place >= log.end().place {
        return Turn::Done;
    }
    if cursor.rate > 0 && now < cursor.due {
        // The document's timer wakes it when it is due.
        return Turn::Done;
    }
    if cursor.folds()
        && let Some(newest) = log.last_message()
        && cursor.place < newest
    {
        stats.folded += newest - cursor.place;
        skip_to(cursor, topic, cid, newest, scratch);
    }
    let mut room = QUANTUM;
    while let Some((index, place)) = log.seek(cursor.place) {
        if place > cursor.place {
            if cursor.strict {
                return Turn::Overrun;
            }
            stats.gaps += 1;
            declare_gap(cursor, topic, cid, place, scratch);
        }
        let run = log.run(index);
        if let Kind::Mark(mark) = run.kind {
            put_mark(&mut scratch.bytes, mark, cid, run.epoch, &topic.name);
            cursor.place += 1;
            if let Mark::End(_) = mark {
                return Turn::Ended;
            }
            continue;
        }
        let end = run.fit(cursor.place, room);
        let bytes = put_messages(run, index, cursor, end, scratch);
        stats.delivered += end - cursor.place;
        cursor.place = end;
        if cursor.rate > 0 {
            cursor.due = now + Span::from_nanos(1_000_000_000 / u64::from(cursor.rate));
        }
        room = room.saturating_sub(bytes);
        if room == 0 || scratch.is_full() || end < run.end_place() {
            break;
        }
    }
    if cursor.place < log.end().place { Turn::More } else { Turn::Done }
}

/// History has moved past the cursor: says so, and sets it to `place`, the next that is kept.
fn declare_gap(cursor: &mut Cursor, topic: &Topic, cid: Cid, place: u64, scratch: &mut Scratch) {
    let missed = topic.log.missed_between(cursor.place, place);
    skip_to(cursor, topic, cid, place, scratch);
    let before = topic.log.position_before(place);
    let count = match missed {
        Missed::Messages(count) => Some(count),
        Missed::Nothing | Missed::Unknown => None,
    };
    frame::gap(&mut scratch.bytes, cid, before.ep, before.n, count);
}

/// Sets the cursor to `place`, telling the reader of an epoch that began in between.
fn skip_to(cursor: &mut Cursor, topic: &Topic, cid: Cid, place: u64, scratch: &mut Scratch) {
    let log = &topic.log;
    if log.missed_between(cursor.place, place) == Missed::Unknown {
        let before = log.position_before(place);
        let head = if before.ep == log.end().epoch { log.head() } else { before.n };
        frame::opened(&mut scratch.bytes, (cid, None), &topic.name, (before.ep, before.n), head);
    }
    cursor.place = place;
}

/// Adds the messages from the cursor's place to `end`; returns their bytes.
fn put_messages(
    run: &Run,
    index: usize,
    cursor: &Cursor,
    end: u64,
    scratch: &mut Scratch,
) -> usize {
    let (from, to) = (run.start_of(cursor.place), run.start_of(end));
    if cursor.cid.0 != 0 {
        // The client chose a number of its own: each frame is addressed anew.
        for place in cursor.place..end {
            let frame = run.frame(place);
            scratch.bytes.extend_from_slice(b"<p c=");
            let _ = write!(scratch.bytes, "{}", cursor.cid);
            scratch.bytes.extend_from_slice(&frame[frame::message_tail_start(frame)..]);
        }
    } else if to - from <= limits::COPY_BYTES_MAX {
        scratch.bytes.extend_from_slice(&run.bytes()[from..to]);
    } else {
        scratch.point(cursor.topic, index, from, to);
    }
    to - from
}
