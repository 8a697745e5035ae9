//! What was published and sent in the large world, and what anybody may say of it.
//!
//! A message has one place on every server, or its server's own; a payload is never used twice. So
//! whoever says "this stands at that place" is either right or found out.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::base::id::Epoch;
use crate::base::time::{Instant, Span};
use crate::proto::settings::History;
use crate::testing::inbound::Inbound;
use crate::testing::model::At;

/// A process of a server: the server and how often it was started.
pub type Life = (usize, u32);

/// Bytes that a message takes in a history, at most, beside its payload.
const OVERHEAD: u64 = 400;
/// How much later than a publisher's word a message may have got its age.
const SLACK: Span = Span::from_millis(1_000);

/// The ledger, shared with the resources of the world.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<Mutex<Ledger>>);

impl Shared {
    /// The ledger, also after a check has failed in somebody's hands.
    pub fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What somebody wrote on a topic that servers number.
#[derive(Debug)]
struct Local {
    topic: String,
    life: Life,
    about: Kept,
    place: Option<At>,
}

/// A message in the history of one process.
#[derive(Clone, Copy, Debug)]
struct Kept {
    index: u64,
    /// Of all up to this one.
    bytes: u64,
    /// Of this one.
    size: u64,
    at: Instant,
}

/// What one process was given on one topic.
#[derive(Debug, Default)]
struct Given {
    count: u64,
    bytes: u64,
    places: BTreeMap<At, Kept>,
    newest: Option<At>,
}

impl Given {
    fn add(&mut self, payload: &[u8], at: Instant) -> Kept {
        let size = payload.len() as u64 * 5 + OVERHEAD;
        self.count += 1;
        self.bytes += size;
        Kept { index: self.count, bytes: self.bytes, size, at }
    }

    /// How many messages, of how many bytes, may have come after one. Where the server numbers,
    /// that is in the order in which they arrived, and not all places are known yet.
    fn after(&self, at: At, kept: &Kept, local: bool) -> (u64, u64) {
        if !local {
            return (self.count - kept.index, self.bytes - kept.bytes);
        }
        let before = self.places.range((at.0, 0)..=at);
        before.fold((self.count, self.bytes), |(count, bytes), (_, kept)| {
            (count - 1, bytes - kept.size)
        })
    }

    /// Whether the bounds of the history cannot have passed a message.
    fn must_keep(kept: &Kept, (count, bytes): (u64, u64), history: &History, now: Instant) -> bool {
        let counted = count >= u64::from(history.messages_max);
        let heavy = bytes >= u64::from(history.bytes_max);
        let aged = now.since(kept.at) + SLACK > history.age_max;
        !(counted || heavy || aged)
    }
}

/// What the ledger knows of a server.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Its present process.
    pub life: u32,
    /// Its clock.
    pub now: Instant,
    /// The history that it keeps.
    pub history: History,
}

/// What was published and sent.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The servers.
    pub sites: Vec<Standing>,
    /// What consumers sent, and what reached resources.
    pub inbound: Inbound,
    numbered: BTreeMap<(String, Epoch, u64), Vec<u8>>,
    local: HashMap<Vec<u8>, Local>,
    /// Whose an epoch is that a server began by itself.
    epochs: HashMap<(String, Epoch), Life>,
    given: HashMap<(String, Life), Given>,
}

impl Ledger {
    /// The present process of a server.
    pub fn life(&self, site: usize) -> Life {
        (site, self.sites[site].life)
    }

    /// A publisher gives a message its number.
    pub fn number(&mut self, topic: &str, at: At, payload: &[u8]) {
        let before = self.numbered.insert((topic.to_string(), at.0, at.1), payload.to_vec());
        assert!(before.is_none(), "the publisher uses {topic} {at:?} twice");
    }

    /// A numbered message is on its way to a server.
    pub fn give(&mut self, topic: &str, site: usize, at: At, payload: &[u8]) {
        let (life, now) = (self.life(site), self.sites[site].now);
        let given = self.given.entry((topic.to_string(), life)).or_default();
        if !given.places.contains_key(&at) {
            let kept = given.add(payload, now);
            given.places.insert(at, kept);
        }
    }

