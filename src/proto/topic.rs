//! Topics of one shard: their logs, their readers, and who numbers them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::auth::list::List;
use crate::base::id::{Cid, Epoch, Key, Offset, ShardId};
use crate::base::name::TopicName;
use crate::base::time::Instant;
use crate::html::frame;
use crate::mem::slab::Slots;
use crate::proto::flushing::Held;
use crate::proto::log::{Located, Log, Missed};
use crate::proto::resource::TopicOptions;
use crate::proto::run::RunBuilder;
use crate::proto::waking::Round;
use crate::wire::position::Position;

/// Former epochs of a topic that are remembered, to tell a late second numberer from a new life.
pub const FORMER_EPOCHS_MAX: usize = 8;

/// One cursor that reads a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// The slot of its document.
    pub document: u32,
    /// Its index among the document's cursors.
    pub cursor: u32,
}

/// Who gives out the offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Numbering {
    /// Nobody yet: nothing was published.
    Unset,
    /// This server; the epoch is local to it.
    Local,
    /// The publisher, who had these epochs before the present one.
    Publisher {
        /// The latest comes last.
        former: Vec<Epoch>,
    },
}

/// A shard that follows a topic from its home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Follower {
    /// The shard.
    pub shard: ShardId,
    /// Runs before this place were posted to it.
    pub sent: u64,
    /// True exactly when the topic waits in that shard's lane.
    pub waiting: bool,
}

/// What a topic is on this shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Its log is written here.
    Home {
        /// Who gives out the offsets.
        numbering: Numbering,
        /// The shards that follow.
        followers: Vec<Follower>,
    },
    /// Its runs come from its home.
    Follower(ShardId),
    /// It belongs to one channel of a session of this shard.
    Private,
}

/// What a resource was last told of the stream that reads a private channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// In which second of the server's clock it was last looked at.
    pub second: u32,
    /// Messages that the reader was behind.
    pub behind: u32,
    /// Microseconds of the round trip to it; 0: not known.
    pub round_trip: u32,
}

/// A topic on one shard.
#[derive(Debug)]
pub struct Topic {
    /// Resource and subject.
    pub name: TopicName,
    /// The number that frames carry unless a client chose its own.
    pub number: Cid,
    /// How it is kept and read.
    pub options: TopicOptions,
    /// What it is on this shard.
    pub role: Role,
    /// The log.
    pub log: Log,
    /// The messages of this turn that are not yet in the log.
    pub builder: RunBuilder,
    /// The cursors that read it.
    pub subscribers: Vec<Subscriber>,
    /// True exactly when it waits to be sealed at the end of the turn.
    pub touched: bool,
    /// Whether those who read it are being told of what is new.
    pub round: Round,
    /// What the log keeps for those of them that wait for more.
    pub held: Held,
    /// Channels of this shard's sessions that are open on it, with a document or without.
    pub channels: u32,
    /// Since when it has had no subscriber.
    pub quiet_since: Instant,
    /// Of a private topic that a resource in another process serves: the home, and its want.
    pub source: Option<(ShardId, Key)>,
    /// What that resource was last told of the reader's stream.
    pub told: Told,
    /// The access list of the resource server behind it.
    pub access: Option<Arc<List>>,
}

impl Topic {
    /// Whether anybody reads it, here or on another shard.
    pub fn is_wanted(&self) -> bool {
        let followed = matches!(&self.role, Role::Home { followers, .. } if !followers.is_empty());
        self.channels > 0 || !self.subscribers.is_empty() || followed
    }

    /// The head that an `o` frame tells: of the same epoch as the position before it.
    pub(crate) fn head_of(&self, before: Position) -> Offset {
        if before.ep == self.log.end().epoch { self.log.head() } else { before.n }
    }

    /// Writes where a reader stands: `o`, and `g` where it has missed something. `cid` and `life`
    /// are those of its channel.
    pub(crate) fn put_opened(&self, out: &mut Vec<u8>, (cid, life): (Cid, u32), located: Located) {
        let before = self.log.position_before(located.place);
        let head = self.head_of(before);
        frame::opened(out, (cid, Some(life)), &self.name, (before.ep, before.n), head);
        match located.missed {
            Missed::Nothing => {}
            Missed::Messages(count) => frame::gap(out, cid, before.ep, before.n, Some(count)),
            Missed::Unknown => frame::gap(out, cid, before.ep, before.n, None),
        }
    }
}

/// The topics of one shard.
#[derive(Debug)]
pub struct Topics {
    /// By key.
    pub slots: Slots<Topic>,
    by_name: HashMap<TopicName, u32>,
    by_number: HashMap<Cid, u32>,
}

impl Topics {
    /// No topics.
    pub fn new(generation: u32) -> Self {
        Self { slots: Slots::new(generation), by_name: HashMap::new(), by_number: HashMap::new() }
    }

    /// The slot of the shared topic of that name.
    pub fn find(&self, name: &TopicName) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// The slot of the shared topic of that number.
    pub fn find_number(&self, number: Cid) -> Option<u32> {
        self.by_number.get(&number).copied()
    }

    /// Adds a topic; a shared one can be found by name and number from now on.
    pub fn insert(&mut self, topic: Topic) -> Key {
        let shared = topic.role != Role::Private;
        let (name, number) = (topic.name.clone(), topic.number);
        let key = self.slots.insert(topic);
        if shared {
            self.by_name.insert(name, key.slot);
            self.by_number.insert(number, key.slot);
        }
        key
    }

    /// Takes a topic out.
    pub fn remove(&mut self, key: Key) -> Option<Topic> {
        let topic = self.slots.remove(key)?;
        if topic.role != Role::Private {
            self.by_name.remove(&topic.name);
            self.by_number.remove(&topic.number);
        }
        Some(topic)
    }

    /// Memory that the table itself holds, in bytes, histories left out.
    pub fn bytes(&self) -> usize {
        let entry = size_of::<TopicName>() + size_of::<Cid>() + 2 * size_of::<u32>();
        self.slots.bytes() + self.by_name.capacity() * entry
    }
}
