//! From a consumer's numbered send to its resource, in order and once.

use std::net::SocketAddr;

use crate::base::id::{Cid, Key, Mid};
use crate::base::name::TopicName;
use crate::base::reason::{ErrorCode, SendOutcome};
use crate::proto::hub::Hub;
use crate::proto::inbox::Sent;
use crate::proto::parcel::{Content, Delivery, Parcel, Publication};
use crate::proto::resource::{Actions, Consumer, Message};
use crate::proto::topic::Role;

impl Hub {
    /// Whether the resource behind a channel takes messages; why not.
    pub(crate) fn check_takes_messages(
        &self,
        session: Key,
        cid: Cid,
    ) -> Result<(), (ErrorCode, &'static str)> {
        let no_channel = (ErrorCode::NoChannel, "no such channel");
        let session = self.sessions.get(session).ok_or(no_channel)?;
        let index = session.find_channel(cid).ok_or(no_channel)?;
        let slot = session.channels[index].topic().ok_or(no_channel)?;
        let topic = self.topics.slots.at(slot).ok_or(no_channel)?;
        if topic.log.ended() {
            return Err((ErrorCode::NoChannel, "the channel has ended"));
        }
        let takes = match self.directory.resource(topic.name.resource()) {
            Some(resource) => resource.takes_messages(),
            None => topic.options.takes_messages,
        };
        if takes { Ok(()) } else { Err((ErrorCode::Forbidden, "this resource takes no messages")) }
    }

    /// Whether a resource in another process is behind the channel: what became of a send is told
    /// when that has said so.
    pub(crate) fn is_remote_channel(&self, session: Key, cid: Cid) -> bool {
        let Some(session) = self.sessions.get(session) else { return false };
        let index = session.find_channel(cid);
        let slot = index.and_then(|index| session.channels[index].topic());
        let topic = slot.and_then(|slot| self.topics.slots.at(slot));
        topic.is_some_and(|topic| self.directory.resource(topic.name.resource()).is_none())
    }

    /// Passes on what stood behind a number that has now been taken.
    pub(crate) fn deliver_ready(&mut self, session_key: Key, cid: Cid, address: SocketAddr) {
        while let Some(session) = self.sessions.get_mut(session_key)
            && let Some(inboxes) = session.inboxes.as_mut()
            && let Some((n, sent)) = inboxes.next_ready(cid)
        {
            self.deliver(session_key, cid, n, sent, address);
            if !self.is_remote_channel(session_key, cid) {
                self.tell_outcome(session_key, cid, n, SendOutcome::Taken);
            }
        }
    }

    /// Passes one message on: to the home of its subject, or to the private channel's resource.
    pub(crate) fn deliver(
        &mut self,
        session: Key,
        cid: Cid,
        n: u64,
        sent: Sent,
        address: SocketAddr,
    ) {
        self.stats.sends_taken += 1;
        if self.is_remote_channel(session, cid)
            && let Some(session) = self.sessions.get_mut(session)
        {
            session.inboxes.get_or_insert_default().depart(cid, n, sent.payload.len());
        }
        let content = Content::Message { n, id: sent.id, payload: sent.payload };
        self.pass_on(session, cid, address, content);
    }

    fn pass_on(&mut self, session_key: Key, cid: Cid, address: SocketAddr, content: Content) {
        let Some(mid) = self.mid_of(session_key) else { return };
        let Some(session) = self.sessions.get(session_key) else { return };
        let Some(index) = session.find_channel(cid) else { return };
        let Some(slot) = session.channels[index].topic() else { return };
        let Some(topic) = self.topics.slots.at(slot) else { return };
        let identity = session.identity.clone();
        let consumer = Consumer { session: mid, cid, address, identity };
        let (name, source) = (topic.name.clone(), topic.source);
        let want = source.map(|(_, want)| want);
        let delivery = Delivery { name, consumer, want, content };
        if let Some((home, _)) = source {
            self.post(home, Parcel::Delivery(Box::new(delivery)));
        } else if topic.role == Role::Private {
            let actions = self.ask_resource(&delivery);
            self.carry_out(&delivery.name, actions, Some(slot));
            if self.topics.slots.at(slot).is_some_and(|topic| topic.log.ended()) {
                // The resource has ended the conversation: what still waits comes to nobody.
                self.forget_held(session_key, cid);
            }
        } else {
            let home = self.home_of(&delivery.name);
            self.post(home, Parcel::Delivery(Box::new(delivery)));
        }
    }

