//! What must hold between any two inputs of a hub, for tests.

use crate::base::time::{Millis, Span};
use crate::proto::connection::Phase;
use crate::proto::document::Piece;
use crate::proto::hub::Hub;
use crate::proto::session::{ChannelState, NONE};
use crate::proto::topic::Role;
use crate::proto::waking::Round;

/// How late a timer may be, a turn of the shell included.
const LATE: Span = Span::from_millis(5);

impl Hub {
    /// Looks whether documents, sessions, channels, cursors and topics agree with each other. Costs
    /// time in proportion to all of them.
    ///
    /// # Errors
    ///
    /// What does not agree.
    pub fn check_invariants(&self) -> Result<(), String> {
        self.check_stalled()?;
        self.check_connections()?;
        self.check_documents()?;
        self.check_sessions()?;
        self.check_topics()
    }

    fn check_connections(&self) -> Result<(), String> {
        for key in self.conns.keys() {
            let Some(connection) = self.conns.get(key) else { continue };
            if let Phase::Stream(slot) = connection.phase {
                let document = self.documents.at(slot).map(|document| document.conn);
                if document != Some(key) {
                    return Err(format!(
                        "connection {key:?} carries {slot}, which has {document:?}"
                    ));
                }
                let blocked = self.documents.at(slot).is_some_and(|document| document.blocked);
                if connection.has_answers() && !connection.named && !blocked {
                    return Err(format!("connection {key:?}: nobody sends its answers"));
                }
            } else if connection.exchanges.as_ref().is_some_and(|e| !e.unsent().is_empty())
                && !connection.named
                && !connection.blocked
            {
                return Err(format!("connection {key:?} has answers and nobody sends them"));
            }
        }
        Ok(())
    }

    fn check_stalled(&self) -> Result<(), String> {
        let (mut runs, mut bytes) = (std::collections::HashMap::new(), 0);
        for document in self.documents.keys().filter_map(|key| self.documents.get(key)) {
            bytes += document.noted as usize;
            let Some(left) = &document.unfinished else { continue };
            bytes += left.own;
            for piece in &left.pieces {
                if let Piece::Shared(run, ..) = piece {
                    runs.insert(std::sync::Arc::as_ptr(run), run.memory());
                }
            }
        }
        bytes += runs.values().sum::<usize>();
        match self.stalled_bytes() {
            counted if counted == bytes => Ok(()),
            counted => Err(format!("stalled documents hold {bytes}, counted {counted}")),
        }
    }

    fn check_documents(&self) -> Result<(), String> {
        for key in self.documents.keys() {
            let Some(document) = self.documents.get(key) else { continue };
            let fail = |what: &str| Err(format!("document {key:?}: {what}: {document:?}"));
            let Some(connection) = self.conns.get(document.conn) else {
                return fail("it has no connection");
            };
            if !matches!(connection.phase, Phase::Stream(slot) if slot == key.slot) {
                return fail("its connection carries something else");
            }
            let sent = connection.named || connection.blocked || document.blocked;
            let soon = document.soon_at;
            let overdue = soon + LATE < self.now || soon > self.now + document.flush.span();
            if document.has_output() && !sent && (overdue || document.flush == Millis::ZERO) {
                return fail("it has output and nobody sends it");
            }
            if document.session != NONE {
                let session = self.sessions.at(document.session);
                if !session.is_some_and(|session| session.documents.contains(&key.slot)) {
                    return fail("its session does not know it");
                }
            }
            for (index, cursor) in document.cursors.iter().enumerate() {
                if cursor.topic == NONE {
                    continue;
                }
                let topic = self.topics.slots.at(cursor.topic);
                let back =
                    topic.and_then(|topic| topic.subscribers.get(cursor.subscriber as usize));
                if !back
                    .is_some_and(|back| back.document == key.slot && back.cursor as usize == index)
                {
                    return fail("a cursor is not among its topic's subscribers");
                }
            }
        }
        Ok(())
    }

    fn check_sessions(&self) -> Result<(), String> {
        for key in self.sessions.keys() {
            let Some(session) = self.sessions.get(key) else { continue };
            let fail = |what: String| Err(format!("session {key:?}: {what}"));
            for slot in session.document_slots() {
                if self.documents.at(slot).map(|document| document.session) != Some(key.slot) {
                    return fail(format!("document {slot} is another session's"));
                }
            }
            for channel in session.channels.iter() {
                match channel.state {
                    ChannelState::Vacant => {}
                    ChannelState::Opening(ask) if self.openings.get(ask).is_some() => {}
                    ChannelState::Open(slot) if self.topics.slots.at(slot).is_some() => {}
                    _ => return fail(format!("a channel leads nowhere: {channel:?}")),
                }
            }
            if self.settings.silence_ends_at(session) + LATE < self.now {
                return fail(format!("nobody misses its client: {session:?}"));
            }
            if session.timer_at + LATE < self.now && session.document_slots().next().is_none() {
                return fail(format!("its timer is over, and it has no document: {session:?}"));
            }
        }
        Ok(())
    }

    fn check_topics(&self) -> Result<(), String> {
        let mut history_bytes = 0;
        for key in self.topics.slots.keys() {
            let Some(topic) = self.topics.slots.get(key) else { continue };
            let fail = |what: String| Err(format!("{}: {what}", topic.name));
            if !topic.builder.is_empty() && !topic.touched {
                return fail("has messages that nobody seals".into());
            }
            if topic.touched && !self.touched.contains(&key.slot) {
                return fail("is touched and not among the touched".into());
            }
            let waits = self.waking.iter().filter(|(waking, _)| *waking == key).count();
            if waits != usize::from(topic.round != Round::Over) {
                return fail(format!("waits {waits} times to tell its readers: {:?}", topic.round));
            }
            for (at, subscriber) in topic.subscribers.iter().enumerate() {
                let document = self.documents.at(subscriber.document);
                let cursor = document.and_then(|d| d.cursors.get(subscriber.cursor as usize));
                let Some(cursor) = cursor else {
                    return fail(format!("{subscriber:?} is no cursor"));
                };
                if cursor.topic != key.slot || cursor.subscriber as usize != at {
                    return fail(format!("{subscriber:?} is {cursor:?}"));
                }
            }
            let channels = self.sessions.keys().filter_map(|key| self.sessions.get(key));
            let channels = channels.flat_map(|session| session.channels.iter());
            let open = channels.filter(|channel| channel.topic() == Some(key.slot)).count();
            if open != topic.channels as usize {
                return fail(format!("{open} channels are open, counted {}", topic.channels));
            }
            if let Role::Home { followers, .. } = &topic.role {
                for follower in followers {
                    if follower.sent < topic.log.end().place && !follower.waiting {
                        return fail(format!("{follower:?} gets no more"));
                    }
                }
            }
            if !matches!(topic.role, Role::Follower(_)) {
                history_bytes += topic.log.bytes();
            }
        }
        if history_bytes != self.history_bytes {
            return Err(format!("histories {history_bytes}, counted {}", self.history_bytes));
        }
        Ok(())
    }
}
