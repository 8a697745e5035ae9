//! What consumers sent, what reached the resources of all servers, and what consumers were told.

use std::collections::HashMap;

use crate::base::id::Epoch;
use crate::client::event::Fate;
use crate::testing::ledger::Life;
use crate::testing::model::At;

/// A channel number of a session of one process.
pub type Place = (Life, u64, u32);

/// One send of a consumer.
#[derive(Debug, Default)]
struct Sent {
    agent: usize,
    seq: u64,
    received: Vec<(Place, u64)>,
    fates: Vec<Fate>,
    /// The process ended between the answer and the resource.
    lost: bool,
}

/// What a resource got on one channel number of one session.
#[derive(Debug, Default)]
struct Line {
    last: u64,
    seq: u64,
    replies: Vec<Vec<u8>>,
}

/// Sends and what became of them.
#[derive(Debug, Default)]
pub struct Inbound {
    sends: HashMap<Vec<u8>, Sent>,
    lines: HashMap<Place, Line>,
    /// Whose private topic an epoch is.
    privates: HashMap<(String, Epoch), Place>,
}

impl Inbound {
    /// A consumer sends.
    pub fn send(&mut self, agent: usize, seq: u64, payload: &[u8]) {
        let sent = Sent { agent, seq, ..Sent::default() };
        assert!(self.sends.insert(payload.to_vec(), sent).is_none(), "a payload is used twice");
    }

    /// The agent has not taken it.
    pub fn withdraw(&mut self, payload: &[u8]) {
        self.sends.remove(payload);
    }

    /// A message has reached a resource.
    ///
    /// # Panics
    ///
    /// If it was not sent, comes a second time, or out of order.
    pub fn receive(&mut self, place: Place, n: u64, payload: &[u8]) {
        let text = String::from_utf8_lossy(payload);
        let Some(sent) = self.sends.get_mut(payload) else {
            panic!("{place:?} {n}: nobody has sent {text:?}");
        };
        sent.received.push((place, n));
        assert!(sent.received.len() == 1, "{text:?} was delivered twice: {:?}", sent.received);
        let line = self.lines.entry(place).or_default();
        assert!(n == line.last + 1, "{place:?}: {n} was delivered after {}", line.last);
        assert!(sent.seq > line.seq, "{place:?}: {text:?} was delivered out of order");
        line.last = n;
        line.seq = sent.seq;
    }

    /// A resource was told that numbers were given up.
    pub fn skip(&mut self, place: Place, from: u64, to: u64) {
        let line = self.lines.entry(place).or_default();
        assert!(from == line.last + 1, "{place:?}: {from} was given up after {}", line.last);
        line.last = to;
    }

    /// A resource says this on a private channel.
    pub fn reply(&mut self, place: Place, payload: &[u8]) {
        self.lines.entry(place).or_default().replies.push(payload.to_vec());
    }

    /// Whether a send of `agent` has reached a resource.
    pub fn has_come(&self, payload: &[u8]) -> bool {
        self.sends.get(payload).is_some_and(|sent| !sent.received.is_empty())
    }

    /// A process has ended with this on the way to its resource.
    pub fn lose(&mut self, payload: &[u8]) {
        if let Some(sent) = self.sends.get_mut(payload) {
            sent.lost = true;
        }
    }

    /// A consumer was told what became of a send.
    pub fn tell(&mut self, payload: &[u8], fate: Fate) {
        let text = String::from_utf8_lossy(payload);
        let sent = self.sends.get_mut(payload).expect("a fate belongs to a send");
        assert!(sent.fates.is_empty(), "{text:?} has a second fate: {:?}, {fate:?}", sent.fates);
        sent.fates.push(fate);
    }

    /// A consumer says that `payload` stands at a place of its private topic.
    pub fn observe(&mut self, topic: &str, agent: usize, at: At, payload: &[u8]) {
        let text = String::from_utf8_lossy(payload);
        let key = (topic.to_string(), at.0);
        let place = match self.privates.get(&key) {
            Some(place) => *place,
            None => {
                let says = |line: &Line| {
                    line.replies.get(at.1 as usize - 1).is_some_and(|reply| reply == payload)
                };
                let found = self.lines.iter().find(|(_, line)| says(line));
                let Some((place, _)) = found else {
                    panic!("{topic} {at:?}: no resource has said {text:?} there");
                };
                *self.privates.entry(key).or_insert(*place)
            }
        };
        let said = self.lines.get(&place).and_then(|line| line.replies.get(at.1 as usize - 1));
        assert!(said.is_some_and(|said| said == payload), "{topic} {at:?} is not {text:?}");
        let own = payload.strip_prefix(b"heard ").and_then(|rest| self.sends.get(rest));
        assert!(own.is_some_and(|sent| sent.agent == agent), "{text:?} is not for agent {agent}");
    }

    /// Every send of `agent` has one fate, and that is what happened. `doubled`: the network has
    /// brought commands of the agent twice, so that one of them may be refused and another taken.
    ///
    /// # Panics
    ///
    /// If a consumer was told what is not so.
    pub fn check(&self, agent: usize, doubled: bool) {
        for (payload, sent) in self.sends.iter().filter(|(_, sent)| sent.agent == agent) {
            let text = String::from_utf8_lossy(payload);
            let times = sent.received.len();
            match sent.fates.first() {
                None => panic!("{text:?} has no fate"),
                Some(Fate::Taken) => {
                    assert!(times == 1 || sent.lost, "{text:?} was taken and never delivered");
                }
                Some(Fate::Unknown) => {}
                Some(Fate::Refused(_)) if doubled => {}
                Some(fate) => assert!(times == 0, "{text:?} is {fate:?} and was delivered"),
            }
        }
    }

    /// How many sends there were, and how many have reached a resource.
    pub fn counts(&self) -> (usize, usize) {
        let received = self.sends.values().filter(|sent| !sent.received.is_empty());
        (self.sends.len(), received.count())
    }
}
