//! The other ends of a registry's connections, as plain as can be.

use std::collections::BTreeMap;

use ahm::base::id::Key;
use ahm::base::time::{Instant, Span};
use ahm::link::address::Address;
use ahm::link::handle::OwnedHandle;
use ahm::link::links::Links;
use ahm::link::peer::{End, Me, Other};
use ahm::link::station::Station;
use ahm::wire::resource::{Frame, InstanceId, Role};

/// How often whoever is at an end lets itself be heard.
pub const BEAT: Span = Span::from_secs(1);
/// When it dials again.
const RETRY: Span = Span::from_millis(200);

pub fn me(role: Role, instance: u64) -> Me {
    Me {
        role,
        instance: InstanceId(instance),
        name: format!("process-{instance}"),
        heartbeat: BEAT,
        key: String::new(),
        demands: String::new(),
    }
}

/// Connections to several registries, which are dialled again when they are lost.
struct Dialler {
    registries: Vec<Address>,
    /// By connection, which registry it leads to.
    links: BTreeMap<Key, usize>,
    /// When to dial which again.
    again: Vec<(Instant, usize)>,
}

impl Dialler {
    fn new(links: &mut Links, registries: &[Address]) -> Self {
        let mut new =
            Self { registries: registries.to_vec(), links: BTreeMap::new(), again: Vec::new() };
        (0..registries.len()).for_each(|at| new.dial(links, at));
        new
    }

    fn dial(&mut self, links: &mut Links, at: usize) {
        let link = links.dial([self.registries[at].clone()]);
        self.links.insert(link, at);
    }

    fn over(&mut self, link: Key, now: Instant) -> Option<usize> {
        let at = self.links.remove(&link)?;
        self.again.push((now + RETRY, at));
        Some(at)
    }

    fn on_time(&mut self, links: &mut Links) {
        let now = links.now();
        let due: Vec<_> = self.again.extract_if(.., |(at, _)| *at <= now).collect();
        due.into_iter().for_each(|(_, at)| self.dial(links, at));
    }

    fn next(&self) -> Option<Instant> {
        self.again.iter().map(|(at, _)| *at).min()
    }

    fn link(&self, at: usize) -> Option<Key> {
        self.links.iter().find(|(_, registry)| **registry == at).map(|(link, _)| *link)
    }
}

/// A resource server: registers what it has at each registry.
pub struct Source {
    links: Links,
    dialler: Dialler,
    /// What it serves, and how many consumers it has there.
    pub serves: BTreeMap<String, (OwnedHandle, u64)>,
}

impl Source {
    pub fn new(instance: u64, registries: &[Address], now: Instant) -> Self {
        let mut links = Links::new(me(Role::Resource, instance), now);
        let dialler = Dialler::new(&mut links, registries);
        Self { links, dialler, serves: BTreeMap::new() }
    }

    /// Serves this from now on.
    pub fn serve(&mut self, resource: &str, handle: OwnedHandle) {
        let frame = Frame::Register { resource, handle: handle.lend() };
        self.say(&frame);
        let known = self.serves.entry(resource.into()).or_default();
        known.0 = handle;
    }

    pub fn withdraw(&mut self, resource: &str) {
        self.serves.remove(resource);
        self.say(&Frame::Withdraw { resource });
    }

    pub fn load(&mut self, resource: &str, consumers: u64) {
        self.say(&Frame::Load { resource, consumers });
        if let Some(known) = self.serves.get_mut(resource) {
            known.1 = consumers;
        }
    }

    fn say(&mut self, frame: &Frame<'_>) {
        for link in self.dialler.links.keys() {
            self.links.send(*link, frame);
        }
    }
}

impl Station for Source {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }

    fn on_greeted(&mut self, link: Key) {
        for (resource, (handle, consumers)) in &self.serves {
            self.links.send(link, &Frame::Register { resource, handle: handle.lend() });
            self.links.send(link, &Frame::Load { resource, consumers: *consumers });
        }
    }

    fn on_frame(&mut self, _link: Key, frame: &Frame<'_>) {
        panic!("a resource is told nothing: {frame:?}");
    }

    fn on_over(&mut self, link: Key, _other: Option<Other>, end: End) {
        assert!(!matches!(end, End::Broken(_) | End::Bye(_)), "{end}");
        self.dialler.over(link, self.links.now());
    }

    fn on_time(&mut self) {
        self.dialler.on_time(&mut self.links);
    }

    fn next_moment(&self) -> Option<Instant> {
        self.dialler.next()
    }
}

