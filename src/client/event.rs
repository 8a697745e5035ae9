//! What goes in and out of the agent: events for the consumer, orders for the link.

use std::fmt;

use crate::auth::secret::Secret;
use crate::base::hidden::Hidden;
use crate::base::id::{Epoch, Mid, Offset};
use crate::base::name::TopicName;
use crate::base::reason::{ChannelEnd, ErrorCode, SendOutcome};
use crate::base::time::{Instant, Span};

/// One subscription of one agent: its own number for a channel, which outlives documents,
/// sessions and servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelKey(pub u32);

/// One numbered send of one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SendId(pub u64);

/// One document as the link knows it: given by the agent, never reused, rising.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// One way to a server, numbered from 0 by whoever owns the sockets. Two routes may lead to one
/// server or to two; 0 is the one to prefer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub u8);

/// One short command on its way: given by the agent, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// How the stream as a whole is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamState {
    /// Nothing was started.
    Idle,
    /// No document runs; one is being opened.
    Connecting,
    /// A document runs and bytes arrive.
    Live,
    /// A document runs, but not a byte came for the warning time.
    Quiet,
    /// No document runs; the next is opened at this moment.
    Waiting(Instant),
    /// The agent has ended and does nothing more.
    Stopped,
}

/// Why a consumer hears of something that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server answered with an error.
    Refused {
        /// The code, where it is one of the protocol.
        code: Option<ErrorCode>,
        /// The HTTP status.
        status: u16,
        /// What the server said in words; may be empty.
        detail: String,
    },
    /// The connection could not be made, was cut, or carried what is not the protocol.
    Broken(String),
    /// The server has not proved by TLS who it is, or will not have our certificate; in words.
    Untrusted(String),
    /// Not a byte came for the drop time.
    Silent,
    /// The server ended the document or asked to leave it.
    Ended(&'static str),
}

/// What the consumer is told, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The state of the stream changed.
    State(StreamState),
    /// A document came to its end, or could not be opened; the agent goes on by itself.
    Lost {
        /// The way that it took.
        route: RouteId,
        /// What happened.
        failure: Failure,
    },
    /// A session began (`new`) or was found again by a further document.
    Session {
        /// The communication server's id.
        scs: String,
        /// The session.
        mid: Mid,
        /// The number of the document within the session.
        d: u32,
        /// Whether this document made the session.
        new: bool,
        /// The way that the document takes.
        route: RouteId,
    },
    /// A channel is on its topic; again when the topic's epoch changes, or after the channel ended.
    Opened {
        /// The channel.
        channel: ChannelKey,
        /// The epoch of the topic.
        ep: Epoch,
        /// The next message is after this offset.
        n: Offset,
        /// Messages up to this offset are history.
        head: Offset,
    },
    /// A message: each comes once and in order of its offset within its epoch.
    Message {
        /// The channel.
        channel: ChannelKey,
        /// The epoch of the topic.
        ep: Epoch,
        /// The message's offset.
        n: Offset,
        /// Whether the publisher calls it a snapshot.
        snapshot: bool,
        /// Messages that this one stands for beside itself (modes `latest` and `rate`).
        folded: u64,
        /// What the publisher wrote.
        payload: Vec<u8>,
    },
    /// Messages are missing before the next one. Said once for each gap; never kept quiet.
    Gap {
        /// The channel.
        channel: ChannelKey,
        /// The epoch of the next message.
        ep: Epoch,
        /// The next message is after this offset.
        n: Offset,
        /// How many are missing; `None` if nobody can know, as after a change of epoch.
        missing: Option<u64>,
    },
    /// A channel ended. After `gone`, `expired`, and `closed` by the other side, the agent tries by
    /// itself to open it again from where it was; after any other reason it is over.
    Closed {
        /// The channel.
        channel: ChannelKey,
        /// Why.
        end: ChannelEnd,
    },
    /// A channel could not be opened.
    Refused {
        /// The channel.
        channel: ChannelKey,
        /// What the server answered.
        failure: Failure,
        /// When the agent tries again; `None`: never.
        retry_in: Option<Span>,
    },
    /// The fate of a numbered send: `Ok` for taken, or why not.
    Sent {
        /// The channel.
        channel: ChannelKey,
        /// The send.
        id: SendId,
        /// What became of it; `Held` and `Dup` do not reach the consumer.
        fate: Fate,
    },
    /// A ping came back.
    RoundTrip(Span),
    /// A login or a renewal has shown the server who the client is.
    Known {
        /// The way of its session.
        route: RouteId,
        /// The user's name; `None` where the server asks nobody.
        user: Option<String>,
        /// The second since 1970 at which the session ends unless it is renewed.
        expires: Option<u64>,
        /// What the server's script has for the application.
        key: Option<Secret>,
    },
    /// The session of this way ends soon unless it is renewed: [`Agent::renew`]. A link that knows
    /// how to log in does so by itself.
    ///
    /// [`Agent::renew`]: crate::client::agent::Agent::renew
    Expiring {
        /// The way of its session.
        route: RouteId,
        /// How long it still has.
        within: Span,
    },
    /// A renewal has come to nothing. While the session has time it is tried again.
    NotRenewed {
        /// The way of its session.
        route: RouteId,
        /// Why.
        failure: Failure,
    },
}

