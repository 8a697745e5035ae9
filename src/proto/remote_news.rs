//! What resources in other processes tell: topics are fed, private channels are answered.

use crate::base::id::{Epoch, Key, Offset, ShardId};
use crate::base::name::TopicName;
use crate::base::reason::{ChannelEnd, ErrorCode};
use crate::link::news::{Granted, News};
use crate::link::upstream::Upstream;
use crate::proto::hub::Hub;
use crate::proto::parcel::{Ask, Listed, Parcel, Published, Reply, Ruling};
use crate::proto::remote::{Purpose, Served};
use crate::proto::resource::TopicOptions;
use crate::proto::run::{Mark, Place};
use crate::proto::settings::History;
use crate::proto::topic::{Numbering, Role};
use crate::wire::position::Position;
use crate::wire::resource::Terms;

impl Hub {
    pub(crate) fn take_piece(&mut self, news: News, upstream: &mut Upstream) {
        match news {
            News::Accepted { want, granted, ep, next, terms, takes_messages } => {
                let options = options(&terms, takes_messages);
                self.take_accepted(want, granted, Position { ep, n: next }, options);
                self.send_held(want, upstream);
            }
            News::Message { want, ep, n, snapshot, payload } => {
                let payload = &upstream.payloads()[payload];
                self.take_remote_message(want, (ep, n), snapshot, payload);
            }
            News::Begin { want, ep, next } => match self.remote.served.get(&want) {
                Some(Served { purpose: Purpose::Topic(key), .. }) => {
                    self.begin_at(*key, Position { ep, n: next });
                }
                // A conversation with a piece missing is none.
                Some(Served { purpose: Purpose::Private(..), .. }) => {
                    self.remote.drops.push(want);
                    self.remote_over(want, ChannelEnd::Overrun);
                }
                Some(_) | None => {}
            },
            News::Denied { want, code, detail } => {
                let Some(served) = self.forget_want(want) else { return };
                self.deny(served.asks, code, &detail);
            }
            News::Found { want, access } => self.take_found(want, access, upstream),
            News::Listed { want, access } => self.take_listed(want, access),
            News::Closed { want, end } => self.remote_over(want, end),
            News::Sent { session, cid, n, taken } => {
                self.post_outcome(session, cid, n, taken);
            }
        }
    }

    pub(crate) fn take_accepted(
        &mut self,
        want: Key,
        granted: Granted,
        begin: Position,
        options: TopicOptions,
    ) {
        let Some(served) = self.remote.served.get_mut(&want) else {
            return self.remote.drops.push(want);
        };
        let asks = std::mem::take(&mut served.asks);
        match (granted, &served.purpose) {
            (Granted::Shared, Purpose::Probe) => {
                let name = served.name.clone();
                self.forget_want(want);
                self.remote.drops.push(want);
                match self.topics.find(&name) {
                    Some(slot) => self.let_follow(slot, asks),
                    None => self.remote.again.extend(asks.into_iter().map(|ask| (ask, false))),
                }
            }
            (Granted::Shared, Purpose::Asked | Purpose::Topic(_)) => {
                self.feed_topic(want, begin, options, asks);
            }
            (Granted::Private, Purpose::Asked | Purpose::Probe) => {
                self.begin_private(want, options, asks);
            }
            (Granted::Other(subject), Purpose::Asked | Purpose::Probe) => {
                let name = TopicName::new(served.name.resource(), &subject);
                self.forget_want(want);
                self.remote.drops.push(want);
                match name {
                    Ok(name) => asks.into_iter().for_each(|ask| {
                        let ruling = Ruling::Elsewhere(name.clone());
                        self.post(ask.shard, Parcel::Ruling(ask.ask, ask.name, Box::new(ruling)));
                    }),
                    Err(_) => {
                        self.deny(asks, ErrorCode::NoResource, "the resource named no subject")
                    }
                }
            }
            // Its instance was lost; another one begins anew.
            (Granted::Private, Purpose::Private(..)) => self.say(want, Reply::Anew),
            // It says something else than it said when it was asked first.
            (_, Purpose::Topic(_) | Purpose::Private(..)) => {
                self.remote.drops.push(want);
                self.remote_over(want, ChannelEnd::Gone);
            }
        }
    }

