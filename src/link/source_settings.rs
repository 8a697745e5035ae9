//! How a source behaves, what it is given to publish, and what it counts.

use crate::base::id::{Epoch, Offset};
use crate::base::time::Span;
use crate::link::address::Address;
use crate::link::source_log::History;

/// How a source behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Registries that are told what is served here; each is independent of the others.
    pub registries: Vec<Address>,
    /// Consumers that are dialled, where a firewall demands that direction.
    pub dial: Vec<Address>,
    /// Where this source is dialled, as registries tell it to consumers.
    pub addresses: Vec<Address>,
    /// How long after its end a connection to a registry or consumer is dialled again, for ever.
    pub retry: Span,
    /// The history of a subject whose terms do not say.
    pub history: History,
    /// No more is put on a connection while so many bytes wait there.
    pub waiting_bytes: usize,
    /// How long consumers of a resource that was withdrawn have to move.
    pub grace: Span,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            registries: Vec::new(),
            dial: Vec::new(),
            addresses: Vec::new(),
            retry: Span::from_secs(1),
            history: History::default(),
            waiting_bytes: 256 * 1024,
            grace: Span::from_secs(10),
        }
    }
}

/// A message to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication<'a> {
    /// The resource.
    pub resource: &'a str,
    /// The subject.
    pub subject: &'a str,
    /// What it says.
    pub payload: Box<[u8]>,
    /// Whether it is the whole present state.
    pub snapshot: bool,
    /// Its offset, where the source numbers by itself; `None` for the next.
    pub at: Option<Offset>,
}

impl<'a> Publication<'a> {
    /// A message with the next offset.
    pub fn new(resource: &'a str, subject: &'a str, payload: impl Into<Vec<u8>>) -> Self {
        let payload = payload.into().into();
        Self { resource, subject, payload, snapshot: false, at: None }
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has this place.
    Published(Epoch, Offset),
    /// It was equal to the one before, of a subject that publishes only changes.
    Unchanged,
    /// Its offset was published before.
    Repeated,
}

/// What has happened since the start, and how it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that took an offset, replies among them.
    pub published: u64,
    /// Messages dropped because they changed nothing.
    pub unchanged: u64,
    /// Messages dropped because their offset was published before.
    pub repeated: u64,
    /// What a handler wanted to say and could not.
    pub refused: u64,
    /// Messages put on connections.
    pub sent: u64,
    /// Times that a reader was told that something is missing.
    pub gaps: u64,
    /// Messages of consumers that handlers took.
    pub messages: u64,
    /// Numbers that consumers gave up.
    pub skipped: u64,
    /// Messages of consumers that nobody took.
    pub strays: u64,
    /// Subscriptions that were accepted.
    pub accepted: u64,
    /// Subscriptions that were denied.
    pub denied: u64,
    /// Consumers at present.
    pub consumers: u64,
    /// Subjects and private channels at present.
    pub topics: u64,
    /// Connections of consumers at present.
    pub connections: u64,
    /// Registries that are connected at present.
    pub registries: u64,
}
