//! Channels and sessions as their client knows them.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::id::Epoch;
use crate::base::time::Instant;
use crate::testing::model::At;
use crate::testing::reader::Kind;

/// Where a channel stands, as its client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not open.
    Idle,
    /// Asked for.
    Asked,
    /// Open.
    Open,
}

/// A channel at its client.
#[derive(Debug)]
pub struct Channel {
    /// The topic.
    pub topic: String,
    /// How it is read.
    pub kind: Kind,
    /// The number that the client chooses, if it does.
    pub chosen: Option<u32>,
    /// Its number, once known.
    pub cid: Option<u32>,
    /// Where it stands.
    pub state: State,
    /// How often it was asked for since it stood still.
    pub asks: u32,
    /// When it was asked for first.
    pub asked_at: Instant,
    /// The `since` of that.
    pub since: Option<(At, u32)>,
    /// Where it was opened.
    pub opened: Option<At>,
    /// What its client has.
    pub pos: Option<At>,
    /// What its client had when it ended, and in which life of the server.
    pub resume: Option<(At, u32)>,
    /// Epochs that were seen since it was opened.
    pub epochs: Vec<Epoch>,
    /// Since when it stands still.
    pub over_at: Instant,
    /// Since when its client knows that it is open.
    pub open_at: Instant,
    /// Whether the client has asked for its end.
    pub ending: bool,
}

/// A session at its client.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its number.
    pub mid: u64,
    /// Its key.
    pub key: String,
    /// The life of the server that made it.
    pub life: u32,
    /// When it had a document last.
    pub attached_at: Instant,
    /// Whether the client has asked for its end.
    pub leaving: bool,
    /// The next number of a send, by channel number.
    pub numbers: BTreeMap<u32, u64>,
    /// Sends that may be sent again.
    pub again: Vec<(u32, u64)>,
    /// Sends that ask the resource to end the channel.
    pub byes: BTreeSet<(u32, u64)>,
}

impl Session {
    /// Whether the resource was asked to end channel `c`.
    pub fn has_bye(&self, c: u32) -> bool {
        self.byes.range((c, 0)..(c + 1, 0)).next().is_some()
    }
}

impl Channel {
    /// A channel that was not opened yet.
    pub fn new(topic: &str, kind: Kind, chosen: Option<u32>) -> Self {
        Self {
            topic: topic.to_string(),
            kind,
            chosen,
            cid: None,
            state: State::Idle,
            asks: 0,
            asked_at: Instant::ZERO,
            since: None,
            opened: None,
            pos: None,
            resume: None,
            epochs: Vec::new(),
            over_at: Instant::ZERO,
            open_at: Instant::ZERO,
            ending: false,
        }
    }

    /// It has ended.
    pub fn stop(&mut self, now: Instant, life: u32) {
        if self.state == State::Open
            && let Some(pos) = self.pos
        {
            self.resume = Some((pos, life));
        }
        self.state = State::Idle;
        self.asks = 0;
        self.opened = None;
        self.pos = None;
        self.epochs.clear();
        self.over_at = now;
        self.ending = false;
    }

    /// Whether it is a conversation with one resource.
    pub fn is_private(&self) -> bool {
        self.topic.starts_with("echo/")
    }

    /// Whether its resource takes messages.
    pub fn takes_messages(&self) -> bool {
        self.is_private() || self.topic.starts_with("board/")
    }
}
