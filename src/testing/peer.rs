//! A scripted client: one session at a time, its channels, its documents.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::time::{Instant, Span};
use crate::testing::channel::{Channel, Session, State};
use crate::testing::document::Doc;
use crate::testing::lines::Line;
use crate::testing::model::{At, Shared};
use crate::testing::net::Side;
use crate::testing::reader::Reader;
use crate::testing::world::World;

/// What a command was for.
#[derive(Clone, Debug)]
pub enum What {
    /// `login`.
    Login,
    /// `open` of this channel.
    Open(usize),
    /// `send`.
    Send(u32, u64),
    /// `close` of this channel.
    Close(usize),
    /// `logout`.
    Logout,
    /// `ping` with these words.
    Ping(String),
    /// `history` of this channel's topic: `since` with its life, and the limit.
    History(usize, Option<(At, u32)>, u64),
    /// Sends on the lines of a batch.
    Batch(Vec<(u32, u64)>),
    /// Something that fails with this code.
    Probe(&'static str),
}

/// A command that waits for its answer.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The client.
    pub who: usize,
    /// The session it was for; 0 for none.
    pub mid: u64,
    /// When it was asked.
    pub at: Instant,
    /// What for.
    pub what: What,
}

/// A scripted client.
#[derive(Debug)]
pub struct Peer {
    /// Its number.
    pub id: usize,
    /// Its session.
    pub session: Option<Session>,
    /// Its channels.
    pub channels: Vec<Channel>,
    /// Its documents.
    pub docs: Vec<Doc>,
    /// Its own line for commands.
    pub line: Line<Asked>,
    /// Whether a `login` is under way.
    pub logging_in: bool,
    /// Whether it does without documents.
    pub apart: bool,
    /// The model.
    pub model: Shared,
}

impl Peer {
    /// A client that may open these topics in these ways.
    pub fn new(id: usize, channels: Vec<Channel>, model: Shared) -> Self {
        let line = Line::new(crate::proto::connection::Door::Public);
        let (session, docs) = (None, Vec::new());
        Self { id, session, channels, docs, line, logging_in: false, apart: false, model }
    }

    /// Whether its session may have ended without its knowing.
    pub fn may_be_gone(&self, world: &World) -> bool {
        self.session.as_ref().is_none_or(|session| {
            let idle = world.now.since(session.attached_at);
            session.life != world.life
                || session.leaving
                || idle + Span::from_millis(600) > world.settings.linger
        })
    }

    /// Forgets the session; its shared channels resume in the next one.
    pub fn forget_session(&mut self, world: &mut World) {
        let life = self.session.as_ref().map_or(world.life, |session| session.life);
        self.session = None;
        for doc in self.docs.drain(..) {
            world.leave(doc.wire, Side::Closed);
        }
        for channel in &mut self.channels {
            channel.stop(world.now, life);
            channel.cid = None;
        }
    }

    /// Reads all documents; returns how many bytes' worth of frames came.
    pub fn read(&mut self, world: &mut World) {
        let mut attached = false;
        for index in 0..self.docs.len() {
            if world.rough && world.now < self.docs[index].stalled_until {
                let doc = &self.docs[index];
                attached |= doc.is_live() && world.carries_document(doc.wire);
                continue;
            }
            let max = if world.rough && world.chance(3) {
                world.pick(1, 300) as usize
            } else {
                usize::MAX
            };
            let seen = self.docs[index].read(world, max);
            for frame in seen {
                self.see(index, frame, world);
            }
            let doc = &self.docs[index];
            attached |= doc.is_live() && world.carries_document(doc.wire);
        }
        if attached && let Some(session) = &mut self.session {
            session.attached_at = world.now;
        }
        while let Some(index) = self.docs.iter().position(|doc| doc.is_over(world)) {
            self.end_doc(index, world);
        }
    }

    fn end_doc(&mut self, index: usize, world: &mut World) {
        let doc = self.docs.remove(index);
        world.note(|| format!("peer {} has no document {:?} any more", self.id, doc.number));
        if doc.readers.values().any(|reader| reader.owes()) && doc.ended.is_some() {
            panic!("a document ended with a gap that was not told");
        }
        world.leave(doc.wire, Side::Closed);
        let whole = doc.refusal.as_ref().filter(|_| doc.is_done());
        let Some((status, body)) = whole else { return self.after_doc(&doc) };
        let text = String::from_utf8_lossy(body);
        let error = error_of(body);
        match (*status, error.as_str()) {
            (404, "no-session") => {
                assert!(self.may_be_gone(world), "peer {}: {text}", self.id);
                self.forget_session(world);
            }
            (429, "too-many") => assert!(doc.dup, "peer {}: {text}", self.id),
            (408, _) => {}
            _ => panic!("peer {}: a document got {status} {text}", self.id),
        }
        self.after_doc(&doc);
    }

    fn after_doc(&mut self, doc: &Doc) {
        if self.session.is_none() {
            for &channel in &doc.opens {
                self.channels[channel].state = State::Idle;
                self.channels[channel].asks = 0;
            }
        }
    }

    /// Lets go of a document.
    pub fn drop_doc(&mut self, index: usize, side: Side, world: &mut World) {
        let doc = self.docs.remove(index);
        world.leave(doc.wire, side);
        self.after_doc(&doc);
    }

    /// A session was made, some time after it was asked for.
    pub fn begin_session(&mut self, mid: u64, key: String, asked_at: Instant, life: u32) {
        self.session = Some(Session {
            mid,
            key,
            life,
            attached_at: asked_at,
            leaving: false,
            numbers: BTreeMap::new(),
            again: Vec::new(),
            byes: BTreeSet::new(),
        });
    }
}

impl Doc {
    /// The reader of channel `c`.
    ///
    /// # Panics
    ///
    /// If the channel was not opened on this document.
    pub fn reader(&mut self, c: u32) -> &mut Reader {
        let number = self.number;
        let reader = self.readers.get_mut(&c);
        reader.unwrap_or_else(|| panic!("document {number:?}: channel {c} was not opened"))
    }
}

/// The code of an answer that failed; empty for any other.
pub fn error_of(body: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    value["error"].as_str().unwrap_or_default().to_string()
}
