//! Starting a server: sockets, shards and threads from a configuration.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::base::id::{Epoch, ShardId};
use crate::base::limits;
use crate::base::name::NameError;
use crate::base::time::Span;
use crate::proto::connection::{Door, Gate};
use crate::proto::directory::{Directory, Page};
use crate::proto::home::Homes;
use crate::proto::hub::{Hub, Setup};
use crate::proto::limits::Limits;
use crate::proto::resource::{Resource, TopicOptions};
use crate::proto::settings::Settings;
use crate::proto::stats::Stats;
use crate::reactor::clock::Clock;
use crate::reactor::entry::Entry;
use crate::reactor::front::Front;
use crate::reactor::listener::Listener;
use crate::reactor::poller::Poller;
use crate::reactor::rlimit;
use crate::resource::board::Board;
use crate::resource::echo::Echo;
use crate::resource::feed::Feed;
use crate::resource::publisher::Publisher;
use crate::server::config::{Config, Listen, ResourceConfig, ResourceKind};
use crate::server::fitting::{Fittings, setup_of_first};
use crate::server::handle::Handle;
use crate::server::registry::Found;
use crate::server::renewal::Renewal;
pub use crate::server::running::Server;
use crate::server::running::{ENDED, Running, RunningOne};
use crate::shard::affinity;
use crate::shard::leaving::Occupied;
use crate::shard::mail::Mail;
use crate::shard::mailbox::{Receiver, Sender, mailbox};
use crate::shard::turn::{Common, EVENTS_MAX, MAIL, MAIL_PLACES, Parts, Shard};

/// Connections that the kernel holds for us while we are busy.
const BACKLOG: u32 = 4_096;

/// Descriptors beside those of connections, about.
const BESIDE: usize = 64;

/// Makes a server.
///
/// ```
/// use std::sync::Arc;
/// use ahm::resource::echo::Echo;
/// use ahm::server::{builder::Builder, config::Config, registry::RegistryConfig};
/// let config = Config {
///     listen: vec!["127.0.0.1:0".parse().unwrap()],
///     private_listen: vec![],
///     registry: RegistryConfig::off(),
///     ..Config::default()
/// };
/// let mut builder = Builder::new(config);
/// builder.resource("mirror", Arc::new(Echo::default())).unwrap();
/// let server = builder.start()?;
/// assert_ne!(server.public_addrs()[0].port(), 0);
/// server.stop();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Builder {
    config: Config,
    directory: Directory,
    publishers: Vec<Publisher>,
}

impl Builder {
    /// A server of this configuration, with the resources that it names.
    pub fn new(config: Config) -> Self {
        let mut directory = Directory::default();
        for resource in &config.resources {
            let made = make_resource(resource);
            if let Err(error) = directory.add(&resource.name, made) {
                // A configuration that was read holds no such name.
                log::error!("resource {:?}: {error}", resource.name);
            }
        }
        Self { config, directory, publishers: Vec::new() }
    }

    /// Adds a resource of the embedding program.
    ///
    /// # Errors
    ///
    /// When the name is not of the grammar.
    pub fn resource(&mut self, name: &str, resource: Arc<dyn Resource>) -> Result<(), NameError> {
        self.directory.add(name, resource)
    }