/// What became of a numbered send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Passed on to the resource, once.
    Taken,
    /// Given up by the server: a number before it did not come in time.
    Skipped,
    /// Session or instance died before it was acknowledged; it may have been taken. Whoever sends
    /// it again may have it taken twice.
    Unknown,
    /// The server will not have it.
    Refused(Failure),
}

impl Fate {
    /// The fate that an outcome on the wire stands for; `None` while it is not decided.
    pub fn from_outcome(outcome: SendOutcome) -> Option<Self> {
        match outcome {
            SendOutcome::Taken | SendOutcome::Dup => Some(Self::Taken),
            SendOutcome::Held => None,
            SendOutcome::Skipped => Some(Self::Skipped),
            SendOutcome::Unknown => Some(Self::Unknown),
        }
    }
}

/// One HTTP request for the link to carry.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// `NAME?query`, to be put behind the server's prefix.
    pub target: String,
    /// The session key, for the `AHM-Key` field.
    pub key: Option<String>,
    /// Who asks: the `Authorization` field. The agent knows none; the link adds it to logins.
    pub authorization: Option<Secret>,
    /// `Some`: a POST with this body as `text/plain`. `None`: a GET.
    pub body: Option<Vec<u8>>,
}

/// Without the key and what proves who asks.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("target", &self.target)
            .field("key", &self.key.as_ref().map(|_| Hidden))
            .field("authorization", &self.authorization)
            .field("body", &self.body)
            .finish()
    }
}

/// What the link is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Make a connection and ask for a document on it.
    OpenStream {
        /// The document; what arrives is handed to the agent under this name.
        stream: StreamId,
        /// Which way to go.
        route: RouteId,
        /// What to ask.
        request: Request,
    },
    /// Close the document's connection; nothing of it needs to be handed over any more.
    CloseStream {
        /// The document.
        stream: StreamId,
    },
    /// Ask for a session, or renew one, with what proves who the client is, which the link adds:
    /// over a new connection, so that a balancer leads it where it leads the document that follows.
    /// A sealed session is asked for by TLS, as the answer is its secret. The answer is handed to
    /// the agent as that of a short command, and so is a failure.
    Login {
        /// The command.
        call: CallId,
        /// Which way the session's documents and commands will go.
        route: RouteId,
        /// What to ask.
        request: Request,
    },
    /// Send a short command on a kept connection. Commands may be pipelined.
    Call {
        /// The command; its answer or its failure is handed to the agent under this name.
        call: CallId,
        /// Which way to go.
        route: RouteId,
        /// What to ask.
        request: Request,
    },
}

/// What a load driver counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes of documents.
    pub bytes: u64,
    /// Messages delivered to the consumer.
    pub messages: u64,
    /// Bytes of their payloads.
    pub payload_bytes: u64,
    /// Messages that delivered ones stand for beside themselves.
    pub folded: u64,
    /// Messages dropped because they were delivered before.
    pub duplicates: u64,
    /// Messages dropped because their epoch is over.
    pub late: u64,
    /// Messages dropped because another server, whose numbering the consumer follows, has them
    /// under numbers of its own.
    pub strange: u64,
    /// Gaps declared.
    pub gaps: u64,
    /// Messages known to be missing in them.
    pub missing: u64,
    /// Gaps that another document filled before they were declared.
    pub gaps_healed: u64,
    /// Frames for channels that the document does not have.
    pub strays: u64,
    /// Documents asked for.
    pub documents: u64,
    /// Documents that ended without being replaced first, or could not be opened.
    pub cuts: u64,
    /// Documents replaced by their successor before they ended.
    pub refreshes: u64,
    /// Sessions made.
    pub sessions: u64,
    /// Heartbeat frames.
    pub heartbeats: u64,
    /// Sends put on the wire.
    pub sends: u64,
    /// Of those, repetitions.
    pub resends: u64,
    /// Sends with a known fate.
    pub sends_done: u64,
    /// Sealed documents given up because a line was not the one that the server had sealed next.
    pub seal_faults: u64,
    /// Answers of sealed sessions that the server had not signed.
    pub seal_unproved: u64,
}

/// Reads a topic's name from `RESOURCE/SUBJECT` as people type it.
///
/// # Errors
/// In words, when either part is not a legal name.
pub fn parse_topic(text: &str) -> Result<TopicName, String> {
    let (resource, subject) = text.split_once('/').unwrap_or((text, ""));
    TopicName::new(resource, subject).map_err(|error| format!("{text:?}: {error}"))
}
