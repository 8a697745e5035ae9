//! The life of sessions and channels: how they begin, how they end, what goes with them.

use crate::base::id::{Key, Mid};
use crate::base::reason::{ChannelEnd, DocumentEnd, ErrorCode};
use crate::html::frame;
use crate::proto::document::Document;
use crate::proto::hub::Hub;
use crate::proto::parcel::Parcel;
use crate::proto::session::{ChannelState, NONE, Session};
use crate::proto::topic::Role;

impl Hub {
    /// Makes a session. Whoever gives it no document at once arms its timer.
    pub(crate) fn begin_session(&mut self) -> Result<Key, ErrorCode> {
        if self.sessions.len() >= self.settings.sessions_max {
            return Err(ErrorCode::TooMany);
        }
        let mut key = [0; 16];
        self.random.fill(&mut key);
        let heartbeat = self.settings.bound_heartbeat(self.settings.heartbeat);
        let session = self.sessions.insert(Session::new(key, heartbeat, self.now));
        self.stats.sessions += 1;
        Ok(session)
    }

    /// A document has read to the end of a channel's topic.
    pub(crate) fn after_end(&mut self, slot: u32, cursor: u32) {
        let index = cursor as usize;
        self.drop_cursor(slot, index);
        let Some(document) = self.documents.at(slot) else { return };
        let Some(session_key) = self.sessions.key_at(document.session) else { return };
        if !self.is_read_beside(session_key, slot, index, |_| true) {
            self.vacate(session_key, index, false);
        }
    }

    /// History has passed a strict channel on one document. Where another that lives reads it, the
    /// one that fell behind ends and the channel goes on; else the channel ends.
    pub(crate) fn after_overrun(&mut self, slot: u32, cursor: u32) {
        let index = cursor as usize;
        self.drop_cursor(slot, index);
        let Some(document) = self.documents.at(slot) else { return };
        let end = match document.is_succeeded() {
            true => DocumentEnd::Refreshed,
            false => DocumentEnd::Stale,
        };
        let Some(session_key) = self.sessions.key_at(document.session) else { return };
        if self.is_read_beside(session_key, slot, index, |other| !other.is_succeeded()) {
            self.end_document(slot, end);
        } else {
            self.stats.overruns += 1;
            self.end_channel(session_key, index, ChannelEnd::Overrun, None);
        }
    }

    /// Whether another document of the session, one that `counts`, reads the channel.
    fn is_read_beside(
        &self,
        session: Key,
        slot: u32,
        index: usize,
        counts: impl Fn(&Document) -> bool,
    ) -> bool {
        let Some(session) = self.sessions.get(session) else { return false };
        let others = session.document_slots().filter(|&other| other != slot);
        let mut documents = others.filter_map(|other| self.documents.at(other));
        documents.any(|document| {
            let reads = document.cursors.get(index).is_some_and(|cursor| cursor.topic != NONE);
            reads && counts(document)
        })
    }

    /// Ends a channel on all documents but one that knows it already.
    pub(crate) fn end_channel(
        &mut self,
        session_key: Key,
        index: usize,
        end: ChannelEnd,
        told: Option<u32>,
    ) {
        let Some(session) = self.sessions.get(session_key) else { return };
        let cid = session.channels[index].cid;
        for slot in session.document_slots() {
            self.drop_cursor(slot, index);
            let Some(document) = self.documents.at_mut(slot) else { continue };
            if told != Some(slot) {
                frame::closed(document.notes.get_mut(), cid, None, end);
                self.name_document(slot);
            }
        }
        self.vacate(session_key, index, false);
    }

    /// Frees a channel that no document reads any more; `leaving`: its session ends.
    pub(crate) fn vacate(&mut self, session_key: Key, index: usize, leaving: bool) {
        let Some(session) = self.sessions.get_mut(session_key) else { return };
        let channel = &mut session.channels[index];
        let state = std::mem::replace(&mut channel.state, ChannelState::Vacant);
        let cid = channel.cid;
        let ended = u32::from(state != ChannelState::Vacant);
        session.channels_ended = session.channels_ended.saturating_add(ended);
        self.forget_held(session_key, cid);
        match state {
            ChannelState::Open(topic) => self.release_topic(topic),
            ChannelState::Opening(ask) => self.call_off(ask, leaving),
            ChannelState::Vacant => {}
        }
    }

    /// A channel has left the topic; a private one goes with it.
    pub(crate) fn release_topic(&mut self, slot: u32) {
        let now = self.now;
        let Some(topic) = self.topics.slots.at_mut(slot) else { return };
        topic.channels -= 1;
        topic.quiet_since = now;
        if topic.role == Role::Private {
            self.remove_topic(slot);
        }
    }

    /// Takes a topic out, with its part of the histories.
    pub(crate) fn remove_topic(&mut self, slot: u32) {
        let Some(key) = self.topics.slots.key_at(slot) else { return };
        let Some(topic) = self.topics.remove(key) else { return };
        if !matches!(topic.role, Role::Follower(_)) {
            self.history_bytes -= topic.log.bytes();
        }
        if let Some((home, want)) = topic.source {
            self.post(home, Parcel::Release(want));
        }
    }

    /// Ends a session: its documents say so, its channels and private topics go.
    pub(crate) fn end_session(&mut self, session_key: Key) {
        let Some(session) = self.sessions.get(session_key) else { return };
        let slots: Vec<u32> = session.document_slots().collect();
        for &slot in &slots {
            let cursors = self.documents.at(slot).map_or(0, |document| document.cursors.len());
            for index in 0..cursors {
                self.drop_cursor(slot, index);
            }
        }
        let channels = self.sessions.get(session_key).map_or(0, |session| session.channels.len());
        for index in 0..channels {
            self.vacate(session_key, index, true);
        }
        for &slot in &slots {
            if let Some(document) = self.documents.at_mut(slot) {
                document.session = NONE;
            }
            self.end_document(slot, DocumentEnd::Logout);
        }
        if let Some(session) = self.sessions.remove(session_key) {
            self.forget_user(session.identity.as_deref());
        }
    }

    /// The session of that number and key on this shard. A wrong key is no session, so that nobody
    /// learns which exist.
    pub(crate) fn prove_session(&self, mid: Mid, key: Option<&str>) -> Option<Key> {
        if mid.shard() != self.shard {
            return None;
        }
        let session = self.sessions.get(mid.key())?;
        // A sealed one has nothing to do with keys that whoever listens could show.
        (session.seal.is_none() && session.is_key(key?)).then(|| mid.key())
    }
}
