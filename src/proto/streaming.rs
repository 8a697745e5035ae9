//! The life of documents and sessions: how they begin, what they leave behind.

use crate::base::id::{ConnKey, Key};
use crate::base::limits::{self, DOCUMENTS_MAX};
use crate::base::reason::{ChannelEnd, CloseReason, DocumentEnd};
use crate::base::time::{Instant, Span};
use crate::html::frame;
use crate::http::request::Version;
use crate::proto::answer::{Carriage, Meta};
use crate::proto::connection::Phase;
use crate::proto::document::{Coding, Cursor, Document};
use crate::proto::head::{CommonHead, put_head};
use crate::proto::hub::Hub;
use crate::proto::log::{Located, Missed};
use crate::proto::output::Output;
use crate::proto::session::{Channel, NONE, Strict, encode_key};
use crate::proto::topic::Topic;
use crate::wire::command::DocumentRequest;
use crate::wire::position::Positions;

/// Bytes of the first frames of a document with one channel, about.
const FIRST_BYTES: usize = 256;
/// How long the predecessor of a refreshed document goes on at most.
const OVERLAP_MAX: Span = Span::from_secs(5);

/// Whether the document asked for takes the place of `old`: one that is no duplicate that of all
/// such, a duplicate that of the one it names.
fn is_successor_of(request: &DocumentRequest, old: &Document) -> bool {
    match request.dup {
        false => !old.dup,
        true => old.dup && request.succeeds == Some(old.number),
    }
}

/// Where a new document reads a channel, and whether history has passed what a strict one wants.
fn begin_at(
    channel: &Channel,
    topic: &Topic,
    last: Option<&Positions>,
    first: bool,
) -> (Located, bool) {
    let opened = Located { place: channel.opened, missed: Missed::Nothing };
    if channel.strict == Strict::Overrun {
        return (opened, true);
    }
    let named = last.and_then(|last| last.0.iter().find(|(cid, _)| *cid == channel.cid));
    let head = topic.log.end_to_read();
    match named {
        Some((_, position)) => {
            let located = topic.log.locate(*position);
            (located, channel.strict != Strict::No && located.missed != Missed::Nothing)
        }
        // The client does not say what it has: it was not history that passed it over.
        None if last.is_none() && !first && channel.opened < head => {
            (Located { place: head, missed: Missed::Unknown }, false)
        }
        None => (opened, false),
    }
}

impl Hub {
    /// Whether the session may have one more document: those that it succeeds, or that another
    /// has succeeded already, give way.
    pub(crate) fn has_room_for_document(&self, session: Key, request: &DocumentRequest) -> bool {
        let Some(session) = self.sessions.get(session) else { return false };
        let documents = session.document_slots().filter_map(|slot| self.documents.at(slot));
        let kept = documents.filter(|old| !old.is_succeeded() && !is_successor_of(request, old));
        kept.count() < DOCUMENTS_MAX
    }

    /// Begins a document on a connection that has nothing else under way.
    pub(crate) fn begin_document(
        &mut self,
        conn: ConnKey,
        (session_key, made_here, q): (Key, bool, Option<u64>),
        request: &DocumentRequest,
        meta: &Meta,
    ) {
        let now = self.now;
        let coding = match &meta.carriage {
            Carriage::Line(_) => Coding::RawFresh,
            Carriage::Http(Version::Http10) => Coding::Large,
            Carriage::Http(_) if request.length_large => Coding::Large,
            Carriage::Http(_) if CommonHead::fits(meta) => Coding::Fresh,
            Carriage::Http(_) => Coding::Chunked,
        };
        if matches!(coding, Coding::Chunked | Coding::Large) {
            self.put_document_head(conn, coding, meta);
        }
        let heartbeat = self.agree_on_heartbeat(session_key, request.heartbeat);
        self.replace_documents(session_key, request, heartbeat);
        let flush = self.agree_on_flush(session_key, conn, request.flush, heartbeat);
        let Some(session) = self.sessions.get_mut(session_key) else { return };
        session.last_document += 1;
        let number = session.last_document;
        let fresh = Document {
            heartbeat: heartbeat.into(),
            flush,
            coding,
            dup: request.dup,
            ..Document::new(conn, session_key.slot, number, now)
        };
        let document = self.documents.insert(fresh);
        let free = session.documents.iter_mut().find(|slot| **slot == NONE);
        if let Some(free) = free {
            *free = document.slot;
        }
        self.stats.documents += 1;
        self.put_identity(document, session_key, (made_here, q), request.pad);
        self.recheck_for(session_key, conn);
        self.set_cursors(document.slot, session_key, request.last.as_ref());
        let mid = self.mid_of(session_key);
        let Some(connection) = self.conns.get_mut(conn) else { return };
        connection.phase = Phase::Stream(document.slot);
        connection.session = mid;
        connection.deadline = Instant::NEVER;
        let (peer, secured) = (connection.address(), connection.secured.clone());
        self.outputs.push_back(Output::Stream(conn, self.settings.tcp_patience(heartbeat)));
        for open in &request.opens {
            let asking = self.asking_for(session_key, peer, &secured);
            self.open_channel(session_key, open, None, (peer, asking));
        }
        self.tell_to_move(document.slot);
        self.tell_expiry(document.slot, session_key);
        self.name_document(document.slot);
        self.arm_document(document.slot);
        self.arm_session(session_key);
    }

