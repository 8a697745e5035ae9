//! From consumers to resources in other processes: messages, and how many read.

use crate::base::id::{Cid, Key, Mid};
use crate::base::reason::SendOutcome;
use crate::base::time::Span;
use crate::link::upstream::Upstream;
use crate::proto::hub::Hub;
use crate::proto::parcel::{Content, Delivery, Parcel};
use crate::proto::topic::Role;

/// Messages of consumers that may wait while a subject moves to another instance.
const HELD_MAX: usize = 1_024;

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

    /// Tells the resource in another process that has a private channel how far its reader is
    /// behind, where that has changed; once a second at most.
    pub(crate) fn tell_behind(&mut self, slot: u32) {
        let second = (self.now.as_nanos() / 1_000_000_000) as u32;
        let Some(topic) = self.topics.slots.at_mut(slot) else { return };
        let Some((home, want)) = topic.source.filter(|_| topic.told_behind.0 != second) else {
            return;
        };
        let end = topic.log.end().place;
        let places = topic.subscribers.iter().filter_map(|subscriber| {
            let document = self.documents.at(subscriber.document)?;
            Some(document.cursors.get(subscriber.cursor as usize)?.place)
        });
        // Between two documents nobody can tell.
        let Some(place) = places.max() else { return };
        let behind = u32::try_from(end.saturating_sub(place)).unwrap_or(u32::MAX);
        if topic.told_behind.1 != behind {
            topic.told_behind = (second, behind);
            self.post(home, Parcel::Behind(want, behind));
        }
    }

    /// At the home of a private channel's subject: so many messages are not yet on their way to it.
    pub(crate) fn take_behind(&mut self, want: Key, behind: u32) {
        if let Some(upstream) = &mut self.remote.upstream {
            upstream.metrics(want, 1, Span::ZERO, u64::from(behind));
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
