//! Resources that live inside the server: the trait that an embedder implements.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::auth::identity::Identity;
use crate::base::id::{Cid, Mid};
use crate::base::reason::ChannelEnd;
use crate::proto::settings::History;

/// Who opens a channel or sends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// The client's session.
    pub session: Mid,
    /// The consumer's channel within that session.
    pub cid: Cid,
    /// Where the client's connection comes from.
    pub address: SocketAddr,
    /// Who the client is; `None` where it has proved nothing.
    pub identity: Option<Arc<Identity>>,
}

impl Consumer {
    /// Somebody who has proved nothing.
    pub fn new(session: Mid, cid: Cid, address: SocketAddr) -> Self {
        Self { session, cid, address, identity: None }
    }

    /// The name of the client's user; empty where it has proved none.
    pub fn user(&self) -> &str {
        self.identity.as_ref().map_or("", |identity| &identity.user)
    }
}

/// How a topic is kept and read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicOptions {
    /// How much of its past is kept; `None` for the server's default.
    pub history: Option<History>,
    /// Each message is the whole present state (a quote, not a trade), so that the newest one is
    /// the snapshot that a new channel begins with.
    pub state: bool,
    /// Whether readers may use `latest` and `rate`, which pass over messages.
    pub latest: bool,
    /// Whether the resource is asked about every open, not only about a subject's first.
    pub ask_each: bool,
    /// Whether a resource in another process takes what consumers send; one in this process says so
    /// by [`Resource::takes_messages`].
    pub takes_messages: bool,
}

/// A resource's answer to an open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The channel reads the one topic that all channels of this subject share.
    Shared(TopicOptions),
    /// The channel gets a topic of its own: a conversation.
    Private(TopicOptions),
    /// The channel is refused, with words for the client.
    Deny(String),
}

/// A message that a consumer sent.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The subject of the channel.
    pub subject: &'a str,
    /// Who sent it.
    pub consumer: &'a Consumer,
    /// The client's number of the message: 1, 2, 3, and so on per channel number.
    pub n: u64,
    /// The client's own mark, by which the resource can recognise a repetition.
    pub id: Option<&'a str>,
    /// What was sent.
    pub payload: &'a [u8],
}

/// What a resource wants done; carried out when its method returns, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Actions {
    pub(crate) publications: Vec<(String, Vec<u8>)>,
    pub(crate) replies: Vec<Vec<u8>>,
    pub(crate) tells: Vec<(Mid, Cid, Vec<u8>)>,
    pub(crate) end: Option<ChannelEnd>,
}

impl Actions {
    /// Publishes `payload` to all readers of `subject` of this resource.
    pub fn publish(&mut self, subject: impl Into<String>, payload: impl Into<Vec<u8>>) {
        self.publications.push((subject.into(), payload.into()));
    }

    /// Sends `payload` to the consumer alone. Only a private channel can carry it; on a shared one
    /// it is dropped and counted.
    pub fn reply(&mut self, payload: impl Into<Vec<u8>>) {
        self.replies.push(payload.into());
    }

    /// Sends `payload` to another consumer of this resource, on its private channel `cid`. Where
    /// that is over, or is none, it is dropped and counted.
    pub fn tell(&mut self, session: Mid, cid: Cid, payload: impl Into<Vec<u8>>) {
        self.tells.push((session, cid, payload.into()));
    }

    /// Ends the consumer's private channel, after the replies.
    pub fn end(&mut self) {
        self.end = Some(ChannelEnd::Gone);
    }
}

/// A source of real-time data inside the server.
///
/// Methods are called on the server's reactor threads, one topic's always on the same thread, and
/// must not block; a resource with work of its own runs its own thread and publishes through
/// `server::handle::Handle`.
///
/// ```
/// use ahm::proto::resource::{Actions, Consumer, Decision, Message, Resource, TopicOptions};
///
/// /// Counts what each consumer says to it.
/// #[derive(Debug)]
/// struct Loud;
///
/// impl Resource for Loud {
///     fn open(&self, subject: &str, _consumer: &Consumer) -> Decision {
///         match subject {
///             "silence" => Decision::Deny("not here".into()),
///             _ => Decision::Private(TopicOptions::default()),
///         }
///     }
///
///     fn message(&self, message: &Message<'_>, actions: &mut Actions) {
///         actions.reply(message.payload.to_ascii_uppercase());
///         actions.publish("heard", format!("message {}", message.n));
///     }
/// }
/// ```
pub trait Resource: Send + Sync + fmt::Debug {
    /// A consumer wants a channel to `subject`. Called for a subject's first open, and for each
    /// where the accepted options say so or the channel is private.
    fn open(&self, subject: &str, consumer: &Consumer) -> Decision;

    /// Whether consumers may send to it; where not, their sends are refused.
    fn takes_messages(&self) -> bool {
        true
    }

    /// A consumer sent a message, each once and in the order of `n`.
    fn message(&self, message: &Message<'_>, actions: &mut Actions);

    /// Numbers `from` to `to` of this consumer were given up: they did not arrive in time.
    fn skipped(&self, subject: &str, consumer: &Consumer, from: u64, to: u64) {
        let _ = (subject, consumer, from, to);
    }

    /// How the topic of `subject` is kept when a publisher creates it before anybody opened it.
    fn options(&self, subject: &str) -> TopicOptions {
        let _ = subject;
        TopicOptions::default()
    }
}
