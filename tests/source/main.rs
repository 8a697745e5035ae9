//! A resource server and consumers of it, over lines that are slow, short of breath, and cut:
//! whatever happens, each reader gets what the shadow model says, or is told of a gap.
//!
//! `AHM_SOURCE_SEEDS=1000` runs more seeds, `AHM_SOURCE_SEED=7` one of them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod model;
mod reader;
mod registries;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use ahm::base::random::Random;
use ahm::base::time::{Instant, Span};
use ahm::link::address::Address;
use ahm::link::peer::Me;
use ahm::link::source::Source;
use ahm::link::source_log::History;
use ahm::link::source_settings::{Outcome, Publication, Settings};
use ahm::link::source_topic::Served;
use ahm::testing::switchboard::Switchboard;
use ahm::wire::resource::{InstanceId, Role};

use model::{Desk, HISTORY, Model, SUBJECTS};
use reader::Reader;

/// What the runs have reached, so that none of it goes unnoticed when it is reached no more.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Messages that readers took.
    pub messages: u64,
    /// Gaps that they were told of.
    pub gaps: u64,
    /// Opens that went on where they were.
    pub resumed: u64,
    /// Opens that began at the state.
    pub states: u64,
    /// Messages on private channels.
    pub replies: u64,
    /// Messages that changed nothing.
    pub unchanged: u64,
    /// Processes of the source.
    pub lives: u64,
}

struct World {
    board: Switchboard,
    model: Arc<Mutex<Model>>,
    source: Rc<RefCell<Source>>,
    at: usize,
    readers: Vec<(usize, Rc<RefCell<Reader>>)>,
    tally: Tally,
}

fn me(role: Role, instance: u64) -> Me {
    Me {
        role,
        instance: InstanceId(instance),
        name: "test".into(),
        heartbeat: Span::from_secs(2),
        key: "open".into(),
        demands: "open".into(),
    }
}

fn address(port: u16) -> Address {
    Address::Tcp(([127, 0, 0, 1], port).into())
}

fn source(model: &Arc<Mutex<Model>>, dial: bool, seed: u64, now: Instant) -> Source {
    let settings = Settings {
        dial: if dial { vec![address(2)] } else { Vec::new() },
        retry: Span::from_millis(40),
        history: History { messages: HISTORY as u32, bytes: 1 << 24, age: Span::from_secs(9_999) },
        waiting_bytes: 1_000,
        ..Settings::default()
    };
    let random = Random::from_number(seed);
    let mut source = Source::new(me(Role::Resource, seed), settings, random, now);
    let served = Served { takes_messages: true, ..Served::new("r") };
    source.serve(served, Arc::new(Desk(Arc::clone(model)))).unwrap();
    source
}

impl World {
    fn new(seed: u64) -> Self {
        let mut board = Switchboard::new(seed);
        board.delay = Span::from_millis([0, 1, 30][board.random.below(3) as usize]);
        board.short_writes = [0, 1, 7, 300][board.random.below(4) as usize];
        board.window = [0, 600, 5_000][board.random.below(3) as usize];
        let model = Arc::new(Mutex::new(Model::default()));
        let first = source(&model, true, seed, board.now);
        let source = Rc::new(RefCell::new(first));
        let at = board.add(source.clone(), Some(address(1)));
        let mut readers = Vec::new();
        for number in 0..3 {
            // The last one is dialled by the source.
            let dials = (number < 2).then(|| address(1));
            let listens = (number == 2).then(|| address(2));
            let own = me(Role::Consumer, 100 + number);
            let reader = Reader::new(own, number, dials, Arc::clone(&model), board.now);
            let reader = Rc::new(RefCell::new(reader));
            readers.push((board.add(reader.clone(), listens), reader));
        }
        Self { board, model, source, at, readers, tally: Tally { lives: 1, ..Tally::default() } }
    }

