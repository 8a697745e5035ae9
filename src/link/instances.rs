//! Connections to instances of resources: the wants that each of them serves, by alias.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::auth::list::List;
use crate::base::id::{Cid, Key, Mid};
use crate::base::reason::{ChannelEnd, ErrorCode};
use crate::link::handle::OwnedHandle;
use crate::link::listing::Offer;
use crate::link::news::News;
use crate::link::peer::{End, Other};
use crate::link::seeking::Known;
use crate::link::upstream::{Place, Upstream};
use crate::wire::resource::{Alias, Frame, InstanceId, Role};

/// What an alias stands for.
#[derive(Debug)]
struct Opened {
    /// A key that finds nobody where the want is gone: what still comes is for nobody.
    want: Key,
    resource: Arc<str>,
    consumers: u64,
}

/// One connection to an instance.
#[derive(Debug, Default)]
struct Instance {
    /// Which it is; `None` while it has dialled and not greeted.
    id: Option<InstanceId>,
    /// Whether it has dialled this process.
    is_guest: bool,
    offers: HashMap<Arc<str>, Offer>,
    /// The wants that it serves, or is asked to.
    wants: HashMap<u32, Opened>,
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

impl Instance {
    /// An alias of its own for a want.
    fn open(&mut self, want: Key, resource: &str) -> u32 {
        while self.wants.contains_key(&self.next_alias) {
            self.next_alias = self.next_alias.wrapping_add(1);
        }
        let alias = self.next_alias;
        self.next_alias = alias.wrapping_add(1);
        let resource = match self.offers.get_key_value(resource) {
            Some((name, _)) => Arc::clone(name),
            None => resource.into(),
        };
        self.offers.entry(Arc::clone(&resource)).or_default().consumers += 1;
        self.wants.insert(alias, Opened { want, resource, consumers: 1 });
        alias
    }

    /// The alias is free again; whose it was.
    fn free(&mut self, alias: u32) -> Option<Key> {
        let opened = self.wants.remove(&alias)?;
        if let Some(offer) = self.offers.get_mut(&opened.resource) {
            offer.consumers -= opened.consumers;
            if offer.consumers == 0 && offer.handle.is_none() {
                self.offers.remove(&opened.resource);
            }
        }
        Some(opened.want)
    }
}

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

    /// The connections of all guests.
    pub(crate) fn guests(&self) -> Vec<Key> {
        let guests = self.by_link.iter().filter(|(_, instance)| instance.is_guest);
        let mut links: Vec<Key> = guests.map(|(link, _)| *link).collect();
        links.sort_unstable();
        links
    }

    /// Who is at the other end of the connection.
    pub(crate) fn id(&self, link: Key) -> Option<InstanceId> {
        self.by_link.get(&link)?.id
    }

    /// What an instance says of a resource.
    pub(crate) fn offer(&self, link: Key, resource: &str) -> Option<(InstanceId, &Offer)> {
        let instance = self.by_link.get(&link)?;
        Some((instance.id?, instance.offers.get(resource)?))
    }

    /// A guest registers a resource; false if it has `most` already.
    pub(crate) fn register(
        &mut self,
        link: Key,
        resource: &str,
        (handle, access): (OwnedHandle, Option<Arc<List>>),
        most: usize,
    ) -> bool {
        let Some(instance) = self.by_link.get_mut(&link) else { return false };
        if instance.offers.len() >= most && !instance.offers.contains_key(resource) {
            return false;
        }
        let offer = instance.offers.entry(resource.into()).or_default();
        (offer.handle, offer.access) = (Some(handle), access);
        true
    }

    /// So many read under an alias.
    pub(crate) fn note_consumers(&mut self, link: Key, alias: Alias, consumers: u64) {
        let Some(instance) = self.by_link.get_mut(&link) else { return };
        let Some(opened) = instance.wants.get_mut(&alias.0) else { return };
        if let Some(offer) = instance.offers.get_mut(&opened.resource) {
            offer.consumers = offer.consumers - opened.consumers + consumers;
            opened.consumers = consumers;
        }
    }

    /// The wants that it serves, or is asked to, over that connection.
    pub(crate) fn wants_at(&self, link: Key) -> Vec<Key> {
        let opened = self.by_link.get(&link).into_iter().flat_map(|one| one.wants.values());
        let mut wants: Vec<Key> = opened.map(|opened| opened.want).collect();
        wants.sort_unstable();
        wants
    }

    /// A message was put on the connection.
    pub(crate) fn note_send(&mut self, link: Key, alias: Alias, sent: Sent) {
        if let Some(instance) = self.by_link.get_mut(&link) {
            instance.on_way.push_back(Some((alias, sent)));
        }
    }

    /// A connection to an instance is none any more; there may be another.
    fn forget(&mut self, id: InstanceId, link: Key) {
        if self.by_id.get(&id) != Some(&link) {
            return;
        }
        let is_other = |(at, one): &(&Key, &Instance)| **at != link && one.id == Some(id);
        // The one with the lowest key, so that all is the same in every run.
        match self.by_link.iter().filter(is_other).map(|(at, _)| *at).min() {
            Some(other) => drop(self.by_id.insert(id, other)),
            None => drop(self.by_id.remove(&id)),
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
        let Known { instance: id, addresses, takes_messages, .. } = known;
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
        let alias = instance.open(want, &wanted.resource);
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
        let guest = || Instance { is_guest: true, ..Instance::default() };
        let instance = self.instances.by_link.entry(link).or_insert_with(guest);
        if let Some(expected) = instance.id.replace(id)
            && expected != id
        {
            // It was started anew under the same address.
            self.instances.forget(expected, link);
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
        let is_guest = self.instances.by_link.get(&link).is_some_and(|one| one.is_guest);
        match *frame {
            Frame::Part { .. } if is_guest => self.take_part(link),
            Frame::Register { resource, ref handle } if is_guest => {
                self.take_register(link, resource, handle);
            }
            Frame::Withdraw { resource } => self.take_withdraw(link, resource),
            Frame::Taken { count } => self.take_taken(link, count),
            Frame::Accept { alias, .. }
            | Frame::Publish { alias, .. }
            | Frame::Begin { alias, .. } => {
                let instance = self.instances.by_link.get(&link);
                let opened = instance.and_then(|instance| instance.wants.get(&alias.0));
                match opened.map(|opened| opened.want) {
                    Some(want) => self.hear(want, frame),
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
        if let Some(offer) = instance.offers.get_mut(resource) {
            offer.handle = None;
        }
        self.guests.remove(resource, link);
        let wants = self.instances.wants_at(link);
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
        let instance = self.instances.by_link.get_mut(&link);
        if let Some(opened) = instance.and_then(|instance| instance.wants.get_mut(&alias)) {
            opened.want = Key::default();
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
        let Some(want) = instance.free(alias.0) else {
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
        let Some(want) = instance.free(alias.0) else {
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
        gone.offers.keys().for_each(|resource| self.guests.remove(resource, link));
        if let Some(id) = gone.id {
            self.instances.forget(id, link);
            self.registries.forget_instance(id);
        }
        for (_, (session, cid, n)) in gone.on_way.into_iter().flatten() {
            self.news.push_back(News::Sent { session, cid, n, taken: false });
        }
        let opened = gone.wants.into_values().map(|opened| opened.want);
        let mut wants: Vec<Key> = opened.chain(gone.waiting).collect();
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
