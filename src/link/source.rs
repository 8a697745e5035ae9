//! A resource server: subjects with a history, and connections that read them.
//!
//! A subject is a log, a subscription is a cursor: for each connection and alias only a place.
//! Messages go from the logs to a connection only while little waits there, in turns among its
//! subscriptions; so a consumer that is slow costs nothing, and one that falls out of a history is
//! told so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::base::id::{Epoch, Key, Offset};
use crate::base::limits::PAYLOAD_BYTES_MAX;
use crate::base::name;
use crate::base::random::Random;
use crate::base::reason::ChannelEnd;
use crate::base::time::{Instant, Span};
use crate::link::handler::{Channel, Handler};
use crate::link::links::{Links, Output};
use crate::link::peer::{End, Me, Other};
use crate::link::source_dial::Dial;
use crate::link::source_error::SourceError;
use crate::link::source_lane::Lane;
use crate::link::source_settings::{Counts, Outcome, Publication, Settings};
use crate::link::source_topic::{Office, Served, Topic, Topics};
use crate::link::station::Station;
use crate::mem::wheel::Wheel;
use crate::wire::resource::{Frame, Role};

/// A resource server without sockets, clock and threads; the shell, or a loop of your own, drives
/// it as a [`Station`].
///
/// ```
/// use std::sync::Arc;
/// use ahm::base::random::Random;
/// use ahm::base::time::{Instant, Span};
/// use ahm::link::links::Output;
/// use ahm::link::peer::Me;
/// use ahm::link::source::Source;
/// use ahm::link::source_settings::{Publication, Settings};
/// use ahm::link::source_topic::Served;
/// use ahm::link::station::Station;
/// use ahm::wire::resource::{InstanceId, Role, Terms};
///
/// let me = Me {
///     role: Role::Resource,
///     instance: InstanceId(1), // another one after each start: from a random seed
///     name: "rates-1".into(),
///     heartbeat: Span::from_secs(5),
///     key: String::new(),
///     demands: String::new(),
/// };
/// let mut now = Instant::ZERO; // by your clock
/// let mut source = Source::new(me, Settings::default(), Random::from_number(1), now);
/// source.serve(Served::new("rates"), Arc::new(Terms::default()))?;
///
/// let link = source.handle_accepted(now); // a consumer has dialled
/// source.handle_received(link, b"", now); // what its socket gave
/// source.publish(Publication::new("rates", "EURUSD", "1.09214"), now)?;
/// let mut sent = 0;
/// while let Some(output) = source.poll_output() {
///     match output {
///         Output::Send(link) => source.transmit(link, now, &mut |bytes| {
///             sent += bytes.len(); // write them; say how many were taken, and if that is all
///             (bytes.len(), false)
///         }),
///         Output::Dial(_link, _address) => {} // then handle_connected or handle_failed
///         Output::Close(_link) => {}
///     }
/// }
/// assert!(sent > 0, "it greets");
/// if let Some(at) = source.poll_timeout() {
///     now = at; // when that has come, at the latest
///     source.handle_timeout(now);
/// }
/// # Ok::<(), ahm::link::source_error::SourceError>(())
/// ```
#[derive(Debug)]
pub struct Source {
    pub(crate) links: Links,
    pub(crate) settings: Settings,
    pub(crate) random: Random,
    pub(crate) offices: Vec<Office>,
    pub(crate) topics: Topics,
    pub(crate) lanes: BTreeMap<Key, Lane>,
    pub(crate) dials: Vec<Dial>,
    /// Connections to consumers that were made by another way than dialling.
    pub(crate) attached: BTreeSet<Key>,
    pub(crate) addresses: Vec<String>,
    /// Subjects whose readers are to be told at the next pull.
    pub(crate) touched: Vec<Key>,
    /// Subjects that are trimmed when nothing more can be put on connections.
    pub(crate) grown: Vec<Key>,
    /// Connections to be filled.
    pub(crate) named: VecDeque<Key>,
    /// When the oldest message of a subject is too old.
    pub(crate) ages: Wheel<Key>,
    pub(crate) counts: Counts,
    /// Whether registries may have to be told of another number of consumers.
    pub(crate) moved: bool,
    /// When everybody is left at the latest; `None` unless this source stops.
    pub(crate) leaving: Option<Instant>,
    /// Whether everybody was left.
    pub(crate) left: bool,
}