    /// Has all that a publisher of this process serves read here, as if it had dialled the server;
    /// a resource of the same name in the configuration goes before it. Keep the publisher: with
    /// the last of its clones it stops.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::net::TcpStream;
    /// use ahm::resource::publisher::Publisher;
    /// use ahm::server::{builder::Builder, config::Config, registry::RegistryConfig};
    /// use ahm::wire::resource::Terms;
    ///
    /// let rates = Publisher::builder("rates").start(Terms { state: true, ..Terms::default() })?;
    /// rates.publish("EURUSD", "1.09214")?;
    ///
    /// let config = Config {
    ///     listen: vec!["127.0.0.1:0".parse()?],
    ///     private_listen: vec![],
    ///     registry: RegistryConfig::off(),
    ///     ..Config::default()
    /// };
    /// let mut builder = Builder::new(config);
    /// builder.publisher(&rates);
    /// let server = builder.start()?;
    ///
    /// let address = server.public_addrs()[0];
    /// let mut stream = TcpStream::connect(address)?;
    /// write!(stream, "GET /ahm/mux.html?open=rates/EURUSD HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
    /// let (mut text, mut buffer) = (Vec::new(), [0; 1024]);
    /// while !text.ends_with(b">1.09214\n\r\n") {
    ///     let count = stream.read(&mut buffer)?;
    ///     text.extend_from_slice(&buffer[..count]);
    /// }
    /// server.stop();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publisher(&mut self, publisher: &Publisher) -> &mut Self {
        self.publishers.push(publisher.clone());
        self
    }

    /// Adds pages to be given out; the page `client.js` is the browser client.
    pub fn pages(&mut self, pages: impl IntoIterator<Item = Page>) -> &mut Self {
        pages.into_iter().for_each(|page| self.directory.add_page(page));
        self
    }

    /// Binds the listeners and starts a thread for each shard, and one for the registry.
    ///
    /// # Errors
    ///
    /// When an address cannot be bound, a publisher has stopped, or the process has no descriptor
    /// or thread left.
    pub fn start(self) -> io::Result<Server> {
        let shards = count_shards(self.config.shards);
        prepare_descriptors(self.config.protocol.connections_max, shards);
        let seed = random_seed()?;
        let clock = Clock::start();
        let settings = Arc::new(self.settings()?);
        let patience = settings.first_patience();
        let (public, private) = bind_listeners(&self.config, shards, patience)?;
        let sockets = self.config.bind_sockets(shards)?;
        let mailboxes = (0..shards).map(|_| make_mailbox()).collect::<io::Result<Vec<_>>>()?;
        let (senders, parts): (Vec<_>, Vec<_>) = mailboxes.into_iter().unzip();
        let poller = Poller::new(8)?;
        let running = Running::new(poller.waker(ENDED)?);
        let protection = self.config.registry.protection(&self.config.tls)?;
        let Found { me, seek, registry, reception } =
            self.config.registry.found(&settings.scs, shards, (&senders, &protection))?;
        let renewal = Arc::new(Renewal::new(&self.config, senders.clone(), protection.clone()));
        let (fronts, beyond) = (renewal.fronts()?, self.config.relay.beyond()?);
        let office = self.config.auth.office()?;
        // All that only root may open is open; what follows is the user's own.
        self.config.give_up_rights()?;
        let files = self.config.relay.serve_root()?;
        let site = self.config.relay.site(&settings, files.as_ref(), self.config.tls.targets())?;
        let (desk, asking) = self.config.auth.desk(&self.config.relay, clock, &senders)?;
        let homes = Homes::new(seed, shards);
        let mut server = Server {
            public_addrs: public.addrs,
            schemes: self.config.listen.iter().map(Listen::scheme).collect(),
            private_addrs: private.addrs,
            private_schemes: self.config.private_listen.iter().map(Listen::scheme).collect(),
            private_sockets: self.config.private_sockets.clone(),
            _watch: renewal.watch()?,
            handle: Handle::new(homes, renewal, registry.as_ref(), reception.as_ref()),
            drain: self.config.drain,
            registry,
            reception,
            _files: files,
            _desk: desk,
            poller,
            running: running.clone(),
            threads: Vec::new(),
        };
        // They are in the shards' mailboxes before any client is.
        self.publishers.iter().try_for_each(|publisher| server.handle.attach(publisher))?;
        let (public, private) = (public.by_shard, private.by_shard);
        let listeners = listeners_by_shard(public, private, sockets, (&self.config, &fronts));
        let (occupied, peers) = (Occupied::new(shards), senders);
        let common = Common { clock, peers, beyond, protection, patience, occupied, asking };
        let limits = Arc::new(Limits::new(settings.limits.clone()));
        let fittings = Fittings { me, seek, limits, site, office };
        let setup = setup_of_first(settings, Arc::new(self.directory), shards, seed, &clock);
        let pin = self.config.pin;
        for (index, (waiting, listeners)) in (0..).zip(parts.into_iter().zip(listeners)) {
            let hub = fittings.hub(Setup { shard: ShardId(index), ..setup.clone() });
            let shard = made(hub, waiting, listeners, common.clone())?;
            server.threads.push(spawn(shard, index, pin, running.one())?);
        }
        Ok(server)
    }

    fn settings(&self) -> io::Result<Settings> {
        let mut settings = self.config.protocol.clone();
        if settings.scs.is_empty() {
            settings.scs = Epoch(getrandom::u64().map_err(no_entropy)?).to_string();
        }
        settings.private_hosts.clone_from(&self.config.private_hosts);
        let lists = self.config.access_lists();
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
        settings.access = Arc::new(lists.map_err(invalid)?);
        settings.private_token.clone_from(&self.config.token);
        settings.private_passes = self.config.shared_passes()?;
        Ok(settings)
    }
}

/// A shard that is ready to run.
fn made(
    hub: Hub,
    (poller, mail): Waiting,
    listeners: Vec<Opened>,
    common: Common,
) -> io::Result<Shard> {
    Shard::new(Parts { hub, poller, mail, listeners, common })
}

/// Runs a shard on a thread of its own, on a core of its own if `pinned`.
fn spawn(
    shard: Shard,
    index: u8,
    pinned: bool,
    running: RunningOne,
) -> io::Result<JoinHandle<io::Result<Stats>>> {
    std::thread::Builder::new().name(format!("shard-{index}")).spawn(move || {
        let _running = running;
        if pinned {
            pin(usize::from(index));
        }
        shard.run()
    })
}

/// What a shard waits on: its poller, and the mailbox that wakes it.
type Waiting = (Poller, Receiver<Mail>);

