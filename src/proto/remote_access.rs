//! At a topic's home: an instance of the resource was found, and its access list with it. Whom that
//! does not allow is refused before the resource hears of it.

use std::sync::Arc;

use crate::auth::list::List;
use crate::base::id::Key;
use crate::link::upstream::Upstream;
use crate::proto::hub::Hub;
use crate::proto::parcel::{Listed, Parcel, Ruling};
use crate::proto::remote::{Purpose, who};

impl Hub {
    /// An instance was found that serves a want, and waits to be asked.
    pub(crate) fn take_found(
        &mut self,
        want: Key,
        access: Option<Arc<List>>,
        upstream: &mut Upstream,
    ) {
        let Some(served) = self.remote.served.get_mut(&want) else {
            return self.remote.drops.push(want);
        };
        if !matches!(served.purpose, Purpose::Asked | Purpose::Probe) {
            self.take_listed(want, access);
            return upstream.admit(want, None);
        }
        served.access.clone_from(&access);
        let mut allowed = Vec::new();
        for ask in std::mem::take(&mut served.asks) {
            match self.admit(&ask.asking, &ask.name, access.as_deref()) {
                Ok(_) => allowed.push(ask),
                Err((code, detail)) => {
                    let ruling = Box::new(Ruling::Denied(code, detail));
                    self.post(ask.shard, Parcel::Ruling(ask.ask, ask.name, ruling));
                }
            }
        }
        let Some(first) = allowed.first().map(who) else {
            self.forget_want(want);
            return self.remote.drops.push(want);
        };
        if let Some(served) = self.remote.served.get_mut(&want) {
            served.asks = allowed;
        }
        upstream.admit(want, Some(first));
    }

    /// The instance that serves a want has this list from now on.
    pub(crate) fn take_listed(&mut self, want: Key, access: Option<Arc<List>>) {
        let Some(served) = self.remote.served.get_mut(&want) else { return };
        served.access.clone_from(&access);
        match served.purpose {
            Purpose::Topic(key) => {
                if self.topics.slots.get(key).is_some() {
                    self.set_access_of(key.slot, access);
                }
            }
            Purpose::Private(shard, Some(topic), _) => {
                self.post(shard, Parcel::Access(Listed::Private(topic), access));
            }
            // Its shard is told when it has told which topic it is; until then it has the former.
            Purpose::Private(_, None, _) | Purpose::Asked | Purpose::Probe => {}
        }
    }
}
