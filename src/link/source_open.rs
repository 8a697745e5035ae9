//! What a source does with the frames of its consumers.

use std::sync::Arc;

use crate::base::id::{Epoch, Key, Offset};
use crate::base::reason::{ChannelEnd, ErrorCode};
use crate::link::handler::{Actions, Channel, Consumer, Decision, Message, Metrics, Skipped};
use crate::link::source::Source;
use crate::link::source_error::SourceError;
use crate::link::source_lane::{Binding, Cursor, Lane};
use crate::link::source_topic::Topic;
use crate::wire::resource::{Alias, Frame, Grant, Role, Who};

/// Consumers of one subscription that are believed at most, so that sums of them fit.
const CONSUMERS_MAX: u64 = u32::MAX as u64;

/// What somebody may read.
#[derive(Debug)]
struct Admitted {
    /// The log.
    topic: Key,
    /// The subject, if it is another one than was asked for.
    other: Option<String>,
}

/// Why somebody may not read.
type Denial = (ErrorCode, String);

impl Source {
    /// The other end of a connection has said who it is.
    pub(crate) fn greeted(&mut self, link: Key) {
        let role = self.links.other(link).map(|other| other.role);
        let dialled = self.dials.iter().position(|dial| dial.link() == Some(link));
        let wanted = dialled.map_or(Role::Consumer, |at| self.dials[at].role());
        if self.left {
            self.links.leave(link, "this resource server stops");
        } else if role != Some(wanted) {
            self.links.break_off(link, "neither a consumer, nor a registry that was dialled");
        } else if let Some(at) = dialled.filter(|_| wanted == Role::Registry) {
            self.register_all(at);
        } else {
            self.lanes.insert(link, Lane::default());
            if self.is_host(link) {
                self.register_with(link);
            }
        }
    }

    /// A frame has come.
    pub(crate) fn take_frame(&mut self, link: Key, frame: &Frame<'_>) {
        match frame {
            _ if !self.lanes.contains_key(&link) => {
                self.links.break_off(link, "a registry has nothing to say to a resource server");
            }
            Frame::Open { alias, resource, subject, last, who } => {
                self.take_open(link, *alias, (*resource, *subject), *last, who);
            }
            Frame::Close { alias, .. } => self.take_close(link, *alias),
            Frame::Send { alias, .. } | Frame::Skipped { alias, .. } => {
                self.take_message(link, *alias, frame);
            }
            Frame::Metrics { alias, .. } => self.take_metrics(link, *alias, frame),
            Frame::Parts { parts } => self.take_parts(link, *parts),
            _ => self.links.break_off(link, "that is not for a consumer to say"),
        }
    }

    fn take_open(
        &mut self,
        link: Key,
        alias: Alias,
        wanted: (&str, &str),
        last: Option<(Epoch, Offset)>,
        who: &Who<'_>,
    ) {
        if self.lanes.get(&link).is_some_and(|lane| lane.bindings.contains_key(&alias)) {
            return self.links.break_off(link, "an alias that is in use");
        }
        match self.admit(wanted, who) {
            Ok(admitted) => self.accept(link, alias, admitted, last),
            Err((code, detail)) => {
                self.counts.denied += 1;
                self.links.send(link, &Frame::Deny { alias, code, detail: &detail });
            }
        }
    }

    /// Asks the handler.
    fn admit(&mut self, wanted: (&str, &str), who: &Who<'_>) -> Result<Admitted, Denial> {
        let (resource, subject) = wanted;
        let no_resource = |error: SourceError| (ErrorCode::NoResource, error.to_string());
        let bad_request = |error: SourceError| (ErrorCode::BadRequest, error.to_string());
        let at = self.office(resource).map_err(no_resource)?;
        let office = &self.offices[at];
        if office.withdrawn.is_some() || self.left {
            return Err((ErrorCode::NoInstance, format!("{resource} is not served here any more")));
        }
        if office.is_full() {
            let capacity = office.served.capacity;
            let detail = format!("all {capacity} consumers of {resource} are here that it takes");
            return Err((ErrorCode::NoInstance, detail));
        }
        let consumer = Consumer::from(who);
        let handler = Arc::clone(&office.handler);
        match handler.open(subject, &consumer) {
            Decision::Shared => {
                let topic = self.shared_topic(at, subject).map_err(bad_request)?;
                Ok(Admitted { topic, other: None })
            }
            Decision::Other(other) => {
                let topic = self.shared_topic(at, &other).map_err(bad_request)?;
                Ok(Admitted { topic, other: Some(other) })
            }
            Decision::Private => {
                let (terms, ep) = (handler.terms(subject), Epoch(self.random.next()));
                let mut topic = Topic::new(at, subject, terms, self.settings.history, ep);
                topic.consumer = Some(consumer);
                Ok(Admitted { topic: self.topics.insert(topic), other: None })
            }
            Decision::Deny { code, detail } => Err((code, detail)),
        }
    }

