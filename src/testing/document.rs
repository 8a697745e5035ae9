//! A client's end of one document: decoding, heartbeats, what it was asked to carry.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::id::{Epoch, Mid};
use crate::base::reason::{ChannelEnd, DocumentEnd, SendOutcome};
use crate::base::time::{Instant, Span};
use crate::html::scan::{Frame, Scanner};
use crate::testing::decode::{Decoder, Part};
use crate::testing::model::At;
use crate::testing::net::Segment;
use crate::testing::reader::Reader;
use crate::testing::world::World;

/// What may pass between a moment being due and the world's next step, and a turn's write budget.
const SLACK: Span = Span::from_millis(150);

/// A frame with what it holds.
#[derive(Clone, Debug)]
pub enum Seen {
    /// The identity frame: session, document, heartbeat, and the key where it was made here.
    Identity(Mid, u32, Span, Option<String>),
    /// A channel is on a topic: channel, topic, epoch, place, head.
    Opened(u32, String, Epoch, u64, u64),
    /// A channel has ended.
    Closed(u32, ChannelEnd),
    /// A channel was refused: its number, topic, why.
    Refused(Option<u32>, String, ChannelEnd),
    /// Messages are missing: channel, epoch, place, how many.
    Gap(u32, Epoch, u64, Option<u64>),
    /// A message: channel, place, snapshot, payload.
    Message(u32, u64, bool, Vec<u8>),
    /// What became of a send.
    Outcome(u32, u64, SendOutcome),
    /// The last frame.
    End(DocumentEnd),
}

/// One document at its client.
#[derive(Debug)]
pub struct Doc {
    /// Its connection.
    pub wire: usize,
    /// Its number in the session, once the identity frame has come.
    pub number: Option<u32>,
    /// The channels on it.
    pub readers: BTreeMap<u32, Reader>,
    /// Channels whose end it told.
    pub told_ended: BTreeSet<u32>,
    /// What `last` named.
    pub named: BTreeMap<u32, At>,
    /// Channels that its own request opens, unless they were refused or asked for anew since.
    pub opens: BTreeSet<usize>,
    /// Whether it is a lasting duplicate.
    pub dup: bool,
    /// When it was asked for.
    pub asked_at: Instant,
    /// When the identity frame came.
    pub live_at: Instant,
    /// The client does not read before this moment.
    pub stalled_until: Instant,
    /// Why it has ended.
    pub ended: Option<DocumentEnd>,
    /// Status and body of an answer that is no document.
    pub refusal: Option<(u16, Vec<u8>)>,
    decoder: Decoder,
    scanner: Scanner,
    status: u16,
    heartbeat: Span,
    written_at: Instant,
    beat_at: Instant,
    late_beat_excused: bool,
    done: bool,
}

impl Doc {
    /// A document that was asked for on `wire`.
    pub fn new(
        wire: usize,
        named: BTreeMap<u32, At>,
        opens: BTreeSet<usize>,
        now: Instant,
    ) -> Self {
        Self {
            wire,
            number: None,
            readers: BTreeMap::new(),
            told_ended: BTreeSet::new(),
            named,
            opens,
            dup: false,
            asked_at: now,
            live_at: Instant::NEVER,
            stalled_until: Instant::ZERO,
            ended: None,
            refusal: None,
            decoder: Decoder::default(),
            scanner: Scanner::new(200_000),
            status: 0,
            heartbeat: Span::from_secs(1_000),
            written_at: now,
            beat_at: now,
            late_beat_excused: false,
            done: false,
        }
    }

    /// Whether its identity frame has come and its end has not.
    pub fn is_live(&self) -> bool {
        self.number.is_some() && self.ended.is_none()
    }

    /// Whether nothing more will come: the answer is whole, or the server has closed.
    pub fn is_over(&self, world: &World) -> bool {
        self.done || world.wire(self.wire).is_read_out()
    }

    /// Whether its client has let go of it.
    pub fn wire_is_left(&self, world: &World) -> bool {
        world.wire(self.wire).side != crate::testing::net::Side::Open
    }

