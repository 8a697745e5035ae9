//! What is registered at a registry, how loaded each instance is, and who is to be told when that
//! changes. Nothing is sent here.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use crate::base::id::Key;
use crate::base::reason::ErrorCode;
use crate::base::time::{Instant, Span};
use crate::link::balance::{self, Candidate};
use crate::link::handle::OwnedHandle;
use crate::wire::resource::InstanceId;

/// Resources that one connection may register.
pub const REGISTRATIONS_PER_LINK_MAX: usize = 1_000;
/// Instances of resources altogether.
pub const REGISTRATIONS_MAX: usize = 100_000;
/// Resources that one consumer is told of; for the next one it is told of the oldest at once.
pub const WATCHES_PER_LINK_MAX: usize = 10_000;
/// Consumers that are told of changes.
pub const CONSUMERS_MAX: usize = 10_000;
/// The same as pairs of a consumer and a resource.
pub const WATCHES_MAX: usize = 1_000_000;
/// How long a private channel that was sent to an instance counts among its consumers if it reports
/// nothing: it reports when its consumers change, and where none has come there is no change.
const ANSWER_SPAN: Span = Span::from_secs(15);
/// How long such a channel may be on its way, so that a report does not have it yet.
const WAY_SPAN: Span = Span::from_secs(1);

/// One instance of one resource.
#[derive(Debug)]
pub(crate) struct Instance {
    /// The connection that it was registered over last.
    pub(crate) link: Key,
    /// The name of its process.
    pub(crate) name: String,
    pub(crate) handle: OwnedHandle,
    /// The consumers that it has reported.
    pub(crate) consumers: u64,
    /// Private channels that were sent to it, and have not come as far as is known.
    answers: u64,
    /// When they count no more.
    answers_until: Instant,
    /// Those of them that were sent in this span and in the one before, and when this one began.
    recent: (u64, u64),
    recent_since: Instant,
    /// When it was registered.
    pub(crate) since: Instant,
}

impl Instance {
    fn load(&self) -> u64 {
        self.consumers.saturating_add(self.answers)
    }

    fn is_full(&self) -> bool {
        self.handle.capacity > 0 && self.load() >= self.handle.capacity
    }

    /// How many private channels may be on their way to it.
    fn on_way(&mut self, now: Instant) -> u64 {
        let age = now.since(self.recent_since);
        if age >= WAY_SPAN {
            let before = if age < WAY_SPAN.times(2) { self.recent.0 } else { 0 };
            (self.recent, self.recent_since) = ((0, before), now);
        }
        self.recent.0 + self.recent.1
    }

    /// Does something to its load; whether it has become full or free.
    fn reckon(&mut self, change: impl FnOnce(&mut Self)) -> bool {
        let was_full = self.is_full();
        change(self);
        was_full != self.is_full()
    }
}

#[derive(Debug, Default)]
struct Resource {
    instances: BTreeMap<InstanceId, Instance>,
    /// Who is to be told of the next change, with the number of the watch.
    watchers: BTreeMap<Key, u64>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) resource: &'a str,
    pub(crate) subject: &'a str,
    pub(crate) private: bool,
    pub(crate) without: &'a [InstanceId],
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Choice<'b> {
    pub(crate) instance: InstanceId,
    pub(crate) handle: &'b OwnedHandle,
    /// Whether the instance is full by this.
    pub(crate) fills: bool,
}

/// Where a listing goes on: behind this instance of this resource.
pub(crate) type Place = (Arc<str>, InstanceId);

/// Everything that a registry knows.
#[derive(Debug, Default)]
pub(crate) struct Book {
    resources: BTreeMap<Arc<str>, Resource>,
    /// By connection, what was registered over it.
    registered: HashMap<Key, BTreeSet<Arc<str>>>,
    registrations: usize,
    /// By connection, what it is to be told of, the oldest watch first.
    watched: HashMap<Key, BTreeMap<u64, Arc<str>>>,
    watches: usize,
    next_watch: u64,
    /// Instances with answers that count no more at a moment, in that order.
    answered: VecDeque<(Instant, Place)>,
}

