//! At the shard of a session: a topic's home has ruled over an open.

use crate::base::id::{Cid, Epoch, Key, Offset, ShardId};
use crate::base::name::TopicName;
use crate::base::reason::ErrorCode;
use crate::proto::hub::Hub;
use crate::proto::parcel::{Ask, Parcel, Ruling};
use crate::proto::run::Place;
use crate::proto::topic::Role;

/// Other subjects that a resource may name for one open.
const HOPS_MAX: u8 = 4;

impl Hub {
    /// The home has ruled.
    pub(crate) fn take_ruling(&mut self, ask: Key, name: &TopicName, ruling: Ruling) {
        if let Some(count) = self.asks.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                self.asks.remove(name);
            }
        }
        match ruling {
            Ruling::Denied(code, detail) => self.settle_opening(ask, Err((code, detail))),
            Ruling::Private(options, source, access) => {
                let Some(number) = self.number_private(ask) else {
                    // The channel was closed meanwhile.
                    if let Some((home, want)) = source {
                        self.post(home, Parcel::Release(want));
                    }
                    return;
                };
                let end = Place { place: 0, epoch: Epoch(self.random.next()), offset: Offset(1) };
                let slot = self.add_topic(name.clone(), number, options, Role::Private, end);
                self.set_access_of(slot, access);
                self.join_source(slot, source);
                self.settle_opening(ask, Ok(slot));
            }
            Ruling::Elsewhere(other) => self.ask_elsewhere(ask, other),
            Ruling::Shared { number, options, end, access, runs } => {
                let slot = self.topics.find(name).unwrap_or_else(|| {
                    let home = self.home_of(name);
                    let first = runs.first().map_or(end, |run| Place {
                        place: run.first_place,
                        epoch: run.epoch,
                        offset: run.first_offset,
                    });
                    let role = Role::Follower(home);
                    self.add_topic(name.clone(), number, options, role, first)
                });
                for run in runs {
                    let Some(topic) = self.topics.slots.at(slot) else { break };
                    if run.first_place >= topic.log.end().place {
                        self.append(slot, run);
                    }
                }
                self.set_access_of(slot, access);
                self.settle_opening(ask, Ok(slot));
            }
        }
    }

    /// A private topic is served by a resource in another process: its home hears which it is.
    fn join_source(&mut self, slot: u32, source: Option<(ShardId, Key)>) {
        let Some((home, want)) = source else { return };
        let Some(key) = self.topics.slots.key_at(slot) else { return };
        if let Some(topic) = self.topics.slots.get_mut(key) {
            topic.source = source;
        }
        self.post(home, Parcel::Joined(want, self.shard, key));
    }

    /// The resource has the channel read another subject.
    fn ask_elsewhere(&mut self, ask: Key, name: TopicName) {
        let Some(opening) = self.openings.get_mut(ask) else { return };
        opening.hops += 1;
        if opening.hops > HOPS_MAX {
            let detail = "the resource leads from one subject to the next";
            return self.settle_opening(ask, Err((ErrorCode::NoResource, detail.to_string())));
        }
        let asked = std::mem::replace(&mut opening.name, name.clone());
        opening.asked.get_or_insert(asked);
        let asking = opening.asking.clone();
        let (consumer, parameters) = (opening.consumer.clone(), opening.parameters.clone());
        if let Err(refusal) = self.admit(&asking, &name, None) {
            return self.settle_opening(ask, Err(refusal));
        }
        let home = self.home_of(&name);
        *self.asks.entry(name.clone()).or_default() += 1;
        let ask = Ask { shard: self.shard, ask, name, consumer, asking, parameters };
        self.post(home, Parcel::Ask(Box::new(ask)));
    }

    /// The number of a private topic, which only its session needs to tell from others.
    fn number_private(&mut self, ask: Key) -> Option<Cid> {
        let session = self.sessions.get_mut(self.openings.get(ask)?.session)?;
        let number = Cid::PRIVATE_FIRST.checked_add(session.privates)?;
        session.privates += 1;
        Some(Cid(number))
    }
}
