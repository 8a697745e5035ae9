//! From consumers to resources in other processes: messages, and how many read.

use crate::base::id::{Cid, ConnKey, Key, Mid};
use crate::base::reason::SendOutcome;
use crate::base::time::{Instant, Span};
use crate::link::upstream::Upstream;
use crate::proto::hub::Hub;
use crate::proto::output::Output;
use crate::proto::parcel::{Content, Delivery, Parcel};
use crate::proto::topic::{Role, Told};

/// Messages of consumers that may wait while a subject moves to another instance.
const HELD_MAX: usize = 1_024;
/// Seconds between two looks at a stream of which nothing is new.
const LOOK_EVERY: u32 = 5;

impl Hub {
    /// What became of a send, told where its session lives.
    pub(crate) fn post_outcome(&mut self, session: Mid, cid: Cid, n: u64, taken: bool) {
        let outcome = if taken {
            SendOutcome::Taken
        } else {
            self.stats.sends_lost += 1;
            SendOutcome::Unknown
        };
        self.post(session.shard(), Parcel::Outcome(session, cid, n, outcome));
    }

    /// At the shard of a session: what became of a send that went to a resource in another process.
    pub(crate) fn take_outcome(&mut self, mid: Mid, cid: Cid, n: u64, outcome: SendOutcome) {
        let session = self.sessions.get_mut(mid.key());
        if let Some(inboxes) = session.and_then(|session| session.inboxes.as_mut()) {
            inboxes.arrive(cid, n, outcome == SendOutcome::Taken);
        }
        self.tell_outcome(mid.key(), cid, n, outcome);
    }

    /// It was for a resource that is there no longer.
    pub(crate) fn lose(&mut self, delivery: &Delivery) {
        if let Content::Message { n, .. } = delivery.content {
            self.post_outcome(delivery.consumer.session, delivery.consumer.cid, n, false);
        }
    }

    /// Passes a consumer's message to a resource in another process; gives it back if it is not
    /// for one.
    pub(crate) fn deliver_remote(&mut self, delivery: Delivery) -> Option<Delivery> {
        let want = delivery.want.or_else(|| self.remote.by_name.get(&delivery.name).copied());
        let Some(want) = want else {
            if self.remote.upstream.is_some()
                && self.directory.resource(delivery.name.resource()).is_none()
            {
                self.lose(&delivery);
                return None;
            }
            return Some(delivery);
        };
        let Some(upstream) = &mut self.remote.upstream else { return Some(delivery) };
        if upstream.is_served(want) {
            if !send(upstream, want, &delivery) {
                self.lose(&delivery);
            }
        } else if let Some(served) = self.remote.served.get_mut(&want)
            && served.held.len() < HELD_MAX
        {
            served.held.push_back(delivery);
        } else {
            self.lose(&delivery);
        }
        None
    }

    pub(crate) fn send_held(&mut self, want: Key, upstream: &mut Upstream) {
        let Some(served) = self.remote.served.get_mut(&want) else { return };
        for delivery in std::mem::take(&mut served.held) {
            if !send(upstream, want, &delivery) {
                self.lose(&delivery);
            }
        }
    }

    /// Tells the resource behind a topic how many read it, where that has changed: channels of this
    /// shard, and other shards that follow.
    pub(crate) fn tell_consumers(&mut self, slot: u32) {
        let Some(topic) = self.topics.slots.at(slot) else { return };
        let Some(want) = self.remote.by_name.get(&topic.name) else { return };
        let followers = match &topic.role {
            Role::Home { followers, .. } => followers.len() as u64,
            Role::Follower(_) | Role::Private => 0,
        };
        let consumers = u64::from(topic.channels) + followers;
        if let Some(served) = self.remote.served.get_mut(want)
            && let Some(upstream) = &mut self.remote.upstream
            && upstream.is_served(*want)
            && served.told != consumers
        {
            served.told = consumers;
            upstream.metrics(*want, consumers, Span::ZERO, 0);
        }
    }

    /// Looks how the stream gets on that reads a private channel of a resource in another process:
    /// every few seconds, and, once a second at most, when its reader is behind by another number.
    pub(crate) fn look_at_stream(&mut self, slot: u32) {
        let second = (self.now.as_nanos() / 1_000_000_000) as u32;
        let Some(topic) = self.topics.slots.at(slot) else { return };
        let since = second.saturating_sub(topic.told.second);
        if topic.source.is_none() || since == 0 {
            return;
        }
        // Between two documents nobody can tell.
        let Some((behind, conn)) = self.stream_of(slot) else { return };
        let Some(topic) = self.topics.slots.at_mut(slot) else { return };
        let is_first = topic.told.second == 0;
        if is_first || since >= LOOK_EVERY || topic.told.behind != behind {
            topic.told.second = second;
            if let Some(key) = self.topics.slots.key_at(slot) {
                self.outputs.push_back(Output::Measure(conn, key));
            }
        }
    }

    /// How far the reader of a topic is behind, and the connection that brings it the most.
    fn stream_of(&self, slot: u32) -> Option<(u32, ConnKey)> {
        let topic = self.topics.slots.at(slot)?;
        let places = topic.subscribers.iter().filter_map(|subscriber| {
            let document = self.documents.at(subscriber.document)?;
            Some((document.cursors.get(subscriber.cursor as usize)?.place, document.conn))
        });
        let (place, conn) = places.max_by_key(|(place, _)| *place)?;
        let behind = topic.log.end().place.saturating_sub(place);
        Some((u32::try_from(behind).unwrap_or(u32::MAX), conn))
    }

    /// The round trip that [`Output::Measure`] wanted; `None` where it is not known. The resource
    /// of the topic is told, where that or the number of messages is another one than before.
    pub fn handle_round_trip(&mut self, topic: Key, round_trip: Option<Span>, now: Instant) {
        self.now = now;
        let micros = round_trip.map_or(0, |span| span.as_micros());
        let round_trip = u32::try_from(micros).unwrap_or(u32::MAX);
        let Some((behind, _)) = self.stream_of(topic.slot) else { return };
        let Some(topic) = self.topics.slots.get_mut(topic) else { return };
        let Some((home, want)) = topic.source else { return };
        let told = Told { behind, round_trip, ..topic.told };
        // It is never twice the same: a quarter more or less says nothing.
        let differs = told.round_trip.abs_diff(topic.told.round_trip) > topic.told.round_trip / 4;
        if behind != topic.told.behind || differs {
            topic.told = told;
            self.post(home, Parcel::Told(want, told));
        }
    }

    /// At the home of a private channel's subject: how its stream gets on.
    pub(crate) fn take_told(&mut self, want: Key, told: Told) {
        if let Some(upstream) = &mut self.remote.upstream {
            let round_trip = Span::from_micros(u64::from(told.round_trip));
            upstream.metrics(want, 1, round_trip, u64::from(told.behind));
        }
    }
}

/// Whether somebody was there to take it.
fn send(upstream: &mut Upstream, want: Key, delivery: &Delivery) -> bool {
    let (session, cid) = (delivery.consumer.session, delivery.consumer.cid);
    match &delivery.content {
        Content::Message { n, id, payload } => {
            upstream.send(want, (session, cid, *n), id.as_deref(), payload)
        }
        Content::Skipped(from, to) => {
            upstream.skipped(want, (session, cid), *from, *to);
            true
        }
    }
}