impl Source {
    /// A source that serves nothing yet, and dials what it is to dial.
    pub fn new(me: Me, settings: Settings, random: Random, now: Instant) -> Self {
        let mut source = Self {
            links: Links::new(Me { role: Role::Resource, ..me }, now),
            random,
            offices: Vec::new(),
            topics: Topics::new(0),
            lanes: BTreeMap::new(),
            dials: Dial::all(&settings, now),
            attached: BTreeSet::new(),
            addresses: settings.addresses.iter().map(ToString::to_string).collect(),
            settings,
            touched: Vec::new(),
            grown: Vec::new(),
            named: VecDeque::new(),
            ages: Wheel::new(now, Span::from_millis(1)),
            counts: Counts::default(),
            moved: false,
            leaving: None,
            left: false,
        };
        source.dial_due();
        source
    }

    /// Serves a resource from now on.
    ///
    /// # Errors
    ///
    /// If it cannot be served, or is served already.
    pub fn serve(&mut self, served: Served, handler: Arc<dyn Handler>) -> Result<(), SourceError> {
        served.check()?;
        if self.office(&served.name).is_ok() {
            return Err(SourceError::Doubled(served.name));
        }
        self.offices.push(Office::new(served, handler));
        self.register(self.offices.len() - 1);
        Ok(())
    }

    /// Publishes a message.
    ///
    /// # Errors
    ///
    /// If there is no such resource, or the message is none.
    pub fn publish(
        &mut self,
        publication: Publication<'_>,
        now: Instant,
    ) -> Result<Outcome, SourceError> {
        self.links.set_now(now);
        let office = self.office(publication.resource)?;
        self.publish_in(office, publication)
    }

    /// Sends a message to the consumer of a private channel.
    ///
    /// # Errors
    ///
    /// If the channel is over, or the message is too large.
    pub fn reply(
        &mut self,
        channel: Channel,
        payload: impl Into<Vec<u8>>,
        now: Instant,
    ) -> Result<Outcome, SourceError> {
        self.links.set_now(now);
        self.reply_in(channel, payload.into().into())
    }

    /// Ends a private channel, when all is sent that was put there.
    pub fn end(&mut self, channel: Channel, now: Instant) {
        self.links.set_now(now);
        self.end_topic(channel.0, ChannelEnd::Gone);
    }

    /// Closes a shared subject: its readers get what is still to come, then learn that it is gone.
    /// Whoever opens or publishes it later begins it anew, in another epoch.
    ///
    /// # Errors
    ///
    /// If there is no such resource.
    pub fn close(
        &mut self,
        resource: &str,
        subject: &str,
        now: Instant,
    ) -> Result<(), SourceError> {
        self.links.set_now(now);
        let at = self.office(resource)?;
        if let Some(topic) = self.offices[at].topics.get(subject) {
            self.close_topic(*topic);
        }
        Ok(())
    }

    /// The numbering of a shared subject goes on at `next` of epoch `ep`, and what was kept of it
    /// is forgotten. Its readers learn that nobody knows what they have missed.
    ///
    /// # Errors
    ///
    /// If there is no such resource, or the subject or offset is none.
    pub fn begin(
        &mut self,
        (resource, subject): (&str, &str),
        (ep, next): (Epoch, Offset),
        now: Instant,
    ) -> Result<(), SourceError> {
        self.links.set_now(now);
        check_offset(next)?;
        let office = self.office(resource)?;
        let key = self.shared_topic(office, subject)?;
        if let Some(topic) = self.topics.get_mut(key) {
            topic.log.begin(ep, next);
        }
        self.touch(key);
        Ok(())
    }

    /// Whether anybody reads a shared subject.
    pub fn is_demanded(&self, resource: &str, subject: &str) -> bool {
        let office = self.offices.iter().find(|office| office.served.name == resource);
        let topic = office.and_then(|office| self.topics.get(*office.topics.get(subject)?));
        topic.is_some_and(|topic| !topic.readers.is_empty())
    }

    /// What has happened since the start, and how it stands.
    pub fn counts(&self) -> Counts {
        Counts {
            consumers: self.offices.iter().map(|office| office.consumers).sum(),
            topics: self.topics.len() as u64,
            connections: self.lanes.len() as u64,
            registries: self.dials.iter().filter(|dial| dial.is_registered()).count() as u64,
            ..self.counts
        }
    }

    /// Bytes that all histories hold.
    pub fn history_bytes(&self) -> usize {
        let topics = self.topics.keys().filter_map(|key| self.topics.get(key));
        topics.map(|topic| topic.log.bytes()).sum()
    }

