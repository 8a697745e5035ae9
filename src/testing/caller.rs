//! The kept line of an agent for commands on one route, as the agent's link over TCP has it.

use std::collections::VecDeque;

use crate::base::random::Random;
use crate::base::time::{Instant, Span};
use crate::client::event::CallId;
use crate::http::exchange::{Part, ResponseReader};
use crate::testing::cable::Cable;
use crate::testing::site::Site;

/// Commands on the wire at a time.
const CALLS_MAX: usize = 32;
/// A command must be answered within this span after the last answer.
const ANSWER_TIMEOUT: Span = Span::from_secs(10);

/// The status of a command that came to a server which does not have its session.
const MISDIRECTED: u16 = 421;

/// What became of a command.
#[derive(Debug)]
pub enum Heard {
    /// Status, how long to stay away, and body.
    Answer(CallId, u16, Option<Span>, Vec<u8>),
    /// Its connection was lost.
    Lost(CallId),
}

/// The connection that there is now.
#[derive(Debug)]
struct Open {
    cable: Cable,
    reader: ResponseReader,
    in_flight: VecDeque<CallId>,
    current: (u16, Option<Span>, bool),
    body: Vec<u8>,
    since: Instant,
}

/// One kept line.
#[derive(Debug, Default)]
pub struct Caller {
    open: Option<Open>,
    waiting: VecDeque<(CallId, Vec<u8>)>,
}

impl Caller {
    /// A command is to be sent.
    pub fn call(&mut self, call: CallId, request: Vec<u8>) {
        self.waiting.push_back((call, request));
    }

    /// Whether no answer is waited for.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.open.as_ref().is_none_or(|open| open.in_flight.is_empty())
    }

    /// Whether a connection is wanted and there is none.
    pub fn wants_cable(&self) -> bool {
        self.open.is_none() && !self.waiting.is_empty()
    }

    /// A connection is being made.
    pub fn connect(&mut self, cable: Cable, now: Instant) {
        self.open = Some(Open {
            cable,
            reader: ResponseReader::new(1 << 20),
            in_flight: VecDeque::new(),
            current: (0, None, true),
            body: Vec::new(),
            since: now,
        });
    }

    /// The connection, for what goes wrong with it.
    pub fn cable(&mut self) -> Option<&mut Cable> {
        self.open.as_mut().map(|open| &mut open.cable)
    }

    /// Puts on the wire what may go.
    pub fn send(&mut self, now: Instant) {
        let Some(open) = &mut self.open else { return };
        while open.in_flight.len() < CALLS_MAX
            && let Some((call, request)) = self.waiting.pop_front()
        {
            if open.in_flight.is_empty() {
                open.since = now;
            }
            open.cable.send(request, now);
            open.in_flight.push_back(call);
        }
    }

    /// Time passes: what has come of commands.
    pub fn turn(&mut self, sites: &mut [Site], random: &mut Random, now: Instant) -> Vec<Heard> {
        let mut heard = Vec::new();
        let Some(open) = &mut self.open else { return heard };
        let site = open.cable.site;
        open.cable.step(&mut sites[site], random, now);
        let mut over = false;
        while !over && let Some(bytes) = open.cable.take(now) {
            over = open.read(&bytes, &mut heard, now);
        }
        over |= open.cable.ended(now).is_some();
        over |= !open.in_flight.is_empty() && open.since + ANSWER_TIMEOUT <= now;
        if over && let Some(mut open) = self.open.take() {
            open.cable.close(&mut sites[site], random);
            heard.extend(open.in_flight.into_iter().map(Heard::Lost));
        }
        heard
    }

    /// The agent has ended: the line is closed.
    pub fn close(&mut self, sites: &mut [Site], random: &mut Random) {
        if let Some(mut open) = self.open.take() {
            let site = open.cable.site;
            open.cable.close(&mut sites[site], random);
        }
        self.waiting.clear();
    }
}

impl Open {
    /// Reads answers; says whether the connection is over.
    fn read(&mut self, bytes: &[u8], heard: &mut Vec<Heard>, now: Instant) -> bool {
        let Self { reader, in_flight, current, body, since, .. } = self;
        let mut misled = false;
        let read = reader.push(bytes, |part| match part {
            Part::Head { status, retry_after, persistent } => {
                *current = (status, retry_after, persistent);
                body.clear();
            }
            Part::Body(bytes) => body.extend_from_slice(bytes),
            Part::End => {
                *since = now;
                misled |= current.0 == MISDIRECTED;
                if let Some(call) = in_flight.pop_front() {
                    heard.push(Heard::Answer(call, current.0, current.1, std::mem::take(body)));
                }
            }
        });
        read.is_err() || misled || (!current.2 && reader.is_idle())
    }
}
