//! The consumer behind an agent: what it asks for, what is done to its connections, and when it has
//! everything.

use crate::base::name::TopicName;
use crate::base::random::Random;
use crate::base::time::{Instant, Span};
use crate::client::channel::Channel;
use crate::client::event::{ChannelKey, StreamState};
use crate::testing::deed::What;
use crate::testing::ledger::Shared;
use crate::testing::network::Network;
use crate::testing::pilot::Pilot;
use crate::testing::plan::{Numberer, Plan, TopicPlan};
use crate::testing::shadow::Seen;
use crate::testing::source::Source;
use crate::wire::open::OpenRequest;

/// A last word that is not answered within this span is said again.
const PATIENCE: Span = Span::from_millis(1_500);

/// The last send of a channel, to be answered.
#[derive(Clone, Debug)]
pub struct Word {
    at: Instant,
    payload: Vec<u8>,
}

impl Pilot {
    /// Does what a deed says of this agent.
    pub fn act(
        &mut self,
        what: What,
        long: bool,
        topics: &[TopicPlan],
        net: &mut Network,
        now: Instant,
        random: &mut Random,
    ) {
        let clock = self.clock(now);
        match what {
            What::Subscribe { channel, .. } => {
                self.subscribe(channel, topics, long, net.sites.len() == 1, now);
            }
            What::Unsubscribe { channel, .. } => {
                if let Some(key) = self.keys[channel].take() {
                    let over = self.shadow.channels.get(&key).is_some_and(|seen| seen.over);
                    let left = self.agent.unsubscribe(key, clock);
                    assert!(left.is_ok() || over, "a channel cannot be left: {left:?}");
                }
            }
            What::Send { channel, count, bye, .. } => {
                for index in 0..count {
                    self.send(channel, bye && index + 1 == count, now);
                }
            }
            What::Refresh { .. } => self.agent.refresh(clock),
            What::Ping { .. } => self.agent.ping(clock),
            What::AgentJump { span, .. } => self.ahead = self.ahead + span,
            What::Lag { span, .. } => {
                self.lag = span;
                self.cables().into_iter().for_each(|cable| cable.lag(span));
            }
            What::Twice { .. } => self.twice += 1 + random.below(3) as u32,
            what => self.harm(what, net, now, random),
        }
        self.drain(net, now);
    }

    /// Something happens to one of its connections.
    fn harm(&mut self, what: What, net: &mut Network, now: Instant, random: &mut Random) {
        let mut cables = self.cables();
        if cables.is_empty() {
            return;
        }
        let at = random.below(cables.len() as u64) as usize;
        let cable = &mut cables[at];
        let site = &mut net.sites[cable.site];
        match what {
            What::Cut { .. } => cable.cut(site, random, now),
            What::ClientVanishes { .. } => cable.vanish(site, now),
            What::ServerVanishes { .. } => cable.darken(site, random),
            What::Stall { span, .. } => cable.stall(now + span),
            _ => {}
        }
    }

    fn subscribe(
        &mut self,
        channel: usize,
        topics: &[TopicPlan],
        long: bool,
        alone: bool,
        now: Instant,
    ) {
        if self.keys[channel].is_some() {
            return;
        }
        let wants = &self.plan.channels[channel];
        let topic = &topics[wants.topic];
        let (resource, subject) = topic.name.split_once('/').unwrap_or_default();
        let Ok(name) = TopicName::new(resource, subject) else { return };
        let request = OpenRequest {
            mode: wants.mode,
            rate: wants.rate,
            strict: wants.strict,
            ..OpenRequest::new(name)
        };
        let folds = Channel::folds(&request);
        let numberer = topic.numberer;
        let key = self.agent.subscribe(request, self.clock(now));
        let key = key.expect("a channel that the agent does not have");
        self.keys[channel] = Some(key);
        let mut seen = Seen::new(topic.name, numberer, folds, long);
        seen.alone = alone;
        self.shadow.channels.insert(key, seen);
    }

