//! How a hub comes to its end: a drain, in which clients go elsewhere without a moment's silence,
//! and the shutdown behind it.

use crate::base::id::Key;
use crate::base::reason::{CloseReason, DocumentEnd, ErrorCode};
use crate::base::time::{Instant, Span};
use crate::html::frame;
use crate::proto::answer::Answer;
use crate::proto::connection::Phase;
use crate::proto::hub::Hub;

impl Hub {
    /// The server will stop `within` that span: every document is told to open its successor
    /// elsewhere and goes on meanwhile. No session begins any more, and no document beside a live
    /// one; all else is done as before. A later call can only bring the end nearer.
    pub fn handle_drain(&mut self, within: Span, now: Instant) {
        self.now = now;
        let until = now + within;
        if self.stopping || self.drain_until.is_some_and(|known| known <= until) {
            return;
        }
        self.drain_until = Some(until);
        self.with_upstream(|upstream| upstream.take_leave(now));
        let documents: Vec<Key> = self.documents.keys().collect();
        for key in documents {
            self.tell_to_move(key.slot);
        }
    }

    /// The server stops: every document gets its last frame and no connection is accepted.
    pub fn handle_shutdown(&mut self, now: Instant) {
        self.now = now;
        self.stopping = true;
        let documents: Vec<Key> = self.documents.keys().collect();
        for key in documents {
            self.end_document(key.slot, DocumentEnd::Shutdown);
        }
        let conns: Vec<Key> = self.conns.keys().collect();
        for conn in conns {
            let Some(connection) = self.conns.get(conn) else { continue };
            let goes_on = match connection.phase {
                Phase::Stream(_) => true,
                Phase::Relay(key) => !self.is_tunnel(key),
                _ => !connection.is_idle(),
            };
            if !goes_on {
                self.close(conn, CloseReason::Shutdown);
            }
        }
    }

    /// While the server drains: tells a document how long it has to find its successor.
    pub(crate) fn tell_to_move(&mut self, slot: u32) {
        let Some(until) = self.drain_until else { return };
        let left = until.since(self.now);
        let Some(document) = self.documents.at_mut(slot) else { return };
        if document.ending.is_none() && !document.ended {
            frame::moved(document.notes.get_mut(), "drain", Some(left));
            self.name_document(slot);
        }
    }

    /// Why a request for something new is refused while the server drains or stops.
    pub(crate) fn refuse_while_leaving(&mut self) -> Option<Answer> {
        if self.drain_until.is_none() && !self.stopping {
            return None;
        }
        self.stats.drain_refused += 1;
        Some(Answer::error(ErrorCode::Draining, "this server is about to stop; go to another"))
    }

    /// Whether the session has a document that goes on: not one that has ended or is succeeded.
    pub(crate) fn has_live_document(&self, session: Key) -> bool {
        let Some(session) = self.sessions.get(session) else { return false };
        let mut documents = session.document_slots().filter_map(|slot| self.documents.at(slot));
        documents.any(|document| !document.is_succeeded())
    }
}