    /// At the home of a subject: something for its resource.
    pub(crate) fn take_delivery(&mut self, delivery: Delivery) {
        let Some(delivery) = self.deliver_remote(delivery) else { return };
        let actions = self.ask_resource(&delivery);
        self.carry_out(&delivery.name, actions, None);
    }

    fn ask_resource(&mut self, delivery: &Delivery) -> Actions {
        let mut actions = Actions::default();
        let Some(resource) = self.directory.resource(delivery.name.resource()) else {
            return actions;
        };
        let (subject, consumer) = (delivery.name.subject(), &delivery.consumer);
        match &delivery.content {
            Content::Message { n, id, payload } => {
                let message = Message { subject, consumer, n: *n, id: id.as_deref(), payload };
                resource.message(&message, &mut actions);
            }
            Content::Skipped(from, to) => resource.skipped(subject, consumer, *from, *to),
        }
        actions
    }

    /// Does what a resource wants; `private` is the slot of the consumer's own topic.
    fn carry_out(&mut self, name: &TopicName, actions: Actions, private: Option<u32>) {
        for (subject, payload) in actions.publications {
            let Ok(name) = TopicName::new(name.resource(), &subject) else {
                log::warn!("{}: a resource published to a subject that is no name", name);
                continue;
            };
            let home = self.home_of(&name);
            let item = Publication { line: 0, name, position: None, snapshot: false, payload };
            self.post(home, Parcel::Publish(None, vec![item]));
        }
        for (session, cid, payload) in actions.tells {
            let said = Box::new((name.clone(), payload));
            self.post(session.shard(), Parcel::Tell(session, cid, said));
        }
        match private {
            Some(slot) => {
                for reply in actions.replies {
                    self.add_message(slot, false, &reply);
                }
                if let Some(end) = actions.end {
                    self.end_topic(slot, end);
                }
            }
            None => self.stats.replies_dropped += actions.replies.len() as u64,
        }
    }

    /// At a session's shard: a resource of this process says something on a private channel, which
    /// must be one of its own.
    pub(crate) fn take_tell(&mut self, session: Mid, cid: Cid, from: &TopicName, payload: &[u8]) {
        let found = self.sessions.get(session.key());
        let channel = found.and_then(|session| session.channels.get(session.find_channel(cid)?));
        let slot = channel.and_then(|channel| channel.topic());
        let topic = slot.and_then(|slot| self.topics.slots.at(slot));
        let fits = topic.is_some_and(|topic| {
            topic.role == Role::Private
                && topic.name.resource() == from.resource()
                && !topic.log.ended()
        });
        match slot {
            Some(slot) if fits => {
                self.add_message(slot, false, payload);
            }
            _ => self.stats.replies_dropped += 1,
        }
    }

    /// Gives up gaps in a session's numbered sends that are too old.
    pub(crate) fn give_up_gaps(&mut self, session_key: Key) {
        let skip = self.settings.skip;
        let now = self.now;
        let address = self.address_of(session_key);
        while let Some(session) = self.sessions.get_mut(session_key)
            && let Some(inboxes) = session.inboxes.as_mut()
            && let Some((cid, from, to)) = inboxes.give_up(skip, now)
        {
            self.stats.sends_skipped += to - from + 1;
            self.pass_on(session_key, cid, address, Content::Skipped(from, to));
            for n in from..=to {
                self.tell_outcome(session_key, cid, n, SendOutcome::Skipped);
            }
            self.deliver_ready(session_key, cid, address);
        }
    }

    /// A channel has ended: sends that wait on it come to nobody.
    pub(crate) fn forget_held(&mut self, session_key: Key, cid: Cid) {
        let Some(session) = self.sessions.get_mut(session_key) else { return };
        let Some(inboxes) = session.inboxes.as_mut() else { return };
        for n in inboxes.drain(cid) {
            self.tell_outcome(session_key, cid, n, SendOutcome::Unknown);
        }
    }

    pub(crate) fn address_of(&self, session: Key) -> SocketAddr {
        let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
        let Some(session) = self.sessions.get(session) else { return nobody };
        let conns = session.document_slots().filter_map(|slot| self.documents.at(slot));
        let mut peers = conns.filter_map(|document| self.conns.get(document.conn));
        peers.next().map_or(nobody, |connection| connection.address())
    }
}
