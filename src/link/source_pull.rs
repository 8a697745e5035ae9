//! What a source does in each turn: messages go from logs to connections, histories are trimmed,
//! and what nobody reads any more is forgotten.

use std::sync::Arc;

use crate::base::id::Key;
use crate::base::reason::ChannelEnd;
use crate::base::time::Span;
use crate::link::handler::{Actions, Channel};
use crate::link::source::Source;
use crate::link::source_lane::{Binding, Cursor};
use crate::link::source_settings::Publication;
use crate::wire::resource::Alias;

impl Source {
    /// The readers of a subject have something to read.
    pub(crate) fn touch(&mut self, key: Key) {
        let Some(topic) = self.topics.get_mut(key) else { return };
        if !topic.touched && !topic.readers.is_empty() {
            topic.touched = true;
            self.touched.push(key);
        }
        if !topic.grown {
            topic.grown = true;
            self.grown.push(key);
        }
        self.arm(key);
    }

    /// Sets a timer for the oldest message of a subject.
    fn arm(&mut self, key: Key) {
        let Some(topic) = self.topics.get_mut(key).filter(|topic| !topic.timed) else { return };
        if let Some(oldest) = topic.log.oldest() {
            topic.timed = true;
            self.ages.insert(oldest + topic.history.age + Span::from_nanos(1), key);
        }
    }

    /// There may be something to put on a connection.
    pub(crate) fn name(&mut self, link: Key) {
        if let Some(lane) = self.lanes.get_mut(&link)
            && !lane.named
        {
            lane.named = true;
            self.named.push_back(link);
        }
    }

    /// Puts on each connection what its consumer has not read, as far as there is room.
    pub(crate) fn pull(&mut self) {
        let mut touched = std::mem::take(&mut self.touched);
        for key in touched.drain(..) {
            let Some(topic) = self.topics.get_mut(key) else { continue };
            topic.touched = false;
            for (link, alias) in &topic.readers {
                let Some(lane) = self.lanes.get_mut(link) else { continue };
                lane.make_ready(*alias);
                if !lane.named {
                    lane.named = true;
                    self.named.push_back(*link);
                }
            }
        }
        self.touched = touched;
        let most = self.settings.waiting_bytes.max(1);
        while let Some(link) = self.named.pop_front() {
            let Some(lane) = self.lanes.get_mut(&link) else { continue };
            lane.named = false;
            let filled = lane.fill(link, &mut self.links, &self.topics, most);
            self.counts.gaps += filled.begins;
            self.counts.sent += filled.messages;
            for (alias, cursor) in filled.ended {
                self.forget_reader(link, alias, cursor);
            }
        }
    }

    /// Trims the histories that have grown.
    pub(crate) fn trim_grown(&mut self) {
        let mut grown = std::mem::take(&mut self.grown);
        for key in grown.drain(..) {
            if let Some(topic) = self.topics.get_mut(key) {
                topic.grown = false;
                self.trim(key);
            }
        }
        self.grown = grown;
    }

    /// Trims the histories whose oldest message is too old.
    pub(crate) fn grow_old(&mut self) {
        let now = self.links.now();
        while let Some(key) = self.ages.pop(now) {
            if let Some(topic) = self.topics.get_mut(key) {
                topic.timed = false;
                self.trim(key);
                self.arm(key);
            }
        }
    }

    fn trim(&mut self, key: Key) {
        let now = self.links.now();
        let Some(topic) = self.topics.get_mut(key) else { return };
        topic.log.trim(&topic.history, now);
        // Nobody comes back to a private channel: what was put on its connection is done with.
        if topic.consumer.is_some()
            && let Some((link, alias)) = topic.readers.first()
            && let Some(cursor) = self.lanes.get(link).and_then(|lane| lane.cursor(*alias))
        {
            topic.log.drop_before(cursor.next);
        }
    }

    /// Closes a subject for everybody, or a private channel.
    pub(crate) fn close_topic(&mut self, key: Key) {
        let Some(topic) = self.topics.get(key) else { return };
        let office = &mut self.offices[topic.office];
        if topic.consumer.is_none() {
            office.topics.remove(&topic.subject);
            office.closed += 1;
            if !topic.readers.is_empty() {
                office.handler.demand_ends(&topic.subject);
            }
        }
        self.end_topic(key, ChannelEnd::Gone);
    }

    /// Nothing more will come: readers learn it when they have read what there is.
    pub(crate) fn end_topic(&mut self, key: Key, end: ChannelEnd) {
        let Some(topic) = self.topics.get_mut(key) else { return };
        topic.ended = topic.ended.or(Some(end));
        if topic.is_idle() {
            self.topics.remove(key);
        } else {
            self.touch(key);
        }
    }

    /// A subscription is over.
    pub(crate) fn forget_reader(&mut self, link: Key, alias: Alias, cursor: Cursor) {
        let key = cursor.topic;
        let Some(topic) = self.topics.get_mut(key) else { return };
        if let Some(at) = topic.readers.iter().position(|reader| *reader == (link, alias)) {
            topic.readers.swap_remove(at);
        }
        let office = &mut self.offices[topic.office];
        office.consumers -= cursor.consumers;
        self.moved = true;
        if !topic.readers.is_empty() {
            return;
        }
        let (handler, at) = (Arc::clone(&office.handler), topic.office);
        match (&topic.consumer, topic.ended) {
            (Some(consumer), _) => handler.closed(Channel(key), &topic.subject, consumer),
            (None, None) => handler.demand_ends(&topic.subject),
            (None, Some(_)) => {}
        }
        if topic.is_idle()
            && let Some(topic) = self.topics.remove(key)
            && topic.consumer.is_none()
            && topic.ended.is_none()
        {
            self.offices[at].topics.remove(&topic.subject);
        }
    }

    /// A connection is over.
    pub(crate) fn forget_lane(&mut self, link: Key) {
        let Some(lane) = self.lanes.remove(&link) else { return };
        for (alias, binding) in lane.bindings {
            if let Binding::Open(cursor) = binding {
                self.forget_reader(link, alias, cursor);
            }
        }
    }

    /// Does what a handler wants done.
    pub(crate) fn carry_out(&mut self, at: usize, channel: Option<Channel>, actions: Actions) {
        for (subject, payload) in actions.publications {
            // The resource is known already.
            if self.publish_in(at, Publication::new("", &subject, payload)).is_err() {
                self.counts.refused += 1;
            }
        }
        for reply in actions.replies {
            let told = channel.map(|channel| self.reply_in(channel, reply).is_ok());
            if told != Some(true) {
                self.counts.refused += 1;
            }
        }
        if let Some(channel) = channel.filter(|_| actions.end) {
            self.end_topic(channel.0, ChannelEnd::Gone);
        }
    }
}
