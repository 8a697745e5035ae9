//! The frames between resource servers, communication servers and registries.
#![doc = include_str!("resource.md")]

use crate::base::id::{Cid, Epoch, Mid, Offset};
use crate::base::reason::{ChannelEnd, ErrorCode};
use crate::base::time::Span;

/// The version that is spoken here, and the oldest that is understood.
pub const VERSION: u32 = 1;

/// Parts that a consumer may have.
pub const PARTS_MAX: u32 = 1_024;

/// What one end of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A source of data.
    Resource,
    /// A communication server, or another program that consumes.
    Consumer,
    /// A registry.
    Registry,
}

/// The number of a process: another one after each start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(pub u64);

/// The number of a subject on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Alias(pub u32);

/// How an instance of a resource is reached, and how much it takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handle<'a> {
    /// `IP:PORT` or `unix:/PATH`; the first that answers counts. Empty where the instance dials.
    pub addresses: Vec<&'a str>,
    /// Consumers at a time at most; 0 for no bound.
    pub capacity: u64,
    /// Its share among its kind, 1 to 1,000.
    pub weight: u32,
    /// Whether consumers may send to it.
    pub takes_messages: bool,
    /// Whether its instances number a subject alike, so that one goes on where another stopped.
    pub replicas: bool,
    /// Whether every channel to it is a private one: each goes to the least loaded instance.
    pub conversations: bool,
    /// Who may read it; see the manual on access lists. Empty for everybody.
    pub access: Vec<&'a str>,
    /// `KEY=VALUE`, for operators.
    pub labels: Vec<&'a str>,
}

/// A consumer, as a resource sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who<'a> {
    /// The client's session.
    pub session: Mid,
    /// The consumer's channel within it.
    pub cid: Cid,
    /// `HOST:PORT` of the client.
    pub address: &'a str,
    /// Its name, where it has proved one; else empty.
    pub user: &'a str,
    /// `KEY=VALUE`, as the client gave them with its request.
    pub parameters: Vec<&'a str>,
}

/// How a subject is kept and read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Messages, bytes and age of the history; `None` for the server's default.
    pub history: Option<(u32, u32, Span)>,
    /// Each message is the whole present state: the newest one is the snapshot.
    pub state: bool,
    /// Readers may use `latest` and `rate`.
    pub latest: bool,
    /// The resource is asked about each consumer, not only about the first.
    pub ask_each: bool,
    /// A message equal to the one before it is dropped by the resource, and takes no offset.
    pub changed: bool,
    /// Of a private channel: when its instance is lost, it goes on with another one, which begins
    /// anew, and the consumer learns that something may be missing. Else it ends.
    pub reopen: bool,
}