    /// Whether the answer is whole, so that the connection may carry another request.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Reads at most `max` bytes and returns what they hold.
    ///
    /// # Panics
    ///
    /// If they are no document, or the server was silent for too long.
    pub fn read(&mut self, world: &mut World, max: usize) -> Vec<Seen> {
        let mut seen = Vec::new();
        for segment in world.read(self.wire, max) {
            self.take(&segment, &mut seen);
        }
        let wire = world.wire(self.wire);
        let now = world.now;
        if self.is_live() && !wire.over && wire.is_drained() && !wire.is_held_up() {
            let silence = now.since(wire.written_at);
            assert!(
                silence <= self.heartbeat + SLACK,
                "silent for {silence} (wire {}): {}",
                self.wire,
                world.describe(self.wire)
            );
        }
        if wire.is_read_out() && self.status == 200 && self.ended.is_none() && !self.done {
            // Cut inside a frame or a chunk: what was whole has been seen.
            self.done = true;
        }
        seen
    }

    fn take(&mut self, segment: &Segment, seen: &mut Vec<Seen>) {
        let Self { decoder, scanner, status, refusal, done, .. } = self;
        let mut frames = Vec::new();
        let mut beats = 0;
        decoder.push(&segment.bytes, |part| match part {
            Part::Head { status: code, .. } => {
                *status = code;
                if code != 200 {
                    *refusal = Some((code, Vec::new()));
                }
            }
            Part::Body(bytes) => match refusal {
                Some((_, body)) => body.extend_from_slice(bytes),
                None => scanner
                    .push(bytes, |frame| match own(frame) {
                        Ok(frame) => frames.push(frame),
                        Err(_) => beats += 1,
                    })
                    .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes))),
            },
            Part::End => *done = true,
        });
        self.late_beat_excused |= segment.held_up;
        if self.number.is_some() && self.ended.is_none() && !segment.held_up {
            let silence = segment.at.since(self.written_at);
            assert!(silence <= self.heartbeat + SLACK, "was silent for {silence}");
        }
        self.written_at = segment.at;
        if beats > 0 {
            let since = segment.at.since(self.beat_at);
            let limit = self.heartbeat.times(4) + SLACK;
            assert!(self.late_beat_excused || since <= limit, "no heartbeat for {since}");
            self.beat_at = segment.at;
            self.late_beat_excused = false;
        }
        for frame in &frames {
            assert!(self.ended.is_none(), "{frame:?} after the end of the document");
            match frame {
                Seen::Identity(_, number, heartbeat, _) => {
                    assert!(self.number.is_none(), "two identity frames");
                    self.number = Some(*number);
                    self.heartbeat = *heartbeat;
                    self.beat_at = segment.at;
                }
                Seen::End(end) => self.ended = Some(*end),
                _ => assert!(self.number.is_some(), "{frame:?} before the identity frame"),
            }
        }
        seen.append(&mut frames);
    }
}

/// The frame without borrows; `Err` with the interval for a heartbeat.
fn own(frame: Frame<'_>) -> Result<Seen, Span> {
    Ok(match frame {
        Frame::Message { c, n, snapshot, payload } => {
            Seen::Message(c.0, n.0, snapshot, payload.into_owned())
        }
        Frame::Identity { identity, .. } => {
            let bound = identity.heartbeat.fraction(1, 2);
            assert!(identity.flush <= bound, "a message waits longer than half an interval");
            let key = identity.key.map(str::to_string);
            Seen::Identity(identity.mid, identity.d, identity.heartbeat, key)
        }
        Frame::Opened { c, name, ep, n, head, .. } => {
            Seen::Opened(c.0, name.to_string(), ep, n.0, head.0)
        }
        Frame::Closed { c, e, .. } => Seen::Closed(c.0, e),
        Frame::Refused { c, name, e } => Seen::Refused(c.map(|c| c.0), name.to_string(), e),
        Frame::Gap { c, ep, n, missing } => Seen::Gap(c.0, ep, n.0, missing),
        Frame::Outcome { c, n, e } => Seen::Outcome(c.0, n, e),
        Frame::Heartbeat { interval, .. } => return Err(interval),
        Frame::End { e, .. } => Seen::End(e),
        other => panic!("a frame that the server does not send: {other:?}"),
    })
}