/// What was answered about a resource and a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Found(InstanceId, OwnedHandle),
    None(&'static str),
}

/// A consumer that remembers what it was answered until it hears of a change, or loses the
/// registry.
pub struct Asker {
    links: Links,
    dialler: Dialler,
    /// By the number of the question.
    open: BTreeMap<u64, (usize, String, String)>,
    asked: u64,
    /// By registry, resource and subject.
    pub known: BTreeMap<(usize, String, String), Answer>,
    /// By registry: resource and instance, of the last listing.
    pub listed: BTreeMap<usize, Vec<(String, InstanceId, u64)>>,
    listing: BTreeMap<usize, Vec<(String, InstanceId, u64)>>,
    /// Answers that differ from what was remembered.
    pub surprises: Vec<String>,
}

impl Asker {
    pub fn new(instance: u64, registries: &[Address], now: Instant) -> Self {
        let mut links = Links::new(me(Role::Consumer, instance), now);
        let dialler = Dialler::new(&mut links, registries);
        Self {
            links,
            dialler,
            open: BTreeMap::new(),
            asked: 0,
            known: BTreeMap::new(),
            listed: BTreeMap::new(),
            listing: BTreeMap::new(),
            surprises: Vec::new(),
        }
    }

    /// Asks the n-th registry for the instance of a shared subject.
    pub fn ask(&mut self, registry: usize, resource: &str, subject: &str) {
        let Some(link) = self.dialler.link(registry) else { return };
        self.asked += 1;
        let (ask, private, without) = (self.asked, false, Vec::new());
        self.links.send(link, &Frame::Resolve { ask, resource, subject, private, without });
        self.open.insert(ask, (registry, resource.into(), subject.into()));
    }

    pub fn list(&mut self, registry: usize) {
        let Some(link) = self.dialler.link(registry) else { return };
        self.links.send(link, &Frame::List { ask: 0 });
    }

    fn learn(&mut self, ask: u64, answer: Answer) {
        let Some(about) = self.open.remove(&ask) else { panic!("{ask} was not asked") };
        let before = self.known.insert(about.clone(), answer.clone());
        if let Some(before) = before.filter(|before| *before != answer) {
            self.surprises.push(format!("{about:?}: {before:?}, then {answer:?}"));
        }
    }
}

impl Station for Asker {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }

    fn on_greeted(&mut self, _link: Key) {}

    fn on_frame(&mut self, link: Key, frame: &Frame<'_>) {
        let at = self.dialler.links[&link];
        match frame {
            Frame::Resolved { ask, instance, handle } => {
                self.learn(*ask, Answer::Found(*instance, handle.into()));
            }
            Frame::Unresolved { ask, code } => self.learn(*ask, Answer::None(code.word())),
            Frame::Changed { resource } => {
                self.known.retain(|(registry, name, _), _| *registry != at || name != resource);
            }
            Frame::Entry { resource, instance, consumers, .. } => {
                let entry = ((*resource).to_string(), *instance, *consumers);
                self.listing.entry(at).or_default().push(entry);
            }
            Frame::ListEnd { .. } => {
                self.listed.insert(at, self.listing.remove(&at).unwrap_or_default());
            }
            other => panic!("{other:?} was not asked for"),
        }
    }

    fn on_over(&mut self, link: Key, _other: Option<Other>, end: End) {
        assert!(!matches!(end, End::Broken(_) | End::Bye(_)), "{end}");
        let Some(at) = self.dialler.over(link, self.links.now()) else { return };
        self.known.retain(|(registry, ..), _| *registry != at);
        self.open.retain(|_, (registry, ..)| *registry != at);
        self.listing.remove(&at);
    }

    fn on_time(&mut self) {
        self.dialler.on_time(&mut self.links);
    }

    fn next_moment(&self) -> Option<Instant> {
        self.dialler.next()
    }
}
