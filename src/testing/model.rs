//! The shadow model: what was published and sent, and what any reader may say it has seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::base::id::{Epoch, Offset};
use crate::base::time::{Instant, Span};
use crate::proto::settings::History;

/// A place in a topic: epoch and offset.
pub type At = (Epoch, u64);

/// The model, shared with the resources of the world.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<Mutex<Model>>);

impl Shared {
    /// The model.
    ///
    /// # Panics
    ///
    /// If a check has failed before.
    pub fn lock(&self) -> MutexGuard<'_, Model> {
        self.0.lock().expect("no check has failed before")
    }
}

/// One message that somebody has tried to publish; payloads are unique.
#[derive(Clone, Debug)]
struct Submission {
    topic: String,
    numbered: Option<At>,
    snapshot: bool,
    /// The life of the server that it was last given to.
    life: u32,
    /// When it was given to that for the first time.
    at: Instant,
    place: Option<At>,
}

/// What became known of a topic in one life of the server.
#[derive(Debug, Default)]
struct Track {
    submitted: u64,
    bytes: u64,
    taken: BTreeMap<Epoch, BTreeSet<u64>>,
    newest: Option<Epoch>,
}

/// A reader went from one epoch to the next as if nothing lay between.
#[derive(Debug)]
struct Claim {
    topic: String,
    life: u32,
    left: At,
    entered: At,
}

/// What a resource got on one channel number of one session.
#[derive(Debug)]
struct Received {
    next: u64,
    skipped: Vec<(u64, u64)>,
}

impl Default for Received {
    fn default() -> Self {
        Self { next: 1, skipped: Vec::new() }
    }
}

/// What was published and sent.
#[derive(Debug, Default)]
pub struct Model {
    /// Now.
    pub now: Instant,
    /// The life of the server.
    pub life: u32,
    /// The history that topics keep.
    pub history: History,
    /// Whether histories are cut because all together are too large, so that any gap may be.
    pub cut: bool,
    submissions: BTreeMap<Vec<u8>, Submission>,
    places: BTreeMap<(String, Epoch, u64), Vec<u8>>,
    tracks: BTreeMap<(String, u32), Track>,
    claims: Vec<Claim>,
    received: BTreeMap<(u64, u32), Received>,
    outcomes: BTreeMap<(u64, u32, u64), (u32, BTreeSet<String>)>,
}

impl Model {
    /// Somebody tries to publish.
    pub fn submit(&mut self, topic: &str, payload: &[u8], numbered: Option<At>, snapshot: bool) {
        let track = self.tracks.entry((topic.to_string(), self.life)).or_default();
        track.submitted += 1;
        track.bytes += payload.len() as u64 + 400;
        let (life, at) = (self.life, self.now);
        let submission =
            Submission { topic: topic.to_string(), numbered, snapshot, life, at, place: None };
        let known = self.submissions.entry(payload.to_vec()).or_insert(submission);
        assert_eq!(known.numbered, numbered, "a payload was used twice");
        if known.life != life {
            (known.life, known.at) = (life, at);
        }
    }

    /// Somebody says that a message has this place: a publish answer (without `snapshot`) or a
    /// reader.
    pub fn observe(&mut self, topic: &str, at: At, payload: &[u8], snapshot: Option<bool>) {
        let text = String::from_utf8_lossy(payload);
        let Some(submission) = self.submissions.get_mut(payload) else {
            panic!("{topic} {at:?}: nobody has published {text:?}");
        };
        assert_eq!(submission.topic, topic, "{text:?} was not published on this topic");
        if let Some(numbered) = submission.numbered {
            assert_eq!(numbered, at, "{text:?} of {topic} has another number");
        }
        if let Some(snapshot) = snapshot {
            assert_eq!(submission.snapshot, snapshot, "the snapshot flag of {text:?} of {topic}");
        }
        let place = *submission.place.get_or_insert(at);
        assert_eq!(place, at, "{text:?} of {topic} stands at two places");
        let held = self.places.entry((topic.to_string(), at.0, at.1));
        let held = held.or_insert_with(|| payload.to_vec());
        assert_eq!(held, payload, "{topic} {at:?} is two messages");
        let track = self.tracks.entry((topic.to_string(), self.life)).or_default();
        track.taken.entry(at.0).or_default().insert(at.1);
    }

    /// The topic's present epoch, by the last answer of its publisher.
    pub fn set_newest(&mut self, topic: &str, epoch: Epoch) {
        let track = self.tracks.entry((topic.to_string(), self.life)).or_default();
        track.newest = Some(epoch);
    }

    /// The place of the topic's newest message in this life.
    pub fn head(&self, topic: &str) -> Option<At> {
        let track = self.tracks.get(&(topic.to_string(), self.life))?;
        let epoch = track.newest?;
        Some((epoch, *track.taken.get(&epoch)?.last()?))
    }

