//! The publisher: single messages and batches, numbered by itself or by the server.

use std::collections::VecDeque;

use serde_json::Value;

use crate::base::id::Epoch;
use crate::base::random::Random;
use crate::proto::connection::Door;
use crate::testing::lines::{Fate, Line};
use crate::testing::model::{At, Shared};
use crate::testing::net::Side;
use crate::testing::requests::with_body;
use crate::testing::world::World;

/// One message with the number that its publisher gives it.
#[derive(Clone, Debug)]
struct Item {
    topic: usize,
    at: Option<At>,
    snapshot: bool,
    payload: Vec<u8>,
}

/// What a request was for.
#[derive(Debug)]
enum What {
    One(Item),
    Batch(Vec<Item>),
    Conflict,
}

/// A topic at its publisher.
#[derive(Debug)]
struct Topic {
    name: String,
    /// The present epoch and the next number, where the publisher numbers.
    next: Option<At>,
    /// Epochs before the present one of which the present life of the server knows.
    former: Vec<Epoch>,
    /// Numbered messages without an answer, to be sent again before anything new.
    again: VecDeque<Item>,
    waiting: u32,
    /// The last numbered messages.
    recent: VecDeque<Item>,
    counter: u64,
    written: bool,
}

/// Publishes on all topics of the world.
#[derive(Debug)]
pub struct Publisher {
    topics: Vec<Topic>,
    lines: Vec<Line<What>>,
    model: Shared,
}

impl Publisher {
    /// A publisher of these topics; of those in `numbered` it gives the numbers itself.
    pub fn new(names: &[String], numbered: &[bool], model: Shared, random: &mut Random) -> Self {
        let topic = |(name, numbered): (&String, &bool)| Topic {
            name: name.clone(),
            next: numbered.then(|| (Epoch(random.below(1 << 40)), 1 + random.below(50))),
            former: Vec::new(),
            again: VecDeque::new(),
            waiting: 0,
            recent: VecDeque::new(),
            counter: 0,
            written: false,
        };
        let topics = names.iter().zip(numbered).map(topic).collect();
        let lines = (0..2).map(|_| Line::new(Door::Private)).collect();
        Self { topics, lines, model }
    }

    /// The server has started anew.
    pub fn restarted(&mut self, world: &mut World) {
        for topic in &mut self.topics {
            topic.former.clear();
            topic.written = false;
            if topic.next.is_some() && world.chance(2) {
                // Not sure what the new server has: some again.
                let keep = world.random.below(1 + topic.recent.len() as u64) as usize;
                for item in topic.recent.iter().rev().take(keep).cloned() {
                    topic.again.push_front(item);
                }
            }
        }
    }

    /// Takes answers.
    pub fn listen(&mut self, world: &mut World) {
        for line in 0..self.lines.len() {
            for fate in self.lines[line].take(world) {
                self.hear(fate);
            }
        }
    }

    /// Does something, perhaps.
    pub fn act(&mut self, world: &mut World) {
        if world.chance(400) {
            let line = world.random.below(2) as usize;
            self.lines[line].cut(world, Side::Reset);
            self.listen(world);
        }
        let burst = if world.chance(40) { world.pick(5, 60) } else { 1 };
        for _ in 0..burst {
            let topic = world.random.below(self.topics.len() as u64) as usize;
            if self.topics[topic].next.is_some() {
                self.publish_numbered(topic, world);
            } else if world.chance(4) {
                self.publish_batch(world);
            } else {
                self.publish_one(topic, world);
            }
        }
        if world.chance(50) {
            self.publish_conflict(world);
        }
    }

    /// One last message on every topic, so that its head is known; `false` while answers or
    /// repetitions are outstanding.
    pub fn finish(&mut self, world: &mut World) -> bool {
        let mut settled = true;
        for topic in 0..self.topics.len() {
            if self.topics[topic].waiting > 0 {
                settled = false;
            } else if !self.topics[topic].again.is_empty() {
                settled = false;
                while !self.topics[topic].again.is_empty() {
                    self.publish_numbered(topic, world);
                }
            }
        }
        if settled {
            for topic in 0..self.topics.len() {
                match self.topics[topic].next {
                    Some(_) => self.publish_numbered(topic, world),
                    None => self.publish_one(topic, world),
                }
            }
        }
        settled
    }

    /// Whether an answer is outstanding.
    pub fn is_waiting(&self) -> bool {
        self.lines.iter().any(|line| line.waiting() > 0)
    }

    fn payload(&mut self, topic: usize, line: bool, world: &mut World) -> Vec<u8> {
        let topic = &mut self.topics[topic];
        topic.counter += 1;
        let mut payload = format!("{}#{}.{} ", topic.name, world.life, topic.counter).into_bytes();
        match world.random.below(40) {
            0 => payload.resize(world.pick(2_000, 30_000) as usize, b'x'),
            1..=4 => payload.extend_from_slice(b"a < b && c > d\r\t"),
            5 if !line => payload.extend_from_slice(b"two\nlines"),
            6 => payload.extend_from_slice(&[0, 1, 0xff, 0x7f]),
            _ => payload.resize(payload.len() + world.random.below(80) as usize, b'.'),
        }
        payload
    }

