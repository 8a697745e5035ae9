//! Publishers of the large world: the same numbers for every server, in order; and words for each
//! server alone.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::base::id::Epoch;
use crate::base::random::Random;
use crate::proto::connection::Door;
use crate::testing::ledger::Shared;
use crate::testing::lines::{Fate, Line};
use crate::testing::model::At;
use crate::testing::net::Side;
use crate::testing::plan::{Numberer, TopicPlan};
use crate::testing::requests::with_body;
use crate::testing::site::Site;

/// Connections to each server.
const LINES: usize = 2;

/// A topic at its publisher.
#[derive(Debug)]
struct Topic {
    name: &'static str,
    numbers: bool,
    next: At,
    items: Vec<(At, Vec<u8>)>,
    words: u64,
}

/// How far a server has come with a topic.
#[derive(Clone, Copy, Debug, Default)]
struct Front {
    /// The first item that this life of the server was given, or will be.
    first: usize,
    /// The next item to give; those before were taken.
    next: usize,
    /// Whether it is on its way.
    asked: bool,
}

/// What a request was for.
#[derive(Debug)]
enum What {
    Numbered { topic: usize, item: usize },
    Again,
    Local { topic: usize, payload: Vec<u8> },
}

/// Publishes on all topics, at all servers.
#[derive(Debug)]
pub struct Source {
    topics: Vec<Topic>,
    fronts: BTreeMap<(usize, usize), Front>,
    lines: Vec<Vec<Line<What>>>,
    shared: Shared,
    random: Random,
}

impl Source {
    /// A publisher of `topics` at `sites` servers.
    pub fn new(topics: &[TopicPlan], sites: usize, shared: Shared, mut random: Random) -> Self {
        let topic = |plan: &TopicPlan| Topic {
            name: plan.name,
            numbers: plan.numberer == Numberer::Source,
            next: (Epoch(random.below(1 << 40)), 1),
            items: Vec::new(),
            words: 0,
        };
        let topics = topics.iter().map(topic).collect();
        let line = || Line::new(Door::Private);
        let lines = (0..sites).map(|_| (0..LINES).map(|_| line()).collect()).collect();
        Self { topics, fronts: BTreeMap::new(), lines, shared, random }
    }

    /// Publishes `count` messages.
    pub fn publish(&mut self, topic: usize, count: u64, sites: &mut [Site], random: &mut Random) {
        for _ in 0..count {
            if self.topics[topic].numbers {
                let about = &mut self.topics[topic];
                let at = about.next;
                about.next.1 += 1;
                let head = format!("{} {}:{}", about.name, at.0, at.1);
                let payload = filled(&head, random);
                self.shared.lock().number(about.name, at, &payload);
                about.items.push((at, payload));
                continue;
            }
            for (site, server) in sites.iter_mut().enumerate().filter(|(_, site)| site.is_open()) {
                let about = &mut self.topics[topic];
                about.words += 1;
                let head = format!("{} word {} for {site}", about.name, about.words);
                let payload = filled(&head, random);
                self.shared.lock().give_local(about.name, site, &payload);
                let target = format!("/publish/{}", about.name);
                let bytes = with_body(&target, "", Some(&payload), &mut self.random);
                let line = &mut self.lines[site][topic % LINES];
                line.ask(&mut server.world, &bytes, What::Local { topic, payload });
            }
        }
    }

    /// A new epoch begins with the next message.
    pub fn begin_epoch(&mut self, topic: usize, random: &mut Random) {
        self.topics[topic].next = (Epoch(random.next()), 1 + random.below(3));
    }

    /// Numbers are passed over.
    pub fn pass_over(&mut self, topic: usize, count: u64) {
        self.topics[topic].next.1 += count;
    }

    /// A message that a server has is given to it again, over a connection of its own.
    pub fn repeat(&mut self, topic: usize, sites: &mut [Site], random: &mut Random) {
        for site in sites.iter_mut().filter(|site| site.is_open()) {
            let front = self.fronts.get(&(topic, site.index)).copied().unwrap_or_default();
            let about = &self.topics[topic];
            let Some(last) = front.next.checked_sub(1).filter(|_| about.numbers) else { continue };
            let item = last - random.below(last.min(3) as u64 + 1) as usize;
            let (at, payload) = &about.items[item];
            if item < front.first || at.0 != about.items[last].0.0 {
                continue;
            }
            let bytes = numbered(about.name, *at, payload, &mut self.random);
            let other = (topic + 1) % LINES;
            self.lines[site.index][other].ask(&mut site.world, &bytes, What::Again);
        }
    }