    /// A shared subject is served: its topic goes on where the resource begins.
    pub(crate) fn feed_topic(
        &mut self,
        want: Key,
        begin: Position,
        options: TopicOptions,
        asks: Vec<Ask>,
    ) {
        let Some(served) = self.remote.served.get(&want) else { return };
        let name = served.name.clone();
        let Some(slot) = self.home_topic(&name, options) else {
            self.forget_want(want);
            self.remote.drops.push(want);
            return self.deny(asks, ErrorCode::TooMany, "too many topics");
        };
        let Some(key) = self.topics.slots.key_at(slot) else { return };
        if let Some(topic) = self.topics.slots.get_mut(key) {
            topic.options = options;
        }
        if let Some(served) = self.remote.served.get_mut(&want) {
            // Whoever serves it now has not been told yet how many read it.
            (served.purpose, served.told) = (Purpose::Topic(key), 0);
        }
        if !self.begin_at(key, begin) {
            log::warn!("{name} is published here already: the resource's messages are not taken");
            self.forget_want(want);
            self.remote.drops.push(want);
            return self.let_follow(slot, asks);
        }
        let access = self.remote.served.get(&want).and_then(|served| served.access.clone());
        self.set_access_of(slot, access);
        let first = if options.ask_each { asks.len().min(1) } else { asks.len() };
        let mut asks = asks;
        let others = asks.split_off(first);
        self.let_follow(slot, asks);
        self.remote.again.extend(others.into_iter().map(|ask| (ask, false)));
    }

    pub(crate) fn let_follow(&mut self, slot: u32, asks: Vec<Ask>) {
        for ask in asks {
            let ruling = self.follow(slot, &ask);
            self.post(ask.shard, Parcel::Ruling(ask.ask, ask.name, Box::new(ruling)));
        }
    }

    /// The first who asked has a channel alone; the others are asked for one by one.
    pub(crate) fn begin_private(&mut self, want: Key, options: TopicOptions, asks: Vec<Ask>) {
        let mut asks = asks.into_iter();
        let Some(served) = self.remote.served.get_mut(&want) else { return };
        let Some(first) = asks.next() else { return };
        served.purpose = Purpose::Private(first.shard, None, Vec::new());
        let access = served.access.clone();
        if self.remote.by_name.get(&first.name) == Some(&want) {
            self.remote.by_name.remove(&first.name);
        }
        let ruling = Ruling::Private(options, Some((self.shard, want)), access);
        self.post(first.shard, Parcel::Ruling(first.ask, first.name, Box::new(ruling)));
        self.remote.again.extend(asks.map(|ask| (ask, true)));
    }

    pub(crate) fn deny(&mut self, asks: Vec<Ask>, code: ErrorCode, detail: &str) {
        for ask in asks {
            let ruling = Ruling::Denied(code, detail.to_string());
            self.post(ask.shard, Parcel::Ruling(ask.ask, ask.name, Box::new(ruling)));
        }
    }

    /// The next message of a topic has this epoch and offset; false: somebody else numbers it.
    pub(crate) fn begin_at(&mut self, key: Key, begin: Position) -> bool {
        let Some(topic) = self.topics.slots.get_mut(key) else { return false };
        if let Role::Home { numbering: Numbering::Publisher { former }, .. } = &mut topic.role {
            // An instance that was lost may serve it again, with the epoch that it had.
            former.retain(|epoch| *epoch != begin.ep);
        }
        !matches!(self.number(key.slot, Some(begin)), Err(Published::Refused(..)))
    }

