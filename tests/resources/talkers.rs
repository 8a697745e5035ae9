//! Conversations under the eyes of many clients while instances and registries die and come back:
//! each send has one fate, which is true, and nothing is left when all have gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ahm::base::random::Random;
use ahm::base::time::Span;

use crate::private::{Desk, Got, assert_nothing_is_left, kinds, outcomes, send};
use crate::subjects;
use crate::world::{Client, World, attribute};

/// A client of the seeded world.
struct Talker {
    client: Client,
    lasting: bool,
    cid: Option<String>,
    closed: bool,
    next: u64,
    /// The connections on which its sends were answered.
    sent: Vec<(u64, usize)>,
}

impl Talker {
    fn new(world: &mut World, random: &mut Random, number: usize) -> Self {
        let lasting = random.below(2) == 0;
        let subject = format!("{}{number}", if lasting { "lasting" } else { "talk" });
        let client = world.client(number % 2, &subjects(&[&subject]));
        Self { client, lasting, cid: None, closed: false, next: 1, sent: Vec::new() }
    }

    fn act(&mut self, world: &World, random: &mut Random) {
        let frames = self.client.frames(world);
        if self.cid.is_none() {
            self.cid = kinds(&frames, "o").first().map(|frame| attribute(frame, "c"));
        }
        let Some(cid) = self.cid.clone().filter(|_| !self.closed) else { return };
        if random.below(60) == 0 {
            self.closed = true;
            self.client.fire(world, &format!("close?cid={cid}"));
        } else {
            let text = if random.below(40) == 0 { "bye" } else { "word" };
            let conn = send(&mut self.client, world, &cid, self.next, text);
            self.sent.push((self.next, conn));
            self.next += 1;
        }
    }

    /// What it was told agrees with what instances got.
    fn check(&mut self, world: &World, got: &BTreeSet<(u64, u64)>, context: &str) {
        let frames = self.client.frames(world);
        let context = format!("{context}:\n{}", frames.join("\n"));
        let mid: u64 = attribute(kinds(&frames, "i")[0], "mid").parse().unwrap();
        let mut told: BTreeMap<u64, String> = BTreeMap::new();
        for (n, word) in outcomes(&frames) {
            assert!(told.insert(n, word).is_none(), "{n} has two fates, {context}");
        }
        for (n, conn) in &self.sent {
            let answer = world.servers[self.client.server].borrow_mut().take(*conn);
            let has_got = got.contains(&(mid, *n));
            let fate = told.get(n).map(String::as_str);
            match (answer.contains("\"held\""), fate) {
                (true, Some("taken")) => assert!(has_got, "{n} was lost, {context}"),
                (true, Some("unknown")) => {}
                (false, None) => assert!(!has_got, "{n} was refused: {answer}, {context}"),
                (_, fate) => panic!("{n} is {fate:?} after {answer}, {context}"),
            }
        }
        self.check_stream(&frames, &context);
    }

    fn check_stream(&self, frames: &[String], context: &str) {
        let mut next = None;
        let mut epochs = BTreeSet::new();
        let mut replies = BTreeSet::new();
        for frame in frames {
            if frame.starts_with("<p o ") {
                assert!(epochs.insert(attribute(frame, "ep")), "an epoch twice, {context}");
                next = Some(attribute(frame, "n").parse::<u64>().unwrap() + 1);
            } else if frame.starts_with("<p c=") {
                let n: u64 = attribute(frame, "n").parse().unwrap();
                assert_eq!(Some(n), next, "{frame}, {context}");
                next = Some(n + 1);
                let text = frame.split_once('>').unwrap().1;
                assert!(text == "hello" || replies.insert(text), "{text} twice, {context}");
            }
        }
        assert!(self.lasting || epochs.len() <= 1, "{context}");
        assert!(kinds(frames, "g").is_empty(), "{context}");
    }
}

fn run(seed: u64) {
    let mut random = Random::from_number(seed);
    let desk = Arc::new(Desk::default());
    let shards = 1 + seed as usize % 3;
    let mut world = World::new(seed, [2, 3, 2, shards], false, desk.clone());
    if random.below(2) == 0 {
        world.board.short_writes = 1 + random.below(100) as usize;
    }
    for server in &world.servers {
        server.borrow_mut().delay = Span::from_millis(1 + random.below(40));
    }
    let mut talkers: Vec<Talker> =
        (0..8).map(|number| Talker::new(&mut world, &mut random, number)).collect();
    for _ in 0..80 {
        for _ in 0..random.below(4) {
            let at = random.below(talkers.len() as u64) as usize;
            talkers[at].act(&world, &mut random);
        }
        world.pass(random.below(60));
        fault(&mut world, &mut random);
        world.check();
    }
    for at in 0..2 {
        if world.registries[at].1.is_none() {
            world.start_registry(at);
        }
    }
    world.pass(8_000);
    let got = desk.got();
    let numbers: BTreeSet<(u64, u64)> = got.iter().map(|got| (got.session, got.n)).collect();
    assert_eq!(numbers.len(), got.len(), "seed {seed}: something came twice: {got:?}");
    let mut last = BTreeMap::new();
    for Got { session, n, .. } in got {
        let before = last.insert(session, n);
        assert!(before.is_none_or(|before| before < n), "seed {seed}: {n} after {before:?}");
    }
    for (at, talker) in talkers.iter_mut().enumerate() {
        talker.check(&world, &numbers, &format!("seed {seed}, client {at}"));
    }
    world.check();
    // Everybody leaves, and nothing stays behind.
    for talker in &mut talkers {
        talker.client.fire(&world, "logout");
    }
    world.pass(2_000);
    assert_nothing_is_left(&world);
}

/// Now and then something dies, comes back, or loses its connections; one instance lives on.
fn fault(world: &mut World, random: &mut Random) {
    let at = random.below(3) as usize;
    match random.below(16) {
        0 if world.living().count() > 1 => world.kill_instance(at),
        1 | 2 if world.instances[at].1.is_none() => world.start_instance(at),
        3 => world.kill_registry(at % 2),
        4 | 5 if world.registries[at % 2].1.is_none() => world.start_registry(at % 2),
        6 if world.instances[at].1.is_some() => world.board.cut(world.instances[at].0),
        _ => {}
    }
}

#[test]
fn conversations_keep_their_promises_whatever_dies() {
    let wanted = std::env::var("AHM_RESOURCES_SEEDS").ok();
    let seeds = wanted.map_or(60, |text| text.parse().expect("AHM_RESOURCES_SEEDS is a number"));
    (0..seeds).for_each(run);
}
