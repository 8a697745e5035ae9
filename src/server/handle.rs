//! Publishing and draining from any thread of the embedding process.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::base::name::TopicName;
use crate::base::time::Span;
use crate::link::registry::Registry;
use crate::proto::home::Homes;
use crate::proto::parcel::{Parcel, Publication};
use crate::reactor::transport::Transport;
use crate::resource::driver::{self, Driver};
use crate::resource::publisher::Publisher;
use crate::server::reception::{Ender, Reception};
use crate::server::renewal::Renewal;
use crate::shard::guest::Guest;
use crate::shard::mail::Mail;
use crate::shard::mailbox::Sender;
use crate::wire::position::Position;

/// The queue to the topic's home is full, or the server has stopped: nothing was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue to the topic's home is full; try again")
    }
}

impl std::error::Error for Busy {}

/// A way into a running server, for any thread; clones are cheap.
///
/// ```
/// use ahm::base::name::TopicName;
/// use ahm::server::{builder::Builder, config::Config, registry::RegistryConfig};
/// let config = Config {
///     listen: vec!["127.0.0.1:0".parse().unwrap()],
///     private_listen: vec![],
///     registry: RegistryConfig::off(),
///     shards: 1,
///     ..Config::default()
/// };
/// let server = Builder::new(config).start()?;
/// let handle = server.handle();
/// let name = TopicName::new("fx", "EURUSD").unwrap();
/// handle.publish(&name, b"1.09214 1.09217", false).unwrap();
/// server.stop();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) homes: Homes,
    pub(crate) shards: Vec<Sender<Mail>>,
    /// Reads certificates again.
    pub(crate) renewal: Arc<Renewal>,
    /// The registry that ends with the server.
    pub(crate) registry: Option<driver::Handle<Registry>>,
    /// What lets resource servers in.
    pub(crate) reception: Option<Ender>,
}

impl Handle {
    /// A way into these shards.
    pub(crate) fn new(
        homes: Homes,
        renewal: Arc<Renewal>,
        registry: Option<&Driver<Registry>>,
        reception: Option<&Reception>,
    ) -> Self {
        let (registry, reception) = (registry.map(Driver::handle), reception.map(Reception::ender));
        let shards = renewal.shards.clone();
        Self { homes, shards, renewal, registry, reception }
    }

    /// Reads the files of certificates again, of passwords and of the keys of tokens, as SIGHUP
    /// does: new connections and new sessions get what they hold now, and nobody who is connected
    /// notices.
    ///
    /// # Errors
    ///
    /// Which file cannot be used, and why; everything stays as it was.
    pub fn reload(&self) -> io::Result<()> {
        self.renewal.renew()
    }

    /// Begins a drain and returns: public listeners close, every document is told to go elsewhere
    /// within that span and goes on meanwhile. The server stops when no document is left, at the
    /// latest when the span is over; zero stops it at once. A later call can only bring the end
    /// nearer. The registry ends at once: what is registered there goes elsewhere, maybe to the
    /// server that comes next on the same address; and no resource server can dial in any more,
    /// while those that have go on. Waits while a shard's queue is full, so a resource's methods
    /// must not call it.
    ///
    /// ```
    /// use ahm::base::time::Span;
    /// use ahm::server::{builder::Builder, config::Config, registry::RegistryConfig};
    /// let config = Config {
    ///     listen: vec!["127.0.0.1:0".parse().unwrap()],
    ///     private_listen: vec![],
    ///     registry: RegistryConfig::off(),
    ///     ..Config::default()
    /// };
    /// let server = Builder::new(config).start()?;
    /// let handle = server.handle();
    /// // From any thread, when this machine is to be taken out of service:
    /// handle.drain(Span::from_secs(10));
    /// let stats = server.wait()?; // or until SIGINT
    /// assert_eq!(stats.documents, 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn drain(&self, within: Span) {
        // First: guests that are told of the drain dial whoever listens next.
        self.end_doors();
        self.tell_all(|| Mail::Drain(within));
    }

    /// The registry ends, and so does what lets resource servers in; nobody waits for that.
    pub(crate) fn end_doors(&self) {
        if let Some(reception) = &self.reception {
            reception.end();
        }
        if let Some(registry) = &self.registry {
            registry.end();
        }
    }

    /// Puts mail into every shard's box; one that is full is being emptied, a closed one needs no
    /// word.
    pub(crate) fn tell_all(&self, mail: impl Fn() -> Mail) {
        for shard in &self.shards {
            // One that is gone needs no word.
            let _ = put(shard, mail());
        }
    }

    /// Has all that a publisher of this process serves read here from now on, until either of them
    /// stops; see [`Builder::publisher`](crate::server::builder::Builder::publisher), with which no
    /// client comes first. The publisher's own handler must not call it.
    ///
    /// ```
    /// use ahm::resource::publisher::Publisher;
    /// use ahm::server::{builder::Builder, config::Config, registry::RegistryConfig};
    /// use ahm::wire::resource::Terms;
    /// let config = Config {
    ///     listen: vec!["127.0.0.1:0".parse()?],
    ///     private_listen: vec![],
    ///     registry: RegistryConfig::off(),
    ///     ..Config::default()
    /// };
    /// let server = Builder::new(config).start()?;
    /// let rates = Publisher::builder("rates").start(Terms::default())?;
    /// server.handle().attach(&rates)?;
    /// rates.publish("EURUSD", "1.09214 1.09217")?;
    /// server.stop();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When one of the two has stopped, or the process has no descriptor left.
    pub fn attach(&self, publisher: &Publisher) -> io::Result<()> {
        let expected = publisher.resources().map_err(io::Error::other)?;
        for (part, shard) in (0..).zip(&self.shards) {
            let (near, far) = Transport::pair()?;
            publisher.attach(part, far).map_err(io::Error::other)?;
            let expected = expected.clone();
            let guest = Guest { transport: near, received: Vec::new(), expected };
            put(shard, Mail::Guest(Box::new(guest)))
                .map_err(|_| io::Error::other("the server has stopped"))?;
        }
        Ok(())
    }

    /// Publishes a message whose offset the server gives; `snapshot` says that it alone is the
    /// whole present state of the topic.
    ///
    /// The message is on its way when this returns. What the topic's home then refuses (a payload
    /// that is too large, a topic that another publisher numbers) it writes to the log.
    ///
    /// # Errors
    ///
    /// [`Busy`]: nothing was published; never blocks.
    pub fn publish(&self, name: &TopicName, payload: &[u8], snapshot: bool) -> Result<(), Busy> {
        self.publish_at(name, None, payload, snapshot)
    }

    /// The same with epoch and offset of the publisher's own: repeating it is harmless.
    ///
    /// # Errors
    ///
    /// As [`Handle::publish`].
    pub fn publish_at(
        &self,
        name: &TopicName,
        position: Option<Position>,
        payload: &[u8],
        snapshot: bool,
    ) -> Result<(), Busy> {
        let home = self.homes.of(name);
        let payload = payload.to_vec();
        let item = Publication { line: 0, name: name.clone(), position, snapshot, payload };
        let mail = Mail::Parcel(Parcel::Publish(None, vec![item]));
        self.shards[home.index()].push(mail).map_err(|_| Busy)
    }
}

/// Puts mail into a shard's box, and waits while that is full.
///
/// # Errors
///
/// Gives the mail back if the shard is gone.
pub(crate) fn put(shard: &Sender<Mail>, mut mail: Mail) -> Result<(), Mail> {
    while let Err(back) = shard.push(mail) {
        if shard.is_closed() {
            return Err(back);
        }
        mail = back;
        std::thread::yield_now();
    }
    Ok(())
}
