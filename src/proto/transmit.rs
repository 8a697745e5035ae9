//! Writing: what connections have to send goes to their sockets, a write each. Documents are
//! gathered some at a time, then written, then looked after.

use std::io::IoSlice;

use crate::base::id::{ConnKey, Key};
use crate::base::reason::CloseReason;
use crate::base::time::Instant;
use crate::proto::connection::{Connection, Phase};
use crate::proto::hub::Hub;
use crate::proto::output::Written;
use crate::proto::pull::Gathered;
use crate::proto::scratch::Write;

impl Hub {
    /// Calls `write` with what these connections have to send, for each at most once, in their
    /// order. It says what became of that; it must not fail: a connection that is lost takes
    /// nothing, and [`Hub::handle_failed`] says so afterwards.
    pub fn transmit(
        &mut self,
        conns: &[ConnKey],
        now: Instant,
        mut write: impl FnMut(ConnKey, &[IoSlice<'_>]) -> Written,
    ) {
        self.now = now;
        let mut rest = conns;
        while !rest.is_empty() {
            let gathered = self.gather_some(rest);
            self.write_gathered(&mut write);
            self.look_after_written();
            rest = &rest[gathered..];
            if gathered == 0 {
                self.transmit_answers(rest[0], &mut write);
                rest = &rest[1..];
            }
        }
    }

    /// Gathers what documents have to send, for the first of these connections; returns for how
    /// many. None: the first carries no document.
    fn gather_some(&mut self, conns: &[ConnKey]) -> usize {
        self.scratch.clear();
        for (count, &conn) in conns.iter().enumerate() {
            let Some(connection) = self.conns.get_mut(conn) else { continue };
            let Phase::Stream(slot) = connection.phase else { return count };
            // One that was given twice has had its turn.
            if !std::mem::take(&mut connection.named) || connection.blocked {
                continue;
            }
            let Some(key) = self.documents.key_at(slot) else { continue };
            let Some(document) = self.documents.get_mut(key) else { continue };
            document.named = false;
            if document.blocked {
                continue;
            }
            if document.unfinished.is_some() {
                self.scratch.go_on(key, conn);
                continue;
            }
            match self.gather(conn, key) {
                Gathered::Goes => {}
                Gathered::GoesLast => return count + 1,
                Gathered::Waits => {
                    self.set_named(conn, key);
                    return count;
                }
            }
        }
        conns.len()
    }

    /// It waits to be written, as before.
    fn set_named(&mut self, conn: ConnKey, key: Key) {
        if let Some(connection) = self.conns.get_mut(conn) {
            connection.named = true;
        }
        if let Some(document) = self.documents.get_mut(key) {
            document.named = true;
        }
    }

    /// One system call after the other, with as little as possible in between.
    fn write_gathered(&mut self, write: &mut impl FnMut(ConnKey, &[IoSlice<'_>]) -> Written) {
        let Self { scratch, topics, documents, stalled, now, .. } = self;
        for gathered in scratch.writes() {
            let Some(document) = documents.get_mut(gathered.document) else { continue };
            let written = if let Some(unfinished) = document.unfinished.as_mut() {
                let written = unfinished.with_slices(|slices| write(gathered.conn, slices));
                if unfinished.advance(written.bytes, |piece| stalled.let_go(piece)) {
                    stalled.release(unfinished);
                    document.unfinished = None;
                }
                written
            } else if gathered.total > 0 {
                let send = |slices: &[IoSlice<'_>]| write(gathered.conn, slices);
                let written = scratch.with_slices(gathered, topics, send);
                if written.bytes < gathered.total {
                    let left = scratch.leave(gathered, topics, written.bytes);
                    stalled.hold(&left);
                    document.unfinished = Some(Box::new(left));
                }
                written
            } else {
                continue;
            };
            document.blocked = written.blocked;
            if written.bytes > 0 {
                document.sent_at = *now;
            }
        }
    }

    /// What follows from the writes: documents go on, end, or set their timers.
    fn look_after_written(&mut self) {
        // At once, before another document may take the slot.
        if let Some(last) = self.scratch.writes().last() {
            self.after_reading(last.document.slot);
        }
        for at in 0..self.scratch.writes().len() {
            let Write { document: key, conn, total, .. } = self.scratch.writes()[at];
            let Some(document) = self.documents.get_mut(key) else { continue };
            if document.ended && document.unfinished.is_none() {
                self.stream_over(conn, key.slot);
                continue;
            }
            // Answers may have come while what was left over went out.
            let answers = || self.conns.get(conn).is_some_and(Connection::has_answers);
            if !document.blocked && (document.has_output() || (total == 0 && answers())) {
                self.name_document(key.slot);
            }
            self.arm_document(key.slot);
        }
        // Commands may have had to wait for that.
        while let Some(conn) = self.scratch.next_answered() {
            self.resume_intake(conn);
        }
    }

    /// Looks after channels that are over for the document that was gathered last.
    fn after_reading(&mut self, slot: u32) {
        while let Some((cursor, overrun)) = self.read_out.pop() {
            if overrun {
                self.after_overrun(slot, cursor);
            } else {
                self.after_end(slot, cursor);
            }
        }
    }

    /// Writes the answers of a connection that carries no document.
    fn transmit_answers(
        &mut self,
        conn: ConnKey,
        write: &mut impl FnMut(ConnKey, &[IoSlice<'_>]) -> Written,
    ) {
        let Some(connection) = self.conns.get_mut(conn) else { return };
        connection.named = false;
        if connection.blocked {
            return;
        }
        let Some(exchanges) = connection.exchanges.as_mut() else { return };
        if !exchanges.unsent().is_empty() {
            let written = write(conn, &[IoSlice::new(exchanges.unsent())]);
            exchanges.advance_sent(written.bytes);
            connection.blocked = written.blocked;
            if let Phase::Relay(key) = connection.phase
                && written.bytes > 0
            {
                let unsent = exchanges.unsent().len();
                self.relay_was_read(key, unsent);
            }
        }
        self.after_answers(conn);
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
        if let Phase::Relay(_) = connection.phase {
            // The web server has not said all; nothing else is begun before.
            return;
        }
        if connection.is_idle() {
            // Buffers are lent only while bytes are in them.
            connection.exchanges = None;
            if let Phase::Drain(reason, _) = connection.phase {
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
