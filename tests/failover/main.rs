//! Real processes: instances of a resource, registries, servers and many readers. Instances and
//! registries are killed and started anew; consumers are spread by the weights of instances.

#![expect(clippy::unwrap_used, reason = "what fails here has failed the test")]

mod processes;
mod reader;
mod reopen;
mod spread;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::processes::{Feed, Process, SUBJECTS, registry, server, wait_for_instances};
use crate::reader::{Life, Reader, wait_for};

const READERS: usize = 1_000;

/// One test has the machine at a time: each measures how long something takes.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Two registries, two servers, and the feed with three instances.
struct World {
    registries: Vec<Option<Process>>,
    addresses: Vec<String>,
    servers: [(Process, String); 2],
    feed: Feed,
}

impl World {
    fn new(epoch: Option<&'static str>) -> Self {
        let (registries, addresses): (Vec<_>, Vec<_>) =
            (0..2).map(|_| registry("127.0.0.1:0")).unzip();
        let registries = registries.into_iter().map(Some).collect();
        let servers = [server(&addresses), server(&addresses)];
        let mut feed = Feed::new(&addresses, epoch);
        wait_for_instances(&addresses, 3);
        feed.publish(50);
        feed.settle();
        servers.iter().for_each(|(_, address)| wait_for(address, "rates/s0"));
        Self { registries, addresses, servers, feed }
    }

    fn readers(&self, count: usize) -> Vec<Reader> {
        let servers: Vec<&str> = self.servers.iter().map(|(_, address)| &**address).collect();
        Reader::many(&servers, count)
    }

    fn kill_registry(&mut self, at: usize) {
        self.registries[at] = None;
    }

    fn start_registry(&mut self, at: usize) {
        self.registries[at] = Some(registry(&self.addresses[at]).0);
    }

    /// An instance dies, and something is published: how long until all readers have that.
    fn kill_instance(&mut self, at: usize, readers: &mut [Reader]) -> Duration {
        self.feed.instances[at] = None;
        let began = Instant::now();
        self.feed.publish(1);
        let end = self.feed.end();
        readers.iter_mut().for_each(|reader| reader.until(&end));
        began.elapsed()
    }
}

#[test]
fn nobody_misses_anything_when_instances_and_a_registry_die() {
    let _alone = alone();
    let mut world = World::new(Some("e1"));
    let mut readers = world.readers(READERS);
    world.feed.publish(50);
    let mut slowest = Duration::ZERO;
    for killed in 0..2 {
        slowest = slowest.max(world.kill_instance(killed, &mut readers));
        world.feed.publish(30);
        if killed == 0 {
            world.kill_registry(0);
            world.feed.publish(30);
            world.start_registry(0);
        }
        world.feed.start(killed);
        world.feed.publish(30);
    }
    let end = world.feed.end();
    let mut messages = 0;
    for (at, reader) in readers.iter_mut().enumerate() {
        reader.until(&end);
        let [Life { epoch, messages: seen }] = &reader.lives()[..] else {
            panic!("reader {at} saw another epoch: {:?}", reader.lives());
        };
        assert_eq!(epoch, "e1");
        assert_without_holes(at, seen);
        assert!(seen[0].1 <= 50, "reader {at} began with {:?}", seen[0]);
        messages += seen.len();
    }
    println!("{messages} messages; all readers had the next one again after {slowest:?}");
}

/// Without an epoch that they share, what an instance served goes on in another epoch, which says
/// that something may be missing. Who read from another instance notices nothing.
#[test]
fn what_may_be_missing_is_told_to_those_alone_whose_instance_has_died() {
    let _alone = alone();
    let mut world = World::new(None);
    let mut readers = world.readers(READERS);
    world.feed.publish(50);
    // By reader: how often its subject has moved.
    let mut moves = vec![0; READERS];
    let mut slowest = Duration::ZERO;
    for killed in 0..2 {
        world.feed.settle();
        let end = world.feed.end();
        readers.iter_mut().for_each(|reader| reader.until(&end));
        let epochs = world.feed.instances[killed].as_ref().unwrap().watch.epochs();
        let mut hit = 0;
        for (at, reader) in readers.iter().enumerate() {
            let subject = at / 2 % SUBJECTS;
            let epoch = reader.epoch();
            assert_eq!(epoch, readers[subject * 2].epoch(), "both servers have one instance");
            if epoch == epochs[subject] {
                moves[at] += 1;
                hit += 1;
            }
        }
        assert!((1..READERS).contains(&hit), "{hit} readers of instance {killed}");
        slowest = slowest.max(world.kill_instance(killed, &mut readers));
        world.feed.publish(30);
        world.feed.start(killed);
        wait_for_instances(&world.addresses, 3);
        world.feed.publish(30);
    }
    let end = world.feed.end();
    for (at, reader) in readers.iter_mut().enumerate() {
        reader.until(&end);
        let lives = reader.lives();
        assert_eq!(lives.len(), 1 + moves[at], "reader {at}: {lives:?}");
        assert_lives(at, &lives);
    }
    let moved = moves.iter().filter(|moves| **moves > 0).count();
    println!("{moved} of {READERS} readers moved; all had the next message after {slowest:?}");
}

#[test]
fn streams_do_not_notice_that_registries_die() {
    let _alone = alone();
    let mut world = World::new(None);
    let mut readers = world.readers(200);
    world.kill_registry(0);
    world.feed.publish(30);
    let end = world.feed.end();
    readers.iter_mut().for_each(|reader| reader.until(&end));
    world.kill_registry(1);
    world.feed.publish(30);
    let end = world.feed.end();
    readers.iter_mut().for_each(|reader| reader.until(&end));
    (0..2).for_each(|at| world.start_registry(at));
    wait_for_instances(&world.addresses, 3);
    // A subject that nobody had asked for before is found again.
    world.feed.give("late\t1\n");
    world.servers.iter().for_each(|(_, address)| wait_for(address, "rates/late"));
    world.feed.publish(30);
    let end = world.feed.end();
    for (at, reader) in readers.iter_mut().enumerate() {
        reader.until(&end);
        let lives = reader.lives();
        assert_eq!(lives.len(), 1, "reader {at}: {lives:?}");
        assert_without_holes(at, &lives[0].messages);
    }
}

fn assert_without_holes(at: usize, seen: &[(u64, usize, bool)]) {
    let follows = |a: &(u64, usize, bool), b: &(u64, usize, bool)| (a.0 + 1, a.1 + 1) == (b.0, b.1);
    assert!(!seen.is_empty() && seen.is_sorted_by(follows), "reader {at}: {seen:?}");
}

/// No hole within an epoch; the next one begins with the whole present state, which is not older
/// than what was there already.
fn assert_lives(at: usize, lives: &[Life]) {
    for life in lives {
        assert_without_holes(at, &life.messages);
        // All instances were given the same, each from its beginning.
        assert!(life.messages.iter().all(|(n, round, _)| *n == *round as u64), "reader {at}");
    }
    for pair in lives.windows(2) {
        assert_ne!(pair[0].epoch, pair[1].epoch, "reader {at}");
        let last = pair[0].messages.last().unwrap().1;
        let (_, first, is_state) = pair[1].messages[0];
        assert!(is_state, "reader {at} went on without the state: {pair:?}");
        assert!(first >= last, "reader {at}: {first} after {last}");
    }
}
