//! Connections to instances of resources: the wants that each of them serves, by alias.

use std::collections::{HashMap, VecDeque};

use crate::base::id::{Cid, Key, Mid};
use crate::base::reason::{ChannelEnd, ErrorCode};
use crate::link::news::News;
use crate::link::peer::{End, Other};
use crate::link::seeking::Known;
use crate::link::upstream::{Place, Upstream};
use crate::wire::resource::{Alias, Frame, InstanceId, Role};

/// One connection to an instance.
#[derive(Debug, Default)]
struct Instance {
    /// Which it is; `None` while it has dialled and not greeted.
    id: Option<InstanceId>,
    /// The wants that it serves, or is asked to.
    wants: HashMap<u32, Key>,
    /// Those that wait for the connection.
    waiting: Vec<Key>,
    next_alias: u32,
    /// Messages and skipped numbers that were sent, and were not acknowledged: the number of the
    /// first of them on this connection, and what each is.
    acknowledged: u64,
    on_way: VecDeque<Option<(Alias, Sent)>>,
}

/// A message of a consumer: its session, channel and number.
type Sent = (Mid, Cid, u64);

/// All connections to instances.
#[derive(Debug, Default)]
pub(crate) struct Instances {
    by_link: HashMap<Key, Instance>,
    by_id: HashMap<InstanceId, Key>,
}

impl Instances {
    /// Whether there is a connection to that instance.
    pub(crate) fn is_connected(&self, id: InstanceId) -> bool {
        self.by_id.contains_key(&id)
    }

    /// A message was put on the connection.
    pub(crate) fn note_send(&mut self, link: Key, alias: Alias, sent: Sent) {
        if let Some(instance) = self.by_link.get_mut(&link) {
            instance.on_way.push_back(Some((alias, sent)));
        }
    }

    /// Skipped numbers were put on the connection.
    pub(crate) fn note_skipped(&mut self, link: Key) {
        if let Some(instance) = self.by_link.get_mut(&link) {
            instance.on_way.push_back(None);
        }
    }
}

impl Upstream {
    /// Has a want served by that instance, over the connection that there is or a new one.
    pub(crate) fn go_to(&mut self, want: Key, known: Known) {
        let Known { instance: id, addresses, takes_messages } = known;
        if let Some(wanted) = self.wants.get_mut(want) {
            wanted.takes_messages = takes_messages;
        }
        let link = match self.instances.by_id.get(&id) {
            Some(&link) => link,
            None => {
                let link = self.links.dial(addresses);
                self.instances.by_id.insert(id, link);
                let instance = Instance { id: Some(id), ..Instance::default() };
                self.instances.by_link.insert(link, instance);
                link
            }
        };
        self.attach(want, link);
    }

    /// Has a want served over that connection.
    pub(crate) fn attach(&mut self, want: Key, link: Key) {
        let Some(wanted) = self.wants.get_mut(want) else { return };
        let Some(instance) = self.instances.by_link.get_mut(&link) else { return };
        wanted.place = Place::At(link, None);
        if self.links.is_open(link) {
            self.open_on(want, link);
        } else {
            instance.waiting.push(want);
        }
    }

    fn open_on(&mut self, want: Key, link: Key) {
        let Some(wanted) = self.wants.get_mut(want) else { return };
        let Some(instance) = self.instances.by_link.get_mut(&link) else { return };
        while instance.wants.contains_key(&instance.next_alias) {
            instance.next_alias = instance.next_alias.wrapping_add(1);
        }
        let alias = instance.next_alias;
        instance.next_alias = alias.wrapping_add(1);
        instance.wants.insert(alias, want);
        wanted.place = Place::At(link, Some(alias));
        let parameters: Vec<&str> = wanted.who.parameters.iter().map(String::as_str).collect();
        let who = wanted.who.lend(&parameters);
        let (resource, subject) = (wanted.resource.as_str(), wanted.subject.as_str());
        let (alias, last) = (Alias(alias), wanted.last);
        self.links.send(link, &Frame::Open { alias, resource, subject, last, who });
    }

    /// A want is served there no longer, because this end does not want it.
    pub(crate) fn leave_place(&mut self, place: Place, end: ChannelEnd) {
        let Place::At(link, Some(alias)) = place else { return };
        // The alias stays taken until the other end has closed it too: its key finds nobody.
        self.links.send(link, &Frame::Close { alias: Alias(alias), end });
    }

    /// An instance has greeted.
    pub(crate) fn instance_is_there(&mut self, link: Key) {
        let Some(other) = self.links.other(link) else { return };
        let (role, id) = (other.role, other.instance);
        if role != Role::Resource {
            return self.links.break_off(link, "this is no resource");
        }
        let instance = self.instances.by_link.entry(link).or_default();
        if let Some(expected) = instance.id.replace(id)
            && expected != id
        {
            // It was started anew under the same address.
            self.instances.by_id.remove(&expected);
            self.registries.forget_instance(expected);
        }
        self.instances.by_id.insert(id, link);
        let Some(instance) = self.instances.by_link.get_mut(&link) else { return };
        for want in std::mem::take(&mut instance.waiting) {
            if self.wants.get(want).is_some_and(|wanted| wanted.place == Place::At(link, None)) {
                self.open_on(want, link);
            }
        }
    }