    /// The head of a document that has one of its own.
    fn put_document_head(&mut self, conn: ConnKey, coding: Coding, meta: &Meta) {
        let Carriage::Http(version) = meta.carriage else { return };
        let mut head = Vec::with_capacity(512);
        let unix_seconds = self.unix_micros() / 1_000_000;
        put_head(&mut head, coding, (version, meta.origin.as_deref()), unix_seconds);
        let Some(connection) = self.conns.get_mut(conn) else { return };
        connection.exchanges().put(&head);
    }

    /// Documents that the new one succeeds end soon. Where all places are taken, the oldest of
    /// those that have a successor goes at once.
    fn replace_documents(&mut self, session: Key, request: &DocumentRequest, heartbeat: Span) {
        let now = self.now;
        let overlap = heartbeat.min(OVERLAP_MAX);
        let Some(session) = self.sessions.get(session) else { return };
        let mut slots: Vec<u32> = session.document_slots().collect();
        slots.sort_by_key(|&slot| self.documents.at(slot).map(|document| document.number));
        let crowded = slots.len() == DOCUMENTS_MAX;
        for &slot in &slots {
            let Some(document) = self.documents.at_mut(slot) else { continue };
            if is_successor_of(request, document) {
                document.replaced_at = document.replaced_at.min(now + overlap);
                self.arm_document(slot);
            }
        }
        let mut documents = slots.iter().filter_map(|&slot| self.documents.at(slot));
        if crowded && let Some(conn) = documents.find(|old| old.is_succeeded()).map(|old| old.conn)
        {
            self.close(conn, CloseReason::Refreshed);
        }
    }

    fn put_identity(
        &mut self,
        key: Key,
        session_key: Key,
        (made_here, q): (bool, Option<u64>),
        pad: Option<u32>,
    ) {
        let Some(mid) = self.mid_of(session_key) else { return };
        let Some(session) = self.sessions.get(session_key) else { return };
        let Some(document) = self.documents.get_mut(key) else { return };
        let mut text = [0; 22];
        encode_key(&session.key, &mut text);
        let notes = document.notes.get_mut();
        notes.reserve(FIRST_BYTES);
        if document.coding != Coding::RawFresh {
            notes.extend_from_slice(frame::PREAMBLE);
        }
        let start = notes.len();
        frame::identity(
            notes,
            &frame::Identity {
                scs: &self.settings.scs,
                mid,
                d: document.number,
                key: std::str::from_utf8(&text).ok().filter(|_| made_here),
                heartbeat: document.heartbeat.span(),
                refresh: self.settings.refresh,
                flush: document.flush.span(),
                client_heartbeat: self.settings.client_heartbeat,
            },
        );
        let identity = notes.len();
        if let Some(pad) = pad {
            frame::padding(notes, pad as usize);
        }
        if let (Some(q), Some(seal)) = (q, &session.seal) {
            let line = &notes[start..identity - 1];
            document.seal = Some(Box::new(seal.document(document.number, q, line, notes.len())));
            // A sealed line proves the first one, which is not sealed: the client waits for it.
            document.heartbeat_due = true;
        }
    }

    /// Sets the new document's cursors: where `last` says, else where the channel was opened or, if
    /// there was a document before and the client does not say what it has, at the head.
    fn set_cursors(&mut self, slot: u32, session_key: Key, last: Option<&Positions>) {
        let Some(session) = self.sessions.get(session_key) else { return };
        let first = session.last_document == 1;
        let mut places = Vec::new();
        for (index, channel) in session.channels.iter().enumerate() {
            let Some(topic) = channel.topic().and_then(|topic| self.topics.slots.at(topic)) else {
                continue;
            };
            let (located, passed) = begin_at(channel, topic, last, first);
            places.push((index, located, passed));
        }
        // Whatever of that number there was has ended, and was one of those.
        let life = session.channels_ended.checked_sub(1);
        let over: Vec<_> = last
            .map(|last| last.0.iter().map(|(cid, _)| *cid))
            .into_iter()
            .flatten()
            .filter(|cid| session.find_channel(*cid).is_none())
            .collect();
        for (index, located, passed) in places {
            if passed {
                self.tell_overrun(slot, index, located);
                self.stats.overruns += 1;
                self.end_channel(session_key, index, ChannelEnd::Overrun, Some(slot));
            } else {
                self.add_cursor(slot, index, located);
            }
        }
        let Some(document) = self.documents.at_mut(slot) else { return };
        for cid in over {
            frame::closed(document.notes.get_mut(), cid, life, ChannelEnd::Closed);
        }
    }

