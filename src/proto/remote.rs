//! At a topic's home: subjects that resources in other processes serve. Who asks for one waits
//! until the resource has answered; what it publishes goes into the topic's log, what it says to
//! one consumer alone goes to that consumer's shard.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::auth::list::List;
use crate::base::id::{Key, ShardId};
use crate::base::name::TopicName;
use crate::link::handler::Consumer;
use crate::link::links::Output;
use crate::link::peer::Me;
use crate::link::station::Station as _;
use crate::link::upstream::{Seek, Upstream};
use crate::proto::hub::Hub;
use crate::proto::parcel::{Ask, Delivery, Reply};

/// What a want is for.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// The resource has not answered yet.
    Asked,
    /// The consumer is asked about, whose topic is there already.
    Probe,
    /// It feeds this topic.
    Topic(Key),
    /// It is a private channel of that shard, whose topic is this one once it has told; until then
    /// replies wait.
    Private(ShardId, Option<Key>, Vec<Reply>),
}

/// A subject that is wanted from a resource.
#[derive(Debug)]
pub(crate) struct Served {
    /// How many read it, as the resource was last told.
    pub(crate) told: u64,
    pub(crate) name: TopicName,
    pub(crate) purpose: Purpose,
    /// Who waits for the answer.
    pub(crate) asks: Vec<Ask>,
    /// The access list of the instance that it was found at.
    pub(crate) access: Option<Arc<List>>,
    /// Messages for the resource that wait until it is served again.
    pub(crate) held: VecDeque<Delivery>,
}

/// All subjects of this home that resources in other processes serve.
#[derive(Debug, Default)]
pub struct Remote {
    /// `None` where no registry is known, and while its news are read.
    pub(crate) upstream: Option<Box<Upstream>>,
    /// Of what the upstream is made when the first guest comes.
    pub(crate) dormant: Option<Box<(Me, Seek)>>,
    pub(crate) served: HashMap<Key, Served>,
    /// Wants of shared subjects, or of those of which nobody knows yet.
    pub(crate) by_name: HashMap<TopicName, Key>,
    /// To be asked again once all news are read; true: for a private channel.
    pub(crate) again: Vec<(Ask, bool)>,
    /// Wants that are over, to be dropped then.
    pub(crate) drops: Vec<Key>,
}

impl Remote {
    /// Whether a resource in another process serves this topic.
    pub(crate) fn serves(&self, name: &TopicName) -> bool {
        self.by_name.contains_key(name)
    }
}

impl Hub {
    /// Asks the resource for a subject; the ruling comes later. `private`: the channel will be a
    /// private one.
    pub(crate) fn seek(&mut self, ask: Ask, private: bool) {
        let known = self.remote.by_name.get(&ask.name).copied().filter(|_| !private);
        if let Some(served) = known.and_then(|want| self.remote.served.get_mut(&want))
            && matches!(served.purpose, Purpose::Asked)
        {
            served.asks.push(ask);
            return;
        }
        let Some(upstream) = &mut self.remote.upstream else {
            // Its news are being read.
            self.remote.again.push((ask, private));
            return;
        };
        let who = who(&ask);
        let (resource, subject) = (ask.name.resource(), ask.name.subject());
        let want = upstream.want(resource, subject, who, None, private);
        let name = ask.name.clone();
        if known.is_none() && !private {
            self.remote.by_name.insert(name.clone(), want);
        }
        let purpose = if known.is_some() { Purpose::Probe } else { Purpose::Asked };
        let (asks, access, held) = (vec![ask], None, VecDeque::new());
        let served = Served { told: 0, name, purpose, asks, access, held };
        self.remote.served.insert(want, served);
    }

    /// Reads what the resources' side has to tell; says whether there was anything.
    pub(crate) fn take_news(&mut self) -> bool {
        let Some(mut upstream) = self.remote.upstream.take() else { return false };
        let mut any = false;
        while let Some(news) = upstream.poll_news() {
            any = true;
            self.take_piece(news, &mut upstream);
        }
        upstream.forget_news();
        for want in std::mem::take(&mut self.remote.drops) {
            upstream.drop_want(want);
        }
        self.remote.upstream = Some(upstream);
        for (ask, private) in std::mem::take(&mut self.remote.again) {
            self.seek(ask, private);
        }
        any
    }

    /// Nobody wants it any more.
    pub(crate) fn release_want(&mut self, want: Key) {
        self.forget_want(want);
        match &mut self.remote.upstream {
            Some(upstream) => upstream.drop_want(want),
            None => self.remote.drops.push(want),
        }
    }

    /// A want is over; what waited for it comes to nobody.
    pub(crate) fn forget_want(&mut self, want: Key) -> Option<Served> {
        let mut served = self.remote.served.remove(&want)?;
        if self.remote.by_name.get(&served.name) == Some(&want) {
            self.remote.by_name.remove(&served.name);
        }
        for delivery in std::mem::take(&mut served.held) {
            self.lose(&delivery);
        }
        Some(served)
    }

    /// The topic of that name has had no reader for its grace: the resource need not send it.
    pub(crate) fn release_topic_want(&mut self, name: &TopicName) -> bool {
        let Some(want) = self.remote.by_name.get(name).copied() else { return false };
        self.release_want(want);
        true
    }

    /// What a connection to a registry or a resource has brought.
    pub(crate) fn with_upstream(&mut self, act: impl FnOnce(&mut Upstream)) {
        if let Some(upstream) = &mut self.remote.upstream {
            act(upstream);
        }
        self.take_news();
    }

    /// What the shell does next with those connections.
    pub(crate) fn poll_link(&mut self) -> Option<Output> {
        self.remote.upstream.as_mut()?.poll_output()
    }
}

/// What a resource in another process learns of who asks.
pub(crate) fn who(ask: &Ask) -> Consumer {
    Consumer {
        session: ask.consumer.session,
        cid: ask.consumer.cid,
        address: ask.consumer.address.to_string(),
        user: ask.consumer.user().to_string(),
        parameters: ask.parameters.clone(),
    }
}
