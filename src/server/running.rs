//! A running server: waiting for its end, and bringing it about.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use mio::Token;

use crate::base::time::Span;
use crate::files::server::FileServer;
use crate::link::address::Address;
use crate::link::registry::Registry;
use crate::proto::stats::Stats;
use crate::reactor::poller::Poller;
use crate::reactor::signals::{Signal, Signals};
use crate::resource::driver::Driver;
use crate::server::desk::Desk;
use crate::server::handle::Handle;
use crate::server::reception::Reception;
use crate::server::renewal::Watch;
use crate::shard::mail::Mail;

/// Readiness of this token: a shard's thread has ended.
pub(crate) const ENDED: Token = Token(0);
/// Readiness of this token: a signal has come.
const SIGNALS: Token = Token(1);

/// The shards' threads that have not ended yet.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    count: Arc<AtomicUsize>,
    waker: Arc<mio::Waker>,
}

impl Running {
    /// None yet.
    pub(crate) fn new(waker: Arc<mio::Waker>) -> Self {
        Self { count: Arc::default(), waker }
    }

    /// One more: it runs until what is returned is dropped.
    pub(crate) fn one(&self) -> RunningOne {
        self.count.fetch_add(1, Ordering::AcqRel);
        RunningOne(self.clone())
    }

    fn is_none(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }
}

/// Held by a shard's thread; tells the waiting thread of its end, however that comes.
#[derive(Debug)]
pub(crate) struct RunningOne(Running);

impl Drop for RunningOne {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::AcqRel);
        if let Err(error) = self.0.waker.wake() {
            log::warn!("the end of a shard cannot be told: {error}");
        }
    }
}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    pub(crate) public_addrs: Vec<SocketAddr>,
    pub(crate) schemes: Vec<&'static str>,
    pub(crate) private_addrs: Vec<SocketAddr>,
    pub(crate) private_schemes: Vec<&'static str>,
    pub(crate) private_sockets: Vec<PathBuf>,
    pub(crate) handle: Handle,
    /// Ends with the server; dropping it waits for that.
    pub(crate) registry: Option<Driver<Registry>>,
    /// Likewise.
    pub(crate) reception: Option<Reception>,
    /// Serves the files of a directory; ends with the server.
    pub(crate) _files: Option<FileServer>,
    /// Looks for certificates that have changed; ends with the server.
    pub(crate) _watch: Option<Watch>,
    /// Finds out who clients are where that takes time; ends with the server.
    pub(crate) _desk: Option<Desk>,
    /// How long a drain takes at most.
    pub(crate) drain: Span,
    /// Waits for signals and for the end of the threads.
    pub(crate) poller: Poller,
    pub(crate) running: Running,
    pub(crate) threads: Vec<JoinHandle<io::Result<Stats>>>,
}

impl Server {
    /// The addresses that clients connect to.
    pub fn public_addrs(&self) -> &[SocketAddr] {
        &self.public_addrs
    }

    /// The same as URLs.
    ///
    /// ```
    /// use ahm::server::{builder::Builder, config::Config, registry::RegistryConfig};
    /// let config = Config {
    ///     listen: vec!["127.0.0.1:0".parse().unwrap()],
    ///     private_listen: vec![],
    ///     registry: RegistryConfig::off(),
    ///     ..Config::default()
    /// };
    /// let server = Builder::new(config).start()?;
    /// let url = format!("http://{}", server.public_addrs()[0]);
    /// assert_eq!(server.public_urls().collect::<Vec<_>>(), [url]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn public_urls(&self) -> impl Iterator<Item = String> {
        let all = self.schemes.iter().zip(&self.public_addrs);
        all.map(|(scheme, address)| format!("{scheme}://{address}"))
    }

    /// The addresses that publishers connect to.
    pub fn private_addrs(&self) -> &[SocketAddr] {
        &self.private_addrs
    }

    /// The same as URLs.
    pub fn private_urls(&self) -> impl Iterator<Item = String> {
        let all = self.private_schemes.iter().zip(&self.private_addrs);
        all.map(|(scheme, address)| format!("{scheme}://{address}"))
    }

    /// The files of sockets that publishers connect to.
    pub fn private_sockets(&self) -> &[PathBuf] {
        &self.private_sockets
    }

    /// The addresses that the registry is found at; none if there is none.
    pub fn registry_addrs(&self) -> &[Address] {
        self.registry.as_ref().map_or(&[][..], |registry| registry.addresses())
    }

    /// The addresses that resource servers dial; none unless it was configured.
    pub fn guest_addrs(&self) -> &[Address] {
        self.reception.as_ref().map_or(&[][..], Reception::addresses)
    }

    /// A way in for other threads.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits until the server has stopped. SIGTERM drains it first, SIGINT stops it at once, and so
    /// does any second signal of these; SIGHUP is [`Handle::reload`].
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
    pub fn wait_on(mut self, mut signals: Signals) -> io::Result<Stats> {
        signals.register(self.poller.registry(), SIGNALS)?;
        let mut draining = false;
        while !self.running.is_none() {
            self.poller.poll(None)?;
            for signal in signals.pending() {
                match signal {
                    Signal::Hangup => {
                        if let Err(error) = self.handle.reload() {
                            log::error!("everything stays as it is: {error}");
                        }
                    }
                    Signal::Terminate if !draining && self.drain > Span::ZERO => {
                        log::info!("draining, for {} at most", self.drain);
                        draining = true;
                        self.handle.drain(self.drain);
                    }
                    Signal::Interrupt | Signal::Terminate => {
                        log::info!("stopping");
                        return Ok(self.stop());
                    }
                }
            }
        }
        Ok(self.join())
    }

    /// Drains the server for the span that is configured, as SIGTERM does, and waits for its end:
    /// documents are told to go elsewhere, and it stops when none is left or the span is over.
    ///
    /// ```
    /// use ahm::server::{builder::Builder, config::Config, registry::RegistryConfig};
    /// let config = Config {
    ///     listen: vec!["127.0.0.1:0".parse().unwrap()],
    ///     private_listen: vec![],
    ///     registry: RegistryConfig::off(),
    ///     ..Config::default()
    /// };
    /// let server = Builder::new(config).start()?;
    /// // No document is open, so this waits for nothing.
    /// let stats = server.drain();
    /// assert_eq!(stats.documents, 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn drain(mut self) -> Stats {
        self.handle.drain(self.drain);
        self.join()
    }

    /// Stops at once: documents get their last frame, answers under way are given, then the threads
    /// end.
    pub fn stop(mut self) -> Stats {
        self.end()
    }

    fn end(&mut self) -> Stats {
        self.handle.tell_all(|| Mail::Stop);
        self.handle.end_doors();
        self.join()
    }

    /// Waits for the threads and adds up what they have counted.
    fn join(&mut self) -> Stats {
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
