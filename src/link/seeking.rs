//! Asking registries which instance serves a subject, one after the other, and remembering what
//! they said until they say that it has changed.

use std::collections::HashMap;
use std::sync::Arc;

use crate::auth::list::List;
use crate::base::id::Key;
use crate::base::reason::ErrorCode;
use crate::base::time::Instant;
use crate::link::address::Address;
use crate::link::listing::Found;
use crate::link::peer::End;
use crate::link::upstream::{Place, Upstream};
use crate::wire::resource::{Frame, Handle, InstanceId, Role};

/// Answers that are remembered at most; beyond, all are forgotten and asked for again.
const ANSWERS_MAX: usize = 65_536;

/// One registry.
#[derive(Debug)]
struct Registry {
    address: Address,
    link: Option<Key>,
    /// Whether it has greeted.
    open: bool,
    /// When it is dialled again.
    dial_at: Instant,
}

/// What a registry has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) instance: InstanceId,
    pub(crate) addresses: Vec<Address>,
    pub(crate) takes_messages: bool,
    pub(crate) access: Option<Arc<List>>,
}

/// A question on its way.
#[derive(Clone, Copy, Debug)]
struct Question {
    want: Key,
    /// The index of the registry that was asked.
    registry: usize,
    so_far: SoFar,
}

/// What the registries that were asked have come to.
#[derive(Clone, Copy, Debug, Default)]
struct SoFar {
    /// One of them has answered.
    answered: bool,
    /// One of them knew the resource, but no instance with room.
    known: bool,
}

/// All registries, and what they were asked and have said.
#[derive(Debug)]
pub(crate) struct Registries {
    all: Vec<Registry>,
    questions: HashMap<u64, Question>,
    next_question: u64,
    /// By resource and subject.
    answers: HashMap<String, HashMap<String, Known>>,
    answers_count: usize,
}

impl Registries {
    pub(crate) fn new(addresses: &[Address]) -> Self {
        let registry = |address: &Address| Registry {
            address: address.clone(),
            link: None,
            open: false,
            dial_at: Instant::ZERO,
        };
        Self {
            all: addresses.iter().map(registry).collect(),
            questions: HashMap::new(),
            next_question: 0,
            answers: HashMap::new(),
            answers_count: 0,
        }
    }

    /// Whether this is the connection of a registry.
    pub(crate) fn is_one(&self, link: Key) -> bool {
        self.all.iter().any(|registry| registry.link == Some(link))
    }

    /// When a registry is dialled next.
    pub(crate) fn next_dial(&self) -> Option<Instant> {
        let closed = self.all.iter().filter(|registry| registry.link.is_none());
        closed.map(|registry| registry.dial_at).min()
    }

    /// The first registry from `index` on that can be asked.
    fn open_from(&self, index: usize) -> Option<(usize, Key)> {
        let mut open = self.all.iter().enumerate().skip(index).filter(|(_, each)| each.open);
        open.find_map(|(at, registry)| Some((at, registry.link?)))
    }

    fn known(&self, resource: &str, subject: &str) -> Option<&Known> {
        self.answers.get(resource)?.get(subject)
    }

    fn remember(&mut self, resource: &str, subject: &str, known: Known) {
        if self.answers_count >= ANSWERS_MAX {
            self.forget_all();
        }
        let subjects = self.answers.entry(resource.to_string()).or_default();
        if subjects.insert(subject.to_string(), known).is_none() {
            self.answers_count += 1;
        }
    }

    fn forget_resource(&mut self, resource: &str) {
        if let Some(subjects) = self.answers.remove(resource) {
            self.answers_count -= subjects.len();
        }
    }

    /// Forgets what was said about an instance that does not answer.
    pub(crate) fn forget_instance(&mut self, instance: InstanceId) {
        for subjects in self.answers.values_mut() {
            subjects.retain(|_, known| known.instance != instance);
        }
        self.answers_count = self.answers.values().map(HashMap::len).sum();
    }

