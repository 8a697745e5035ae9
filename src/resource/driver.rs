//! Runs a station of the resource protocol on a thread of its own, over sockets.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use crate::base::id::Key;
use crate::base::time::Instant;
use crate::link::address::Address;
use crate::link::station::Station;
use crate::reactor::clock::Clock;
use crate::reactor::poller::Poller;
use crate::reactor::transport::Transport;
use crate::resource::driver_door::Door;
use crate::resource::driver_loop::{EVENTS_MAX, Engine, WORK};
pub use crate::resource::driver_work::Refused;
use crate::resource::driver_work::{Queue, Work};
use crate::resource::protection::Protection;

/// How a station is run.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The name of its thread.
    pub name: String,
    /// Where it listens; port 0 takes a free one.
    pub listen: Vec<Address>,
    /// What it is told as the time.
    pub clock: Clock,
    /// Connections at a time; others are closed as soon as they come.
    pub connections_max: usize,
    /// TLS, where an address says `:tls`.
    pub tls: Protection,
    /// Woken when the thread has ended, however that came.
    pub ended: Option<Arc<mio::Waker>>,
}

impl Setup {
    /// A station that listens nowhere.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            listen: Vec::new(),
            clock: Clock::start(),
            connections_max: 10_000,
            tls: Protection::default(),
            ended: None,
        }
    }
}

/// A station on its thread. Dropping it ends the station.
///
/// ```
/// use ahm::base::time::{Instant, Span};
/// use ahm::link::registry::Registry;
/// use ahm::link::peer::Me;
/// use ahm::resource::driver::{Driver, Setup};
/// use ahm::wire::resource::{InstanceId, Role};
///
/// let me = Me {
///     role: Role::Registry,
///     instance: InstanceId(7),
///     name: "registry".into(),
///     heartbeat: Span::from_secs(5),
///     key: String::new(),
///     demands: String::new(),
/// };
/// let setup = Setup { listen: vec!["127.0.0.1:0".parse()?], ..Setup::new("registry") };
/// let now = setup.clock.now();
/// let driver = Driver::start(setup, |_addresses| Registry::new(me, now))?;
/// println!("listening on {}", driver.addresses()[0]);
/// let known = driver.handle().ask(|registry, _now| registry.instance_count())?;
/// assert_eq!(known, 0);
/// driver.stop()?; // gives the station back
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Driver<S> {
    handle: Handle<S>,
    addresses: Vec<Address>,
    thread: Option<JoinHandle<io::Result<S>>>,
    /// Kept, because a wake-up is lost that nobody has seen when its waker goes.
    _ended: Option<Arc<mio::Waker>>,
}

impl<S: Station + Send + 'static> Driver<S> {
    /// Listens, makes the station, which is told where, and starts its thread.
    ///
    /// # Errors
    ///
    /// When an address cannot be listened on, or the process has no descriptor or thread left.
    pub fn start(setup: Setup, make: impl FnOnce(&[Address]) -> S) -> io::Result<Self> {
        let Setup { name, listen, clock, connections_max, tls, ended } = setup;
        let opened = listen.iter().map(|address| Door::open(address, &tls));
        let opened = opened.collect::<io::Result<Vec<_>>>()?;
        let (doors, addresses): (Vec<_>, Vec<_>) = opened.into_iter().unzip();
        let poller = Poller::new(EVENTS_MAX)?;
        let queue = Arc::new(Queue::new(poller.waker(WORK)?));
        let station = make(&addresses);
        let engine =
            Engine::new(station, clock, poller, (doors, connections_max, tls), Arc::clone(&queue))?;
        let end = End { queue: Arc::clone(&queue), ended: ended.clone() };
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            let _end = end;
            engine.run()
        })?;
        Ok(Self { handle: Handle { queue }, addresses, thread: Some(thread), _ended: ended })
    }

    /// The addresses that it listens on.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// A way to the station, for any thread.
    pub fn handle(&self) -> Handle<S> {
        self.handle.clone()
    }

    /// Ends in order: what was handed to the station is done, nobody comes in any more, every
    /// connection is told, and what was put on it is sent, for two seconds at most. Gives the
    /// station back.
    ///
    /// # Errors
    ///
    /// Why the thread has failed.
    pub fn stop(mut self) -> io::Result<S> {
        self.handle.queue.stop();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome,
            _ => Err(io::Error::other("the station's thread has panicked")),
        }
    }
}

impl<S> Driver<S> {
    /// Whether its thread has ended, which it does by itself only where it has failed.
    pub fn is_over(&self) -> bool {
        self.handle.queue.is_over()
    }
}

impl<S> Drop for Driver<S> {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.handle.queue.stop();
        match thread.join() {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => log::error!("a station has failed: {error}"),
            Err(_) => log::error!("a station has panicked"),
        }
    }
}

impl<S> fmt::Debug for Driver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// A way to a station from any thread; clones are cheap.
pub struct Handle<S> {
    queue: Arc<Queue<S>>,
}

impl<S> Handle<S> {
    /// Has `work` done with the station, on its thread, after what was handed over before. Waits
    /// while too much waits there, so the station itself must not call it.
    ///
    /// # Errors
    ///
    /// [`Refused::Over`]: it will not be done.
    pub fn act(&self, work: impl FnOnce(&mut S, Instant) + Send + 'static) -> Result<(), Refused> {
        self.queue.push(Work::Act(Box::new(work)), true)
    }

    /// The same without waiting.
    ///
    /// # Errors
    ///
    /// [`Refused`]: it will not be done.
    pub fn try_act(
        &self,
        work: impl FnOnce(&mut S, Instant) + Send + 'static,
    ) -> Result<(), Refused> {
        self.queue.push(Work::Act(Box::new(work)), false)
    }

    /// The same, and waits for what comes of it.
    ///
    /// # Errors
    ///
    /// [`Refused::Over`]: it was not done to its end.
    pub fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut S, Instant) -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let (sender, answer) = sync_channel(1);
        self.act(move |station, now| {
            // Whoever asked waits, so this cannot fail.
            let _ = sender.send(work(station, now));
        })?;
        answer.recv().map_err(|_| Refused::Over)
    }

    /// Gives the station a connection that was made elsewhere; `begin` makes it one of its own and
    /// returns its key. No poller may know the connection.
    ///
    /// # Errors
    ///
    /// [`Refused::Over`]: the connection is closed.
    pub(crate) fn adopt(
        &self,
        transport: Transport,
        begin: impl FnOnce(&mut S, Instant) -> Key + Send + 'static,
    ) -> Result<(), Refused> {
        self.queue.push(Work::Adopt(transport, Box::new(begin)), true)
    }

    /// Has the station end in order, as [`Driver::stop`] does, without waiting for that.
    pub fn end(&self) {
        self.queue.stop();
    }
}

impl<S> Clone for Handle<S> {
    fn clone(&self) -> Self {
        Self { queue: Arc::clone(&self.queue) }
    }
}

impl<S> fmt::Debug for Handle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

/// Held by the thread; tells of its end.
struct End<S> {
    queue: Arc<Queue<S>>,
    ended: Option<Arc<mio::Waker>>,
}

impl<S> Drop for End<S> {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(waker) = &self.ended
            && let Err(error) = waker.wake()
        {
            log::warn!("the end of a station cannot be told: {error}");
        }
    }
}
