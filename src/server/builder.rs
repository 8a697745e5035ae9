//! Starting a server: sockets, shards and threads from a configuration.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use mio::Token;

use crate::base::id::{Epoch, ShardId};
use crate::base::limits;
use crate::base::name::NameError;
use crate::base::time::Instant;
use crate::proto::connection::Door;
use crate::proto::directory::{Directory, Page};
use crate::proto::home::Homes;
use crate::proto::hub::{Hub, Setup};
use crate::proto::resource::{Resource, TopicOptions};
use crate::proto::settings::Settings;
use crate::proto::stats::Stats;
use crate::reactor::clock::Clock;
use crate::reactor::listener::Listener;
use crate::reactor::poller::Poller;
use crate::reactor::rlimit;
use crate::reactor::signals::{Signal, Signals};
use crate::resource::board::Board;
use crate::resource::echo::Echo;
use crate::resource::feed::Feed;
use crate::server::config::{Config, ResourceConfig, ResourceKind};
use crate::server::handle::Handle;
use crate::shard::affinity;
use crate::shard::mail::Mail;
use crate::shard::mailbox::mailbox;
use crate::shard::turn::{EVENTS_MAX, MAIL, MAIL_PLACES, Parts, Shard};

/// Connections that the kernel holds for us while we are busy.
const BACKLOG: u32 = 4_096;

/// Makes a server.
///
/// ```
/// use std::sync::Arc;
/// use ahm::resource::echo::Echo;
/// use ahm::server::{builder::Builder, config::Config};
/// let config = Config {
///     listen: vec!["127.0.0.1:0".parse().unwrap()],
///     private_listen: vec![],
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
        Self { config, directory }
    }

    /// Adds a resource of the embedding program.
    ///
    /// # Errors
    ///
    /// When the name is not of the grammar.
    pub fn resource(&mut self, name: &str, resource: Arc<dyn Resource>) -> Result<(), NameError> {
        self.directory.add(name, resource)
    }

    /// Adds pages to be given out; the page `client.js` is the browser client.
    pub fn pages(&mut self, pages: impl IntoIterator<Item = Page>) -> &mut Self {
        pages.into_iter().for_each(|page| self.directory.add_page(page));
        self
    }

    /// Binds the listeners and starts a thread for each shard.
    ///
    /// # Errors
    ///
    /// When an address cannot be bound, or the process has no descriptor or thread left.
    pub fn start(self) -> io::Result<Server> {
        if let Err(error) = rlimit::raise_open_files() {
            log::warn!("the limit of open files stays as it is: {error}");
        }
        let shards = count_shards(self.config.shards);
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(no_entropy)?;
        let clock = Clock::start();
        let settings = Arc::new(self.settings()?);
        let directory = Arc::new(self.directory);
        let public = bind_all(&self.config.listen, shards)?;
        let private = bind_all(&self.config.private_listen, shards)?;
        let mut pollers = Vec::new();
        let mut boxes = Vec::new();
        for _ in 0..shards {
            let poller = Poller::new(EVENTS_MAX)?;
            let waker = poller.waker(MAIL)?;
            boxes.push(mailbox::<Mail>(MAIL_PLACES, waker));
            pollers.push(poller);
        }
        let (senders, receivers): (Vec<_>, Vec<_>) = boxes.into_iter().unzip();
        let mut server = Server {
            public_addrs: public.addrs,
            private_addrs: private.addrs,
            handle: Handle { homes: Homes::new(seed, shards), shards: senders.clone() },
            threads: Vec::new(),
        };
        let parts = pollers.into_iter().zip(receivers);
        let listeners = public.by_shard.into_iter().zip(private.by_shard);
        for (index, ((poller, mail), (public, private))) in (0..).zip(parts.zip(listeners)) {
            let hub = Hub::new(Setup {
                settings: Arc::clone(&settings),
                directory: Arc::clone(&directory),
                shard: ShardId(index),
                shards,
                seed,
                unix_micros_at_zero: clock.unix_micros_at_start(),
                now: Instant::ZERO,
            });
            let public = public.into_iter().map(|listener| (listener, Door::Public));
            let private = private.into_iter().map(|listener| (listener, Door::Private));
            let listeners = public.chain(private).collect();
            let peers = senders.clone();
            let shard = Shard::new(Parts { hub, clock, poller, mail, peers, listeners })?;
            let pinned = self.config.pin;
            let thread = std::thread::Builder::new().name(format!("shard-{index}"));
            server.threads.push(thread.spawn(move || {
                if pinned {
                    pin(usize::from(index));
                }
                shard.run()
            })?);
        }
        Ok(server)
    }

    fn settings(&self) -> io::Result<Settings> {
        let mut settings = self.config.protocol.clone();
        if settings.scs.is_empty() {
            settings.scs = Epoch(getrandom::u64().map_err(no_entropy)?).to_string();
        }
        settings.private_hosts.clone_from(&self.config.private_hosts);
        settings.private_token.clone_from(&self.config.token);
        Ok(settings)
    }
}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    public_addrs: Vec<SocketAddr>,
    private_addrs: Vec<SocketAddr>,
    handle: Handle,
    threads: Vec<JoinHandle<io::Result<Stats>>>,
}

