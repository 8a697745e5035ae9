//! One document as the agent sees it: its phase, and when it was last heard of.

use std::collections::BTreeMap;

use crate::base::id::Cid;
use crate::base::time::{Instant, Span};
use crate::client::event::{ChannelKey, RouteId, StreamId};
use crate::client::leg::{Leg, LegId, Session};
use crate::client::sealed::{Proof, Unsealer};
use crate::client::settings::Settings;
use crate::html::frame::Identity;
use crate::html::scan::Scanner;

/// The life of a document: `Asked -> Begun -> Running`, or `Asked -> Refused`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The request is out; no answer yet.
    Asked,
    /// The answer is an error; its body is being collected.
    Refused(u16),
    /// The answer is a document; its identity frame has not come.
    Begun,
    /// The identity frame has come.
    Running,
}

/// What a document was asked for as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The first of a new session.
    Session,
    /// One more of the session, after the last one ended.
    Resume,
    /// The main one, while others of the session still run.
    Refresh,
    /// A lasting duplicate.
    Duplicate,
}

/// One document.
#[derive(Debug)]
pub struct Document {
    /// Its name between agent and link.
    pub stream: StreamId,
    /// The session that it is for.
    pub leg: LegId,
    /// The way that it takes.
    pub route: RouteId,
    /// How far it has come.
    pub phase: Phase,
    /// What it was asked for as.
    pub purpose: Purpose,
    /// The duplicate whose place it takes.
    pub succeeds: Option<StreamId>,
    /// Its number in the session; 0 until its identity has come.
    pub d: u32,
    /// Of a duplicate: when it is to be replaced.
    pub replace_at: Instant,
    /// The number of the leg's session when its identity came; before, 0.
    pub session: u32,
    /// The channels asked for together with it.
    pub opens: Vec<ChannelKey>,
    /// Which of the channels of a number it carries; 0 where nothing stands here.
    pub lives: BTreeMap<Cid, u32>,
    /// When it was asked for; from `Running` on: when its identity came.
    pub since: Instant,
    /// When the last byte came.
    pub last_byte: Instant,
    /// The heartbeat interval that it promises.
    pub heartbeat: Span,
    /// Whether the server demands to be heard of within each interval.
    pub demands: bool,
    /// Whether the consumer was warned since the last byte.
    pub quiet: bool,
    /// Taken out while it is at work.
    pub scanner: Option<Scanner>,
    /// Opens its lines, where they are sealed; taken out while it is at work.
    pub unsealer: Option<Unsealer>,
    /// Of a sealed session: the command that has asked for it.
    pub(crate) proof: Option<Proof>,
    /// The session that was made for it, and is the leg's when it begins.
    pub(crate) made: Option<Session>,
    /// When the proof of that session ends, in seconds since 1970.
    pub(crate) expires: Option<u64>,
    /// How often it was asked for of a server that has not made that session.
    pub(crate) strays: u8,
    /// The body of an error answer.
    pub refusal: Vec<u8>,
    /// How long the server asks to stay away.
    pub retry_after: Span,
}

impl Document {
    /// A document that is being asked for.
    pub fn new(
        stream: StreamId,
        (leg, route): (LegId, RouteId),
        purpose: Purpose,
        settings: &Settings,
        now: Instant,
    ) -> Self {
        Self {
            stream,
            leg,
            route,
            phase: Phase::Asked,
            purpose,
            succeeds: None,
            d: 0,
            replace_at: Instant::NEVER,
            session: 0,
            opens: Vec::new(),
            lives: BTreeMap::new(),
            since: now,
            last_byte: now,
            heartbeat: settings.heartbeat.unwrap_or(Span::from_secs(15)),
            demands: false,
            quiet: false,
            scanner: Some(Scanner::new(settings.line_bytes_max)),
            unsealer: None,
            proof: None,
            made: None,
            expires: None,
            strays: 0,
            refusal: Vec::new(),
            retry_after: Span::ZERO,
        }
    }

    /// Which of the channels of that number it carries.
    pub(crate) fn life(&self, cid: Cid) -> u32 {
        self.lives.get(&cid).copied().unwrap_or(0)
    }

    /// The document says that it carries `cid`, and mostly which of its channels.
    pub(crate) fn carry(&mut self, cid: Cid, life: Option<u32>) -> u32 {
        let Some(life) = life else { return self.life(cid) };
        self.lives.insert(cid, life);
        life
    }

    /// Its identity frame has come: it belongs to the session of this number.
    pub(crate) fn begin(&mut self, identity: &Identity<'_>, session: u32, now: Instant) {
        self.phase = Phase::Running;
        self.since = now;
        self.d = identity.d;
        self.heartbeat = identity.heartbeat.max(Span::from_millis(1));
        self.session = session;
        self.demands = identity.client_heartbeat;
    }

    /// Something has come of it.
    pub(crate) fn hear(&mut self, now: Instant) {
        self.last_byte = now;
        self.quiet = false;
    }

    /// Whether its identity frame has come.
    pub fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Whether it belongs to the session that `leg` has now.
    pub(crate) fn is_of(&self, leg: &Leg) -> bool {
        self.leg == leg.id && self.session == leg.number
    }

    /// Whether it is a lasting duplicate.
    pub fn is_duplicate(&self) -> bool {
        self.purpose == Purpose::Duplicate
    }

    /// How long after the last command the client lets itself be heard, so that it is in time.
    pub fn beat(&self) -> Span {
        self.heartbeat.fraction(3, 4)
    }

    /// When a document that it replaces is closed at the latest.
    pub fn settled_at(&self) -> Instant {
        self.since + self.heartbeat
    }

    /// When the consumer is to be warned.
    pub fn warn_at(&self, settings: &Settings) -> Option<Instant> {
        let silence = self.heartbeat.times(u64::from(settings.warn_intervals));
        (self.is_running() && !self.quiet).then(|| self.last_byte + silence)
    }

    /// When it is to be abandoned.
    pub fn drop_at(&self, settings: &Settings) -> Instant {
        if self.is_running() {
            self.last_byte + self.heartbeat.times(u64::from(settings.drop_intervals))
        } else {
            self.since + settings.connect_timeout
        }
    }
}