impl Book {
    /// Registers an instance, or its new handle; whether those who resolved the resource are to
    /// hear of it.
    pub(crate) fn register(
        &mut self,
        resource: &str,
        id: InstanceId,
        new: Registration,
    ) -> Result<bool, String> {
        let Registration { link, name, handle, now } = new;
        let own = self.registered.get(&link).map_or(0, BTreeSet::len);
        let known = self.resources.get_mut(resource).and_then(|one| one.instances.get_mut(&id));
        if known.as_ref().is_none_or(|known| known.link != link)
            && own >= REGISTRATIONS_PER_LINK_MAX
        {
            return Err(format!("a connection registers at most {REGISTRATIONS_PER_LINK_MAX}"));
        }
        if let Some(known) = known {
            let before = std::mem::replace(&mut known.link, link);
            known.name = name;
            let changed = known.handle != handle;
            known.handle = handle;
            if before != link {
                // It has dialled anew before its old connection was found to be lost.
                self.unlink(before, resource);
                self.link(link, resource);
            }
            return Ok(changed);
        }
        if self.registrations >= REGISTRATIONS_MAX {
            return Err(format!("there are {REGISTRATIONS_MAX} instances here, and no room"));
        }
        let instance = Instance {
            link,
            name,
            handle,
            consumers: 0,
            answers: 0,
            answers_until: Instant::ZERO,
            recent: (0, 0),
            recent_since: now,
            since: now,
        };
        self.entry(resource).instances.insert(id, instance);
        self.link(link, resource);
        self.registrations += 1;
        Ok(true)
    }

    /// Nobody new goes to an instance; whether there was one.
    pub(crate) fn withdraw(&mut self, link: Key, resource: &str, id: InstanceId) -> bool {
        let Some(one) = self.resources.get_mut(resource) else { return false };
        if one.instances.get(&id).is_none_or(|instance| instance.link != link) {
            return false;
        }
        one.instances.remove(&id);
        self.registrations -= 1;
        self.unlink(link, resource);
        true
    }

    /// An instance reports its consumers; whether it has become full or free. What is not
    /// registered, or over another connection by now, is passed over: a resource that was withdrawn
    /// still has consumers to report.
    pub(crate) fn load(
        &mut self,
        link: Key,
        resource: &str,
        id: InstanceId,
        (consumers, now): (u64, Instant),
    ) -> bool {
        let known = self.resources.get_mut(resource).and_then(|one| one.instances.get_mut(&id));
        let Some(instance) = known.filter(|instance| instance.link == link) else { return false };
        instance.reckon(|instance| {
            // Those that have come are among the consumers now; others may be on their way.
            let come = consumers.saturating_sub(instance.consumers);
            instance.answers = instance.answers.saturating_sub(come).min(instance.on_way(now));
            instance.consumers = consumers;
        })
    }

    /// A connection is over: gives the resources that lost an instance by it.
    pub(crate) fn leave(&mut self, link: Key, id: InstanceId) -> Vec<Arc<str>> {
        for (_, resource) in self.watched.remove(&link).into_iter().flatten() {
            self.watches -= 1;
            if let Some(one) = self.resources.get_mut(&resource) {
                one.watchers.remove(&link);
            }
            self.tidy(&resource);
        }
        let names = self.registered.get(&link).cloned().unwrap_or_default();
        for resource in &names {
            self.withdraw(link, resource, id);
        }
        names.into_iter().collect()
    }