    /// The connections to a server are reset.
    pub fn cut(&mut self, site: &mut Site) {
        for line in &mut self.lines[site.index] {
            line.cut(&mut site.world, Side::Reset);
        }
        self.listen(site);
    }

    /// A server has started anew: the last `again` messages are given again, and what follows.
    pub fn restarted(&mut self, site: &mut Site, again: u64) {
        self.cut(site);
        for (topic, about) in self.topics.iter().enumerate() {
            let next = about.items.len().saturating_sub(again as usize);
            self.fronts.insert((topic, site.index), Front { first: next, next, asked: false });
        }
    }

    /// Takes answers, and gives each server what it has not got.
    pub fn turn(&mut self, sites: &mut [Site]) {
        for site in sites {
            self.listen(site);
            if site.is_open() {
                for topic in 0..self.topics.len() {
                    self.give(topic, site);
                }
            }
        }
    }

    /// Whether every server has everything and no answer is outstanding.
    pub fn is_settled(&self, sites: usize) -> bool {
        let has = |topic: usize, site: usize| {
            let front = self.fronts.get(&(topic, site)).copied().unwrap_or_default();
            front.next == self.topics[topic].items.len()
        };
        let all = (0..self.topics.len()).all(|topic| (0..sites).all(|site| has(topic, site)));
        all && self.lines.iter().flatten().all(|line| line.waiting() == 0)
    }

    /// The place of the last message that a topic's publisher has numbered.
    pub fn head(&self, topic: usize) -> Option<At> {
        self.topics[topic].items.last().map(|(at, _)| *at)
    }

    fn give(&mut self, topic: usize, site: &mut Site) {
        let about = &self.topics[topic];
        let front = self.fronts.entry((topic, site.index)).or_default();
        if front.asked || front.next == about.items.len() {
            return;
        }
        front.asked = true;
        let (at, payload) = &about.items[front.next];
        self.shared.lock().give(about.name, site.index, *at, payload);
        let bytes = numbered(about.name, *at, payload, &mut self.random);
        let what = What::Numbered { topic, item: front.next };
        self.lines[site.index][topic % LINES].ask(&mut site.world, &bytes, what);
    }

    fn listen(&mut self, site: &mut Site) {
        for line in 0..LINES {
            for fate in self.lines[site.index][line].take(&mut site.world) {
                self.hear(site.index, fate);
            }
        }
    }

    fn hear(&mut self, site: usize, fate: Fate<What>) {
        let (what, answer) = match fate {
            Fate::Answer(what, status, body) => {
                let text = String::from_utf8_lossy(&body).into_owned();
                let answer: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
                assert_eq!(answer["ok"] == true, status == 200, "{what:?}: {status} {text}");
                (what, Some(answer))
            }
            Fate::Lost(what) => (what, None),
        };
        let place = answer.as_ref().and_then(|answer| {
            let ep = answer["ep"].as_str().and_then(Epoch::parse)?;
            Some((ep, answer["n"].as_u64()?))
        });
        let busy = answer.as_ref().is_some_and(|answer| answer["error"] == "busy");
        match what {
            What::Again => {}
            What::Local { topic, payload } => {
                if let Some(at) = place {
                    self.shared.lock().observe(self.topics[topic].name, at, &payload);
                } else {
                    assert!(answer.is_none() || busy, "{}: {answer:?}", self.topics[topic].name);
                }
            }
            What::Numbered { topic, item } => {
                let (name, (at, _)) = (self.topics[topic].name, &self.topics[topic].items[item]);
                let Some(front) = self.fronts.get_mut(&(topic, site)) else { return };
                if front.next != item {
                    return; // the server was started anew meanwhile
                }
                front.asked = false;
                if let Some(answer) = answer.filter(|_| !busy) {
                    assert_eq!(place, Some(*at), "{name}: in order from its publisher: {answer}");
                    front.next += 1;
                }
            }
        }
    }
}

fn numbered(name: &str, at: At, payload: &[u8], random: &mut Random) -> Vec<u8> {
    let target = format!("/publish/{name}?epoch={}&n={}", at.0, at.1);
    with_body(&target, "", Some(payload), random)
}

/// `head`, and something behind it: text to be escaped, binary, long or nothing.
fn filled(head: &str, random: &mut Random) -> Vec<u8> {
    let mut payload = format!("{head} ").into_bytes();
    match random.below(40) {
        0 => payload.resize(1_000 + random.below(20_000) as usize, b'x'),
        1..=4 => payload.extend_from_slice(b"a < b && c > d\r\n\t"),
        5 => payload.extend_from_slice(&[0, 1, 0xff, 0x7f]),
        _ => payload.resize(payload.len() + random.below(60) as usize, b'.'),
    }
    payload
}
