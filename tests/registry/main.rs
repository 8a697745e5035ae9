//! Registries, resources and consumers in one thread, over a network that cuts and takes bytes in
//! any split: two registries that know nothing of each other, checked against what is true.

#![expect(clippy::unwrap_used, reason = "what fails here has failed the test")]

mod ends;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use ahm::base::random::Random;
use ahm::base::time::Span;
use ahm::link::address::Address;
use ahm::link::handle::OwnedHandle;
use ahm::link::registry::Registry;
use ahm::testing::switchboard::Switchboard;
use ahm::wire::resource::{InstanceId, Role};

use ends::{Answer, Asker, Source, me};

const RESOURCES: [&str; 3] = ["fx", "news", "a.b_c$-"];
const SUBJECTS: [&str; 4] = ["", "EURUSD", "a/b", "é"];

/// Two registries, sources and askers.
struct World {
    board: Switchboard,
    registries: Vec<(usize, Address)>,
    /// `None` where it has died.
    sources: Vec<Option<(usize, Rc<RefCell<Source>>)>>,
    askers: Vec<(usize, Rc<RefCell<Asker>>)>,
}

impl World {
    fn new(seed: u64, sources: usize, askers: usize) -> Self {
        let board = Switchboard::new(seed);
        let mut world =
            Self { board, registries: Vec::new(), sources: Vec::new(), askers: Vec::new() };
        for n in 0..2 {
            let address: Address = format!("127.0.0.1:{}", 9_000 + n).parse().unwrap();
            let place = world.start_registry(&address);
            world.registries.push((place, address));
        }
        for n in 0..sources {
            let source = world.start_source(n);
            world.sources.push(Some(source));
        }
        for n in 0..askers {
            let asker = Asker::new(1_000 + n as u64, &world.addresses(), world.board.now);
            let asker = Rc::new(RefCell::new(asker));
            let place = world.board.add(asker.clone(), None);
            world.askers.push((place, asker));
        }
        world.board.pass(Span::from_millis(100));
        world
    }

    fn addresses(&self) -> Vec<Address> {
        self.registries.iter().map(|(_, address)| address.clone()).collect()
    }

    fn start_registry(&mut self, address: &Address) -> usize {
        let registry = Registry::new(me(Role::Registry, 0), self.board.now);
        self.board.add(Rc::new(RefCell::new(registry)), Some(address.clone()))
    }

    fn start_source(&mut self, n: usize) -> (usize, Rc<RefCell<Source>>) {
        let source = Source::new(1 + n as u64, &self.addresses(), self.board.now);
        let source = Rc::new(RefCell::new(source));
        (self.board.add(source.clone(), None), source)
    }

    /// Enough for everybody to dial again and to be heard.
    fn settle(&mut self) {
        self.board.pass(Span::from_secs(1));
    }

    fn source(&self, n: usize) -> std::cell::RefMut<'_, Source> {
        self.sources[n].as_ref().unwrap().1.borrow_mut()
    }

    fn asker(&self, n: usize) -> std::cell::RefMut<'_, Asker> {
        self.askers[n].1.borrow_mut()
    }

    fn kill_source(&mut self, n: usize) {
        if let Some((place, _)) = self.sources[n].take() {
            self.board.kill(place);
        }
    }

    /// What is registered, in truth.
    fn truth(&self) -> BTreeSet<(String, InstanceId, u64)> {
        let mut all = BTreeSet::new();
        for (n, source) in self.sources.iter().enumerate() {
            let Some((_, source)) = source else { continue };
            for (resource, (_, consumers)) in &source.borrow().serves {
                all.insert((resource.clone(), InstanceId(1 + n as u64), *consumers));
            }
        }
        all
    }

    /// Everybody asks every registry for everything.
    fn ask_all(&mut self) {
        for n in 0..self.askers.len() {
            for at in 0..self.registries.len() {
                for resource in RESOURCES {
                    SUBJECTS.iter().for_each(|subject| self.asker(n).ask(at, resource, subject));
                }
                self.asker(n).list(at);
            }
        }
        self.board.pass(Span::from_millis(200));
    }

    /// Both registries know exactly what is true, everybody is answered alike, and nobody was
    /// surprised.
    fn check(&mut self) {
        self.ask_all();
        let truth = self.truth();
        let first = self.asker(0).known.clone();
        for n in 0..self.askers.len() {
            let asker = self.asker(n);
            assert_eq!(asker.surprises, [""; 0], "asker {n} was not told of a change");
            for at in 0..self.registries.len() {
                let listed: BTreeSet<_> = asker.listed[&at].iter().cloned().collect();
                assert_eq!(listed, truth, "registry {at}, as asker {n} hears it");
                for resource in RESOURCES {
                    for subject in SUBJECTS {
                        let about = |at| (at, resource.to_string(), subject.to_string());
                        let answer = &asker.known[&about(at)];
                        assert_eq!(answer, &first[&about(0)], "{resource}/{subject}");
                        self.check_answer(resource, answer);
                    }
                }
            }
        }
    }

    fn check_answer(&self, resource: &str, answer: &Answer) {
        let serving = |n: usize| {
            let (_, source) = self.sources[n].as_ref()?;
            source.borrow().serves.get(resource).cloned()
        };
        let all: Vec<_> = (0..self.sources.len()).filter_map(serving).collect();
        match answer {
            Answer::Found(instance, handle) => {
                let (known, consumers) = serving(instance.0 as usize - 1).unwrap();
                assert_eq!(*handle, known);
                assert!(known.capacity == 0 || consumers < known.capacity, "it is full");
            }
            Answer::None("no-resource") => assert!(all.is_empty(), "{resource} is there"),
            Answer::None(code) => {
                assert_eq!(*code, "no-instance");
                let full = |(handle, consumers): &(OwnedHandle, u64)| {
                    handle.capacity > 0 && *consumers >= handle.capacity
                };
                assert!(!all.is_empty() && all.iter().all(full), "{resource} has room");
            }
        }
    }
}