    pub(crate) fn office(&self, resource: &str) -> Result<usize, SourceError> {
        let at = self.offices.iter().position(|office| office.served.name == resource);
        at.ok_or_else(|| SourceError::NoResource(resource.to_string()))
    }

    pub(crate) fn publish_in(
        &mut self,
        office: usize,
        publication: Publication<'_>,
    ) -> Result<Outcome, SourceError> {
        if self.left {
            return Err(SourceError::Stopped);
        }
        check_payload(&publication.payload)?;
        publication.at.map_or(Ok(()), check_offset)?;
        let key = self.shared_topic(office, publication.subject)?;
        let Publication { payload, snapshot, at, .. } = publication;
        Ok(self.append(key, payload, snapshot, at))
    }

    pub(crate) fn reply_in(
        &mut self,
        channel: Channel,
        payload: Box<[u8]>,
    ) -> Result<Outcome, SourceError> {
        check_payload(&payload)?;
        match self.topics.get(channel.0) {
            Some(topic) if topic.ended.is_none() => {
                Ok(self.append(channel.0, payload, false, None))
            }
            _ => Err(SourceError::NoChannel),
        }
    }

    fn append(
        &mut self,
        key: Key,
        payload: Box<[u8]>,
        snapshot: bool,
        at: Option<Offset>,
    ) -> Outcome {
        let now = self.links.now();
        let Some(topic) = self.topics.get_mut(key) else { return Outcome::Unchanged };
        let next = topic.log.next();
        if at.is_some_and(|at| at < next) {
            self.counts.repeated += 1;
            return Outcome::Repeated;
        }
        let is_same = |topic: &Topic| topic.log.newest().is_some_and(|e| e.payload == payload);
        if at.is_none() && topic.terms.changed && is_same(topic) {
            self.counts.unchanged += 1;
            return Outcome::Unchanged;
        }
        let n = at.unwrap_or(next);
        topic.log.push(n, snapshot, payload, now);
        self.counts.published += 1;
        let ep = topic.log.ep();
        self.touch(key);
        Outcome::Published(ep, n)
    }

    /// The log of a shared subject, which begins with this if there is none.
    pub(crate) fn shared_topic(&mut self, at: usize, subject: &str) -> Result<Key, SourceError> {
        let office = &mut self.offices[at];
        if let Some(key) = office.topics.get(subject) {
            return Ok(*key);
        }
        name::check_subject(subject).map_err(SourceError::Name)?;
        let terms = office.handler.terms(subject);
        let ep = office.epoch().unwrap_or_else(|| Epoch(self.random.next()));
        let topic = Topic::new(at, subject, terms, self.settings.history, ep);
        let key = self.topics.insert(topic);
        office.topics.insert(subject.to_string(), key);
        Ok(key)
    }
}

fn check_payload(payload: &[u8]) -> Result<(), SourceError> {
    if payload.len() > PAYLOAD_BYTES_MAX { Err(SourceError::Large(payload.len())) } else { Ok(()) }
}

fn check_offset(n: Offset) -> Result<(), SourceError> {
    if (1..Offset::END).contains(&n.0) { Ok(()) } else { Err(SourceError::Offset(n.0)) }
}

impl Station for Source {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }

    fn on_greeted(&mut self, link: Key) {
        self.greeted(link);
    }

    fn on_frame(&mut self, link: Key, frame: &Frame<'_>) {
        self.take_frame(link, frame);
    }

    fn on_over(&mut self, link: Key, _other: Option<Other>, end: End) {
        self.forget_lane(link);
        self.attached.remove(&link);
        self.dial_over(link, end);
    }

    fn on_emptied(&mut self, link: Key) {
        self.name(link);
    }

    fn on_time(&mut self) {
        self.dial_due();
        self.report();
        self.end_withdrawn();
        self.grow_old();
    }

    fn next_moment(&self) -> Option<Instant> {
        [self.next_dial(), self.next_end(), self.ages.next()].into_iter().flatten().min()
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.settle();
        self.pull();
        if self.moved {
            self.report();
        }
        self.leave_if_due();
        self.settle();
        let output = self.links.poll_output();
        if output.is_none() {
            // Connections that keep up have got what is trimmed now, however much came at once.
            self.trim_grown();
        }
        output
    }
}

#[cfg(test)]
mod tests;
