//! Flush spans: messages wait a while for more, so that one write carries them all.
//!
//! Only what stands in the logs waits, and only on documents with a flush span. Whatever else a
//! document has to say goes out at once and takes along what waits. A reader that waits loses
//! nothing by it: what it has not read stays in the log, and half of what the history keeps is as
//! much as waits.

use crate::base::id::{ConnKey, Key};
use crate::base::time::{Millis, Span};
use crate::proto::document::Document;
use crate::proto::hub::Hub;
use crate::proto::output::Output;
use crate::proto::settings::Settings;

impl Hub {
    /// The flush span of a document that begins: what its request says, else what its session has
    /// said last, else what the listener says. The session remembers what was asked for, not what
    /// its bounds made of it.
    pub(crate) fn agree_on_flush(
        &mut self,
        session: Key,
        conn: ConnKey,
        wanted: Option<Span>,
        heartbeat: Span,
    ) -> Millis {
        let usual = self.conns.get(conn).and_then(|connection| connection.flush);
        let Some(session) = self.sessions.get_mut(session) else { return Millis::ZERO };
        session.flush = wanted.map(Millis::from).or(session.flush);
        let agreed = session.flush.or(usual).map_or(self.settings.flush, Millis::span);
        self.settings.bound_flush(agreed, heartbeat).into()
    }

    /// Tells all readers of a topic that it has grown. A document is named at once or, where its
    /// messages may wait for more, when they have waited. Returns the first place that must stay in
    /// the log, because somebody waits who has read no further.
    pub(crate) fn wake_readers(&mut self, slot: u32) -> u64 {
        let Self { topics, documents, conns, outputs, settings, now, wheel, .. } = self;
        let mut held = u64::MAX;
        let Some(topic) = topics.slots.at(slot) else { return held };
        let history = topic.options.history.unwrap_or(settings.history);
        let mut brink = None;
        for subscriber in &topic.subscribers {
            let Some(document) = documents.at_mut(subscriber.document) else { continue };
            document.ready.set(subscriber.cursor);
            if document.named || document.blocked {
                continue;
            }
            if document.flush != Millis::ZERO {
                let cursor = &document.cursors[subscriber.cursor as usize];
                let brink = *brink.get_or_insert_with(|| topic.log.brink(&history));
                let full = brink.is_some_and(|brink| cursor.place <= brink);
                if !cursor.folds() {
                    held = held.min(cursor.place);
                }
                // Age is the one bound that a log reaches without growing.
                let wait = document.patience().min(history.age_max.fraction(1, 2));
                if (!full || cursor.folds()) && wait > Span::ZERO {
                    let at = *now + wait;
                    if at < document.soon_at
                        && let Some(key) = documents.key_at(subscriber.document)
                        && let Some(document) = documents.get_mut(key)
                    {
                        document.wake_at(at, key, wheel);
                    }
                    continue;
                }
            }
            document.named = true;
            if let Some(connection) = conns.get_mut(document.conn) {
                connection.named = true;
            }
            outputs.push_back(Output::Send(document.conn));
        }
        held
    }
}

impl Document {
    /// How long its messages wait for more: what its client was told, and half of an interval that
    /// has become shorter since.
    fn patience(&self) -> Span {
        self.flush.span().min(self.heartbeat.span().fraction(1, 2))
    }
}

impl Settings {
    /// A flush span that somebody asks for, within the bounds.
    pub fn bound_flush(&self, wanted: Span, heartbeat: Span) -> Span {
        wanted.min(self.flush_max).min(heartbeat.fraction(1, 2))
    }
}
