//! The pull: a document gathers what lies between its cursors and the heads of their logs, and
//! hands it to the socket in one vectored write.

use std::io::{IoSlice, Write as _};

use crate::base::id::{Cid, ConnKey};
use crate::base::limits;
use crate::base::reason::CloseReason;
use crate::base::time::{Instant, Span};
use crate::html::frame;
use crate::proto::connection::Phase;
use crate::proto::document::{Coding, Cursor};
use crate::proto::hub::Hub;
use crate::proto::log::Missed;
use crate::proto::output::Written;
use crate::proto::run::{Kind, Mark, Run, put_mark};
use crate::proto::scratch::Scratch;
use crate::proto::stats::Stats;
use crate::proto::topic::Topic;

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

impl Hub {
    /// Gathers what `conn` has to send and calls `write` with it, at most once.
    pub fn transmit(
        &mut self,
        conn: ConnKey,
        now: Instant,
        write: impl FnOnce(&[IoSlice<'_>]) -> Written,
    ) {
        self.now = now;
        let Some(connection) = self.conns.get_mut(conn) else { return };
        connection.named = false;
        if connection.blocked {
            return;
        }
        if let Phase::Stream(slot) = connection.phase {
            self.transmit_document(conn, slot, write);
            return;
        }
        let Some(exchanges) = connection.exchanges.as_mut() else { return };
        if !exchanges.unsent().is_empty() {
            let written = write(&[IoSlice::new(exchanges.unsent())]);
            exchanges.advance_sent(written.bytes);
            connection.blocked = written.blocked;
        }
        self.after_answers(conn);
    }

    fn transmit_document(
        &mut self,
        conn: ConnKey,
        slot: u32,
        write: impl FnOnce(&[IoSlice<'_>]) -> Written,
    ) {
        let now = self.now;
        let Some(document) = self.documents.at_mut(slot) else { return };
        document.named = false;
        if document.blocked {
            return;
        }
        let written = if let Some(unfinished) = document.unfinished.as_mut() {
            let written = unfinished.with_slices(write);
            let stalled = &mut self.stalled;
            if unfinished.advance(written.bytes, |piece| stalled.let_go(piece)) {
                stalled.release(unfinished);
                document.unfinished = None;
            }
            written
        } else {
            if !self.gather(conn, slot) {
                self.after_reading(slot);
                self.arm_document(slot);
                return;
            }
            let written = self.scratch.with_slices(&self.topics, write);
            if written.bytes < self.scratch.total() {
                let left = self.scratch.leave(&self.topics, written.bytes);
                self.stalled.hold(&left);
                if let Some(document) = self.documents.at_mut(slot) {
                    document.unfinished = Some(Box::new(left));
                }
            }
            self.after_reading(slot);
            written
        };
        let Some(document) = self.documents.at_mut(slot) else { return };
        document.blocked = written.blocked;
        if written.bytes > 0 {
            document.sent_at = now;
        }
        if document.ended && document.unfinished.is_none() {
            self.stream_over(conn, slot);
        } else if document.has_output() && !document.blocked {
            self.name_document(slot);
        }
        self.arm_document(slot);
    }

    /// Looks after channels that are over for the document: at once, before another document may
    /// take the slot.
    fn after_reading(&mut self, slot: u32) {
        while let Some((cursor, overrun)) = self.read_out.pop() {
            if overrun {
                self.after_overrun(slot, cursor);
            } else {
                self.after_end(slot, cursor);
            }
        }
    }

    /// Fills the scratch with what the document has to send; says whether there is anything.
    fn gather(&mut self, conn: ConnKey, slot: u32) -> bool {
        let now = self.now;
        let unix_micros = self.unix_micros();
        let Some(document) = self.documents.at_mut(slot) else { return false };
        if document.ended {
            return false;
        }
        let scratch = &mut self.scratch;
        let exchanges = self.conns.get_mut(conn).and_then(|connection| connection.exchanges.take());
        let head = match document.coding {
            Coding::Fresh => {
                document.coding = Coding::Chunked;
                self.common_head.at(unix_micros / 1_000_000)
            }
            Coding::Chunked | Coding::Large => &[],
        };
        scratch.begin(exchanges.as_ref().map_or(&[], |exchanges| exchanges.unsent()), head);
        if !document.notes.is_empty() {
            self.stalled.note(std::mem::take(&mut document.noted), 0);
            scratch.bytes.extend_from_slice(&document.notes.take());
        }
        while !scratch.is_full()
            && let Some(index) = document.ready.next(document.turn)
        {
            let cursor = &mut document.cursors[index as usize];
            let turn = match self.topics.slots.at(cursor.topic) {
                Some(topic) => read(cursor, topic, scratch, &mut self.stats, now),
                None => Turn::Done,
            };
            match turn {
                Turn::More => {}
                Turn::Done => document.ready.clear(index),
                Turn::Ended | Turn::Overrun => {
                    document.ready.clear(index);
                    self.read_out.push((index, matches!(turn, Turn::Overrun)));
                }
            }
            document.turn = index + 1;
        }
        let caught_up = document.ready.is_empty();
        // Whoever is always behind finds every chunk full, and needs the clock no less for it.
        if document.heartbeat_due || document.stamp_at() <= now {
            frame::heartbeat(&mut scratch.bytes, document.heartbeat.span(), unix_micros);
            document.heartbeat_due = false;
            document.stamped_at = now;
        }
        if caught_up && let Some(end) = document.ending {
            let spread = self.settings.return_spread;
            let asks_back = self.stopping.then_some(spread);
            frame::end(&mut scratch.bytes, end, asks_back);
            document.ended = true;
        }
        scratch.finish(document.coding == Coding::Chunked, document.ended);
        scratch.total() > 0
    }

    /// After answers were written: closes, or goes on with requests that had to wait.
    pub(crate) fn after_answers(&mut self, conn: ConnKey) {
        let Some(connection) = self.conns.get_mut(conn) else { return };
        let Some(exchanges) = connection.exchanges.as_ref() else { return };
        let all_sent = exchanges.unsent().is_empty();
        if exchanges.is_closing() && all_sent {
            self.finish(conn, CloseReason::Finished);
            return;
        }
        if !all_sent {
            if !connection.blocked {
                self.name(conn);
            }
            return;
        }
        if connection.is_idle() {
            // Buffers are lent only while bytes are in them.
            connection.exchanges = None;
            if let Phase::Drain(reason) = connection.phase {
                self.finish(conn, reason);
                return;
            }
            if connection.eof {
                self.close(conn, CloseReason::PeerClosed);
                return;
            }
        }
        self.resume_intake(conn);
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