    fn send(&mut self, channel: usize, bye: bool, now: Instant) -> Option<Vec<u8>> {
        let key = self.keys[channel]?;
        self.seq += 1;
        let start = if bye { "bye" } else { "say" };
        let payload = format!("{start} {}/{}/{}", self.id, channel, self.seq).into_bytes();
        self.shared.lock().inbound.send(self.id, self.seq, &payload);
        let sent = self.agent.send(key, payload.clone(), None, self.clock(now));
        match sent {
            Ok(id) => drop(self.shadow.undecided.insert(id, (key, payload.clone()))),
            Err(_) => self.shared.lock().inbound.withdraw(&payload),
        }
        Some(payload)
    }

    /// Says one last word on each channel that answers, until it is answered.
    pub fn last_words(&mut self, plan: &Plan, net: &mut Network, now: Instant) {
        for channel in 0..self.keys.len() {
            let numberer = plan.topics[self.plan.channels[channel].topic].numberer;
            let Some(key) = self.keys[channel].filter(|_| {
                matches!(numberer, Numberer::Board | Numberer::Echo)
                    && self.shadow.state == Some(StreamState::Live)
            }) else {
                continue;
            };
            let said = self.words.get(&channel);
            let waits = said.is_some_and(|word| now.since(word.at) < PATIENCE);
            if self.shadow.channels[&key].over || waits || self.is_heard(channel) {
                continue;
            }
            if let Some(payload) = self.send(channel, false, now) {
                self.words.insert(channel, Word { at: now, payload });
                self.drain(net, now);
            }
        }
    }

    /// Whether it can have a session on one server only.
    fn has_one_session(&self, net: &Network) -> bool {
        net.sites.len() == 1 || self.plan.settings.routes == 1
    }

    fn is_heard(&self, channel: usize) -> bool {
        let Some(word) = self.words.get(&channel) else { return false };
        let heard = [b"heard ".as_slice(), &word.payload].concat();
        let key = self.keys[channel];
        key.is_some_and(|key| self.shadow.channels[&key].heard.contains(&heard))
    }

    /// Why not everything is well with this agent, if it is not.
    pub fn unsettled(
        &self,
        plan: &Plan,
        net: &Network,
        source: &Source,
        shared: &Shared,
    ) -> Option<String> {
        if self.keys.iter().all(Option::is_none) {
            return (!self.shadow.undecided.is_empty()).then(|| "sends without a fate".into());
        }
        let state = self.shadow.state;
        if state != Some(StreamState::Live) || self.agent.state() != StreamState::Live {
            return Some(format!("it is {state:?}"));
        }
        let documents = self.agent.documents_running();
        if documents < 1 + usize::from(self.plan.settings.duplicates) {
            return Some(format!("it has {documents} documents"));
        }
        if let Some((key, payload)) = self.shadow.undecided.values().next() {
            return Some(format!("{key:?} {:?} has no fate", String::from_utf8_lossy(payload)));
        }
        for (channel, wants) in self.plan.channels.iter().enumerate() {
            let Some(key) = self.keys[channel] else { continue };
            let seen = &self.shadow.channels[&key];
            let there = seen.over
                || match plan.topics[wants.topic].numberer {
                    Numberer::Source => seen.place == source.head(wants.topic),
                    Numberer::Site => self.sites().into_iter().any(|site| {
                        let head = shared.lock().local_head(seen.topic, site);
                        net.sites[site].is_open() && seen.place == head
                    }),
                    // With sessions on several servers a consumer reads one server's topic, and
                    // may write to another's.
                    Numberer::Board | Numberer::Echo => {
                        self.is_heard(channel) || !self.has_one_session(net)
                    }
                };
            if !there {
                return Some(format!("{key:?} {} is at {:?}", seen.topic, seen.place));
            }
        }
        None
    }

    /// The channel that the last event was about, in words.
    pub fn focus_name(&self) -> Option<(ChannelKey, &'static str)> {
        let key = self.focus?;
        Some((key, self.shadow.channels.get(&key)?.topic))
    }
}