    fn forget_all(&mut self) {
        self.answers.clear();
        self.answers_count = 0;
    }
}

impl Upstream {
    /// Dials the registries that are not connected and whose time has come.
    pub(crate) fn dial_registries(&mut self) {
        let now = self.links.now();
        for registry in &mut self.registries.all {
            if registry.link.is_none() && registry.dial_at <= now {
                registry.link = Some(self.links.dial([registry.address.clone()]));
            }
        }
    }

    /// Begins to look for an instance that serves a want: one that has dialled this process, the
    /// one that a registry named last time, or what the first registry says.
    pub(crate) fn seek_for(&mut self, want: Key) {
        let Some(wanted) = self.wants.get(want) else { return };
        if let Some((link, takes_messages)) = self.choose_guest(wanted) {
            let resource = wanted.resource.clone();
            if let Some(wanted) = self.wants.get_mut(want) {
                wanted.takes_messages = takes_messages;
            }
            let access = self.list_of_guest(link, &resource);
            return self.present(want, Found::Guest(link), access);
        }
        let (resource, subject) = (wanted.resource.clone(), wanted.subject.clone());
        let known = self.registries.known(&resource, &subject).cloned();
        if let Some(known) = known
            && !wanted.private
            && !wanted.without.contains(&known.instance)
        {
            let access = known.access.clone();
            return self.present(want, Found::Known(known), access);
        }
        // Guests that are full or have refused are an answer too.
        let known = self.guests.serve(&resource);
        self.ask(want, 0, SoFar { answered: known, known });
    }

    /// Asks the first registry from `index` on that is there.
    fn ask(&mut self, want: Key, index: usize, so_far: SoFar) {
        let Some((registry, link)) = self.registries.open_from(index) else {
            return self.nobody(want, so_far);
        };
        let Some(wanted) = self.wants.get_mut(want) else { return };
        self.registries.next_question += 1;
        let ask = self.registries.next_question;
        self.registries.questions.insert(ask, Question { want, registry, so_far });
        wanted.place = Place::Asked(ask);
        let (resource, subject) = (wanted.resource.as_str(), wanted.subject.as_str());
        let (private, without) = (wanted.private, wanted.without.clone());
        self.links.send(link, &Frame::Resolve { ask, resource, subject, private, without });
    }

    /// No registry is left to be asked.
    fn nobody(&mut self, want: Key, so_far: SoFar) {
        let Some(wanted) = self.wants.get(want) else { return };
        let is_expected = !so_far.known && self.expects_guest(&wanted.resource);
        let silent = !so_far.answered && !self.registries.all.is_empty();
        if wanted.accepted || silent || is_expected {
            return self.wait(want, self.seek.retry);
        }
        if so_far.known || !wanted.without.is_empty() {
            let detail = "no instance of the resource has room or answers";
            self.give_up(want, ErrorCode::NoInstance, detail);
        } else {
            let detail = match self.registries.all.is_empty() {
                true => "nobody serves the resource",
                false => "no registry knows the resource",
            };
            self.give_up(want, ErrorCode::NoResource, detail);
        }
    }

    /// A registry has greeted: who waits for one is asked for.
    pub(crate) fn registry_is_there(&mut self, link: Key) {
        if self.links.other(link).is_none_or(|other| other.role != Role::Registry) {
            return self.links.break_off(link, "this is no registry");
        }
        if let Some(registry) = self.registries.all.iter_mut().find(|r| r.link == Some(link)) {
            registry.open = true;
        }
        let waiting: Vec<Key> = self.waiting.iter().map(|(_, want)| *want).collect();
        for want in waiting {
            if self.wants.get(want).is_some_and(|wanted| wanted.place == Place::Nowhere) {
                self.seek_for(want);
            }
        }
    }

