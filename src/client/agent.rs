//! The client without sockets, clock and randomness.
//!
//! # The contract
//!
//! An [`Agent`] is driven by whoever owns the sockets ([`crate::client::link`], or a test):
//!
//! - inputs: [`Agent::handle_head`], [`Agent::handle_bytes`] and [`Agent::handle_end`] for
//!   documents, [`Agent::handle_answer`] and [`Agent::handle_failure`] for short commands,
//!   [`Agent::handle_timeout`] for time;
//! - commands: [`Agent::subscribe`], [`Agent::unsubscribe`], [`Agent::send`], [`Agent::refresh`],
//!   [`Agent::ping`], [`Agent::stop`];
//! - outputs: [`Agent::poll_output`] (what to do), [`Agent::poll_event`] (what the consumer is
//!   told), [`Agent::poll_timeout`] (when to come back).
//!
//! One input or command, then all three outputs until they are empty. The same inputs with the same
//! seed give the same outputs.
//!
//! # What it does
//!
//! It opens a session with one GET that asks for the channels too; delivers each message once and
//! in order by epoch and offset ([`crate::client::merge`]); watches the heartbeat; replaces the
//! document every refresh period, or when the server asks for it, before it closes the old one;
//! after a cut asks for a document of the same session from where it is; and where the session is
//! gone opens a new one and asks for each channel since the place that the consumer has reached.
//! With [`Settings::duplicates`] it keeps further documents that carry the same, so that the end of
//! one of them is not noticed at all ([`crate::client::schedule`]). There may be several routes to
//! servers: what cannot be had over one is asked for over the next, and duplicates are spread over
//! all of them. A route that leads to another server gets a session of its own
//! ([`crate::client::leg`]); epochs and offsets make one sequence of what all of them bring.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::base::backoff::Backoff;
use crate::base::id::Cid;
use crate::base::name::TopicName;
use crate::base::random::Random;
use crate::base::reason::ChannelEnd;
use crate::base::time::{Instant, Span};
use crate::client::calls::Call;
use crate::client::channel::Channel;
use crate::client::document::{Document, Phase};
use crate::client::event::{
    CallId, ChannelKey, Counters, Event, Failure, Output, RouteId, StreamId, StreamState,
};
use crate::client::leg::{Leg, LegId};
use crate::client::merge::Merge;
use crate::client::settings::Settings;
use crate::client::track::Sink;
use crate::wire::command::Position;

/// The client without sockets; see the [module](self) for how to drive it.
///
/// ```
/// use ahm::base::time::Instant;
/// use ahm::client::agent::Agent;
/// use ahm::client::event::{Event, Output, parse_topic};
/// use ahm::client::settings::Settings;
/// use ahm::wire::command::OpenRequest;
///
/// let now = Instant::ZERO;
/// let mut agent = Agent::new(Settings::default(), 1);
/// let topic = parse_topic("fx/EURUSD").unwrap();
/// let channel = agent.subscribe(OpenRequest::new(topic), now).unwrap();
/// let Some(Output::OpenStream { stream, request, .. }) = agent.poll_output() else { panic!() };
/// assert_eq!(request.target, "mux.html?mid=0&scs=0&open=fx/EURUSD");
///
/// agent.handle_head(stream, 200, None, now);
/// let document = b"<p i scs=a mid=7 d=1 k=s3cret h=15000 r=240000 v=1>\n\
///     <p o c=1048576 u=fx/EURUSD ep=9f n=4 head=4>\n<p c=1048576 n=5>1.09214\n";
/// agent.handle_bytes(stream, document, now);
/// let events: Vec<_> = std::iter::from_fn(|| agent.poll_event()).collect();
/// let Some(Event::Message { payload, .. }) = events.last() else { panic!() };
/// assert_eq!(payload, b"1.09214");
/// assert_eq!(agent.position(channel).unwrap().to_string(), "9f:5");
/// ```
#[derive(Debug)]
pub struct Agent {
    pub(crate) settings: Settings,
    pub(crate) random: Random,
    pub(crate) channels: BTreeMap<ChannelKey, Channel>,
    pub(crate) names: HashMap<TopicName, ChannelKey>,
    pub(crate) merge: Merge,
    /// In the order they were asked for; of each leg at most one main one does not run yet, and of
    /// all duplicates one.
    pub(crate) documents: Vec<Document>,
    /// Never empty; the first is the main one.
    pub(crate) legs: Vec<Leg>,
    /// Counts sessions, so that what belongs to an earlier one is known.
    pub(crate) session_count: u32,
    pub(crate) calls: HashMap<CallId, Call>,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) ended: Vec<(ChannelKey, ChannelEnd)>,
    pub(crate) counters: Counters,
    /// No duplicate is asked for before this moment.
    pub(crate) duplicate_at: Instant,
    pub(crate) duplicate_backoff: Backoff,
    /// Channels with sends that may be due.
    pub(crate) sending: BTreeSet<ChannelKey>,
    pub(crate) state: StreamState,
    pub(crate) stopped: bool,
    pub(crate) last_id: u64,
    pub(crate) last_channel: u32,
    pub(crate) last_leg: u32,
}