    /// Names the document's connection, unless it is named or blocked.
    pub(crate) fn name_document(&mut self, slot: u32) {
        let Some(document) = self.documents.at_mut(slot) else { return };
        let conn = document.conn;
        if document.notes.len() > limits::NOTES_BYTES_MAX {
            // Its client goes on asking and reads nothing.
            self.close(conn, CloseReason::Stale);
            return;
        }
        if document.blocked {
            let notes = document.notes.len() as u32;
            self.stalled.note(std::mem::replace(&mut document.noted, notes), notes);
        }
        if document.named || document.blocked {
            return;
        }
        document.named = true;
        self.name(conn);
    }

    /// Ends a document: what is ready is written, then the last frame.
    pub(crate) fn end_document(&mut self, slot: u32, end: DocumentEnd) {
        let Some(document) = self.documents.at_mut(slot) else { return };
        if document.ending.is_none() && !document.ended {
            document.ending = Some(end);
            self.name_document(slot);
        }
    }

    /// The last byte of a document is out: the connection is free again, or closes.
    pub(crate) fn stream_over(&mut self, conn: ConnKey, slot: u32) {
        let Some(document) = self.documents.at(slot) else { return };
        let last = self.conns.get(conn).is_some_and(|conn| conn.is_raw() && conn.last_taken);
        let reason = match document.ending {
            Some(DocumentEnd::Stale) => CloseReason::Stale,
            Some(DocumentEnd::Logout) => CloseReason::Logout,
            Some(DocumentEnd::Shutdown) => CloseReason::Shutdown,
            // A line came on it that was none.
            None if last => CloseReason::BadRequest,
            Some(DocumentEnd::Refreshed) | None => CloseReason::Refreshed,
        };
        let kept = matches!(document.coding, Coding::Chunked | Coding::Raw);
        let reusable = kept && !last && !self.stopping;
        self.stats.count_document(reason);
        self.drop_document(slot);
        let Some(connection) = self.conns.get_mut(conn) else { return };
        connection.phase = Phase::Head;
        if connection.eof || !reusable {
            self.finish(conn, reason);
            return;
        }
        if connection.has_answers() {
            self.name(conn);
        }
        self.set_deadline(conn, self.settings.idle_timeout);
        self.resume_intake(conn);
    }

    /// Forgets a document; its session lingers when it was the last.
    pub(crate) fn drop_document(&mut self, slot: u32) {
        let Some(key) = self.documents.key_at(slot) else { return };
        let Some(document) = self.documents.at(slot) else { return };
        for index in 0..document.cursors.len() {
            self.drop_cursor(slot, index);
        }
        let Some(document) = self.documents.remove(key) else { return };
        if let Some(unfinished) = &document.unfinished {
            self.stalled.release(unfinished);
        }
        self.stalled.note(document.noted, 0);
        let now = self.now;
        let Some(session_key) = self.sessions.key_at(document.session) else { return };
        let Some(session) = self.sessions.get_mut(session_key) else { return };
        for other in &mut session.documents {
            if *other == slot {
                *other = NONE;
            }
        }
        session.idle_since = now;
        self.arm_session(session_key);
    }

    /// Takes a document's cursor off its topic.
    pub(crate) fn drop_cursor(&mut self, slot: u32, index: usize) {
        let Some(document) = self.documents.at_mut(slot) else { return };
        let Some(cursor) = document.cursors.get_mut(index) else { return };
        let cursor = std::mem::replace(cursor, Cursor::VACANT);
        document.ready.clear(index as u32);
        let now = self.now;
        let Some(topic) = self.topics.slots.at_mut(cursor.topic) else { return };
        let at = cursor.subscriber as usize;
        debug_assert_eq!(topic.subscribers[at].document, slot);
        topic.subscribers.swap_remove(at);
        if topic.subscribers.is_empty() {
            topic.quiet_since = now;
        }
        if let Some(moved) = topic.subscribers.get(at).copied()
            && let Some(other) = self.documents.at_mut(moved.document)
        {
            other.cursors[moved.cursor as usize].subscriber = cursor.subscriber;
        }
    }
}
