//! How consumers are spread over the instances of a resource: by their weights, and within what
//! each can take.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Instant;

use ahm::base::id::Key;
use ahm::base::time::Span;
use ahm::link::handler::{Consumer, Decision, Handler};
use ahm::link::links::Links;
use ahm::link::peer::{End, Me, Other};
use ahm::link::station::Station;
use ahm::resource::driver::{Driver, Setup};
use ahm::resource::publisher::Publisher;
use ahm::resource::publisher_builder::Builder;
use ahm::wire::resource::{Frame, InstanceId, Role};

use crate::alone;
use crate::processes::{PATIENCE, Process, registry, server, wait_for_instances};
use crate::reader::Reader;

const WEIGHTS: [u32; 3] = [1, 1, 2];
/// Of a correct spread, so few are called wrong.
const FALSE_ALARMS: f64 = 1e-6;

/// `talk…` and `desk` are conversations, all else is for everybody.
#[derive(Debug)]
struct Rates;

impl Handler for Rates {
    fn open(&self, subject: &str, _consumer: &Consumer) -> Decision {
        match subject.starts_with("talk") || subject == "desk" {
            true => Decision::Private,
            false => Decision::Shared,
        }
    }
}

/// A registry, a server, and instances of those weights and capacities.
struct World {
    _registry: Process,
    registry: String,
    _server: Process,
    server: String,
    instances: Vec<Publisher>,
}

impl World {
    fn new(weights: &[u32], capacities: &[u64]) -> Self {
        Self::of(weights, capacities, |builder| builder)
    }

    fn of(weights: &[u32], capacities: &[u64], change: impl Fn(Builder) -> Builder) -> Self {
        let (process, registry) = registry("127.0.0.1:0");
        let start = |(weight, capacity): (&u32, &u64)| {
            let builder = Publisher::builder("rates").listen("127.0.0.1:0".parse().unwrap());
            let builder = change(builder.registry(registry.parse().unwrap()));
            builder.weight(*weight).capacity(*capacity).start(Rates).unwrap()
        };
        let instances: Vec<Publisher> = weights.iter().zip(capacities).map(start).collect();
        let all = std::slice::from_ref(&registry);
        wait_for_instances(all, instances.len());
        let (_server, server) = server(all);
        Self { _registry: process, registry, _server, server, instances }
    }

    /// Opens all of that, so many names in a document, and waits until each is opened or refused.
    fn open(&self, names: &[String], in_one: usize) -> (Vec<Reader>, usize) {
        let mut readers: Vec<Reader> =
            names.chunks(in_one).map(|some| Reader::open_all(&self.server, some)).collect();
        let count = |text: &str, kind| text.matches(kind).count();
        let mut opened = 0;
        for (reader, some) in readers.iter_mut().zip(names.chunks(in_one)) {
            let all = some.len();
            reader.until_all(|text| count(text, "<p o ") + count(text, "<p x ") == all);
            opened += count(&reader.text(), "<p o ");
        }
        (readers, opened)
    }

    /// How many consumers each instance has, when it is known that there are so many.
    fn shares(&self, total: u64) -> Vec<u64> {
        let began = Instant::now();
        loop {
            let consumers = |one: &Publisher| one.counts().unwrap().consumers;
            let shares: Vec<u64> = self.instances.iter().map(consumers).collect();
            if shares.iter().sum::<u64>() == total {
                return shares;
            }
            assert!(began.elapsed() < PATIENCE, "{shares:?}, not {total}");
            // A channel that was closed may still be on its way to its instance.
            thread::yield_now();
        }
    }
}

fn names(stem: &str, count: usize) -> Vec<String> {
    (0..count).map(|at| format!("rates/{stem}{at}")).collect()
}

/// What each should have.
fn due(total: u64) -> impl Iterator<Item = f64> {
    let all = f64::from(WEIGHTS.iter().sum::<u32>());
    WEIGHTS.iter().map(move |weight| total as f64 * f64::from(*weight) / all)
}

fn assert_within_a_tenth(what: &str, shares: &[u64]) {
    println!("{what}: {shares:?}");
    for (share, due) in shares.iter().zip(due(shares.iter().sum())) {
        assert!((*share as f64 - due).abs() <= due / 10.0, "{what}: {shares:?}, not {due}");
    }
}

/// How likely it is that of `count` things, each with the probability `p`, at least `off` more or
/// less than should be are there.
fn far_off(count: u64, p: f64, off: f64) -> f64 {
    let due = count as f64 * p;
    let mut log = (1.0 - p).ln() * count as f64;
    let mut sum = 0.0;
    for k in 0..=count {
        if (k as f64 - due).abs() >= off {
            sum += log.exp();
        }
        log += ((count - k) as f64 / (k + 1) as f64 * p / (1.0 - p)).ln();
    }
    sum
}

/// Each with a subject of its own. That the next one will be private too, each shard of the server
/// has to learn; with so many that not one in a thousand million shards has learnt it by then.
#[test]
fn private_channels_go_to_the_least_loaded() {
    const LESSONS: usize = 40;
    let _alone = alone();
    let world = World::new(&WEIGHTS, &[0; 3]);
    let (lessons, opened) = world.open(&names("talk.first", LESSONS), LESSONS);
    assert_eq!(opened, LESSONS);
    let (readers, opened) = world.open(&names("talk", 1_000 - LESSONS), 100);
    assert_eq!(opened, 1_000 - LESSONS);
    assert_within_a_tenth("1,000 private channels", &world.shares(1_000));
    drop((lessons, readers));
}