/// A shard's mailbox, with the poller that it wakes.
fn make_mailbox() -> io::Result<(Sender<Mail>, Waiting)> {
    let poller = Poller::new(EVENTS_MAX)?;
    let (sender, receiver) = mailbox::<Mail>(MAIL_PLACES, poller.waker(MAIL)?);
    Ok((sender, (poller, receiver)))
}

/// What a listener means for those who come through it.
fn gate(listen: &Listen, is_private: bool) -> Gate {
    let flush = listen.flush.map(Into::into);
    let door = match (is_private, listen.raw) {
        (true, _) => Door::Private,
        (false, true) => Door::Raw,
        (false, false) => Door::Public,
    };
    Gate { door, flush, introduced: listen.proxy, secure: listen.tls.is_some() }
}

/// A listener, the gate that it is, and how TLS protects what comes through it.
pub(crate) type Opened = (Entry, Gate, Option<Arc<Front>>);

/// What each shard listens on.
fn listeners_by_shard(
    public: Vec<Vec<Listener>>,
    private: Vec<Vec<Listener>>,
    sockets: Vec<Vec<Opened>>,
    (config, fronts): (&Config, &[Option<Arc<Front>>]),
) -> impl Iterator<Item = Vec<Opened>> {
    let of_public = config.listen.iter().map(|listen| gate(listen, false));
    let of_private = config.private_listen.iter().map(|listen| gate(listen, true));
    let laid_down: Vec<_> = of_public.chain(of_private).zip(fronts.iter().cloned()).collect();
    public.into_iter().zip(private).zip(sockets).map(move |((public, private), sockets)| {
        let all = public.into_iter().chain(private).zip(laid_down.clone());
        let all = all.map(|(one, (gate, front))| (Entry::Tcp(one), gate, front));
        all.chain(sockets).collect()
    })
}

/// Binds the public and the private listeners.
fn bind_listeners(config: &Config, shards: u8, patience: Span) -> io::Result<(Bound, Bound)> {
    let addresses: Vec<_> = config.listen.iter().map(|listen| listen.address).collect();
    let public = bind_all(&addresses, shards, |address| {
        Listener::bind_for_documents(address, BACKLOG, patience)
    })?;
    let bind = |address| Listener::bind(address, BACKLOG);
    let addresses: Vec<_> = config.private_listen.iter().map(|listen| listen.address).collect();
    Ok((public, bind_all(&addresses, shards, bind)?))
}

struct Bound {
    addrs: Vec<SocketAddr>,
    by_shard: Vec<Vec<Listener>>,
}

/// Binds each address once for every shard; port 0 becomes the same free port on all.
fn bind_all(
    addresses: &[SocketAddr],
    shards: u8,
    bind: impl Fn(SocketAddr) -> io::Result<Listener>,
) -> io::Result<Bound> {
    let mut bound =
        Bound { addrs: Vec::new(), by_shard: (0..shards).map(|_| Vec::new()).collect() };
    for &wanted in addresses {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{wanted}: {error}"));
        if wanted.port() != 0 {
            Listener::probe(wanted).map_err(named)?;
        }
        let mut address = wanted;
        for listeners in &mut bound.by_shard {
            let listener = bind(address).map_err(named)?;
            address = listener.local_addr().map_err(named)?;
            listeners.push(listener);
        }
        bound.addrs.push(address);
    }
    Ok(bound)
}

/// Lets the process have as many descriptors as it may, and room for those of all connections.
fn prepare_descriptors(connections_max: usize, shards: u8) {
    if let Err(error) = rlimit::raise_open_files() {
        log::warn!("the limit of open files stays as it is: {error}");
    }
    let connections = connections_max.saturating_mul(usize::from(shards));
    if let Err(error) = rlimit::make_room(connections.saturating_add(BESIDE) as u64) {
        log::warn!("room for descriptors is made as it is needed: {error}");
    }
}

/// What nobody can guess.
fn random_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(no_entropy)?;
    Ok(seed)
}

fn no_entropy(error: getrandom::Error) -> io::Error {
    io::Error::other(error.to_string())
}

fn count_shards(wanted: usize) -> u8 {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let count = if wanted == 0 { cores() } else { wanted };
    count.clamp(1, limits::SHARDS_MAX) as u8
}

/// Pins the thread to the n-th core that the process may use.
fn pin(index: usize) {
    let pinned = affinity::allowed_cores().and_then(|cores| match cores.get(index) {
        Some(&core) => affinity::pin_to(core),
        None => Err(io::Error::other("there are more shards than cores")),
    });
    if let Err(error) = pinned {
        log::warn!("shard {index} is not pinned: {error}");
    }
}

fn make_resource(config: &ResourceConfig) -> Arc<dyn Resource> {
    let options = TopicOptions {
        history: config.history,
        state: config.state,
        latest: config.latest,
        ask_each: false,
        takes_messages: false,
    };
    match config.kind {
        ResourceKind::Echo => Arc::new(Echo { options }),
        ResourceKind::Board => Arc::new(Board { options }),
        ResourceKind::Feed => Arc::new(Feed { options }),
    }
}
