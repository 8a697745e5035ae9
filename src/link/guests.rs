//! Resources that have dialled this process: each says what it serves, so nothing is resolved.
//!
//! They are chosen as a registry chooses, by what is known here: a shared subject by its hash, a
//! private channel goes to whoever has the fewest consumers of this end for its weight.

use std::collections::{HashMap, HashSet};

use crate::base::id::Key;
use crate::base::time::Instant;
use crate::link::balance::{self, Candidate};
use crate::link::handle::OwnedHandle;
use crate::link::upstream::{Place, Upstream, Want};
use crate::wire::resource::{Frame, Handle};

/// Resources of one connection.
const RESOURCES_PER_LINK_MAX: usize = 1_000;
/// Names of resources that are remembered.
const KNOWN_MAX: usize = 65_536;

/// Who serves what.
#[derive(Debug)]
pub(crate) struct Guests {
    /// The connections that serve a resource, the latest last.
    by_resource: HashMap<String, Vec<Key>>,
    /// Resources that a guest has served, or is about to serve.
    known: HashSet<String>,
    began: Instant,
}

impl Guests {
    /// None yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self { by_resource: HashMap::new(), known: HashSet::new(), began: now }
    }

    /// Whether one of them serves the resource.
    pub(crate) fn serve(&self, resource: &str) -> bool {
        self.by_resource.contains_key(resource)
    }

    fn add(&mut self, resource: &str, link: Key) {
        let links = self.by_resource.entry(resource.to_string()).or_default();
        links.retain(|one| *one != link);
        links.push(link);
        self.expect(resource);
    }

    fn expect(&mut self, resource: &str) {
        if self.known.len() < KNOWN_MAX {
            self.known.insert(resource.to_string());
        }
    }

    /// The connection serves the resource no longer.
    pub(crate) fn remove(&mut self, resource: &str, link: Key) {
        let Some(links) = self.by_resource.get_mut(resource) else { return };
        links.retain(|one| *one != link);
        if links.is_empty() {
            self.by_resource.remove(resource);
        }
    }
}

impl Upstream {
    /// A guest of this resource is on its way: who wants it waits for that.
    pub fn expect(&mut self, resource: &str) {
        self.guests.expect(resource);
    }

    /// Whether it is worth while to wait for a guest that serves the resource: one has done so
    /// before, or this process has just begun.
    pub(crate) fn expects_guest(&self, resource: &str) -> bool {
        let is_early = self.links.now() < self.guests.began + self.seek.patience;
        self.guests.known.contains(resource) || (self.seek.guests && is_early)
    }

    /// The guest that serves a want, and whether it takes messages.
    pub(crate) fn choose_guest(&self, wanted: &Want) -> Option<(Key, bool)> {
        let links = self.guests.by_resource.get(&wanted.resource)?;
        let mut private = wanted.private;
        let offers = links.iter().filter_map(|link| {
            let (instance, offer) = self.instances.offer(*link, &wanted.resource)?;
            let handle = offer.handle.as_ref()?;
            let has_room = handle.capacity == 0 || offer.consumers < handle.capacity;
            let weight = handle.weight;
            let candidate = Candidate { instance, weight, load: offer.consumers };
            private |= handle.conversations;
            let serves = has_room && !wanted.without.contains(&instance);
            serves.then_some((*link, candidate, handle.takes_messages))
        });
        let offers: Vec<_> = offers.collect();
        let candidates = offers.iter().map(|(_, candidate, _)| *candidate);
        let chosen = match private {
            true => balance::private(&wanted.subject, candidates),
            false => balance::shared(&wanted.subject, candidates),
        }?;
        // Of several connections of one instance the latest counts.
        let mut latest = offers.iter().rev();
        let (link, _, takes) = latest.find(|(_, candidate, _)| candidate.instance == chosen)?;
        Some((*link, *takes))
    }

    /// A guest serves a resource from now on: who waits for one is served.
    pub(crate) fn take_register(&mut self, link: Key, resource: &str, handle: &Handle<'_>) {
        let handle = match OwnedHandle::check(handle) {
            Ok(handle) => handle,
            Err(what) => return self.links.break_off(link, &what),
        };
        let access = self.listings.read(resource, &handle.lend().access);
        let registered = (handle, access.clone());
        if !self.instances.register(link, resource, registered, RESOURCES_PER_LINK_MAX) {
            return self.links.break_off(link, "so many resources are too many for a connection");
        }
        self.guests.add(resource, link);
        self.list_at(link, resource, &access);
        let id = self.instances.id(link);
        let waiting: Vec<Key> = self.waiting.iter().map(|(_, want)| *want).collect();
        for want in waiting {
            let Some(wanted) = self.wants.get_mut(want) else { continue };
            if wanted.place == Place::Nowhere && wanted.resource == resource {
                // It may have been lost, and is there again.
                wanted.without.retain(|without| Some(*without) != id);
                self.seek_for(want);
            }
        }
    }

    /// A guest has said which part it wants; it is the right one, or it would not be here.
    pub(crate) fn take_part(&mut self, link: Key) {
        self.links.send(link, &Frame::Parts { parts: self.seek.parts });
    }

    /// This process is about to end: guests serve it on, and dial whoever comes in its place.
    pub fn take_leave(&mut self, now: Instant) {
        self.links.set_now(now);
        self.seek.parts = 0;
        for link in self.instances.guests() {
            self.links.send(link, &Frame::Parts { parts: 0 });
        }
    }
}
