//! How a consumer is started.

use std::fmt;
use std::io;

use crate::base::time::Span;
use crate::link::address::Address;
use crate::link::peer::Me;
use crate::link::upstream::{Seek, Upstream};
use crate::resource::consumer::{Consumer, Reader};
use crate::resource::driver::{Driver, Setup};
use crate::resource::protection::Protection;
use crate::wire::resource::{InstanceId, Role};

/// Messages that may wait in a subscription.
const MESSAGES_MAX: usize = 16_384;

/// How a consumer begins.
#[derive(Clone)]
pub struct Builder {
    /// The registries that are asked, and how patiently.
    pub seek: Seek,
    /// Its name, for logs and lists.
    pub name: String,
    /// It lets itself be heard at least so often.
    pub heartbeat: Span,
    /// The key that it shows to registries and resources; empty for none.
    pub key: String,
    /// TLS, where the address of a registry or a resource says `:tls`.
    pub tls: Protection,
    /// Messages that may wait in one subscription; what comes beyond is told as a gap.
    pub messages_max: usize,
    /// Who reads, as resources see it: who reaches them in the private network is believed.
    pub user: String,
    /// What resources are told besides, as `NAME=VALUE`.
    pub parameters: Vec<String>,
}

/// Without the key.
impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Default for Builder {
    fn default() -> Self {
        let (retry, patience) = (Span::from_secs(1), Span::from_secs(10));
        Self {
            seek: Seek { registries: Vec::new(), guests: false, parts: 1, retry, patience },
            name: "consumer".into(),
            heartbeat: Span::from_secs(5),
            key: String::new(),
            tls: Protection::default(),
            messages_max: MESSAGES_MAX,
            user: String::new(),
            parameters: Vec::new(),
        }
    }
}

impl Builder {
    /// Asks the registry there too, after those that were named before.
    #[must_use]
    pub fn registry(mut self, address: Address) -> Self {
        self.seek.registries.push(address);
        self
    }

    /// By TLS believes, and shows, what that says.
    #[must_use]
    pub fn tls(mut self, tls: Protection) -> Self {
        self.tls = tls;
        self
    }

    /// Starts it, on a thread of its own.
    ///
    /// # Errors
    ///
    /// If the process has no descriptor or thread left.
    pub fn start(self) -> io::Result<Consumer> {
        let Self { seek, name, heartbeat, key, tls, messages_max, user, parameters } = self;
        let instance = InstanceId(getrandom::u64().map_err(io::Error::other)?);
        let demands = String::new();
        let me = Me { role: Role::Consumer, instance, name, heartbeat, key, demands };
        let setup = Setup { tls, ..Setup::new("ahm-consumer") };
        let now = setup.clock.now();
        let reader = |_: &[Address]| Reader::new(Upstream::new(me, seek, now), user, parameters);
        Driver::start(setup, reader).map(|driver| Consumer::new(driver, messages_max))
    }
}