    /// A message that the server will number is on its way to it.
    pub fn give_local(&mut self, topic: &str, site: usize, payload: &[u8]) {
        let (life, now) = (self.life(site), self.sites[site].now);
        let given = self.given.entry((topic.to_string(), life)).or_default();
        let about = given.add(payload, now);
        let item = Local { topic: topic.to_string(), life, about, place: None };
        let before = self.local.insert(payload.to_vec(), item);
        assert!(before.is_none(), "a payload is used twice");
    }

    /// Somebody says that a message stands at a place of a topic that many read.
    ///
    /// # Panics
    ///
    /// If that is not so.
    pub fn observe(&mut self, topic: &str, at: At, payload: &[u8]) {
        let text = || String::from_utf8_lossy(&payload[..payload.len().min(60)]).into_owned();
        if let Some(expected) = self.numbered.get(&(topic.to_string(), at.0, at.1)) {
            assert!(expected == payload, "{topic} {at:?} is not {:?}", text());
            return;
        }
        let Some(item) = self.local.get_mut(payload) else {
            panic!("nobody has published {:?} at {topic} {at:?}", text());
        };
        assert_eq!(item.topic, topic, "{:?} was published on another topic", text());
        let place = *item.place.get_or_insert(at);
        assert_eq!(place, at, "{:?} of {topic} stands at two places", text());
        let life = *self.epochs.entry((topic.to_string(), at.0)).or_insert(item.life);
        assert_eq!(life, item.life, "{topic} {at:?}: the epoch is of another process");
        let given = self.given.entry((topic.to_string(), life)).or_default();
        let held = given.places.entry(at).or_insert(item.about);
        assert_eq!(held.index, item.about.index, "{topic} {at:?} is two messages");
        given.newest = given.newest.max(Some(at));
    }

    /// A consumer is told that what lies after `from` and up to `to` is missing. `visited`: the
    /// processes of which it has had a document of late.
    ///
    /// # Panics
    ///
    /// If one of the messages exists and no process that it has visited can have lost it.
    pub fn check_gap(&self, topic: &str, ep: Epoch, (from, to): (u64, u64), visited: &[Life]) {
        let name = || (topic.to_string(), ep);
        let owner = self.epochs.get(&name()).copied();
        let last = match owner {
            Some(life) => self.given.get(&(topic.to_string(), life)).and_then(|given| {
                let found = given.places.range((ep, from + 1)..=(ep, to)).next_back();
                found.map(|(at, _)| at.1)
            }),
            None => {
                let key = |n| (topic.to_string(), ep, n);
                self.numbered.range(key(from + 1)..=key(to)).next_back().map(|(key, _)| key.2)
            }
        };
        let Some(last) = last else { return };
        let owned = owner.map(|life| vec![life]);
        let lives = owned.as_deref().unwrap_or(visited);
        let mut why = Vec::new();
        for life in lives {
            let Some(given) = self.given.get(&(topic.to_string(), *life)) else { continue };
            let site = &self.sites[life.0];
            match given.places.get(&(ep, last)) {
                Some(kept) => {
                    let after = given.after((ep, last), kept, owner.is_some());
                    if !Given::must_keep(kept, after, &site.history, site.now) {
                        return;
                    }
                    why.push(format!(
                        "{life:?} must keep it: given {} ago, {} after it",
                        site.now.since(kept.at),
                        after.0
                    ));
                }
                None => {
                    let mut later = given.places.range((ep, last + 1)..=(ep, u64::MAX));
                    if later.next().is_some() {
                        return;
                    }
                    why.push(format!("{life:?} has nothing after it"));
                }
            }
        }
        panic!("{topic}: a gap {ep}:{from}..{to} was declared, but {last} exists: {why:?}");
    }

    /// The newest message that a publisher has numbered in an epoch.
    pub fn last_of(&self, topic: &str, ep: Epoch) -> Option<u64> {
        let key = |n| (topic.to_string(), ep, n);
        self.numbered.range(key(0)..=key(u64::MAX)).next_back().map(|(key, _)| key.2)
    }

    /// The newest place of a topic that a server numbers, in its present process.
    pub fn local_head(&self, topic: &str, site: usize) -> Option<At> {
        self.given.get(&(topic.to_string(), self.life(site)))?.newest
    }
}