    /// Chooses an instance.
    pub(crate) fn choose(
        &mut self,
        asked: Question<'_>,
        now: Instant,
    ) -> Result<Choice<'_>, ErrorCode> {
        let known = self.resources.get_key_value(asked.resource);
        let known = known.filter(|(_, one)| !one.instances.is_empty());
        let (name, one) = known.ok_or(ErrorCode::NoResource)?;
        let name = Arc::clone(name);
        let private = asked.private || one.instances.values().any(|one| one.handle.conversations);
        let without: HashSet<InstanceId> = asked.without.iter().copied().collect();
        let able = |(id, one): &(&InstanceId, &Instance)| !one.is_full() && !without.contains(*id);
        let able = one.instances.iter().filter(able);
        let candidates = able.map(|(id, one)| Candidate {
            instance: *id,
            weight: one.handle.weight,
            load: one.load(),
        });
        let chosen = match private {
            true => balance::private(asked.subject, candidates),
            false => balance::shared(asked.subject, candidates),
        };
        let instance = chosen.ok_or(ErrorCode::NoInstance)?;
        let one = self.resources.get_mut(&name).and_then(|one| one.instances.get_mut(&instance));
        let one = one.ok_or(ErrorCode::NoInstance)?;
        if private && one.answers == 0 {
            one.answers_until = now + ANSWER_SPAN;
            self.answered.push_back((one.answers_until, (name, instance)));
        }
        // A shared subject may bring any number of consumers, or none that was not there: what it
        // brought is in the next report.
        let answers = u64::from(private);
        one.on_way(now);
        one.recent.0 += answers;
        let fills = one.reckon(|one| one.answers = one.answers.saturating_add(answers));
        Ok(Choice { instance, handle: &one.handle, fills })
    }

    /// Answers count no more from which nothing has come; gives the resources of which an instance
    /// is free by that.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<Arc<str>> {
        let mut freed = Vec::new();
        while let Some((_, (name, id))) = self.answered.pop_front_if(|(at, _)| *at <= now) {
            let known = self.resources.get_mut(&name).and_then(|one| one.instances.get_mut(&id));
            let Some(instance) = known.filter(|instance| instance.answers_until <= now) else {
                continue;
            };
            if instance.reckon(|instance| instance.answers = 0) {
                freed.push(name);
            }
        }
        freed
    }

    /// When [`Book::expire`] has something to do.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.answered.front().map(|(at, _)| *at)
    }

    /// Whoever is on `link` is to be told of the next change of the resource. Gives a resource of
    /// which it is not told any more, and that it must hear of now.
    pub(crate) fn watch(&mut self, link: Key, resource: &str) -> Result<Option<Arc<str>>, String> {
        let known = self.resources.get(resource);
        if known.is_some_and(|one| one.watchers.contains_key(&link)) {
            return Ok(None);
        }
        if !self.watched.contains_key(&link) && self.watched.len() >= CONSUMERS_MAX {
            return Err(format!("there are {CONSUMERS_MAX} consumers here, and no room"));
        }
        if self.watches >= WATCHES_MAX {
            return Err(format!("{WATCHES_MAX} resources are watched here, and no more can be"));
        }
        let watch = self.next_watch;
        self.next_watch += 1;
        self.watches += 1;
        self.entry(resource).watchers.insert(link, watch);
        let name = self.name(resource);
        let all = self.watched.entry(link).or_default();
        all.insert(watch, name);
        if all.len() <= WATCHES_PER_LINK_MAX {
            return Ok(None);
        }
        let oldest = all.pop_first().map(|(_, resource)| resource);
        if let Some(resource) = &oldest {
            self.watches -= 1;
            if let Some(one) = self.resources.get_mut(resource) {
                one.watchers.remove(&link);
            }
            self.tidy(resource);
        }
        Ok(oldest)
    }

    /// Gives those who are to be told of a change of the resource, each once.
    pub(crate) fn take_watchers(&mut self, resource: &str) -> Vec<Key> {
        let Some(one) = self.resources.get_mut(resource) else { return Vec::new() };
        let watchers = std::mem::take(&mut one.watchers);
        for (link, watch) in &watchers {
            self.watches -= 1;
            if let Some(all) = self.watched.get_mut(link) {
                all.remove(watch);
            }
        }
        self.tidy(resource);
        watchers.into_keys().collect()
    }

    /// The instance behind `place`, or the first one.
    pub(crate) fn next_after(&self, place: Option<&Place>) -> Option<(Place, &Instance)> {
        let from = place.map_or(Bound::Unbounded, |(name, _)| Bound::Included(Arc::clone(name)));
        let resources = self.resources.range::<Arc<str>, _>((from, Bound::Unbounded));
        let mut all = resources.flat_map(|(name, one)| {
            let seen = place.filter(|(last, _)| last == name).map(|(_, id)| *id);
            let from = seen.map_or(Bound::Unbounded, Bound::Excluded);
            let rest = one.instances.range::<InstanceId, _>((from, Bound::Unbounded));
            rest.map(move |(id, instance)| ((Arc::clone(name), *id), instance))
        });
        all.next()
    }

    /// Instances of resources.
    pub(crate) const fn registrations(&self) -> usize {
        self.registrations
    }

    fn entry(&mut self, resource: &str) -> &mut Resource {
        let name = self.name(resource);
        self.resources.entry(name).or_default()
    }

    /// The name as it is kept, where it is known.
    fn name(&self, resource: &str) -> Arc<str> {
        let known = self.resources.get_key_value(resource);
        known.map_or_else(|| resource.into(), |(name, _)| Arc::clone(name))
    }

    fn link(&mut self, link: Key, resource: &str) {
        let name = self.name(resource);
        self.registered.entry(link).or_default().insert(name);
    }

    fn unlink(&mut self, link: Key, resource: &str) {
        if let Some(names) = self.registered.get_mut(&link) {
            names.remove(resource);
            if names.is_empty() {
                self.registered.remove(&link);
            }
        }
        self.tidy(resource);
    }

    /// Forgets a resource of which nothing is known and nobody wants to know.
    fn tidy(&mut self, resource: &str) {
        let is_empty = |one: &Resource| one.instances.is_empty() && one.watchers.is_empty();
        if self.resources.get(resource).is_some_and(is_empty) {
            self.resources.remove(resource);
        }
    }
}

/// Who registers, and what.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) link: Key,
    pub(crate) name: String,
    pub(crate) handle: OwnedHandle,
    pub(crate) now: Instant,
}