    fn publish_numbered(&mut self, topic: usize, world: &mut World) {
        let mut item = self.topics[topic].again.pop_front();
        if item.is_none() {
            let payload = self.payload(topic, false, world);
            let state = &mut self.topics[topic];
            let Some((mut epoch, mut n)) = state.next else { return };
            if world.chance(120) && state.waiting == 0 && state.written {
                state.former.push(epoch);
                state.recent.clear();
                epoch = Epoch(world.random.next());
                n = 1 + world.random.below(5);
            } else if world.chance(25) && state.written {
                n += 1 + world.random.below(4);
            }
            state.next = Some((epoch, n + 1));
            let snapshot = world.chance(10);
            let new = Item { topic, at: Some((epoch, n)), snapshot, payload };
            self.topics[topic].recent.push_back(new.clone());
            if self.topics[topic].recent.len() > 6 {
                self.topics[topic].recent.pop_front();
            }
            item = Some(new);
        }
        if let Some(item) = item {
            self.send(item.clone(), world);
            if world.chance(20) {
                self.send(item, world);
            }
        }
    }

    fn publish_one(&mut self, topic: usize, world: &mut World) {
        let payload = self.payload(topic, false, world);
        let snapshot = world.chance(10);
        self.send(Item { topic, at: None, snapshot, payload }, world);
    }

    fn send(&mut self, item: Item, world: &mut World) {
        let topic = &mut self.topics[item.topic];
        self.model.lock().submit(&topic.name, &item.payload, item.at, item.snapshot);
        topic.waiting += 1;
        let mut target = format!("/publish/{}", topic.name);
        let mut parameters = Vec::new();
        if let Some((epoch, n)) = item.at {
            parameters.push(format!("epoch={epoch}&n={n}"));
        }
        if item.snapshot {
            parameters.push("snapshot=1".to_string());
        }
        if !parameters.is_empty() {
            target = format!("{target}?{}", parameters.join("&"));
        }
        let bytes = with_body(&target, "", Some(&item.payload), &mut world.random);
        // One topic always goes over the same line, so that its numbers arrive in order.
        let line = item.topic % self.lines.len();
        self.lines[line].ask(world, &bytes, What::One(item));
    }

    fn publish_batch(&mut self, world: &mut World) {
        let mut items = Vec::new();
        let mut body = Vec::new();
        for _ in 0..world.pick(1, 12) {
            let topic = world.random.below(self.topics.len() as u64) as usize;
            if self.topics[topic].next.is_some() {
                continue;
            }
            let payload = self.payload(topic, true, world);
            self.model.lock().submit(&self.topics[topic].name, &payload, None, false);
            self.topics[topic].waiting += 1;
            body.extend_from_slice(self.topics[topic].name.as_bytes());
            body.push(b'\t');
            body.extend_from_slice(&payload);
            body.push(b'\n');
            items.push(Item { topic, at: None, snapshot: false, payload });
        }
        if !items.is_empty() {
            let bytes = with_body("/publish", "", Some(&body), &mut world.random);
            let line = world.random.below(2) as usize;
            self.lines[line].ask(world, &bytes, What::Batch(items));
        }
    }

    /// A second numberer: an epoch that is over, or none where the publisher numbers.
    fn publish_conflict(&mut self, world: &mut World) {
        let number = world.random.below(self.topics.len() as u64) as usize;
        let topic = &self.topics[number];
        if !topic.written || self.lines[number % 2].waiting() > 40 {
            return;
        }
        let query = match (&topic.next, topic.former.last()) {
            (None, _) => "?epoch=abc&n=7".to_string(),
            (Some(_), Some(former)) => format!("?epoch={former}&n=99999"),
            (Some(_), None) => String::new(),
        };
        let target = format!("/publish/{}{query}", topic.name);
        let bytes = with_body(&target, "", Some(b"never"), &mut world.random);
        self.lines[number % 2].ask(world, &bytes, What::Conflict);
    }

    fn hear(&mut self, fate: Fate<What>) {
        match fate {
            Fate::Answer(What::Conflict, status, body) => {
                let text = String::from_utf8_lossy(&body);
                assert!(matches!(status, 409 | 503), "a second numberer got {status} {text}");
            }
            Fate::Lost(What::Conflict) => {}
            Fate::Answer(What::One(item), status, body) => {
                let answer: Value = serde_json::from_slice(&body).expect("an answer in JSON");
                assert_eq!(answer["ok"] == true, status == 200, "{status} {answer}");
                self.settle(item, &answer);
            }
            Fate::Answer(What::Batch(items), status, body) => {
                let answer: Value = serde_json::from_slice(&body).expect("an answer in JSON");
                if status == 503 {
                    return items.into_iter().for_each(|item| self.settle(item, &answer));
                }
                let lines = answer["lines"].as_array().expect("an outcome for every line");
                assert_eq!(lines.len(), items.len(), "{answer}");
                for (item, line) in items.into_iter().zip(lines) {
                    self.settle(item, line);
                }
            }
            Fate::Lost(What::One(item)) => self.lost(item),
            Fate::Lost(What::Batch(items)) => items.into_iter().for_each(|item| self.lost(item)),
        }
    }

    fn lost(&mut self, item: Item) {
        let topic = &mut self.topics[item.topic];
        topic.waiting -= 1;
        if item.at.is_some() {
            topic.again.push_back(item);
        }
    }

    fn settle(&mut self, item: Item, answer: &Value) {
        let topic = &mut self.topics[item.topic];
        topic.waiting -= 1;
        if answer["error"] == "busy" {
            if item.at.is_some() {
                topic.again.push_back(item);
            }
            return;
        }
        let name = &topic.name;
        let place = answer["ep"].as_str().and_then(Epoch::parse).zip(answer["n"].as_u64());
        assert!(answer["error"].is_null(), "{name}: {:?}: {answer}", item.at);
        let place = place.expect("an answer says epoch and offset");
        topic.written = true;
        let mut model = self.model.lock();
        if answer["dup"] == true {
            assert_eq!(item.at, Some(place), "{name}: a repetition of another message");
            return;
        }
        model.observe(name, place, &item.payload, None);
        model.set_newest(name, place.0);
    }
}
