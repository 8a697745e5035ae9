//! Instances and registries die and come back under the eyes of readers: what is missing is told,
//! and where instances number alike nothing is missing.

use std::collections::BTreeMap;
use std::sync::Arc;

use ahm::base::random::Random;

use crate::Rates;
use crate::world::{Client, World, attribute};

const SUBJECTS: usize = 12;

/// What one reader has seen of one subject.
#[derive(Debug, Default)]
struct Seen {
    last: Option<u64>,
    /// Whether the document has said that something may be missing since the last message.
    excused: bool,
}

/// Checks a reader's document; returns its last message of each subject.
fn check(client: &mut Client, world: &World, context: &str) -> BTreeMap<String, u64> {
    let mut by_cid: BTreeMap<String, Seen> = BTreeMap::new();
    let mut last = BTreeMap::new();
    let frames = client.frames(world);
    for frame in &frames {
        let kind = frame.as_bytes().get(3).copied();
        match kind {
            Some(b'o' | b'g') => {
                by_cid.entry(attribute(frame, "c")).or_default().excused = true;
            }
            Some(b'c') => {
                let text = frame.split_once('>').unwrap().1;
                let (subject, number) = text.split_once(' ').unwrap();
                let number: u64 = number.parse().unwrap();
                let is_state = frame.split('>').next().unwrap().ends_with(" s");
                let seen = by_cid.entry(attribute(frame, "c")).or_default();
                let expected = seen.last.map_or(number, |last| last + 1);
                let repeated = seen.excused && is_state && seen.last == Some(number);
                assert!(
                    number == expected || (number > expected && seen.excused) || repeated,
                    "{context}: {frame} after {:?}, excused {}:\n{}",
                    seen.last,
                    seen.excused,
                    frames.join("\n")
                );
                assert!(
                    !world.replicas || number == expected,
                    "{context}: {frame} after {:?} where nothing may be missing:\n{}",
                    seen.last,
                    frames.join("\n")
                );
                *seen = Seen { last: Some(number), excused: false };
                last.insert(subject.to_string(), number);
            }
            _ => {}
        }
        assert!(!frame.starts_with("<p x "), "{context}: {frame}");
    }
    last
}

/// One world with faults; at its end everybody has the newest of everything.
fn run(seed: u64, replicas: bool, parts: usize) {
    let context = format!("seed {seed}, replicas {replicas}, parts {parts}");
    let mut random = Random::from_number(seed);
    // Where instances dial, every other world has no registry at all.
    let registries = if parts > 0 && seed.is_multiple_of(2) { 0 } else { 2 };
    let shards = if parts > 0 { 1 } else { 1 + seed as usize % 3 };
    let counts = [registries, 3, 2, shards];
    let mut world = World::with_parts(seed, counts, parts, replicas, Arc::new(Rates));
    let servers = world.servers.len();
    if random.below(2) == 0 {
        world.board.short_writes = 1 + random.below(200) as usize;
    }
    let names: Vec<String> = (0..SUBJECTS).map(|at| format!("s{at}")).collect();
    names.iter().for_each(|name| world.publish(name));
    let mut clients: Vec<Client> = (0..6)
        .map(|at| {
            let from = random.below(SUBJECTS as u64 - 4) as usize;
            world.client(at % servers, &names[from..from + 4])
        })
        .collect();
    world.pass(200);
    for _ in 0..60 {
        let name = &names[random.below(SUBJECTS as u64) as usize];
        for _ in 0..=random.below(4) {
            world.publish(name);
        }
        world.pass(random.below(100));
        fault(&mut world, &mut random, &names);
    }
    settle(&mut world, &names);
    for (at, client) in clients.iter_mut().enumerate() {
        let last = check(client, &world, &format!("{context}, client {at}"));
        assert_eq!(last.len(), 4, "{context}, client {at}: {last:?}");
        for (name, number) in last {
            assert_eq!(Some(&number), world.published.get(&name), "{context}, client {at}: {name}");
        }
    }
    world.check();
}

/// Now and then something dies, comes back, or loses its connections.
fn fault(world: &mut World, random: &mut Random, names: &[String]) {
    match random.below(20) {
        0 | 1 => {
            // One of them lives on.
            let at = random.below(3) as usize;
            if world.living().count() > 1 {
                world.kill_instance(at);
            }
        }
        2 | 3 => {
            let gone = world.instances.iter().position(|(_, source)| source.is_none());
            if let Some(at) = gone {
                world.start_instance(at);
                catch_up(world, at, names);
            }
        }
        4 if !world.registries.is_empty() => world.kill_registry(random.below(2) as usize),
        5 => {
            if let Some(at) = world.registries.iter().position(|(_, r)| r.is_none()) {
                world.start_registry(at);
            }
        }
        6 => {
            let at = random.below(3) as usize;
            if world.instances[at].1.is_some() {
                world.board.cut(world.instances[at].0);
            }
        }
        8 if !world.houses.is_empty() => {
            let house = world.houses[random.below(2) as usize];
            world.board.cut(house);
        }
        7 => {
            // It is about to end in order: its subjects move first.
            let at = random.below(3) as usize;
            if world.living().count() > 1
                && let Some(source) = world.instances[at].1.clone()
            {
                let now = world.board.now;
                source.borrow_mut().withdraw(crate::world::RESOURCE, now).unwrap();
                world.pass(500);
                world.kill_instance(at);
            }
        }
        _ => {}
    }
}

/// All registries are there again, and everything is published once more.
fn settle(world: &mut World, names: &[String]) {
    for at in 0..world.registries.len() {
        if world.registries[at].1.is_none() {
            world.start_registry(at);
        }
    }
    world.pass(4_000);
    names.iter().for_each(|name| world.publish(name));
    world.pass(2_000);
}

/// A replica that was started anew has what the others have.
fn catch_up(world: &mut World, at: usize, names: &[String]) {
    use ahm::base::id::Offset;
    use ahm::link::source_settings::Publication;
    if !world.replicas {
        return;
    }
    let Some(source) = world.instances[at].1.clone() else { return };
    for name in names {
        let count = world.published.get(name).copied().unwrap_or(0);
        for number in count.saturating_sub(50) + 1..=count {
            let text = format!("{name} {number}").into_bytes();
            let mut publication = Publication::new(crate::world::RESOURCE, name, text);
            publication.at = Some(Offset(number));
            source.borrow_mut().publish(publication, world.board.now).unwrap();
        }
    }
}

/// How many worlds; `AHM_RESOURCES_SEEDS` says how many others.
fn seeds() -> std::ops::Range<u64> {
    let wanted = std::env::var("AHM_RESOURCES_SEEDS").ok();
    0..wanted.map_or(40, |text| text.parse().expect("AHM_RESOURCES_SEEDS is a number"))
}

#[test]
fn where_instances_number_alike_nothing_is_missing() {
    for seed in seeds() {
        run(seed, true, 0);
    }
}

#[test]
fn where_they_do_not_what_is_missing_is_told() {
    for seed in seeds() {
        run(seed, false, 0);
    }
}

#[test]
fn nothing_is_missing_or_all_is_told_where_instances_dial_servers_of_several_parts() {
    for seed in seeds() {
        run(seed, seed % 4 < 2, 1 + seed as usize % 3);
    }
}
