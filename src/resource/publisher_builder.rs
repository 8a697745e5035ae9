//! How a publisher is started.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::base::id::Epoch;
use crate::base::random::Random;
use crate::base::time::Span;
use crate::link::address::Address;
use crate::link::handler::Handler;
use crate::link::peer::Me;
use crate::link::source::Source;
use crate::link::source_error::SourceError;
use crate::link::source_log::History;
use crate::link::source_settings::Settings;
use crate::link::source_topic::Served;
use crate::resource::driver::{Driver, Setup};
use crate::resource::protection::Protection;
use crate::resource::publisher::Publisher;
use crate::wire::resource::{InstanceId, Role};

/// A publisher that has not started. The fields may be set too, where there is no method.
pub struct Builder {
    /// The resource.
    pub served: Served,
    /// How the source behaves.
    pub settings: Settings,
    /// Where consumers may dial it; port 0 takes a free one.
    pub listen: Vec<Address>,
    /// Its name, for logs and lists.
    pub name: String,
    /// It lets itself be heard at least so often, and tells registries of its consumers as often.
    pub heartbeat: Span,
    /// The key that it shows to registries and consumers; empty for none.
    pub key: String,
    /// The key that they must show to it; empty for none.
    pub demands: String,
    /// TLS, where an address says `:tls`.
    pub tls: Protection,
    others: Vec<(Served, Arc<dyn Handler>)>,
}

/// Without the keys.
impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("served", &self.served)
            .field("listen", &self.listen)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// A publisher of this resource that listens nowhere and knows no registry yet.
    pub fn new(resource: impl Into<String>) -> Self {
        let served = Served::new(resource);
        Self {
            name: served.name.clone(),
            served,
            settings: Settings::default(),
            listen: Vec::new(),
            heartbeat: Span::from_secs(5),
            key: String::new(),
            demands: String::new(),
            tls: Protection::default(),
            others: Vec::new(),
        }
    }

    /// Listens there for consumers.
    #[must_use]
    pub fn listen(mut self, address: Address) -> Self {
        self.listen.push(address);
        self
    }

    /// Registers at the registry there; at several, if it is called for each.
    #[must_use]
    pub fn registry(mut self, address: Address) -> Self {
        self.settings.registries.push(address);
        self
    }

    /// Dials a consumer there, where a firewall demands that direction.
    #[must_use]
    pub fn dial(mut self, address: Address) -> Self {
        self.settings.dial.push(address);
        self
    }

    /// Has registries tell consumers this address instead of those that it listens on: behind a
    /// translation of addresses, or where it listens on all of a machine's.
    #[must_use]
    pub fn advertise(mut self, address: Address) -> Self {
        self.settings.addresses.push(address);
        self
    }

    /// TLS, where an address says `:tls`: what it shows, and whom it believes.
    ///
    /// ```no_run
    /// use ahm::reactor::beyond::Papers;
    /// use ahm::resource::protection::Protection;
    /// use ahm::resource::publisher::Publisher;
    /// use ahm::wire::resource::Terms;
    /// let papers = Papers {
    ///     authorities: Some("/etc/ahm/ca.pem".into()),
    ///     certificate: Some("/etc/ahm/rates.pem".into()),
    ///     key: Some("/etc/ahm/rates.key".into()),
    ///     ..Papers::default()
    /// };
    /// let rates = Publisher::builder("rates")
    ///     .tls(Protection::read(&papers, Some("/etc/ahm/ca.pem".as_ref()))?)
    ///     .listen("10.0.0.7:9000:tls".parse()?)
    ///     .registry("10.0.0.5:8082:tls".parse()?)
    ///     .start(Terms::default())?;
    /// # drop(rates);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn tls(mut self, tls: Protection) -> Self {
        self.tls = tls;
        self
    }

    /// Consumers may send to it.
    #[must_use]
    pub fn takes_messages(mut self) -> Self {
        self.served.takes_messages = true;
        self
    }

    /// Every channel to it is a private one; see [`Served::conversations`].
    #[must_use]
    pub fn conversations(mut self) -> Self {
        self.served.conversations = true;
        self
    }

    /// Who may read it: rules of `manual::access`, whose patterns are of subjects.
    #[must_use]
    pub fn access(mut self, rules: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.served.access = rules.into_iter().map(Into::into).collect();
        self
    }

    /// So many consumers at a time at most.
    #[must_use]
    pub fn capacity(mut self, consumers: u64) -> Self {
        self.served.capacity = consumers;
        self
    }

    /// Its share among the instances of the resource, 1 to 1,000.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.served.weight = weight;
        self
    }

    /// Its instances number a subject alike, in this epoch, so that one goes on where another
    /// stopped; see [`Served::replicas`].
    #[must_use]
    pub fn replicas(mut self, epoch: Epoch) -> Self {
        (self.served.replicas, self.served.epoch) = (true, Some(epoch));
        self
    }

    /// What is kept of a subject whose terms do not say.
    #[must_use]
    pub fn history(mut self, history: History) -> Self {
        self.settings.history = history;
        self
    }

    /// Serves another resource too; [`Publisher::for_resource`] publishes on it.
    #[must_use]
    pub fn also(mut self, served: Served, handler: impl Handler + 'static) -> Self {
        self.others.push((served, Arc::new(handler)));
        self
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// If a resource cannot be served (`InvalidInput`), an address cannot be listened on, or the
    /// process has no descriptor or thread left.
    pub fn start(self, handler: impl Handler + 'static) -> io::Result<Publisher> {
        let Self { served, mut settings, listen, name, heartbeat, key, demands, tls, others } =
            self;
        let invalid = |error: SourceError| io::Error::new(io::ErrorKind::InvalidInput, error);
        let is_vague = |address: &&Address| {
            address.socket().is_some_and(|address| address.ip().is_unspecified())
        };
        if let Some(vague) = listen.iter().find(is_vague)
            && settings.addresses.is_empty()
            && !settings.registries.is_empty()
        {
            let error = format!("{vague} is no address to dial: say which one with advertise");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let mut random = Random::from_seed(seed);
        let instance = InstanceId(random.next());
        let me = Me { role: Role::Resource, instance, name, heartbeat, key, demands };
        let setup = Setup { listen, tls, ..Setup::new(&format!("ahm-{}", served.name)) };
        let now = setup.clock.now();
        let resource = served.name.clone();
        let mut all: Vec<(Served, Arc<dyn Handler>)> = vec![(served, Arc::new(handler))];
        all.extend(others);
        let mut trial = Ok(());
        let driver = Driver::start(setup, |addresses| {
            if settings.addresses.is_empty() {
                settings.addresses = addresses.to_vec();
            }
            let mut source = Source::new(me, settings, random, now);
            trial = all.into_iter().try_for_each(|(served, handler)| source.serve(served, handler));
            source
        })?;
        trial.map_err(invalid)?;
        Ok(Publisher::new(&resource, driver))
    }
}