/// Where the resource says what they are, the first ones do so too.
#[test]
fn conversations_go_to_the_least_loaded_from_the_first_on() {
    let _alone = alone();
    let world = World::of(&WEIGHTS, &[0; 3], Builder::conversations);
    let (first, opened) = world.open(&names("talk.first", 4), 1);
    assert_eq!(opened, 4);
    assert_eq!(world.shares(4), [1, 1, 2]);
    let (readers, opened) = world.open(&names("talk", 996), 100);
    assert_eq!(opened, 996);
    assert_within_a_tenth("1,000 conversations", &world.shares(1_000));
    drop((first, readers));
}

#[test]
fn private_channels_of_one_subject_go_to_the_least_loaded() {
    let _alone = alone();
    let world = World::new(&WEIGHTS, &[0; 3]);
    let (readers, opened) = world.open(&vec!["rates/desk".to_string(); 1_000], 1);
    assert_eq!(opened, 1_000);
    assert_within_a_tenth("1,000 private channels of one subject", &world.shares(1_000));
    drop(readers);
}

/// Shared subjects go by a hash over numbers that are new in every run, so that a thousand of them
/// are spread as a thousand dice are.
#[test]
fn shared_subjects_go_by_the_weights() {
    let _alone = alone();
    let world = World::new(&WEIGHTS, &[0; 3]);
    let (readers, opened) = world.open(&names("s", 1_000), 100);
    assert_eq!(opened, 1_000);
    let shares = world.shares(1_000);
    println!("1,000 shared subjects: {shares:?}");
    for (share, due) in shares.iter().zip(due(1_000)) {
        let off = (*share as f64 - due).abs();
        let likely = far_off(1_000, due / 1_000.0, off);
        assert!(likely > FALSE_ALARMS / 3.0, "{shares:?}, not {due}: {likely:e}");
    }
    drop(readers);
}

#[test]
fn many_shared_subjects_are_within_a_tenth_of_the_weights() {
    const SUBJECTS: u64 = 20_000;
    let _alone = alone();
    for due in due(SUBJECTS) {
        let likely = far_off(SUBJECTS, due / SUBJECTS as f64, due / 10.0);
        assert!(likely < FALSE_ALARMS / 3.0, "that may happen: {likely:e}");
    }
    let world = World::new(&WEIGHTS, &[0; 3]);
    let (asker, answers) = Asker::start(&world.registry, SUBJECTS);
    let mut shares = std::collections::BTreeMap::new();
    for _ in 0..SUBJECTS {
        *shares.entry(answers.recv_timeout(PATIENCE).unwrap()).or_insert(0_u64) += 1;
    }
    drop(asker);
    let mut shares: Vec<u64> = shares.into_values().collect();
    // The instance of weight 2 has as much as the others together.
    shares.sort_unstable();
    assert_within_a_tenth("20,000 shared subjects", &shares);
}

#[test]
fn who_is_full_takes_no_more_and_the_rest_goes_elsewhere() {
    let _alone = alone();
    let world = World::new(&[1; 3], &[50, 50, 0]);
    let (private, opened) = world.open(&names("talk", 300), 100);
    assert_eq!(opened, 300);
    assert_eq!(world.shares(300), [50, 50, 200]);
    let (shared, opened) = world.open(&names("s", 100), 100);
    assert_eq!(opened, 100);
    assert_eq!(world.shares(400), [50, 50, 300]);
    drop((private, shared));

    let world = World::new(&[1; 3], &[50, 40, 30]);
    let (readers, opened) = world.open(&names("talk", 200), 100);
    assert_eq!(opened, 120, "the others are refused");
    assert_eq!(world.shares(120), [50, 40, 30]);
    let refused = readers.iter().map(|reader| reader.text().matches(" e=gone>").count());
    assert_eq!(refused.sum::<usize>(), 80);
}

/// Asks a registry for subjects and tells the instances that it names.
struct Asker {
    links: Links,
    subjects: u64,
    answers: Sender<u64>,
}

impl Asker {
    fn start(registry: &str, subjects: u64) -> (Driver<Self>, Receiver<u64>) {
        let (answers, receiver) = channel();
        let me = Me {
            role: Role::Consumer,
            instance: InstanceId(1),
            name: "asker".into(),
            heartbeat: Span::from_secs(5),
            key: String::new(),
            demands: String::new(),
        };
        let setup = Setup::new("asker");
        let mut links = Links::new(me, setup.clock.now());
        links.dial([registry.parse().unwrap()]);
        (Driver::start(setup, |_| Self { links, subjects, answers }).unwrap(), receiver)
    }
}

impl Station for Asker {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }

    fn on_greeted(&mut self, link: Key) {
        for ask in 0..self.subjects {
            let (subject, without) = (format!("s{ask}"), Vec::new());
            let (resource, private) = ("rates", false);
            let subject = subject.as_str();
            self.links.send(link, &Frame::Resolve { ask, resource, subject, private, without });
        }
    }

    fn on_frame(&mut self, _link: Key, frame: &Frame<'_>) {
        match frame {
            Frame::Resolved { instance, .. } => self.answers.send(instance.0).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn on_over(&mut self, _link: Key, _other: Option<Other>, end: End) {
        assert_eq!(end, End::Left);
    }
}