fn handle(random: &mut Random, n: usize) -> OwnedHandle {
    OwnedHandle {
        addresses: vec![format!("127.0.0.1:{}", 10_000 + n)],
        capacity: random.below(3) * 10,
        weight: 1 + random.below(1_000) as u32,
        replicas: random.below(2) == 0,
        labels: vec![format!("zone={}", random.below(3))],
        ..OwnedHandle::default()
    }
}

/// One thing that happens.
fn happen(world: &mut World, random: &mut Random) {
    let n = random.below(world.sources.len() as u64) as usize;
    let resource = RESOURCES[random.below(RESOURCES.len() as u64) as usize];
    let is_alive = world.sources[n].is_some();
    match random.below(12) {
        0 => world.kill_source(n),
        1 => {
            let all = world.askers.len() as u64;
            let place = world.askers[random.below(all) as usize].0;
            world.board.cut(place);
        }
        2 => {
            let at = random.below(2) as usize;
            let (place, address) = world.registries[at].clone();
            match random.below(3) {
                // It is started anew and knows nothing.
                0 => {
                    world.board.kill(place);
                    world.registries[at].0 = world.start_registry(&address);
                }
                _ => world.board.cut(place),
            }
        }
        3 if is_alive => {
            let place = world.sources[n].as_ref().unwrap().0;
            world.board.cut(place);
        }
        4 if is_alive => world.source(n).withdraw(resource),
        5..8 if is_alive => {
            let consumers = random.below(25);
            if world.source(n).serves.contains_key(resource) {
                world.source(n).load(resource, consumers);
            }
        }
        _ if is_alive => world.source(n).serve(resource, handle(random, n)),
        _ => {
            let source = world.start_source(n);
            world.sources[n] = Some(source);
        }
    }
}

#[test]
fn registries_tell_the_truth_whatever_happens() {
    let (mut found, mut changes) = (0, 0);
    for seed in 0..60 {
        let random = &mut Random::from_number(seed);
        let mut world = World::new(seed, 1 + seed as usize % 5, 1 + seed as usize % 3);
        world.board.short_writes = [0, 1, 7, 200][seed as usize % 4];
        for _ in 0..12 {
            let before = world.asker(0).known.clone();
            for _ in 0..random.below(6) {
                happen(&mut world, random);
                if random.below(2) == 0 {
                    world.board.pass(Span::from_millis(random.below(400)));
                }
            }
            world.settle();
            world.check();
            let after = world.asker(0).known.clone();
            changes += usize::from(!before.is_empty() && before != after);
            found += after.values().filter(|one| matches!(one, Answer::Found(..))).count();
        }
    }
    assert!(found > 1_000 && changes > 100, "little happened: {found} found, {changes} changes");
}

/// Also where a resource dies with everything that it had, at both registries at once.
#[test]
fn what_dies_is_gone_everywhere_at_once() {
    let mut world = World::new(1, 2, 1);
    for n in 0..2 {
        let one = OwnedHandle { weight: 1, ..OwnedHandle::default() };
        world.source(n).serve("fx", one.clone());
        world.source(n).serve("news", one);
    }
    world.settle();
    world.ask_all();
    assert_eq!(world.asker(0).known.len(), 2 * RESOURCES.len() * SUBJECTS.len());
    world.kill_source(0);
    world.board.pass(Span::from_millis(5));
    let about_nothing = |about: &(usize, String, String)| about.1 == "a.b_c$-";
    assert!(world.asker(0).known.keys().all(about_nothing), "what was known of it is not so");
    world.check();
    let left = world.truth();
    assert!(left.len() == 2 && left.iter().all(|(_, instance, _)| *instance == InstanceId(2)));
}

/// A registry that is gone takes nothing from the other.
#[test]
fn registries_do_not_depend_on_each_other() {
    let mut world = World::new(2, 2, 2);
    for n in 0..2 {
        world.source(n).serve("fx", OwnedHandle { weight: 1, ..OwnedHandle::default() });
    }
    world.settle();
    world.ask_all();
    let known = world.asker(0).known.clone();
    let (place, address) = world.registries[0].clone();
    world.board.kill(place);
    world.settle();
    let left: Vec<_> = world.asker(0).known.keys().map(|(at, ..)| *at).collect();
    assert!(!left.is_empty() && left.iter().all(|at| *at == 1), "{left:?}");
    for subject in SUBJECTS {
        world.asker(0).ask(1, "fx", subject);
    }
    world.board.pass(Span::from_millis(100));
    assert_eq!(world.asker(0).surprises, [""; 0]);
    // It comes back, knows nothing, and is told everything again.
    world.registries[0].0 = world.start_registry(&address);
    world.settle();
    world.check();
    assert_eq!(world.asker(0).known, known);
}
