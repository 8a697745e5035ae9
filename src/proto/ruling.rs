//! At a topic's home: whether a consumer may read it, and who follows.

use crate::base::id::{Cid, Epoch, Offset};
use crate::base::name::TopicName;
use crate::base::reason::ErrorCode;
use crate::proto::flushing::Held;
use crate::proto::hub::Hub;
use crate::proto::log::Log;
use crate::proto::parcel::{Ask, Parcel, Ruling};
use crate::proto::resource::{Decision, TopicOptions};
use crate::proto::run::{Place, RunBuilder};
use crate::proto::topic::{Follower, Numbering, Role, Told, Topic};
use crate::proto::waking::Round;

impl Hub {
    /// At the home: decides, and lets the asking shard follow.
    pub(crate) fn take_ask(&mut self, ask: Ask) {
        match self.rule(&ask) {
            Some(ruling) => {
                self.post(ask.shard, Parcel::Ruling(ask.ask, ask.name, Box::new(ruling)));
            }
            None => self.seek(ask, false),
        }
    }

    /// The ruling; `None` if a resource in another process must be asked.
    fn rule(&mut self, ask: &Ask) -> Option<Ruling> {
        let mut existing = self.topics.find(&ask.name);
        let elsewhere = self.remote.upstream.is_some();
        if let Some(slot) = existing
            && elsewhere
            && self
                .topics
                .slots
                .at(slot)
                .is_some_and(|topic| topic.log.ended() && !topic.is_wanted() && !topic.touched)
        {
            // Its resource was gone; it may be there again.
            self.remove_topic(slot);
            existing = None;
        }
        let resource = self.directory.resource(ask.name.resource()).cloned();
        let known = existing.and_then(|slot| self.topics.slots.at(slot));
        let decision = match (&resource, known) {
            (_, Some(topic)) if !topic.options.ask_each => Decision::Shared(topic.options),
            (Some(resource), _) => resource.open(ask.name.subject(), &ask.consumer),
            (None, Some(_)) if self.remote.serves(&ask.name) => return None,
            (None, Some(topic)) => Decision::Shared(topic.options),
            (None, None) if elsewhere => return None,
            (None, None) => {
                let detail = format!("nothing is known of {}", ask.name);
                return Some(Ruling::Denied(ErrorCode::NoResource, detail));
            }
        };
        Some(match decision {
            Decision::Deny(detail) => Ruling::Denied(ErrorCode::Forbidden, detail),
            Decision::Private(options) => Ruling::Private(options, None, None),
            Decision::Shared(options) => match self.home_topic(&ask.name, options) {
                Some(slot) => self.follow(slot, ask),
                None => Ruling::Denied(ErrorCode::TooMany, "too many topics".into()),
            },
        })
    }

    /// The slot of the topic of that name at this home, made if need be; `None` if there is no
    /// room for it.
    pub(crate) fn home_topic(&mut self, name: &TopicName, options: TopicOptions) -> Option<u32> {
        if let Some(slot) = self.topics.find(name) {
            return Some(slot);
        }
        if self.topics.slots.len() >= self.settings.topics_max {
            return None;
        }
        let number = self.number_topic()?;
        let epoch = Epoch(self.random.next());
        let role = Role::Home { numbering: Numbering::Unset, followers: Vec::new() };
        let end = Place { place: 0, epoch, offset: Offset(1) };
        Some(self.add_topic(name.clone(), number, options, role, end))
    }

    pub(crate) fn add_topic(
        &mut self,
        name: TopicName,
        number: Cid,
        options: TopicOptions,
        role: Role,
        end: Place,
    ) -> u32 {
        let key = self.topics.insert(Topic {
            name,
            number,
            options,
            role,
            log: Log::new(end),
            builder: RunBuilder::default(),
            subscribers: Vec::new(),
            touched: false,
            round: Round::Over,
            held: Held::default(),
            channels: 0,
            quiet_since: self.now,
            source: None,
            told: Told::default(),
            access: None,
        });
        self.start_sweep();
        key.slot
    }

    /// Lets the asking shard follow a topic of this home.
    pub(crate) fn follow(&mut self, slot: u32, ask: &Ask) -> Ruling {
        let access = self.topics.slots.at(slot).and_then(|topic| topic.access.clone());
        if let Err((code, detail)) = self.admit(&ask.asking, &ask.name, access.as_deref()) {
            return Ruling::Denied(code, detail);
        }
        // What is in the builder must be in the log before its end is told.
        self.seal(slot);
        let own = self.shard;
        let Some(topic) = self.topics.slots.at_mut(slot) else {
            return Ruling::Denied(ErrorCode::Busy, "the topic has just ended".into());
        };
        let mut runs = Vec::new();
        if ask.shard != own
            && let Role::Home { followers, .. } = &mut topic.role
        {
            let sent = topic.log.end().place;
            match followers.iter_mut().find(|follower| follower.shard == ask.shard) {
                // What was not posted yet comes with this ruling.
                Some(follower) => follower.sent = sent,
                None => followers.push(Follower { shard: ask.shard, sent, waiting: false }),
            }
            runs = topic.log.runs().cloned().collect();
        }
        let (number, options, end) = (topic.number, topic.options, *topic.log.end());
        Ruling::Shared { number, options, end, access, runs }
    }
}
