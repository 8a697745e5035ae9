//! What hubs are made of and given when a server starts.

use std::sync::Arc;

use crate::auth::office::Office;
use crate::base::id::ShardId;
use crate::base::time::Instant;
use crate::link::peer::Me;
use crate::link::upstream::Seek;
use crate::proto::directory::Directory;
use crate::proto::hub::{Hub, Setup};
use crate::proto::limits::Limits;
use crate::proto::settings::Settings;
use crate::reactor::clock::Clock;
use crate::relay::site::Site;

/// What the first shard's hub is made of.
pub(crate) fn setup_of_first(
    settings: Arc<Settings>,
    directory: Arc<Directory>,
    shards: u8,
    seed: [u8; 32],
    clock: &Clock,
) -> Setup {
    let (shard, now) = (ShardId(0), Instant::ZERO);
    let unix_micros_at_zero = clock.unix_micros_at_start();
    Setup { settings, directory, shard, shards, seed, unix_micros_at_zero, now }
}

/// What every hub is given beside what it is made of.
pub(crate) struct Fittings {
    pub(crate) me: Me,
    pub(crate) seek: Seek,
    pub(crate) limits: Arc<Limits>,
    pub(crate) site: Option<Arc<Site>>,
    pub(crate) office: Option<Arc<Office>>,
}

impl Fittings {
    /// A hub with all of it.
    pub(crate) fn hub(&self, setup: Setup) -> Hub {
        let (mut hub, now) = (Hub::new(setup), Instant::ZERO);
        hub.look_for_resources(self.me.clone(), self.seek.clone(), now);
        hub.limit_by(Arc::clone(&self.limits));
        if let Some(site) = &self.site {
            hub.relay_to(Arc::clone(site), now);
        }
        if let Some(office) = &self.office {
            hub.authenticate(Arc::clone(office), now);
        }
        hub
    }
}
