//! A resource server as a library: publish from any thread, and a thread of its own does the rest.

use std::fmt;
use std::sync::Arc;
use std::thread;

use crate::base::id::{Epoch, Offset};
use crate::base::limits::PAYLOAD_BYTES_MAX;
use crate::base::name;
use crate::base::time::{Instant, Span};
use crate::link::address::Address;
use crate::link::handler::Channel;
use crate::link::source::Source;
use crate::link::source_error::SourceError;
use crate::link::source_settings::{Counts, Outcome, Publication};
use crate::reactor::transport::Transport;
use crate::resource::driver::{self, Driver};
use crate::resource::publisher_builder::Builder;

/// How often a publisher that leaves looks whether its consumers have gone.
const LEAVE_INTERVAL: Span = Span::from_millis(20);
/// How long its last words may take.
const LAST_WORDS: Span = Span::from_secs(1);

/// A resource server in this process; clones are the same one, and the last of them stops it.
///
/// ```
/// use ahm::resource::publisher::Publisher;
/// use ahm::wire::resource::Terms;
///
/// let terms = Terms { state: true, latest: true, ..Terms::default() };
/// let rates = Publisher::builder("rates").listen("127.0.0.1:0".parse()?).start(terms)?;
/// rates.publish("EURUSD", "1.09214")?;
/// rates.publish("EURUSD", "1.09217")?;
/// println!("consumers dial {}", rates.addresses()[0]);
/// assert_eq!(rates.counts()?.published, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Publisher {
    resource: Arc<str>,
    handle: driver::Handle<Source>,
    driver: Arc<Driver<Source>>,
}

impl Publisher {
    /// A publisher of this resource, to be started.
    pub fn builder(resource: impl Into<String>) -> Builder {
        Builder::new(resource)
    }

    /// The publisher whose thread runs already.
    pub(crate) fn new(resource: &str, driver: Driver<Source>) -> Self {
        Self { resource: resource.into(), handle: driver.handle(), driver: Arc::new(driver) }
    }

    /// The same for another resource of the same process.
    pub fn for_resource(&self, resource: &str) -> Self {
        Self { resource: resource.into(), ..self.clone() }
    }

    /// Where consumers dial it.
    pub fn addresses(&self) -> &[Address] {
        self.driver.addresses()
    }

    /// The names of all resources that it serves.
    ///
    /// # Errors
    ///
    /// If the publisher has stopped.
    pub fn resources(&self) -> Result<Vec<String>, SourceError> {
        let names = |source: &mut Source, _now| {
            source.resources().map(|names| names.map(str::to_string).collect())
        };
        self.ask(names)?
    }

    /// Serves that part of a consumer over a connection within this process.
    pub(crate) fn attach(&self, part: u32, transport: Transport) -> Result<(), SourceError> {
        let begin = move |source: &mut Source, now| source.handle_attached(part, now);
        self.handle.adopt(transport, begin).map_err(|_| SourceError::Stopped)
    }

    /// Publishes a message to all who read a subject. Waits only where this thread is faster than
    /// the publisher's own, never for a consumer.
    ///
    /// A [`Handler`](crate::link::handler::Handler) must not call it, as that runs on the
    /// publisher's thread: it has its actions.
    ///
    /// # Errors
    ///
    /// If the subject or the message is none, or the publisher has stopped.
    pub fn publish(&self, subject: &str, payload: impl Into<Vec<u8>>) -> Result<(), SourceError> {
        self.give(subject, payload.into(), false, None)
    }

    /// The same for a message that is the whole present state, among others that are changes of it:
    /// who comes later begins with it.
    ///
    /// # Errors
    ///
    /// As for [`Publisher::publish`].
    pub fn publish_snapshot(
        &self,
        subject: &str,
        payload: impl Into<Vec<u8>>,
    ) -> Result<(), SourceError> {
        self.give(subject, payload.into(), true, None)
    }

    /// The same with an offset of the caller's own, as replicas need it that do not begin at the
    /// same message. One that was published before is dropped and counted; where one is left out,
    /// readers are told of a gap.
    ///
    /// # Errors
    ///
    /// As for [`Publisher::publish`].
    pub fn publish_at(
        &self,
        subject: &str,
        n: Offset,
        payload: impl Into<Vec<u8>>,
    ) -> Result<(), SourceError> {
        self.give(subject, payload.into(), false, Some(n))
    }

    /// Publishes many messages, which then mostly travel together: pairs of subject and payload.
    ///
    /// # Errors
    ///
    /// As for [`Publisher::publish`]; none of them is published then.
    pub fn publish_many<'a, P: Into<Vec<u8>>>(
        &self,
        messages: impl IntoIterator<Item = (&'a str, P)>,
    ) -> Result<(), SourceError> {
        let mut all = Vec::new();
        for (subject, payload) in messages {
            let payload = payload.into();
            check(subject, &payload)?;
            all.push((subject.to_string(), payload));
        }
        let resource = Arc::clone(&self.resource);
        self.act(move |source, now| {
            for (subject, payload) in all {
                note(source.publish(Publication::new(&resource, &subject, payload), now));
            }
        })
    }