    pub(crate) fn take_remote_message(
        &mut self,
        want: Key,
        (ep, n): (Epoch, Offset),
        snapshot: bool,
        payload: &[u8],
    ) {
        let Some(served) = self.remote.served.get_mut(&want) else { return };
        match &mut served.purpose {
            Purpose::Topic(key) => {
                let key = *key;
                if self.topics.slots.get(key).is_none() {
                    return;
                }
                let outcome =
                    self.publish_at(key.slot, Some(Position { ep, n }), snapshot, payload);
                if let Published::Refused(code, detail, _) = outcome {
                    log::warn!("not published: {code}: {detail}");
                }
            }
            Purpose::Private(..) => self.say(want, Reply::Message(payload.to_vec())),
            Purpose::Asked | Purpose::Probe => {}
        }
    }

    /// Tells a private channel's shard what the resource says, as soon as it is known which topic
    /// it is.
    fn say(&mut self, want: Key, reply: Reply) {
        let Some(served) = self.remote.served.get_mut(&want) else { return };
        match &mut served.purpose {
            Purpose::Private(shard, Some(topic), _) => {
                let (shard, topic) = (*shard, *topic);
                self.post(shard, Parcel::Reply(topic, reply));
            }
            Purpose::Private(_, None, kept) => kept.push(reply),
            Purpose::Asked | Purpose::Probe | Purpose::Topic(_) => {}
        }
    }

    /// The resource serves it no longer.
    pub(crate) fn remote_over(&mut self, want: Key, end: ChannelEnd) {
        let Some(served) = self.forget_want(want) else { return };
        match served.purpose {
            Purpose::Asked | Purpose::Probe => {
                self.deny(served.asks, ErrorCode::NoInstance, "the resource has gone");
            }
            Purpose::Topic(key) => {
                if self.topics.slots.get(key).is_some() {
                    self.end_topic(key.slot, end);
                }
            }
            Purpose::Private(shard, Some(topic), _) => {
                self.post(shard, Parcel::Reply(topic, Reply::End(end)));
            }
            Purpose::Private(_, None, mut kept) => {
                // Its shard has not told yet which topic it is.
                kept.push(Reply::End(end));
                let purpose = Purpose::Private(self.shard, None, kept);
                self.remote.served.insert(want, Served { purpose, ..served });
            }
        }
    }

    /// From the shard of a private channel: this is its topic.
    pub(crate) fn take_joined(&mut self, want: Key, shard: ShardId, topic: Key) {
        let Some(served) = self.remote.served.get_mut(&want) else {
            return self.post(shard, Parcel::Reply(topic, Reply::End(ChannelEnd::Gone)));
        };
        let Purpose::Private(at, joined, kept) = &mut served.purpose else { return };
        (*at, *joined) = (shard, Some(topic));
        let access = served.access.clone();
        let kept = std::mem::take(kept);
        self.post(shard, Parcel::Access(Listed::Private(topic), access));
        for reply in kept {
            self.post(shard, Parcel::Reply(topic, reply));
        }
    }

    /// At the shard of a private channel: what the resource says to it alone.
    pub(crate) fn take_reply(&mut self, topic: Key, reply: Reply) {
        if self.topics.slots.get(topic).is_none_or(|topic| topic.log.ended()) {
            return;
        }
        match reply {
            Reply::Message(payload) => {
                self.add_message(topic.slot, false, &payload);
            }
            Reply::Anew => {
                let epoch = Epoch(self.random.next());
                self.put_mark(topic.slot, |end| {
                    // Not at 0: who had nothing would believe that nothing was said before.
                    let before = Offset((end.offset.0 - 1).max(1));
                    (Place { place: end.place, epoch, offset: before.next() }, Mark::Epoch(before))
                });
            }
            Reply::End(end) => self.end_topic(topic.slot, end),
        }
    }
}

fn options(terms: &Terms, takes_messages: bool) -> TopicOptions {
    let history = terms.history.map(|(messages_max, bytes_max, age_max)| History {
        messages_max,
        bytes_max,
        age_max,
    });
    let Terms { state, latest, ask_each, .. } = *terms;
    TopicOptions { history, state, latest, ask_each, takes_messages }
}
