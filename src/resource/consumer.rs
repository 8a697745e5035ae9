//! For programs of the private network: resources are found at a registry and read directly,
//! without a communication server.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant as StdInstant};

use crate::base::id::{Cid, Epoch, Key, Mid, Offset, ShardId};
use crate::base::name::{NameError, TopicName};
use crate::base::time::Instant;
use crate::link::handler;
use crate::link::links::Links;
use crate::link::news::News;
use crate::link::peer::{End, Other};
use crate::link::station::Station;
use crate::link::upstream::Upstream;
pub use crate::resource::consumer_builder::Builder;
use crate::resource::driver::{Driver, Handle, Refused};
pub use crate::resource::inbox::Event;
use crate::resource::inbox::Inbox;
use crate::wire::resource::Frame;

/// A reader of resources; clones are the same one, and the last of them, its subscriptions
/// included, ends it.
///
/// ```
/// use std::time::Duration;
/// use ahm::base::time::Span;
/// use ahm::link::peer::Me;
/// use ahm::link::registry::Registry;
/// use ahm::resource::consumer::{Consumer, Event};
/// use ahm::resource::driver::{Driver, Setup};
/// use ahm::resource::publisher::Publisher;
/// use ahm::wire::resource::{InstanceId, Role, Terms};
///
/// // All in one process here; each is one of its own otherwise.
/// let me = Me {
///     role: Role::Registry,
///     instance: InstanceId(1),
///     name: "registry".into(),
///     heartbeat: Span::from_secs(5),
///     key: String::new(),
///     demands: String::new(),
/// };
/// let setup = Setup { listen: vec!["127.0.0.1:0".parse()?], ..Setup::new("registry") };
/// let now = setup.clock.now();
/// let registry = Driver::start(setup, |_| Registry::new(me, now))?;
/// let there = registry.addresses()[0].clone();
///
/// let terms = Terms { state: true, ..Terms::default() };
/// let rates = Publisher::builder("rates")
///     .listen("127.0.0.1:0".parse()?)
///     .registry(there.clone())
///     .start(terms)?;
/// rates.publish("EURUSD", "1.09214")?;
/// while registry.handle().ask(|registry, _| registry.instance_count())? == 0 {
///     std::thread::yield_now();
/// }
///
/// let consumer = Consumer::builder().registry(there).start()?;
/// let eurusd = consumer.subscribe("rates", "EURUSD")?;
/// let price = loop {
///     match eurusd.next_within(Duration::from_secs(10)) {
///         Some(Event::Message { payload, .. }) => break payload,
///         Some(Event::Opened { .. }) => {}
///         other => panic!("{other:?}"),
///     }
/// };
/// assert_eq!(price, b"1.09214");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Consumer {
    handle: Handle<Reader>,
    driver: Arc<Driver<Reader>>,
    messages_max: usize,
}

impl Consumer {
    /// The consumer whose thread runs already.
    pub(crate) fn new(driver: Driver<Reader>, messages_max: usize) -> Self {
        Self { handle: driver.handle(), driver: Arc::new(driver), messages_max }
    }

    /// A consumer that knows no registry yet.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Reads a subject from now on; what comes of it is in the subscription's events.
    ///
    /// # Errors
    ///
    /// If resource and subject are no name.
    pub fn subscribe(&self, resource: &str, subject: &str) -> Result<Subscription, NameError> {
        self.resume(resource, subject, None)
    }

    /// The same, after the message that the caller has already, if the resource still keeps what
    /// came later; else what is missing is told.
    ///
    /// # Errors
    ///
    /// As for [`Consumer::subscribe`].
    pub fn resume(
        &self,
        resource: &str,
        subject: &str,
        last: Option<(Epoch, Offset)>,
    ) -> Result<Subscription, NameError> {
        let name = TopicName::new(resource, subject)?;
        let inbox = Arc::new(Inbox::new(self.messages_max));
        let events = Arc::clone(&inbox);
        let begun = self.handle.ask(move |reader, _now| reader.begin(&name, last, events));
        let want = begun.ok();
        if want.is_none() {
            inbox.push(Event::Closed(crate::base::reason::ChannelEnd::Gone));
        }
        let consumer = self.clone();
        Ok(Subscription { consumer, want: want.unwrap_or_default(), inbox })
    }

    /// Whether its thread has ended, which it does by itself only where it has failed.
    pub fn is_over(&self) -> bool {
        self.driver.is_over()
    }
}

/// One subject that is read. Dropping it ends that.
#[derive(Debug)]
pub struct Subscription {
    consumer: Consumer,
    want: Key,
    inbox: Arc<Inbox>,
}

impl Subscription {
    /// The next event; waits for it. `None`: there will be none any more.
    pub fn next(&self) -> Option<Event> {
        self.inbox.next(None)
    }

    /// The next event, if one is there or comes within so much time.
    pub fn next_within(&self, span: Duration) -> Option<Event> {
        self.inbox.next(Some(StdInstant::now() + span))
    }

    /// Whether the last event has come, read or not.
    pub fn is_over(&self) -> bool {
        self.inbox.is_over()
    }

    /// Sends a message to the resource; its number, 1, 2, 3 and so on, which an
    /// [`Event::Sent`] will have. While no instance serves the subject that event says at once
    /// that it was not taken.
    ///
    /// # Errors
    ///
    /// If the consumer has failed.
    pub fn send(&self, id: Option<&str>, payload: impl Into<Vec<u8>>) -> Result<u64, Refused> {
        let (want, id, payload) = (self.want, id.map(str::to_string), payload.into());
        self.consumer.handle.ask(move |reader, _now| reader.send(want, id.as_deref(), &payload))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let want = self.want;
        // If the thread has ended there is nothing to be ended.
        let _ = self.consumer.handle.act(move |reader, _now| reader.end(want));
    }
}