/// What an open came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant<'a> {
    /// All consumers of the subject read one topic.
    Shared,
    /// The consumer has a topic of its own.
    Private,
    /// The consumer reads another subject of the same resource.
    Other(&'a str),
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// 1: the first frame of each end.
    Hello {
        /// The newest version that it speaks.
        version: u32,
        /// What it is.
        role: Role,
        /// Which process.
        instance: InstanceId,
        /// It lets itself be heard at least so often.
        heartbeat: Span,
        /// Its name, for logs and lists.
        name: &'a str,
        /// The key that the other end demands; else empty.
        key: &'a str,
    },
    /// 2: nothing else was to be said; the other end answers with the same stamp.
    Ping {
        /// The interval from now on.
        heartbeat: Span,
        /// Any number of the sender's, such as its clock.
        stamp: u64,
    },
    /// 3: the answer.
    Pong {
        /// The number of the ping.
        stamp: u64,
    },
    /// 4: why the connection ends now.
    Bye {
        /// In words.
        reason: &'a str,
    },
    /// 5: from a resource, to registries and to consumers that it has dialled: what it serves, and
    /// how it is reached.
    Register {
        /// The resource.
        resource: &'a str,
        /// Its handle.
        handle: Handle<'a>,
    },
    /// 6: from a resource: nobody new from now on.
    Withdraw {
        /// The resource.
        resource: &'a str,
    },
    /// 7: from a resource to registries: its consumers at present.
    Load {
        /// The resource.
        resource: &'a str,
        /// How many.
        consumers: u64,
    },
    /// 8: from a resource that has dialled a consumer, right behind its `Hello`.
    Part {
        /// The part of the consumer that it wants to talk to; 0 at first.
        part: u32,
    },
    /// 9: from a consumer, the answer, and again when it is about to end.
    Parts {
        /// Of how many parts it consists, up to [`PARTS_MAX`]; each wants a connection of its own.
        /// 0: it is about to end, and whoever comes next to its address is to be dialled.
        parts: u32,
    },
    /// 16: somebody wants a subject.
    Open {
        /// From here on the subject's number.
        alias: Alias,
        /// The resource.
        resource: &'a str,
        /// The subject.
        subject: &'a str,
        /// What the asking end has of it already: epoch and last offset.
        last: Option<(Epoch, Offset)>,
        /// Who wants it.
        who: Who<'a>,
    },
    /// 17: it may.
    Accept {
        /// The subject.
        alias: Alias,
        /// What it reads.
        grant: Grant<'a>,
        /// The epoch that its messages are numbered in.
        ep: Epoch,
        /// The offset of the next message.
        next: Offset,
        /// How it is kept.
        terms: Terms,
    },
    /// 18: it may not, or not here.
    Deny {
        /// The subject; free again.
        alias: Alias,
        /// Why.
        code: ErrorCode,
        /// In words, for the client.
        detail: &'a str,
    },
    /// 19: a message.
    Publish {
        /// The subject.
        alias: Alias,
        /// Its offset.
        n: Offset,
        /// Whether it is a snapshot.
        snapshot: bool,
        /// What it says.
        payload: &'a [u8],
    },
    /// 20: the numbering goes on elsewhere: in another epoch, or behind what is missing.
    Begin {
        /// The subject.
        alias: Alias,
        /// The epoch.
        ep: Epoch,
        /// The offset of the next message.
        next: Offset,
    },
    /// 21: a subject is over, for the consumer or for all; the alias is free again.
    Close {
        /// The subject.
        alias: Alias,
        /// Why.
        end: ChannelEnd,
    },
    /// 22: a consumer's message.
    Send {
        /// The subject.
        alias: Alias,
        /// Whose.
        session: Mid,
        /// On which channel of the session.
        cid: Cid,
        /// Its number there.
        n: u64,
        /// The client's own mark.
        id: Option<&'a str>,
        /// What it says.
        payload: &'a [u8],
    },
    /// 23: numbers of a consumer that were given up.
    Skipped {
        /// The subject.
        alias: Alias,
        /// Whose.
        session: Mid,
        /// On which channel of the session.
        cid: Cid,
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
    /// 24: all `Send` and `Skipped` frames up to this one, counted from 1 on this connection, were
    /// taken.
    Taken {
        /// How many.
        count: u64,
    },
    /// 25: how many read the subject, and how well the stream of a private one runs.
    Metrics {
        /// The subject.
        alias: Alias,
        /// Consumers of it at the sending end.
        consumers: u64,
        /// Round trip to the client, in microseconds; 0 where it is not known.
        round_trip: u64,
        /// Messages that the client is behind.
        behind: u64,
    },
    /// 32: to a registry: which instance serves this?
    Resolve {
        /// Any number; the answer has it.
        ask: u64,
        /// The resource.
        resource: &'a str,
        /// The subject; instances of a shared one are chosen by it.
        subject: &'a str,
        /// Whether the channel will be a private one, as far as is known: the least loaded instance
        /// is wanted.
        private: bool,
        /// Instances that did not answer.
        without: Vec<InstanceId>,
    },
    /// 33: this one.
    Resolved {
        /// The number of the question.
        ask: u64,
        /// The instance.
        instance: InstanceId,
        /// How it is reached.
        handle: Handle<'a>,
    },
    /// 34: none.
    Unresolved {
        /// The number of the question.
        ask: u64,
        /// `no-resource` if none is registered, `no-instance` if all are full or were left out.
        code: ErrorCode,
    },
    /// 35: what was answered about a resource is no longer so.
    Changed {
        /// The resource.
        resource: &'a str,
    },
    /// 36: to a registry: what is registered?
    List {
        /// Any number; the answers have it.
        ask: u64,
    },
    /// 37: one instance of one resource.
    Entry {
        /// The number of the question.
        ask: u64,
        /// The resource.
        resource: &'a str,
        /// The instance.
        instance: InstanceId,
        /// Its name.
        name: &'a str,
        /// Its handle.
        handle: Handle<'a>,
        /// The consumers that it has reported.
        consumers: u64,
        /// How long ago it was heard.
        heard: Span,
        /// How long it has been registered.
        since: Span,
    },
    /// 38: that was all.
    ListEnd {
        /// The number of the question.
        ask: u64,
    },
}
