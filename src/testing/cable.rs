//! One connection of an agent: latency, stalls, and ends that one side or the other learns of.

use std::collections::VecDeque;

use crate::base::random::Random;
use crate::base::time::{Instant, Span};
use crate::proto::connection::Door;
use crate::testing::net::Side;
use crate::testing::site::{Dialled, Site};

/// Bytes that are on their way to the agent before the server's socket fills.
const FLIGHT_MAX: usize = 64 * 1024;

/// Bytes on their way, in order, each with the moment of its arrival.
type Flight = VecDeque<(Instant, Vec<u8>)>;

/// What became of the attempt to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Dialling(Instant),
    Silent,
    Wire(usize),
    Gone,
}

/// One connection.
#[derive(Debug)]
pub struct Cable {
    /// The server.
    pub site: usize,
    /// The listener there.
    pub door: Door,
    /// The process that took the connection.
    pub life: u32,
    state: State,
    latency: Span,
    stalled_until: Instant,
    /// Nothing reaches the agent any more, and it is not told.
    dark: bool,
    up: Flight,
    down: Flight,
    end: Option<(Instant, &'static str)>,
}

impl Cable {
    /// An attempt to connect to that listener of `site`.
    pub fn dial((site, door): (usize, Door), latency: Span, now: Instant) -> Self {
        Self {
            site,
            door,
            life: 0,
            state: State::Dialling(now + latency),
            latency,
            stalled_until: Instant::ZERO,
            dark: false,
            up: VecDeque::new(),
            down: VecDeque::new(),
            end: None,
        }
    }

    /// The agent writes.
    pub fn send(&mut self, bytes: Vec<u8>, now: Instant) {
        let due = self.up.back().map_or(Instant::ZERO, |(due, _)| *due).max(now + self.latency);
        self.up.push_back((due, bytes));
    }

    /// Bytes move, as far as they may.
    pub fn step(&mut self, site: &mut Site, random: &mut Random, now: Instant) {
        if self.dark || now < self.stalled_until {
            return;
        }
        if let State::Dialling(due) = self.state
            && due <= now
        {
            self.state = match site.dial(self.door) {
                Dialled::Wire(wire) => State::Wire(wire),
                Dialled::Silence => State::Silent,
                Dialled::Refused => State::Gone,
            };
            self.life = site.world.life;
            if self.state == State::Gone {
                self.end = Some((now + self.latency, "connection refused"));
            }
        }
        let State::Wire(wire) = self.state else { return };
        while let Some((due, _)) = self.up.front()
            && *due <= now
            && let Some((_, bytes)) = self.up.pop_front()
        {
            site.world.send(wire, &bytes);
        }
        let flying: usize = self.down.iter().map(|(_, bytes)| bytes.len()).sum();
        for segment in site.world.read(wire, FLIGHT_MAX.saturating_sub(flying)) {
            let jitter = Span::from_nanos(random.below(self.latency.as_nanos() + 1));
            let due = self.arrival(now + self.latency.fraction(1, 2) + jitter);
            self.down.push_back((due, segment.bytes));
        }
        if self.end.is_none() && site.world.wire(wire).is_read_out() {
            self.end = Some((self.arrival(now + self.latency), "the server closed the connection"));
        }
    }

    fn arrival(&self, at: Instant) -> Instant {
        self.down.back().map_or(Instant::ZERO, |(due, _)| *due).max(at)
    }

    /// What has arrived at the agent.
    pub fn take(&mut self, now: Instant) -> Option<Vec<u8>> {
        let due = self.down.front().is_some_and(|(due, _)| *due <= now);
        if !due || self.dark || now < self.stalled_until {
            return None;
        }
        self.down.pop_front().map(|(_, bytes)| bytes)
    }

    /// Why it is over, once the agent has everything that came before.
    pub fn ended(&self, now: Instant) -> Option<&'static str> {
        let (at, why) = self.end?;
        let silent = self.dark || now < self.stalled_until;
        (self.down.is_empty() && at <= now && !silent).then_some(why)
    }

    /// The agent closes; what it has written still arrives.
    pub fn close(&mut self, site: &mut Site, random: &mut Random) {
        let State::Wire(wire) = self.state else { return };
        self.state = State::Gone;
        if !self.dark {
            for (_, bytes) in self.up.drain(..) {
                site.world.send(wire, &bytes);
            }
        }
        let side = if random.below(2) == 0 { Side::Closed } else { Side::Reset };
        site.world.leave(wire, if self.dark { Side::Vanished } else { side });
    }

    /// Both sides are reset, at any byte.
    pub fn cut(&mut self, site: &mut Site, random: &mut Random, now: Instant) {
        if let State::Wire(wire) = self.state {
            for (_, bytes) in self.up.drain(..) {
                site.world.send(wire, &bytes);
            }
            site.world.leave(wire, Side::Reset);
        }
        self.state = State::Gone;
        let flying: u64 = self.down.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let mut kept = random.below(flying + 1) as usize;
        for (due, bytes) in &mut self.down {
            *due = (*due).min(now);
            bytes.truncate(kept);
            kept -= bytes.len();
        }
        self.down.retain(|(_, bytes)| !bytes.is_empty());
        if !self.dark {
            self.end = Some((now, "connection reset"));
        }
    }

    /// The agent's side is gone; it knows, the server does not.
    pub fn vanish(&mut self, site: &mut Site, now: Instant) {
        if let State::Wire(wire) = self.state {
            site.world.leave(wire, Side::Vanished);
        }
        self.state = State::Gone;
        self.down.clear();
        self.up.clear();
        self.end = Some((now, "the network is gone"));
    }

    /// The server's side is gone; it may know, the agent does not.
    pub fn darken(&mut self, site: &mut Site, random: &mut Random) {
        if let State::Wire(wire) = self.state {
            let sides = [Side::Reset, Side::Closed, Side::Vanished];
            site.world.leave(wire, sides[random.below(3) as usize]);
        }
        self.state = State::Gone;
        self.dark = true;
    }

    /// Nothing moves until then.
    pub fn stall(&mut self, until: Instant) {
        self.stalled_until = self.stalled_until.max(until);
    }

    /// Has another latency from now on.
    pub fn lag(&mut self, latency: Span) {
        self.latency = latency;
    }

    /// Whether it is connected, or still may be.
    pub fn is_live(&self) -> bool {
        self.state != State::Gone && !self.dark
    }
}
