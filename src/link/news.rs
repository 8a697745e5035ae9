//! What a consumer's end tells of the subjects that are wanted.

use std::ops::Range;
use std::sync::Arc;

use crate::auth::list::List;
use crate::base::id::{Cid, Epoch, Key, Mid, Offset};
use crate::base::reason::{ChannelEnd, ErrorCode};
use crate::wire::resource::Terms;

/// What a want was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Granted {
    /// All consumers of the subject read one topic.
    Shared,
    /// The consumer has a topic of its own.
    Private,
    /// The consumer reads another subject of the same resource.
    Other(String),
}

/// What has happened to a want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// An instance serves it, from `next` on; again when it has moved to another.
    Accepted {
        /// Which.
        want: Key,
        /// What it was granted.
        granted: Granted,
        /// The epoch that its messages are numbered in.
        ep: Epoch,
        /// The offset of the next message.
        next: Offset,
        /// How it is kept.
        terms: Terms,
        /// Whether consumers may send.
        takes_messages: bool,
    },
    /// A message; its payload are these bytes of
    /// [`Upstream::payloads`](crate::link::upstream::Upstream::payloads).
    Message {
        /// Which.
        want: Key,
        /// The epoch.
        ep: Epoch,
        /// The offset.
        n: Offset,
        /// Whether it is a snapshot.
        snapshot: bool,
        /// Where its payload is.
        payload: Range<usize>,
    },
    /// The numbering goes on elsewhere.
    Begin {
        /// Which.
        want: Key,
        /// The epoch.
        ep: Epoch,
        /// The offset of the next message.
        next: Offset,
    },
    /// It may not be read, or nobody serves it. The want is over.
    Denied {
        /// Which.
        want: Key,
        /// Why.
        code: ErrorCode,
        /// In words.
        detail: String,
    },
    /// An instance was found that has an access list, or had one; it is asked when
    /// [`Upstream::admit`](crate::link::upstream::Upstream::admit) says so. Told only where
    /// somebody [judges](crate::link::upstream::Upstream::judge).
    Found {
        /// Which.
        want: Key,
        /// Who may read there.
        access: Option<Arc<List>>,
    },
    /// The instance that serves it has another access list.
    Listed {
        /// Which.
        want: Key,
        /// Who may read there.
        access: Option<Arc<List>>,
    },
    /// It was served, and is no more. The want is over.
    Closed {
        /// Which.
        want: Key,
        /// Why.
        end: ChannelEnd,
    },
    /// The resource has taken this number of a consumer, or, where `taken` is false, nobody can
    /// tell.
    Sent {
        /// The consumer's session.
        session: Mid,
        /// Its channel.
        cid: Cid,
        /// The number.
        n: u64,
        /// Whether it was taken.
        taken: bool,
    },
}
