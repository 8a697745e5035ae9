//! One connection of a consumer, as a source sees it: what it reads, and how far it is.

use std::collections::{BTreeMap, VecDeque};

use crate::base::id::{Epoch, Key, Offset};
use crate::base::reason::ChannelEnd;
use crate::link::links::Links;
use crate::link::source_topic::{Topic, Topics};
use crate::wire::resource::{Alias, Frame};

/// Bytes that one subject puts on a connection before the others have their turn.
const TURN_BYTES: usize = 16 * 1024;
/// Bytes that a frame takes beside its payload, about.
const FRAME_BYTES: usize = 8;

/// A place in the log of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) topic: Key,
    pub(crate) ep: Epoch,
    /// The offset of the next message.
    pub(crate) next: Offset,
    /// Whether the next message is the present state, for a reader that has nothing of it.
    pub(crate) is_state: bool,
    /// Consumers that read by it.
    pub(crate) consumers: u64,
    /// True exactly when there is something to read and the alias waits in the queue.
    pub(crate) ready: bool,
}

/// What an alias stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binding {
    /// It reads. Next: `Closing`, or free.
    Open(Cursor),
    /// This end has closed it, the other has not yet. Next: free.
    Closing,
}

/// What a turn of an alias came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// There is more to read.
    More,
    /// All is read.
    Done,
    /// All is read, and nothing more will come.
    Ended(ChannelEnd),
}

/// What was put on a connection.
#[derive(Debug, Default)]
pub(crate) struct Filled {
    /// Readers told that something is missing.
    pub(crate) begins: u64,
    /// Messages.
    pub(crate) messages: u64,
    /// Aliases whose subject is over, and what they were.
    pub(crate) ended: Vec<(Alias, Cursor)>,
}

/// A connection of a consumer.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    pub(crate) bindings: BTreeMap<Alias, Binding>,
    ready: VecDeque<Alias>,
    /// True exactly when the connection waits to be filled.
    pub(crate) named: bool,
    /// Messages of consumers that were taken, and how many of them the other end knows of.
    pub(crate) taken: u64,
    told: u64,
    /// Messages for a subject that has ended and is not closed yet: how many were taken before the
    /// first of them. The `Close` goes first, so that nobody believes them taken.
    strays: BTreeMap<Alias, u64>,
}

impl Lane {
    /// What is read under an alias.
    pub(crate) fn cursor(&self, alias: Alias) -> Option<&Cursor> {
        match self.bindings.get(&alias) {
            Some(Binding::Open(cursor)) => Some(cursor),
            Some(Binding::Closing) | None => None,
        }
    }

    /// The same, to be changed.
    pub(crate) fn cursor_mut(&mut self, alias: Alias) -> Option<&mut Cursor> {
        match self.bindings.get_mut(&alias) {
            Some(Binding::Open(cursor)) => Some(cursor),
            Some(Binding::Closing) | None => None,
        }
    }

    /// There is something to read under the alias.
    pub(crate) fn make_ready(&mut self, alias: Alias) {
        if let Some(cursor) = self.cursor_mut(alias)
            && !cursor.ready
        {
            cursor.ready = true;
            self.ready.push_back(alias);
        }
    }

    /// Puts what there is to read on the connection, in turns, until `most` bytes wait there.
    pub(crate) fn fill(
        &mut self,
        link: Key,
        links: &mut Links,
        topics: &Topics,
        most: usize,
    ) -> Filled {
        let mut filled = Filled::default();
        self.acknowledge(link, links);
        while links.waiting(link) < most
            && let Some(alias) = self.ready.pop_front()
        {
            // An alias may have been given up, or given anew, while it waited.
            let Some(cursor) = self.cursor_mut(alias).filter(|cursor| cursor.ready) else {
                continue;
            };
            let Some(topic) = topics.get(cursor.topic) else { continue };
            match cursor.read(link, links, alias, topic, &mut filled) {
                Turn::More => self.ready.push_back(alias),
                Turn::Done => cursor.ready = false,
                Turn::Ended(end) => {
                    links.send(link, &Frame::Close { alias, end });
                    filled.ended.push((alias, *cursor));
                    self.bindings.insert(alias, Binding::Closing);
                    self.strays.remove(&alias);
                }
            }
        }
        self.acknowledge(link, links);
        filled
    }

    /// A message has come too late for the subject of an alias, which is about to be closed.
    pub(crate) fn note_stray(&mut self, alias: Alias) {
        let before = self.taken - 1;
        self.strays.entry(alias).or_insert(before);
    }

    /// The other end has closed an alias; what it stood for.
    pub(crate) fn close(&mut self, alias: Alias) -> Option<Binding> {
        self.strays.remove(&alias);
        self.bindings.remove(&alias)
    }

    fn acknowledge(&mut self, link: Key, links: &mut Links) {
        let before = self.strays.values().min().copied();
        let count = before.unwrap_or(self.taken);
        if self.told < count {
            self.told = count;
            links.send(link, &Frame::Taken { count });
        }
    }
}

impl Cursor {
    fn read(
        &mut self,
        link: Key,
        links: &mut Links,
        alias: Alias,
        topic: &Topic,
        filled: &mut Filled,
    ) -> Turn {
        let ep = topic.log.ep();
        let mut begin = |cursor: &mut Self, links: &mut Links, next| {
            links.send(link, &Frame::Begin { alias, ep, next });
            (cursor.ep, cursor.next) = (ep, next);
            filled.begins += 1;
        };
        if self.ep != ep {
            begin(self, links, topic.log.first());
        }
        let mut bytes = 0;
        for entry in topic.log.messages_from(self.next) {
            if bytes >= TURN_BYTES {
                return Turn::More;
            }
            if entry.n != self.next {
                begin(self, links, entry.n);
            }
            let snapshot = entry.snapshot || self.is_state;
            let payload = &entry.payload;
            links.send(link, &Frame::Publish { alias, n: entry.n, snapshot, payload });
            (self.next, self.is_state) = (entry.n.next(), false);
            bytes += entry.payload.len() + FRAME_BYTES;
            filled.messages += 1;
        }
        topic.ended.map_or(Turn::Done, Turn::Ended)
    }
}