    /// Takes an instance's word.
    pub(crate) fn hear_instance(&mut self, link: Key, frame: &Frame<'_>) {
        match *frame {
            Frame::Withdraw { resource } => self.take_withdraw(link, resource),
            Frame::Taken { count } => self.take_taken(link, count),
            Frame::Accept { alias, .. }
            | Frame::Publish { alias, .. }
            | Frame::Begin { alias, .. } => {
                let instance = self.instances.by_link.get(&link);
                match instance.and_then(|instance| instance.wants.get(&alias.0)) {
                    Some(&want) => self.hear(want, frame),
                    None => self.links.break_off(link, "no such alias"),
                }
            }
            Frame::Deny { alias, code, detail } => self.take_deny(link, alias, code, detail),
            Frame::Close { alias, end } => self.take_close(link, alias, end),
            _ => self.links.break_off(link, "a resource does not say that"),
        }
    }

    /// The instance takes nobody new, and those that it has should go: shared subjects move to
    /// another instance, which is told what came last from this one. Conversations stay until they
    /// are over, or it ends them.
    fn take_withdraw(&mut self, link: Key, resource: &str) {
        let Some(instance) = self.instances.by_link.get_mut(&link) else { return };
        let id = instance.id;
        let mut wants: Vec<Key> = instance.wants.values().copied().collect();
        wants.sort_unstable();
        if let Some(id) = id {
            self.registries.forget_instance(id);
        }
        for want in wants {
            let Some(wanted) = self.wants.get(want) else { continue };
            let place = wanted.place;
            let here = matches!(place, Place::At(at, Some(_)) if at == link);
            if here && wanted.resource == resource && !wanted.private && wanted.accepted {
                self.leave_alias(place);
                self.seek_elsewhere(want, id);
            }
        }
    }

    /// The want goes on elsewhere; its alias here is free when the other end has closed it.
    pub(crate) fn leave_alias(&mut self, place: Place) {
        let Place::At(link, Some(alias)) = place else { return };
        if let Some(instance) = self.instances.by_link.get_mut(&link) {
            // A key that finds nobody: what still comes for the alias is for nobody.
            instance.wants.insert(alias, Key::default());
        }
        self.leave_place(place, ChannelEnd::Closed);
    }

    fn take_taken(&mut self, link: Key, count: u64) {
        let Some(instance) = self.instances.by_link.get_mut(&link) else { return };
        let newly = count.checked_sub(instance.acknowledged);
        let Some(newly) = newly.filter(|newly| *newly <= instance.on_way.len() as u64) else {
            return self.links.break_off(link, "more was taken than was sent");
        };
        instance.acknowledged = count;
        for (_, (session, cid, n)) in instance.on_way.drain(..newly as usize).flatten() {
            self.news.push_back(News::Sent { session, cid, n, taken: true });
        }
    }

    fn take_deny(&mut self, link: Key, alias: Alias, code: ErrorCode, detail: &str) {
        let Some(instance) = self.instances.by_link.get_mut(&link) else { return };
        let id = instance.id;
        let Some(want) = instance.wants.remove(&alias.0) else {
            return self.links.break_off(link, "no such alias");
        };
        if self.wants.get(want).is_none() {
            return;
        }
        // Full, or about to end: another instance may take it. All else is the resource's word.
        if matches!(code, ErrorCode::NoInstance | ErrorCode::Draining | ErrorCode::Busy) {
            return self.seek_elsewhere(want, id);
        }
        self.give_up(want, code, detail);
    }

    fn take_close(&mut self, link: Key, alias: Alias, end: ChannelEnd) {
        let Some(instance) = self.instances.by_link.get_mut(&link) else { return };
        let id = instance.id;
        let Some(want) = instance.wants.remove(&alias.0) else {
            return self.links.break_off(link, "no such alias");
        };
        let Some(wanted) = self.wants.get(want) else { return };
        // What it has taken it has acknowledged before.
        for sent in &mut instance.on_way {
            if let Some((_, (session, cid, n))) = sent.take_if(|(at, _)| *at == alias) {
                self.news.push_back(News::Sent { session, cid, n, taken: false });
            }
        }
        let (private, reopen) = (wanted.private, wanted.reopen);
        self.links.send(link, &Frame::Close { alias, end: ChannelEnd::Closed });
        if (end == ChannelEnd::Gone && !private) || (end == ChannelEnd::Expired && reopen) {
            // The instance is about to end; the subject lives on elsewhere.
            return self.seek_elsewhere(want, id);
        }
        self.wants.remove(want);
        self.news.push_back(News::Closed { want, end });
    }

    /// The connection of an instance is gone: shared subjects are sought elsewhere, and private
    /// channels that may be opened anew; others are over, and of messages on their way nobody can
    /// tell.
    pub(crate) fn instance_is_gone(&mut self, link: Key, other: Option<&Other>, end: &End) {
        let Some(gone) = self.instances.by_link.remove(&link) else { return };
        if let Some(other) = other {
            log::warn!("resource server {} ({:016x}): {end}", other.name, other.instance.0);
        }
        if let Some(id) = gone.id {
            self.instances.by_id.remove(&id);
            self.registries.forget_instance(id);
        }
        for (_, (session, cid, n)) in gone.on_way.into_iter().flatten() {
            self.news.push_back(News::Sent { session, cid, n, taken: false });
        }
        let mut wants: Vec<Key> = gone.wants.into_values().chain(gone.waiting).collect();
        wants.sort_unstable_by_key(|want| (want.slot, want.generation));
        wants.dedup();
        for want in wants {
            let Some(wanted) = self.wants.get(want) else { continue };
            let here = matches!(wanted.place, Place::At(at, _) if at == link);
            if here && wanted.private && wanted.accepted && !wanted.reopen {
                self.wants.remove(want);
                self.news.push_back(News::Closed { want, end: ChannelEnd::Gone });
            } else if here {
                self.seek_elsewhere(want, gone.id);
            }
        }
    }
}