/// What one subscription has come to.
#[derive(Debug)]
struct Read {
    inbox: Arc<Inbox>,
    session: Mid,
    last: Option<(Epoch, Offset)>,
    sent: u64,
}

/// The station: reads the news of its upstream at every step.
#[derive(Debug)]
pub struct Reader {
    upstream: Upstream,
    read: HashMap<Key, Read>,
    /// Subscriptions so far.
    begun: u64,
    user: String,
    parameters: Vec<String>,
}

/// The channel of every subscription: each has a session of its own.
const CHANNEL: Cid = Cid(1);

impl Reader {
    /// Nothing is read yet.
    pub(crate) fn new(upstream: Upstream, user: String, parameters: Vec<String>) -> Self {
        Self { upstream, read: HashMap::new(), begun: 0, user, parameters }
    }

    fn begin(&mut self, name: &TopicName, last: Option<(Epoch, Offset)>, inbox: Arc<Inbox>) -> Key {
        self.begun += 1;
        let slot = (self.begun % u64::from(Mid::SLOT_END)) as u32;
        let generation = (self.begun / u64::from(Mid::SLOT_END)) as u32 + 1;
        let session = Mid::new(ShardId(0), Key { slot, generation });
        let session = session.or_else(|| Mid::from_number(1)).expect("1 is a session's number");
        let who = handler::Consumer {
            session,
            cid: CHANNEL,
            address: String::new(),
            user: self.user.clone(),
            parameters: self.parameters.clone(),
        };
        let want = self.upstream.want(name.resource(), name.subject(), who, last, false);
        self.read.insert(want, Read { inbox, session, last, sent: 0 });
        want
    }

    fn end(&mut self, want: Key) {
        if self.read.remove(&want).is_some() {
            self.upstream.drop_want(want);
        }
    }

    fn send(&mut self, want: Key, id: Option<&str>, payload: &[u8]) -> u64 {
        let Some(read) = self.read.get_mut(&want) else { return 0 };
        read.sent += 1;
        let n = read.sent;
        let sent = self.upstream.is_served(want)
            && self.upstream.send(want, (read.session, CHANNEL, n), id, payload);
        if !sent {
            read.inbox.push(Event::Sent { n, taken: false });
        }
        n
    }

    fn take(&mut self, news: News) {
        match news {
            News::Accepted { want, ep, next, .. } => {
                let Some(read) = self.read.get_mut(&want) else { return };
                read.tell_gap(ep, next);
                read.inbox.push(Event::Opened { ep, next });
            }
            News::Begin { want, ep, next } => {
                if let Some(read) = self.read.get_mut(&want) {
                    read.tell_gap(ep, next);
                }
            }
            News::Message { want, ep, n, snapshot, payload } => {
                let Some(read) = self.read.get_mut(&want) else { return };
                if read.last.is_some_and(|(known, last)| known == ep && n <= last) {
                    return;
                }
                read.last = Some((ep, n));
                let payload = self.upstream.payloads()[payload].to_vec();
                read.inbox.push(Event::Message { ep, n, snapshot, payload });
            }
            News::Denied { want, code, detail } => {
                if let Some(read) = self.read.remove(&want) {
                    read.inbox.push(Event::Denied(code, detail));
                }
            }
            News::Closed { want, end } => {
                if let Some(read) = self.read.remove(&want) {
                    read.inbox.push(Event::Closed(end));
                }
            }
            // Access lists are about the clients of servers; nobody judges by them here.
            News::Found { .. } | News::Listed { .. } => {}
            News::Sent { session, n, taken, .. } => {
                let read = self.read.values().find(|read| read.session == session);
                if let Some(read) = read {
                    read.inbox.push(Event::Sent { n, taken });
                }
            }
        }
    }
}

impl Read {
    /// The next message has this place: tells what is missing before it.
    fn tell_gap(&mut self, ep: Epoch, next: Offset) {
        match self.last {
            Some((known, last)) if known == ep && next.0 > last.0 + 1 => {
                self.inbox.push(Event::Gap(Some(next.0 - last.0 - 1)));
                self.last = Some((ep, Offset(next.0 - 1)));
            }
            Some((known, _)) if known != ep => {
                self.inbox.push(Event::Gap(None));
                self.last = Some((ep, Offset(next.0.saturating_sub(1))));
            }
            Some(_) => {}
            // From here on: what another instance does not have of it is missing, too.
            None => self.last = Some((ep, Offset(next.0.saturating_sub(1)))),
        }
    }
}

impl Station for Reader {
    fn links(&mut self) -> &mut Links {
        self.upstream.links()
    }

    fn on_greeted(&mut self, link: Key) {
        self.upstream.on_greeted(link);
    }

    fn on_frame(&mut self, link: Key, frame: &Frame<'_>) {
        self.upstream.on_frame(link, frame);
    }

    fn on_over(&mut self, link: Key, other: Option<Other>, end: End) {
        self.upstream.on_over(link, other, end);
    }

    fn on_time(&mut self) {
        self.upstream.on_time();
    }

    fn next_moment(&self) -> Option<Instant> {
        self.upstream.next_moment()
    }

    fn settle(&mut self) {
        self.upstream.settle();
        while let Some(news) = self.upstream.poll_news() {
            self.take(news);
        }
        self.upstream.forget_news();
    }
}
