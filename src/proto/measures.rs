//! What a hub holds, in numbers.

use crate::proto::document::Document;
use crate::proto::hub::Hub;
use crate::proto::session::Session;
use crate::proto::stats::Stats;

impl Hub {
    /// How many connections there are.
    pub fn connection_count(&self) -> usize {
        self.conns.len()
    }

    /// How many documents there are.
    pub fn document_count(&self) -> usize {
        self.documents.len()
    }

    /// How many sessions there are.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// What was counted.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Memory that connections, sessions, documents, topics and timers hold, in bytes.
    pub fn memory(&self) -> usize {
        let conns = self.conns.keys().filter_map(|key| self.conns.get(key));
        let sessions = self.sessions.keys().filter_map(|key| self.sessions.get(key));
        let documents = self.documents.keys().filter_map(|key| self.documents.get(key));
        let topics = self.topics.slots.keys().filter_map(|key| self.topics.slots.get(key));
        conns.map(|conn| conn.input.bytes()).sum::<usize>()
            + sessions.map(Session::bytes).sum::<usize>()
            + documents.map(Document::bytes).sum::<usize>()
            + topics.map(|topic| topic.subscribers.capacity() * 8).sum::<usize>()
            + self.conns.bytes()
            + self.sessions.bytes()
            + self.documents.bytes()
            + self.topics.bytes()
            + self.wheel.bytes()
            + self.history_bytes
            + self.stalled.run_bytes()
    }
}
