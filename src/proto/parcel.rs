//! Parcels: everything that shards tell each other. None is ever dropped.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::auth::access::Asking;
use crate::auth::certificate::Secured;
use crate::auth::list::List;
use crate::auth::verdict::Proof;
use crate::base::hidden::HiddenBytes;
use crate::base::id::{Cid, Epoch, Key, Mid, Offset, ShardId};
use crate::base::name::TopicName;
use crate::base::reason::{ChannelEnd, ErrorCode, SendOutcome};
use crate::proto::answer::Answer;
use crate::proto::control::ControlOrder;
use crate::proto::resource::{Consumer, TopicOptions};
use crate::proto::run::{Place, Run};
use crate::proto::topic::Told;
use crate::wire::position::Position;

/// Where an answer belongs: an exchange of a connection, or one part of a gathered answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReplyTo {
    /// The connection's shard.
    pub shard: ShardId,
    /// The connection.
    pub conn: Key,
    /// The exchange on it.
    pub exchange: u32,
    /// The part of a gathered answer; `None` for a whole answer.
    pub part: Option<u32>,
}

/// A command for a session of another shard, as it came.
pub struct Forwarded {
    /// Who waits for the answer.
    pub reply: ReplyTo,
    /// The request's method.
    pub method: &'static str,
    /// The session for which the carriage of this command was proved already.
    pub proved: Option<Key>,
    /// The command's name.
    pub name: String,
    /// Its parameters, still encoded.
    pub query: String,
    /// The value of the `AHM-Key` field.
    pub key: Option<String>,
    /// Where the client's connection comes from.
    pub address: SocketAddr,
    /// What the client has proved with this very request.
    pub proof: Option<Proof>,
    /// What TLS says of that connection; `None` where it is plain.
    pub secured: Option<Arc<Secured>>,
    /// The request's body.
    pub body: Option<Vec<u8>>,
}

/// Without what proves the session, in whichever place.
impl fmt::Debug for Forwarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarded")
            .field("reply", &self.reply)
            .field("name", &HiddenBytes(self.name.len()))
            .field("query", &HiddenBytes(self.query.len()))
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// A question to a topic's home: may this consumer read it?
#[derive(Debug)]
pub struct Ask {
    /// The asking shard.
    pub shard: ShardId,
    /// The open that waits there.
    pub ask: Key,
    /// The topic.
    pub name: TopicName,
    /// Who asks.
    pub consumer: Consumer,
    /// What access lists look at.
    pub asking: Asking,
    /// What it tells the resource, as `NAME=VALUE`.
    pub parameters: Vec<String>,
}

/// The home's answer.
#[derive(Debug)]
pub enum Ruling {
    /// The channel reads the shared topic; the asking shard follows it from now on.
    Shared {
        /// The topic's number.
        number: Cid,
        /// How it is kept and read.
        options: TopicOptions,
        /// Where the log begins, if there are no runs.
        end: Place,
        /// The access list of its resource server.
        access: Option<Arc<List>>,
        /// What the log holds.
        runs: Vec<Arc<Run>>,
    },
    /// The channel gets a topic of its own; where a resource in another process serves it, with the
    /// home, its want, and the access list of the resource server.
    Private(TopicOptions, Option<(ShardId, Key)>, Option<Arc<List>>),
    /// The channel reads another subject of the same resource.
    Elsewhere(TopicName),
    /// The channel is refused.
    Denied(ErrorCode, String),
}

/// A message to be published.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Its line in a batch, from 0.
    pub line: u32,
    /// The topic.
    pub name: TopicName,
    /// Epoch and offset, where the publisher numbers.
    pub position: Option<Position>,
    /// Whether the publisher calls it a snapshot.
    pub snapshot: bool,
    /// The payload.
    pub payload: Vec<u8>,
}

/// What became of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// It has this place.
    Taken(Epoch, Offset),
    /// It was taken before.
    Dup(Epoch, Offset),
    /// It was refused; with the topic's last position, where that tells the publisher something.
    Refused(ErrorCode, String, Option<Position>),
}

/// A consumer's message on its way to the resource, at the home of the subject.
#[derive(Debug)]
pub struct Delivery {
    /// The topic of the channel.
    pub name: TopicName,
    /// Who sent it.
    pub consumer: Consumer,
    /// The want of a private channel that a resource in another process serves.
    pub want: Option<Key>,
    /// What it is.
    pub content: Content,
}

/// What a delivery tells the resource.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    /// A message.
    Message {
        /// Its number.
        n: u64,
        /// The client's own mark.
        id: Option<String>,
        /// What was sent.
        payload: Vec<u8>,
    },
    /// These numbers were given up.
    Skipped(u64, u64),
}

/// What a resource in another process says to one private channel.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// A message.
    Message(Vec<u8>),
    /// Another instance goes on with it, which begins anew.
    Anew,
    /// It is over.
    End(ChannelEnd),
}

/// A topic on a shard that is not its home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// The shared topic of this number.
    Shared(Cid),
    /// The private topic of this key.
    Private(Key),
}

/// A question for what a log holds.
#[derive(Debug)]
pub struct HistoryAsk {
    /// Who waits for the answer.
    pub reply: ReplyTo,
    /// The topic.
    pub name: TopicName,
    /// Who asks.
    pub asking: Asking,
    /// Only what comes after this.
    pub since: Option<Position>,
    /// Messages at most.
    pub limit: u64,
}

/// What shards tell each other.
#[derive(Debug)]
pub enum Parcel {
    /// To a topic's home: may this consumer read?
    Ask(Box<Ask>),
    /// From a topic's home.
    Ruling(Key, TopicName, Box<Ruling>),
    /// From a topic's home to a follower: new runs. Costs a credit.
    Runs(ShardId, Vec<(Cid, Arc<Run>)>),
    /// From a follower: its parcel of runs was taken.
    Credit(ShardId),
    /// From a follower: it has no reader any more.
    Unfollow(ShardId, Cid),
    /// To a session's shard: a command.
    Command(Box<Forwarded>),
    /// To a connection's shard: an answer.
    Answer(ReplyTo, Box<Answer>),
    /// To a topic's home: messages to publish.
    Publish(Option<ReplyTo>, Vec<Publication>),
    /// From a topic's home: what became of them, by line.
    Published(ReplyTo, Vec<(u32, Published)>),
    /// To a topic's home: something for the resource.
    Delivery(Box<Delivery>),
    /// To the home: the private topic on that shard which belongs to this want.
    Joined(Key, ShardId, Key),
    /// To the home: nobody reads the private topic of this want any more.
    Release(Key),
    /// To the home: how the stream gets on that reads the private topic of this want.
    Told(Key, Told),
    /// To a follower, or to a private topic's shard: the access list of its resource server is this
    /// from now on.
    Access(Listed, Option<Arc<List>>),
    /// To a private topic's shard: what its resource says.
    Reply(Key, Reply),
    /// To a session's shard: what a resource of this process says on a private channel; the topic
    /// from which it does, and the payload.
    Tell(Mid, Cid, Box<(TopicName, Vec<u8>)>),
    /// To a session's shard: what became of a send that went to a resource in another process.
    Outcome(Mid, Cid, u64, SendOutcome),
    /// To a topic's home: what does its log hold?
    History(Box<HistoryAsk>),
    /// What has the shard counted?
    Metrics(ReplyTo),
    /// What a web server wants of the shard.
    Control(ReplyTo, Box<ControlOrder>),
}