    /// Whether a publisher's epoch was begun in this life.
    pub fn knows_epoch(&self, topic: &str, epoch: Epoch) -> bool {
        let track = self.tracks.get(&(topic.to_string(), self.life));
        track.is_some_and(|track| track.taken.contains_key(&epoch))
    }

    /// Whether somebody has tried to publish on the topic in this life.
    pub fn is_submitted(&self, topic: &str) -> bool {
        self.tracks.get(&(topic.to_string(), self.life)).is_some_and(|track| track.submitted > 0)
    }

    /// A reader was told that the messages after `base` and up to `to` of this epoch are missing.
    ///
    /// # Panics
    ///
    /// If one of them exists and the history's bounds cannot have passed it.
    pub fn check_gap(&self, topic: &str, epoch: Epoch, base: u64, to: u64) {
        assert!(to > base, "{topic}: a gap of nothing");
        let Some(track) = self.tracks.get(&(topic.to_string(), self.life)) else { return };
        let Some(taken) = track.taken.get(&epoch) else { return };
        let Some(&last) = taken.range(base + 1..=to).next_back() else { return };
        let older = taken.range(..=last).count() as u64;
        let counted = track.submitted - older >= u64::from(self.history.messages_max);
        let heavy = track.bytes >= u64::from(self.history.bytes_max);
        let payload = &self.places[&(topic.to_string(), epoch, last)];
        let age = self.now.since(self.submissions[payload].at);
        let aged = age + Span::from_millis(50) > self.history.age_max;
        assert!(
            counted || heavy || aged || self.cut,
            "{topic}: a gap {epoch}:{base}..{to} was declared, but {last} must still be kept: at \
             most {} messages after it, {age} old",
            track.submitted - older,
        );
    }

    /// A reader went on in the next epoch as if nothing lay between.
    pub fn claim(&mut self, topic: &str, left: At, entered: At) {
        self.claims.push(Claim { topic: topic.to_string(), life: self.life, left, entered });
    }

    /// A message has reached a resource.
    pub fn receive(&mut self, mid: u64, cid: u32, n: u64) {
        let received = self.received.entry((mid, cid)).or_default();
        assert_eq!(n, received.next, "{mid}/{cid}: sends out of order or repeated");
        received.next += 1;
    }

    /// A resource was told that numbers were given up.
    pub fn skip(&mut self, mid: u64, cid: u32, from: u64, to: u64) {
        let received = self.received.entry((mid, cid)).or_default();
        assert_eq!(from, received.next, "{mid}/{cid}: numbers given up out of order");
        assert!(to >= from);
        received.skipped.push((from, to));
        received.next = to + 1;
    }

    /// A client was told what became of a send.
    pub fn told(&mut self, mid: u64, cid: u32, n: u64, outcome: &str) {
        let entry = self.outcomes.entry((mid, cid, n)).or_insert((self.life, BTreeSet::new()));
        entry.1.insert(outcome.to_string());
    }

    /// The last number that a resource got on a channel number of a session.
    pub fn last_received(&self, mid: u64, cid: u32) -> u64 {
        self.received.get(&(mid, cid)).map_or(0, |received| received.next - 1)
    }

    /// Whether all sends said to be taken in this life have reached their resource.
    ///
    /// # Panics
    ///
    /// If what clients were told is not what happened.
    pub fn check_life(&self) {
        for (&(mid, cid, n), (life, outcomes)) in &self.outcomes {
            if *life != self.life {
                continue;
            }
            let received = self.received.get(&(mid, cid));
            let passed = received.is_some_and(|received| n < received.next);
            let skipped = received.is_some_and(|received| {
                received.skipped.iter().any(|&(from, to)| (from..=to).contains(&n))
            });
            let taken = outcomes.contains("taken") || outcomes.contains("dup");
            assert!(
                !taken || (passed && !skipped),
                "send {mid}/{cid}/{n} was answered {outcomes:?} and never reached its resource"
            );
            assert!(
                !outcomes.contains("skipped") || skipped,
                "send {mid}/{cid}/{n} was answered {outcomes:?} and was not given up"
            );
        }
        for claim in self.claims.iter().filter(|claim| claim.life == self.life) {
            let track = self.tracks.get(&(claim.topic.clone(), claim.life));
            let taken = |epoch| track.and_then(|track: &Track| track.taken.get(&epoch));
            let left = taken(claim.left.0).and_then(|set| set.range(claim.left.1 + 1..).next());
            let entered =
                taken(claim.entered.0).and_then(|set| set.range(..=claim.entered.1).next());
            assert!(
                left.is_none() && entered.is_none(),
                "a reader was led from {:?} to {:?} of {} past {left:?} and {entered:?}",
                claim.left,
                claim.entered,
                claim.topic
            );
        }
    }
}

/// An epoch and offset as the model writes them.
pub fn at(epoch: Epoch, n: Offset) -> At {
    (epoch, n.0)
}
