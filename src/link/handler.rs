//! What a source of data implements: it decides who reads, and takes what consumers say.

use std::fmt;

use crate::base::id::{Cid, Key, Mid};
use crate::base::reason::ErrorCode;
use crate::wire::resource::{Terms, Who};

/// A consumer that wants to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// The client's session.
    pub session: Mid,
    /// The consumer's channel within it.
    pub cid: Cid,
    /// `HOST:PORT` of the client.
    pub address: String,
    /// Its name, where it has proved one; else empty.
    pub user: String,
    /// `KEY=VALUE`, as the client gave them with its request.
    pub parameters: Vec<String>,
}

impl Consumer {
    /// The same for a frame; `parameters` are those of this consumer, which the frame borrows.
    pub(crate) fn lend<'a>(&'a self, parameters: &[&'a str]) -> Who<'a> {
        Who {
            session: self.session,
            cid: self.cid,
            address: &self.address,
            user: &self.user,
            parameters: parameters.to_vec(),
        }
    }
}

impl From<&Who<'_>> for Consumer {
    fn from(who: &Who<'_>) -> Self {
        Self {
            session: who.session,
            cid: who.cid,
            address: who.address.to_string(),
            user: who.user.to_string(),
            parameters: who.parameters.iter().map(ToString::to_string).collect(),
        }
    }
}

/// A private channel: the conversation with one consumer, until either side ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel(pub(crate) Key);

/// A handler's answer to an open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// All consumers of the subject read one log.
    Shared,
    /// The consumer gets a log of its own: a conversation.
    Private,
    /// The consumer reads another subject of this resource, together with its other readers.
    Other(String),
    /// The consumer is refused.
    Deny {
        /// Why, for the program.
        code: ErrorCode,
        /// Why, for the person.
        detail: String,
    },
}

impl Decision {
    /// A refusal: not allowed.
    pub fn deny(detail: impl Into<String>) -> Self {
        Self::Deny { code: ErrorCode::Forbidden, detail: detail.into() }
    }
}

/// A message that a consumer sent; each comes once, and in the order of `n`.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The subject that it reads.
    pub subject: &'a str,
    /// Its session.
    pub session: Mid,
    /// Its channel within that session.
    pub cid: Cid,
    /// What is known of it, on a private channel.
    pub consumer: Option<&'a Consumer>,
    /// The private channel, to reply to later on; `None` on a shared subject.
    pub channel: Option<Channel>,
    /// Its number of the message: 1, 2, 3, and so on.
    pub n: u64,
    /// Its own mark, by which a repetition can be recognised.
    pub id: Option<&'a str>,
    /// What was sent.
    pub payload: &'a [u8],
}

/// Numbers of a consumer that were given up: their messages did not come in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped<'a> {
    /// The subject that it reads.
    pub subject: &'a str,
    /// Its session.
    pub session: Mid,
    /// Its channel within that session.
    pub cid: Cid,
    /// The first number.
    pub from: u64,
    /// The last number.
    pub to: u64,
}

/// How many read a subject over one connection, and how well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metrics<'a> {
    /// The subject.
    pub subject: &'a str,
    /// The private channel; `None` on a shared subject.
    pub channel: Option<Channel>,
    /// Consumers at the other end of the connection.
    pub consumers: u64,
    /// Round trip to the client of a private channel, in microseconds, as TCP measures it; 0 where
    /// it is not known, and on a shared subject.
    pub round_trip: u64,
    /// Messages of a private channel that are not yet on their way to the client: told when it
    /// changes, once a second at most. 0 on a shared subject.
    pub behind: u64,
}

/// What a handler wants done; carried out when its method returns, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Actions {
    pub(crate) publications: Vec<(String, Box<[u8]>)>,
    pub(crate) replies: Vec<Box<[u8]>>,
    pub(crate) end: bool,
}

impl Actions {
    /// Publishes `payload` to all readers of `subject` of this resource.
    pub fn publish(&mut self, subject: impl Into<String>, payload: impl Into<Vec<u8>>) {
        self.publications.push((subject.into(), payload.into().into()));
    }

    /// Sends `payload` to the consumer alone. Only a private channel can carry it; on a shared
    /// subject it is dropped and counted.
    pub fn reply(&mut self, payload: impl Into<Vec<u8>>) {
        self.replies.push(payload.into().into());
    }

    /// Ends the private channel, after the replies.
    pub fn end(&mut self) {
        self.end = true;
    }
}

/// A source of data: all methods have a default, which lets everybody read and takes no notice.
///
/// A `resource::publisher` serves by it, servers elsewhere and one in the same process alike.
/// Its methods must not block: who has work of its own does it on a thread
/// of its own, and publishes from there.
///
/// ```
/// use ahm::link::handler::{Actions, Consumer, Decision, Handler, Message};
///
/// /// Counts what each consumer says to it.
/// #[derive(Debug)]
/// struct Loud;
///
/// impl Handler for Loud {
///     fn open(&self, subject: &str, _consumer: &Consumer) -> Decision {
///         match subject {
///             "silence" => Decision::deny("not here"),
///             "heard" => Decision::Shared,
///             _ => Decision::Private,
///         }
///     }
///
///     fn message(&self, message: &Message<'_>, actions: &mut Actions) {
///         actions.reply(message.payload.to_ascii_uppercase());
///         actions.publish("heard", message.n.to_string());
///     }
/// }
/// ```
pub trait Handler: Send + Sync + fmt::Debug {
    /// A consumer wants to read `subject`.
    fn open(&self, subject: &str, consumer: &Consumer) -> Decision {
        let _ = (subject, consumer);
        Decision::Shared
    }

    /// How `subject` is kept and read. Asked once, when the subject is first opened or published.
    fn terms(&self, subject: &str) -> Terms {
        let _ = subject;
        Terms::default()
    }

    /// A private channel has begun.
    fn opened(&self, channel: Channel, subject: &str, consumer: &Consumer, actions: &mut Actions) {
        let _ = (channel, subject, consumer, actions);
    }

    /// A private channel is over, whoever has ended it; what is sent to it is dropped.
    fn closed(&self, channel: Channel, subject: &str, consumer: &Consumer) {
        let _ = (channel, subject, consumer);
    }

    /// A consumer has sent a message.
    fn message(&self, message: &Message<'_>, actions: &mut Actions) {
        let _ = (message, actions);
    }

    /// Messages of a consumer will not come any more.
    fn skipped(&self, skipped: &Skipped<'_>) {
        let _ = skipped;
    }

    /// Somebody reads a shared subject that nobody has read before.
    fn demand_begins(&self, subject: &str, actions: &mut Actions) {
        let _ = (subject, actions);
    }

    /// Nobody reads the subject any more.
    fn demand_ends(&self, subject: &str) {
        let _ = subject;
    }

    /// The other end of a connection says how many read a subject.
    fn metrics(&self, metrics: &Metrics<'_>) {
        let _ = metrics;
    }
}

/// Everybody may read, and each subject is kept and read alike.
impl Handler for Terms {
    fn terms(&self, _subject: &str) -> Terms {
        *self
    }
}