impl Server {
    /// The addresses that clients connect to.
    pub fn public_addrs(&self) -> &[SocketAddr] {
        &self.public_addrs
    }

    /// The addresses that publishers connect to.
    pub fn private_addrs(&self) -> &[SocketAddr] {
        &self.private_addrs
    }

    /// A way in for other threads.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits for SIGINT or SIGTERM, then stops.
    ///
    /// # Errors
    ///
    /// When signals cannot be waited for; the server goes on until it is dropped.
    pub fn wait(self) -> io::Result<Stats> {
        self.wait_on(Signals::new()?)
    }

    /// The same with signals that were caught from an earlier moment on: make them before the
    /// server starts, and none can come between.
    ///
    /// # Errors
    ///
    /// As [`Server::wait`].
    pub fn wait_on(self, mut signals: Signals) -> io::Result<Stats> {
        const SIGNALS: Token = Token(1);
        let mut poller = Poller::new(8)?;
        signals.register(poller.registry(), SIGNALS)?;
        loop {
            poller.poll(None)?;
            for signal in signals.pending() {
                if matches!(signal, Signal::Interrupt | Signal::Terminate) {
                    log::info!("stopping");
                    return Ok(self.stop());
                }
            }
        }
    }

    /// Stops: documents get their last frame, answers under way are given, then the threads end.
    pub fn stop(mut self) -> Stats {
        self.end()
    }

    fn end(&mut self) -> Stats {
        for shard in &self.handle.shards {
            let mut mail = Mail::Stop;
            // A full mailbox is being emptied; a closed one needs no word.
            while let Err(back) = shard.push(mail) {
                if shard.is_closed() {
                    break;
                }
                mail = back;
                std::thread::yield_now();
            }
        }
        let mut stats = Stats::default();
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(Ok(counted)) => stats.add(&counted),
                Ok(Err(error)) => log::error!("a shard has failed: {error}"),
                Err(_) => log::error!("a shard has panicked"),
            }
        }
        stats
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            let stats = self.end();
            log::debug!("{stats}");
        }
    }
}

struct Bound {
    addrs: Vec<SocketAddr>,
    by_shard: Vec<Vec<Listener>>,
}

/// Binds each address once for every shard; port 0 becomes the same free port on all.
fn bind_all(addresses: &[SocketAddr], shards: u8) -> io::Result<Bound> {
    let mut bound =
        Bound { addrs: Vec::new(), by_shard: (0..shards).map(|_| Vec::new()).collect() };
    for &wanted in addresses {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{wanted}: {error}"));
        if wanted.port() != 0 {
            Listener::probe(wanted).map_err(named)?;
        }
        let mut address = wanted;
        for listeners in &mut bound.by_shard {
            let listener = Listener::bind(address, BACKLOG).map_err(named)?;
            address = listener.local_addr().map_err(named)?;
            listeners.push(listener);
        }
        bound.addrs.push(address);
    }
    Ok(bound)
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
    };
    match config.kind {
        ResourceKind::Echo => Arc::new(Echo { options }),
        ResourceKind::Board => Arc::new(Board { options }),
        ResourceKind::Feed => Arc::new(Feed { options }),
    }
}
