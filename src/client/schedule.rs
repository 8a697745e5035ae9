//! When documents are asked for, and when those that were replaced are closed.
//!
//! An agent has one main document and as many lasting duplicates as its settings want. The main one
//! comes first: while none runs, or one is being asked for or replaced, no duplicate is asked for,
//! so that a session never needs more places at the server than there are. A document is replaced
//! by one more of its kind, and closed when that one carries every channel.

use crate::base::limits::DOCUMENTS_MAX;
use crate::base::time::{Instant, Span};
use crate::client::agent::Agent;
use crate::client::document::{Document, Purpose};
use crate::client::event::{Failure, StreamId};

impl Agent {
    /// After every input: whatever is due now is put out.
    pub(crate) fn drive(&mut self, now: Instant) {
        if self.stopped {
            return;
        }
        self.watch(now);
        self.retire(now);
        if self.main_at() <= now {
            let purpose = match (self.documents_running(), &self.session) {
                (_, None) => Purpose::Session,
                (0, Some(_)) => Purpose::Resume,
                (_, Some(_)) => Purpose::Refresh,
            };
            self.ask(purpose, None, now);
        }
        if let Some((at, succeeds)) = self.next_duplicate()
            && at <= now
        {
            self.ask(Purpose::Duplicate, succeeds, now);
        }
        if self.can_call() {
            self.call_opens(now);
            self.call_sends(now);
        }
        self.tell_state();
    }

    /// When [`Agent::handle_timeout`] must be called at the latest, if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.stopped {
            return None;
        }
        let mut at = self.merge.poll_timeout().unwrap_or(Instant::NEVER).min(self.main_at());
        for document in &self.documents {
            at = at.min(document.drop_at(&self.settings));
            at = at.min(document.warn_at(&self.settings).unwrap_or(Instant::NEVER));
            at = at.min(self.heir(document).map_or(Instant::NEVER, |heir| heir.settled_at()));
        }
        at = at.min(self.next_duplicate().map_or(Instant::NEVER, |(at, _)| at));
        if self.can_call() {
            at = at.min(self.channels_at);
            let window = self.settings.send_window;
            let ready = self.sending.iter().filter_map(|key| self.channels.get(key));
            let sends = ready.filter(|channel| channel.cid.is_some());
            let next = sends.filter_map(|channel| channel.outbox.next_at(window)).min();
            at = at.min(next.unwrap_or(Instant::NEVER));
        }
        (at != Instant::NEVER).then_some(at)
    }

    /// When the next main document is asked for.
    fn main_at(&self) -> Instant {
        let idle = self.channels.is_empty() || self.is_asking_main();
        if idle { Instant::NEVER } else { self.document_at }
    }

    /// When the next duplicate is asked for, and which one it succeeds.
    fn next_duplicate(&self) -> Option<(Instant, Option<StreamId>)> {
        let wanted = usize::from(self.settings.duplicates).min(DOCUMENTS_MAX - 1);
        let current = |d: &&Document| d.is_running() && d.session == self.session_count;
        let mut mains = self.documents.iter().filter(|d| !d.is_duplicate()).filter(current);
        let overlaps = self.documents.iter().any(|document| self.heir(document).is_some());
        if wanted == 0 || self.is_asking() || overlaps || self.channels.is_empty() {
            return None;
        }
        mains.next()?;
        let duplicates = self.documents.iter().filter(|d| d.is_duplicate());
        if duplicates.clone().count() < wanted {
            return Some((self.duplicate_at, None));
        }
        let next = duplicates.min_by_key(|document| document.replace_at)?;
        Some((next.replace_at.max(self.duplicate_at), Some(next.stream)))
    }

    /// Whether a document was asked for and does not run yet.
    pub(crate) fn is_asking(&self) -> bool {
        self.documents.iter().any(|document| !document.is_running())
    }

    fn is_asking_main(&self) -> bool {
        self.documents.iter().any(|d| !d.is_running() && !d.is_duplicate())
    }

    /// The running document that takes the place of `old`.
    fn heir(&self, old: &Document) -> Option<&Document> {
        let mut running = self.documents.iter().rev().filter(|document| document.is_running());
        if !old.is_running() {
            return None;
        }
        let main = running.clone().find(|document| !document.is_duplicate());
        let newer = main.filter(|main| main.stream > old.stream);
        match old.is_duplicate() {
            false => newer,
            true => running
                .find(|document| document.succeeds == Some(old.stream))
                .or_else(|| newer.filter(|main| main.session != old.session)),
        }
    }

    /// Closes documents that a newer one has replaced: as soon as that one carries all their
    /// channels, and an interval after its beginning whatever it carries.
    fn retire(&mut self, now: Instant) {
        let replaced = |old: &Document| {
            let heir = self.heir(old)?;
            let over = self.merge.covers(heir.stream, old.stream) || heir.settled_at() <= now;
            over.then_some(old.stream)
        };
        let replaced: Vec<StreamId> = self.documents.iter().filter_map(replaced).collect();
        for old in replaced {
            self.counters.refreshes += 1;
            self.drop_document(old, true, now);
        }
    }

    /// Warns about documents that are silent, and abandons those that are so for too long.
    fn watch(&mut self, now: Instant) {
        let settings = &self.settings;
        for document in &mut self.documents {
            if document.warn_at(settings).is_some_and(|at| at <= now) {
                document.quiet = true;
            }
        }
        let due = |document: &&Document| document.drop_at(settings) <= now;
        let dead: Vec<_> =
            self.documents.iter().filter(due).map(|d| (d.stream, d.is_running())).collect();
        for (stream, running) in dead {
            let failure = match running {
                true => Failure::Silent,
                false => Failure::Broken("no answer in time".into()),
            };
            self.abandon(stream, failure, now);
        }
    }

    /// A document is lost and was told to stay away for `at_least`: the next attempt is set.
    pub(crate) fn set_next(&mut self, lost: &Document, at_least: Span, now: Instant) {
        let lived = if lost.is_running() { now.since(lost.since) } else { Span::ZERO };
        let settled = lived >= self.settings.settled_after;
        let newer = |other: &Document| !other.is_duplicate() && other.stream > lost.stream;
        if self.documents.iter().any(|heir| heir.succeeds == Some(lost.stream)) {
            return; // its place is being taken
        }
        if lost.is_duplicate() {
            if settled {
                self.duplicate_backoff.reset();
            }
            let wait = self.duplicate_backoff.wait(&mut self.random).max(at_least);
            self.duplicate_at = now + wait;
        } else if !self.documents.iter().any(newer) {
            if settled {
                self.backoff.reset();
            }
            self.document_at = now + self.backoff.wait(&mut self.random).max(at_least);
        }
    }

    /// Whether `stream` is followed by another document of its kind that runs.
    pub(crate) fn is_followed(&self, stream: StreamId) -> bool {
        let document = self.documents.iter().find(|document| document.stream == stream);
        document.is_some_and(|document| self.heir(document).is_some())
    }
}