impl Agent {
    /// An agent that waits for its first channel. Agents with different seeds spread their waits.
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self {
            random: Random::from_number(seed),
            channels: BTreeMap::new(),
            names: HashMap::new(),
            merge: Merge::default(),
            documents: Vec::new(),
            legs: vec![Leg::new(LegId(0), RouteId(0), &settings, Instant::ZERO)],
            session_count: 0,
            calls: HashMap::new(),
            outputs: VecDeque::new(),
            events: VecDeque::new(),
            ended: Vec::new(),
            counters: Counters::default(),
            duplicate_at: Instant::ZERO,
            duplicate_backoff: settings.backoff,
            sending: BTreeSet::new(),
            state: StreamState::Idle,
            stopped: false,
            last_id: 0,
            last_channel: 0,
            last_leg: 0,
            settings,
        }
    }

    /// The place of the last message delivered on `channel`, or where it starts.
    pub fn position(&self, channel: ChannelKey) -> Option<Position> {
        self.merge.place(channel)
    }

    /// What happened so far, in numbers.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How the stream is doing.
    pub fn state(&self) -> StreamState {
        self.state
    }

    /// The topic of `channel`.
    pub fn name(&self, channel: ChannelKey) -> Option<&TopicName> {
        self.channels.get(&channel).map(|channel| &channel.request.name)
    }

    /// How long ago the last byte of any running document came.
    pub fn silence(&self, now: Instant) -> Option<Span> {
        let running = self.documents.iter().filter(|document| document.is_running());
        running.map(|document| now.since(document.last_byte)).min()
    }

    /// Documents that run: the main one and the duplicates, and one more while one is replaced.
    pub fn documents_running(&self) -> usize {
        self.documents.iter().filter(|document| document.is_running()).count()
    }

    /// The next thing for the link to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next thing to tell the consumer.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether there is something to tell the consumer.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let (merge, mut sink) = self.merging(now);
        merge.handle_timeout(&mut sink);
        if !self.stopped {
            self.watch(now);
        }
        self.drive(now);
    }

    /// The answer to a document's request has begun: its status, and how long it asks to stay away.
    pub fn handle_head(
        &mut self,
        stream: StreamId,
        status: u16,
        retry_after: Option<Span>,
        now: Instant,
    ) {
        if let Some(document) = self.document(stream) {
            let begun = status == 200;
            document.phase = if begun { Phase::Begun } else { Phase::Refused(status) };
            document.retry_after = retry_after.unwrap_or(Span::ZERO);
            document.last_byte = now;
        }
        self.drive(now);
    }

    /// Bytes of the document's body, in any split.
    pub fn handle_bytes(&mut self, stream: StreamId, bytes: &[u8], now: Instant) {
        self.read(stream, bytes, now);
        self.drive(now);
    }

    /// The document's connection is gone, for the reason in `detail`.
    pub fn handle_end(&mut self, stream: StreamId, detail: &str, now: Instant) {
        self.ended(stream, detail, now);
        self.drive(now);
    }

    pub(crate) fn document(&mut self, stream: StreamId) -> Option<&mut Document> {
        self.documents.iter_mut().find(|document| document.stream == stream)
    }

    /// The merge, and where its results go.
    pub(crate) fn merging(&mut self, now: Instant) -> (&mut Merge, Sink<'_>) {
        let sink = Sink {
            now,
            hold_for: self.hold_for(),
            events: &mut self.events,
            ended: &mut self.ended,
            counters: &mut self.counters,
        };
        (&mut self.merge, sink)
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub(crate) fn lose_event(&mut self, route: RouteId, failure: Failure) {
        self.events.push_back(Event::Lost { route, failure });
    }

    /// The main leg.
    pub(crate) fn main(&mut self) -> &mut Leg {
        &mut self.legs[0]
    }

    pub(crate) fn leg(&mut self, id: LegId) -> Option<&mut Leg> {
        self.legs.iter_mut().find(|leg| leg.id == id)
    }

    pub(crate) fn leg_ids(&self) -> Vec<LegId> {
        self.legs.iter().map(|leg| leg.id).collect()
    }

    /// The leg whose session of now is the one of that number.
    pub(crate) fn leg_of_session(&mut self, number: u32) -> Option<&mut Leg> {
        self.legs.iter_mut().find(|leg| leg.number == number && leg.session.is_some())
    }

    /// The leg of a document, if that belongs to the session of now.
    pub(crate) fn current_leg(&mut self, stream: StreamId) -> Option<&mut Leg> {
        let document = self.documents.iter().find(|document| document.stream == stream)?;
        self.legs.iter_mut().find(|leg| leg.id == document.leg && leg.number == document.session)
    }

    /// The channel that a document calls `cid`.
    pub(crate) fn channel_of(&mut self, stream: StreamId, cid: Cid) -> Option<ChannelKey> {
        let named = self.merge.channel(stream, cid);
        named.or_else(|| self.current_leg(stream)?.channel(cid))
    }
}