    fn publish(&mut self) {
        let subject = SUBJECTS[self.board.random.below(SUBJECTS.len() as u64) as usize];
        let size = self.board.random.below(120) as usize;
        let mut model = self.model.lock().unwrap();
        let mut payload = model.fresh(size);
        if self.board.random.below(3) == 0 {
            payload = model.newest(subject).unwrap_or(payload);
        }
        // The source asks its handler, which looks at the model.
        drop(model);
        let publication = Publication::new("r", subject, payload.as_bytes());
        let outcome = self.source.borrow_mut().publish(publication, self.board.now).unwrap();
        let mut model = self.model.lock().unwrap();
        match outcome {
            Outcome::Published(ep, n) => model.publish(subject, ep, n, payload),
            Outcome::Unchanged => {
                assert!(subject.starts_with("change"));
                assert_eq!(model.newest(subject), Some(payload));
                self.tally.unchanged += 1;
            }
            Outcome::Repeated => panic!("no offset was given"),
        }
    }

    fn step(&mut self) {
        let which = self.board.random.below(3) as usize;
        let (at, reader) = (self.readers[which].0, Rc::clone(&self.readers[which].1));
        let now = self.board.now;
        match self.board.random.below(100) {
            0..60 => (0..=self.board.random.below(4)).for_each(|_| self.publish()),
            60..64 => self.board.cut(at),
            64..72 => {
                let subject = SUBJECTS[self.board.random.below(SUBJECTS.len() as u64) as usize];
                reader.borrow_mut().toggle(subject, now);
            }
            72..80 => reader.borrow_mut().send(now),
            80..85 => {
                self.board.stalled.insert(at);
            }
            85..92 => {
                self.board.stalled.remove(&at);
            }
            92 if self.board.random.below(6) == 0 => self.restart(),
            _ => {}
        }
        let span = Span::from_micros(self.board.random.below(4_000));
        self.board.pass(span);
    }

    /// Another process takes the place of the source: all epochs are new.
    fn restart(&mut self) {
        self.board.kill(self.at);
        self.model.lock().unwrap().forget();
        let seed = self.board.random.next();
        let next = source(&self.model, true, seed, self.board.now);
        self.source = Rc::new(RefCell::new(next));
        self.at = self.board.add(self.source.clone(), Some(address(1)));
        self.tally.lives += 1;
    }

    fn end(mut self) -> Tally {
        self.board.stalled.clear();
        self.board.pass(Span::from_secs(5));
        for subject in SUBJECTS {
            for (_, reader) in &self.readers {
                reader.borrow_mut().want(subject, self.board.now);
            }
        }
        self.board.pass(Span::from_secs(5));
        (0..200).for_each(|_| self.publish());
        self.board.pass(Span::from_secs(30));
        for (_, reader) in &self.readers {
            reader.borrow().is_at_the_end(&mut self.tally);
        }
        let counts = self.source.borrow().counts();
        assert_eq!((counts.connections, counts.strays), (3, 0), "{counts:?}");
        let bound = SUBJECTS.len() * HISTORY as usize * 300;
        assert!(self.source.borrow().history_bytes() <= bound + 3 * 300);
        self.tally
    }
}

fn run(seed: u64) -> Tally {
    let mut world = World::new(seed);
    world.board.pass(Span::from_millis(100));
    for _ in 0..300 {
        world.step();
    }
    world.end()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn each_reader_gets_what_the_model_says_or_is_told_of_a_gap() {
    let one = number("AHM_SOURCE_SEED");
    let many = number("AHM_SOURCE_SEEDS").unwrap_or(100);
    let seeds = one.map_or(0..many, |seed| seed..seed + 1);
    let mut sum = Tally::default();
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| run(seed));
        let tally = outcome.unwrap_or_else(|_| panic!("with AHM_SOURCE_SEED={seed}"));
        sum.messages += tally.messages;
        sum.gaps += tally.gaps;
        sum.resumed += tally.resumed;
        sum.states += tally.states;
        sum.replies += tally.replies;
        sum.unchanged += tally.unchanged;
        sum.lives += tally.lives;
    }
    println!("{sum:?}");
    if one.is_none() {
        let reached = [sum.messages, sum.gaps, sum.resumed, sum.states, sum.replies, sum.unchanged];
        assert!(reached.iter().all(|count| *count > 20), "{sum:?}");
    }
}