    /// Publishes a message and waits for its place.
    ///
    /// # Errors
    ///
    /// As for [`Publisher::publish`], or if there is no such resource.
    pub fn publish_and_wait(
        &self,
        subject: &str,
        payload: impl Into<Vec<u8>>,
    ) -> Result<Outcome, SourceError> {
        let (resource, subject) = (Arc::clone(&self.resource), subject.to_string());
        let payload = payload.into();
        let publish = move |source: &mut Source, now: Instant| {
            source.publish(Publication::new(&resource, &subject, payload), now)
        };
        self.ask(publish)?
    }

    /// Sends a message to the consumer of a private channel; if that is over, it is dropped.
    ///
    /// # Errors
    ///
    /// If the message is none, or the publisher has stopped.
    pub fn reply(&self, channel: Channel, payload: impl Into<Vec<u8>>) -> Result<(), SourceError> {
        let payload = payload.into();
        check("", &payload)?;
        self.act(move |source, now| note(source.reply(channel, payload, now)))
    }

    /// Ends a private channel, when all is sent that was put there.
    ///
    /// # Errors
    ///
    /// If the publisher has stopped.
    pub fn end(&self, channel: Channel) -> Result<(), SourceError> {
        self.act(move |source, now| source.end(channel, now))
    }

    /// Closes a subject: its readers get what is still to come, then learn that it is gone.
    ///
    /// # Errors
    ///
    /// If the publisher has stopped.
    pub fn close(&self, subject: &str) -> Result<(), SourceError> {
        let (resource, subject) = (Arc::clone(&self.resource), subject.to_string());
        self.act(move |source, now| note(source.close(&resource, &subject, now)))
    }

    /// The numbering of a subject goes on at `next` of epoch `ep`; see [`Source::begin`].
    ///
    /// # Errors
    ///
    /// If the subject or offset is none, there is no such resource, or the publisher has stopped.
    pub fn begin(&self, subject: &str, ep: Epoch, next: Offset) -> Result<(), SourceError> {
        let (resource, subject) = (Arc::clone(&self.resource), subject.to_string());
        self.ask(move |source, now| source.begin((&resource, &subject), (ep, next), now))?
    }

    /// Whether anybody reads a subject.
    ///
    /// # Errors
    ///
    /// If the publisher has stopped.
    pub fn is_demanded(&self, subject: &str) -> Result<bool, SourceError> {
        let (resource, subject) = (Arc::clone(&self.resource), subject.to_string());
        self.ask(move |source, _now| source.is_demanded(&resource, &subject))
    }

    /// What has happened since the start, and how it stands.
    ///
    /// # Errors
    ///
    /// If the publisher has stopped.
    pub fn counts(&self) -> Result<Counts, SourceError> {
        self.ask(|source, _now| source.counts())
    }

    /// The resource takes nobody new, and its consumers move to other instances; see
    /// [`Source::withdraw`].
    ///
    /// # Errors
    ///
    /// If there is no such resource, or the publisher has stopped.
    pub fn withdraw(&self) -> Result<(), SourceError> {
        let resource = Arc::clone(&self.resource);
        self.ask(move |source, now| source.withdraw(&resource, now))?
    }

    /// Stops, whatever clones there are: consumers have `grace` to move to other instances, and all
    /// are told. Returns when they have gone.
    pub fn stop(self, grace: Span) {
        if self.act(move |source, now| source.leave(grace, now)).is_err() {
            return;
        }
        let rounds = (grace + LAST_WORDS).as_millis() / LEAVE_INTERVAL.as_millis();
        for _ in 0..=rounds {
            if self.ask(|source, _now| source.is_over()).unwrap_or(true) {
                return;
            }
            // pause: consumers go when they have moved, and nobody else has anything to do here
            thread::sleep(LEAVE_INTERVAL.to_std());
        }
    }

    fn give(
        &self,
        subject: &str,
        payload: Vec<u8>,
        snapshot: bool,
        at: Option<Offset>,
    ) -> Result<(), SourceError> {
        check(subject, &payload)?;
        let (resource, subject) = (Arc::clone(&self.resource), subject.to_string());
        self.act(move |source, now| {
            let publication = Publication::new(&resource, &subject, payload);
            note(source.publish(Publication { snapshot, at, ..publication }, now));
        })
    }

    fn act(
        &self,
        work: impl FnOnce(&mut Source, Instant) + Send + 'static,
    ) -> Result<(), SourceError> {
        self.handle.act(work).map_err(|_| SourceError::Stopped)
    }

    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Source, Instant) -> T + Send + 'static,
    ) -> Result<T, SourceError> {
        self.handle.ask(work).map_err(|_| SourceError::Stopped)
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resource = &self.resource;
        f.debug_struct("Publisher").field("resource", resource).finish_non_exhaustive()
    }
}

/// What can be known before the message reaches the publisher's thread.
fn check(subject: &str, payload: &[u8]) -> Result<(), SourceError> {
    name::check_subject(subject).map_err(SourceError::Name)?;
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(SourceError::Large(payload.len()));
    }
    Ok(())
}

/// Whoever has asked is gone; the operator hears of what went wrong.
fn note<T>(outcome: Result<T, SourceError>) {
    if let Err(error) = outcome {
        log::warn!("not published: {error}");
    }
}
