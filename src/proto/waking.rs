//! Telling readers that their topic has something new: a few at a time, so that topics with very
//! many readers do not make a turn long.
//!
//! A topic's readers are told from the last to the first. One that leaves has its place taken by
//! the last one, which was told already, so nobody is passed over; one that comes knows what there
//! is.

use std::collections::VecDeque;
use std::ops::Range;

use crate::base::id::Key;
use crate::base::time::Millis;
use crate::mem::slab::Slots;
use crate::proto::connection::Connection;
use crate::proto::document::Document;
use crate::proto::flushing::{Held, Pause};
use crate::proto::hub::Hub;
use crate::proto::output::Output;
use crate::proto::topic::Topic;

/// Readers that are told in one go.
const STRIDE: u32 = 64;

/// Whether a topic's readers are being told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Round {
    /// All know.
    #[default]
    Over,
    /// Some are still to be told.
    Going,
    /// The same; and something came after the round had begun, so there is another.
    Again,
}

/// Topics whose readers are being told, each with how many of them are left.
pub type Waking = VecDeque<(Key, u32)>;

impl Hub {
    /// The topic's log has grown: its readers are to be told.
    pub(crate) fn wake_readers(&mut self, slot: u32) {
        let Some(key) = self.topics.slots.key_at(slot) else { return };
        let Some(topic) = self.topics.slots.at_mut(slot) else { return };
        if topic.subscribers.is_empty() {
            topic.held = Held::default();
            return;
        }
        topic.round = match topic.round {
            Round::Over => {
                self.waking.push_back((key, topic.subscribers.len() as u32));
                Round::Going
            }
            Round::Going | Round::Again => Round::Again,
        };
    }

    /// Tells some readers; says whether there was anybody to be told.
    pub(crate) fn wake_some(&mut self) -> bool {
        let Some((key, left)) = self.waking.pop_front() else { return false };
        let Some(topic) = self.topics.slots.get(key) else { return true };
        let count = topic.subscribers.len() as u32;
        let end = left.min(count);
        let from = end.saturating_sub(STRIDE);
        self.tell(key, from as usize..end as usize);
        if from > 0 {
            self.waking.push_front((key, from));
        } else if let Some(topic) = self.topics.slots.get_mut(key) {
            topic.held.end_round();
            topic.round = match topic.round {
                // After the topics that wait.
                Round::Again => {
                    self.waking.push_back((key, count));
                    Round::Going
                }
                Round::Going | Round::Over => Round::Over,
            };
        }
        true
    }

    /// Marks the cursors of these readers, and names their documents, unless they are named or
    /// blocked already. Where messages may wait for more, that is when they have waited.
    fn tell(&mut self, key: Key, readers: Range<usize>) {
        let Self { topics, documents, conns, outputs, now, wheel, settings, .. } = self;
        let Some(topic) = topics.slots.get_mut(key) else { return };
        let history = topic.options.history.unwrap_or(settings.history);
        let Topic { subscribers, log, held, .. } = topic;
        let end = log.end().place;
        let mut pause = Pause { log, held, history, brink: None, now: *now, wheel };
        for subscriber in subscribers[readers].iter().rev() {
            let Some(document) = documents.at_mut(subscriber.document) else { continue };
            // Also brings the cursor near: the memory of many readers is waited for together.
            let cursor = document.cursors.get(subscriber.cursor as usize);
            if cursor.is_none_or(|cursor| cursor.place >= end) {
                continue;
            }
            document.ready.set(subscriber.cursor);
            if document.named || document.blocked {
                continue;
            }
            if document.flush == Millis::ZERO {
                name(document, conns, outputs);
            } else if let Some(key) = documents.key_at(subscriber.document)
                && let Some(document) = documents.get_mut(key)
                && !pause.begin(document, key, subscriber.cursor)
            {
                name(document, conns, outputs);
            }
        }
    }
}

fn name(document: &mut Document, conns: &mut Slots<Connection>, outputs: &mut VecDeque<Output>) {
    document.named = true;
    // A socket that has just become writable has named it already.
    if let Some(connection) = conns.get_mut(document.conn).filter(|connection| !connection.named) {
        connection.named = true;
        outputs.push_back(Output::Send(document.conn));
    }
}
