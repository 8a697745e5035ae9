//! The kept line of an agent for commands on one route, as the agent's link over TCP has it.

use std::collections::VecDeque;

use crate::base::random::Random;
use crate::base::time::{Instant, Span};
use crate::client::event::CallId;
use crate::client::flight::{Done, Flight};
use crate::client::reader::{Got, Reader};
use crate::http::exchange::Part;
use crate::proto::connection::Door;
use crate::testing::cable::Cable;
use crate::testing::site::Site;

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
    reader: Reader,
    flight: Flight,
    current: (u16, Option<Span>, bool),
    body: Vec<u8>,
}

/// One kept line.
#[derive(Debug, Default)]
pub struct Caller {
    open: Option<Open>,
    waiting: VecDeque<(CallId, (Vec<u8>, usize))>,
}

impl Caller {
    /// A command is to be sent.
    pub fn call(&mut self, call: CallId, request: (Vec<u8>, usize)) {
        self.waiting.push_back((call, request));
    }

    /// Whether no answer is waited for.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.open.as_ref().is_none_or(|open| !open.flight.is_waiting())
    }

    /// Whether a connection is wanted and there is none.
    pub fn wants_cable(&self) -> bool {
        self.open.is_none() && !self.waiting.is_empty()
    }

    /// A connection is being made.
    pub fn connect(&mut self, cable: Cable, now: Instant) {
        self.open = Some(Open {
            reader: Reader::new(cable.door == Door::Raw, 1 << 20),
            cable,
            flight: Flight::new(now),
            current: (0, None, true),
            body: Vec::new(),
        });
    }

    /// The connection, for what goes wrong with it.
    pub fn cable(&mut self) -> Option<&mut Cable> {
        self.open.as_mut().map(|open| &mut open.cable)
    }

    /// Puts on the wire what may go.
    pub fn send(&mut self, now: Instant) {
        let Some(open) = &mut self.open else { return };
        while !open.flight.is_full()
            && let Some((call, (request, answers))) = self.waiting.pop_front()
        {
            open.cable.send(request, now);
            open.flight.push(call, answers, now);
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
        over |= open.flight.timeout().is_some_and(|at| at <= now);
        if over && let Some(mut open) = self.open.take() {
            open.cable.close(&mut sites[site], random);
            heard.extend(open.flight.give_up().into_iter().map(Heard::Lost));
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
        let Self { reader, flight, current, body, .. } = self;
        let mut misled = false;
        let read = reader.push(bytes, |got| match got {
            Got::Part(Part::Head { status, retry_after, persistent }) => {
                *current = (status, retry_after, persistent);
                body.clear();
            }
            Got::Part(Part::Body(bytes)) => body.extend_from_slice(bytes),
            Got::Beside { .. } => panic!("there is no document on it"),
            Got::Part(Part::End) => {
                misled |= current.0 == MISDIRECTED;
                if let Some(Done { call, batch }) = flight.answered(body, now) {
                    let status = if batch.is_some() { 200 } else { current.0 };
                    let body = batch.unwrap_or_else(|| std::mem::take(body));
                    heard.push(Heard::Answer(call, status, current.1, body));
                }
            }
        });
        read.is_err() || misled || (!current.2 && reader.is_idle())
    }
}