    fn accept(
        &mut self,
        link: Key,
        alias: Alias,
        admitted: Admitted,
        last: Option<(Epoch, Offset)>,
    ) {
        let key = admitted.topic;
        let (Some(topic), Some(lane)) = (self.topics.get_mut(key), self.lanes.get_mut(&link))
        else {
            return;
        };
        let (ep, terms) = (topic.log.ep(), topic.terms);
        let start = topic.log.locate(last, terms.state);
        let grant = match &admitted.other {
            Some(other) => Grant::Other(other),
            None if topic.consumer.is_some() => Grant::Private,
            None => Grant::Shared,
        };
        let next = start.next;
        self.links.send(link, &Frame::Accept { alias, grant, ep, next, terms });
        let cursor =
            Cursor { topic: key, ep, next, is_state: start.is_state, consumers: 1, ready: false };
        lane.bindings.insert(alias, Binding::Open(cursor));
        if topic.log.messages_from(next).next().is_some() {
            lane.make_ready(alias);
        }
        topic.readers.push((link, alias));
        let (at, is_first) = (topic.office, topic.readers.len() == 1);
        self.offices[at].consumers += 1;
        self.counts.accepted += 1;
        self.moved = true;
        self.name(link);
        if is_first {
            self.tell_begun(at, key);
        }
    }

    /// A private channel, or the demand for a shared subject, has begun.
    fn tell_begun(&mut self, at: usize, key: Key) {
        let Some(topic) = self.topics.get(key) else { return };
        let handler = Arc::clone(&self.offices[at].handler);
        let mut actions = Actions::default();
        let channel = topic.consumer.as_ref().map(|consumer| {
            handler.opened(Channel(key), &topic.subject, consumer, &mut actions);
            Channel(key)
        });
        if channel.is_none() {
            handler.demand_begins(&topic.subject, &mut actions);
        }
        self.carry_out(at, channel, actions);
    }

    fn take_close(&mut self, link: Key, alias: Alias) {
        let Some(lane) = self.lanes.get_mut(&link) else { return };
        // A `Close` that has crossed a `Deny` finds nothing.
        if let Some(Binding::Open(cursor)) = lane.close(alias) {
            self.links.send(link, &Frame::Close { alias, end: ChannelEnd::Closed });
            self.forget_reader(link, alias, cursor);
            self.name(link);
        }
    }

    fn take_message(&mut self, link: Key, alias: Alias, frame: &Frame<'_>) {
        let Some(lane) = self.lanes.get_mut(&link) else { return };
        lane.taken += 1;
        let key = lane.cursor(alias).map(|cursor| cursor.topic);
        self.name(link);
        let topic = key.and_then(|key| Some((key, self.topics.get(key)?)));
        let takes = |topic: &Topic| {
            self.offices[topic.office].served.takes_messages && topic.ended.is_none()
        };
        let has_ended = topic.as_ref().is_some_and(|(_, topic)| topic.ended.is_some());
        let Some((key, topic)) = topic.filter(|(_, topic)| takes(topic)) else {
            self.counts.strays += 1;
            if let Some(lane) = self.lanes.get_mut(&link).filter(|_| has_ended) {
                lane.note_stray(alias);
            }
            return;
        };
        let (at, subject) = (topic.office, topic.subject.as_str());
        let handler = Arc::clone(&self.offices[at].handler);
        let consumer = topic.consumer.as_ref();
        let channel = consumer.map(|_| Channel(key));
        match *frame {
            Frame::Send { session, cid, n, id, payload, .. } => {
                let mut actions = Actions::default();
                let message = Message { subject, session, cid, consumer, channel, n, id, payload };
                handler.message(&message, &mut actions);
                self.counts.messages += 1;
                self.carry_out(at, channel, actions);
            }
            Frame::Skipped { session, cid, from, to, .. } => {
                handler.skipped(&Skipped { subject, session, cid, from, to });
                self.counts.skipped += to.saturating_add(1).saturating_sub(from);
            }
            _ => {}
        }
    }

    fn take_metrics(&mut self, link: Key, alias: Alias, frame: &Frame<'_>) {
        let Frame::Metrics { consumers, round_trip, behind, .. } = *frame else { return };
        let lane = self.lanes.get_mut(&link);
        let Some(cursor) = lane.and_then(|lane| lane.cursor_mut(alias)) else { return };
        let Some(topic) = self.topics.get(cursor.topic) else { return };
        let office = &mut self.offices[topic.office];
        let channel = topic.consumer.as_ref().map(|_| Channel(cursor.topic));
        if channel.is_none() {
            let before = cursor.consumers;
            cursor.consumers = consumers.min(CONSUMERS_MAX);
            office.consumers = office.consumers - before + cursor.consumers;
            self.moved |= before != cursor.consumers;
        }
        let subject = topic.subject.as_str();
        office.handler.metrics(&Metrics { subject, channel, consumers, round_trip, behind });
    }
}
