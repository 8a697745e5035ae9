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
//! one of them is not noticed at all ([`crate::client::schedule`]).

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;

use crate::base::backoff::Backoff;
use crate::base::id::{Cid, Mid};
use crate::base::name::TopicName;
use crate::base::random::Random;
use crate::base::reason::ChannelEnd;
use crate::base::time::{Instant, Span};
use crate::client::calls::Call;
use crate::client::channel::Channel;
use crate::client::document::{Document, Phase};
use crate::client::event::{
    CallId, ChannelKey, Counters, Event, Failure, Output, StreamId, StreamState,
};
use crate::client::merge::Merge;
use crate::client::settings::Settings;
use crate::client::track::Sink;
use crate::wire::command::Position;

/// The session of now.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) scs: String,
    pub(crate) mid: Mid,
    pub(crate) key: Option<String>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whoever has the key has the session: it is not for logs.
        f.debug_struct("Session").field("scs", &self.scs).field("mid", &self.mid).finish()
    }
}

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
    /// In the order they were asked for; at most one main one and one duplicate do not run yet.
    pub(crate) documents: Vec<Document>,
    pub(crate) session: Option<Session>,
    /// Counts sessions, so that what belongs to an earlier one is known.
    pub(crate) session_count: u32,
    pub(crate) calls: HashMap<CallId, Call>,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) ended: Vec<(ChannelKey, ChannelEnd)>,
    pub(crate) counters: Counters,
    pub(crate) backoff: Backoff,
    pub(crate) call_backoff: Backoff,
    /// When the next main document is asked for: the first, the next after a loss, the successor
    /// of the one that runs.
    pub(crate) document_at: Instant,
    /// No duplicate is asked for before this moment.
    pub(crate) duplicate_at: Instant,
    pub(crate) duplicate_backoff: Backoff,
    /// A document with channels was refused as a whole: ask for them one by one, to learn which.
    pub(crate) singly: bool,
    /// No channel is due before this moment.
    pub(crate) channels_at: Instant,
    /// The next number for sends on each channel number of the session, for a channel that is left
    /// and opened again.
    pub(crate) numbers: BTreeMap<Cid, u64>,
    /// Channels with sends that may be due.
    pub(crate) sending: BTreeSet<ChannelKey>,
    pub(crate) state: StreamState,
    pub(crate) stopped: bool,
    pub(crate) last_id: u64,
    pub(crate) last_channel: u32,
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
            session: None,
            session_count: 0,
            calls: HashMap::new(),
            outputs: VecDeque::new(),
            events: VecDeque::new(),
            ended: Vec::new(),
            counters: Counters::default(),
            backoff: settings.backoff,
            call_backoff: settings.backoff,
            document_at: Instant::ZERO,
            duplicate_at: Instant::ZERO,
            duplicate_backoff: settings.backoff,
            singly: false,
            channels_at: Instant::NEVER,
            numbers: BTreeMap::new(),
            sending: BTreeSet::new(),
            state: StreamState::Idle,
            stopped: false,
            last_id: 0,
            last_channel: 0,
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

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let (merge, mut sink) = self.merging(now);
        merge.handle_timeout(&mut sink);
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

    /// The session calls `channel` `cid`, and the server expects number `next` on it.
    pub(crate) fn name_channel(&mut self, key: ChannelKey, cid: Cid, next: u64) {
        let next = self.numbers.get(&cid).copied().unwrap_or(1).max(next);
        if let Some(channel) = self.channels.get_mut(&key) {
            let fates = channel.name(cid, next);
            self.tell_fates(key, fates);
        }
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub(crate) fn lose_event(&mut self, failure: Failure) {
        self.events.push_back(Event::Lost(failure));
    }

    /// The number of the channel in the session of now.
    pub(crate) fn channel_of(&self, cid: Cid) -> Option<ChannelKey> {
        let has = |channel: &Channel| channel.cid == Some(cid);
        let newest = self.documents.iter().rev().find(|document| document.is_running());
        newest.and_then(|document| self.merge.channel(document.stream, cid)).or_else(|| {
            let found = self.channels.iter().find(|(_, channel)| has(channel));
            found.map(|(key, _)| *key)
        })
    }
}