    /// A registry is gone: its questions go to the next one, and nothing that it said will be
    /// taken back any more, so it is forgotten.
    pub(crate) fn registry_is_gone(&mut self, link: Key, end: &End) {
        let now = self.links.now();
        let retry = self.seek.retry;
        let Some(index) = self.registries.all.iter().position(|r| r.link == Some(link)) else {
            return;
        };
        let registry = &mut self.registries.all[index];
        if registry.open {
            log::warn!("registry {}: {end}", registry.address);
        }
        (registry.link, registry.open, registry.dial_at) = (None, false, now + retry);
        self.registries.forget_all();
        let questions = &mut self.registries.questions;
        let mut asked: Vec<(u64, Question)> = questions
            .iter()
            .filter(|(_, question)| question.registry == index)
            .map(|(&ask, &question)| (ask, question))
            .collect();
        asked.sort_unstable_by_key(|(ask, _)| *ask);
        for (ask, question) in asked {
            self.registries.questions.remove(&ask);
            if self.is_asked(question.want, ask) {
                self.ask(question.want, index + 1, question.so_far);
            }
        }
    }

    /// Takes a registry's word.
    pub(crate) fn hear_registry(&mut self, link: Key, frame: &Frame<'_>) {
        match frame {
            Frame::Resolved { ask, instance, handle } => {
                self.take_resolved(*ask, *instance, handle);
            }
            Frame::Unresolved { ask, code } => {
                let Some(question) = self.registries.questions.remove(ask) else { return };
                if self.is_asked(question.want, *ask) {
                    let known = question.so_far.known || *code == ErrorCode::NoInstance;
                    let so_far = SoFar { answered: true, known };
                    self.ask(question.want, question.registry + 1, so_far);
                }
            }
            Frame::Changed { resource } => self.registries.forget_resource(resource),
            _ => self.links.break_off(link, "a registry does not say that"),
        }
    }

    fn take_resolved(&mut self, ask: u64, instance: InstanceId, handle: &Handle<'_>) {
        let Some(question) = self.registries.questions.remove(&ask) else { return };
        let want = question.want;
        if !self.is_asked(want, ask) {
            return;
        }
        let addresses: Vec<Address> =
            handle.addresses.iter().filter_map(|text| text.parse().ok()).collect();
        let Some(wanted) = self.wants.get_mut(want) else { return };
        if handle.conversations {
            (wanted.private, wanted.surely) = (true, true);
        }
        if addresses.is_empty() && !self.instances.is_connected(instance) {
            // It dials whom it serves, and has not dialled this process.
            wanted.without.push(instance);
            let so_far = SoFar { answered: true, known: true };
            return self.ask(want, question.registry, so_far);
        }
        let (resource, takes_messages) = (&wanted.resource, handle.takes_messages);
        let access = self.listings.read(resource, &handle.access);
        let known = Known { instance, addresses, takes_messages, access: access.clone() };
        if !wanted.private {
            self.registries.remember(&wanted.resource, &wanted.subject, known.clone());
        }
        self.present(want, Found::Known(known), access);
    }

    fn is_asked(&self, want: Key, ask: u64) -> bool {
        self.wants.get(want).is_some_and(|wanted| wanted.place == Place::Asked(ask))
    }

    /// The want's instance is lost or refuses: another one is sought.
    pub(crate) fn seek_elsewhere(&mut self, want: Key, instance: Option<InstanceId>) {
        let give_up_at = self.links.now() + self.seek.patience;
        let Some(wanted) = self.wants.get_mut(want) else { return };
        if wanted.served {
            wanted.give_up_at = give_up_at;
        }
        if let Some(instance) = instance
            && !wanted.without.contains(&instance)
        {
            wanted.without.push(instance);
        }
        (wanted.place, wanted.served) = (Place::Nowhere, false);
        if wanted.private && wanted.accepted {
            // Another instance knows nothing of the conversation.
            wanted.last = None;
        }
        self.seek_for(want);
    }
}
