//! Stations of the resource protocol in one thread: bytes between them take time, come in any
//! split, and connections are cut.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::rc::Rc;

use crate::base::id::Key;
use crate::base::random::Random;
use crate::base::time::{Instant, Span};
use crate::link::address::Address;
use crate::link::links::Output;
use crate::link::station::Station;

/// A connection: its two ends, as station and key, and what is on its way to each.
struct Line {
    ends: [(usize, Key); 2],
    on_way: [VecDeque<(Instant, Vec<u8>)>; 2],
    /// Ends that were told that the connection takes no more.
    blocked: [bool; 2],
}

/// Stations and the network between them.
pub struct Switchboard {
    /// Now.
    pub now: Instant,
    /// The one source of chance.
    pub random: Random,
    /// How long bytes are on their way at most.
    pub delay: Span,
    /// How many bytes a write takes at most, now and then; 0 for any number.
    pub short_writes: usize,
    /// How many bytes may be on their way in one direction of a connection; 0 for any number.
    pub window: usize,
    /// Stations that read nothing for the time being.
    pub stalled: BTreeSet<usize>,
    stations: Vec<Option<Rc<RefCell<dyn Station>>>>,
    listening: BTreeMap<Address, usize>,
    lines: Vec<Option<Line>>,
}

impl fmt::Debug for Switchboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Switchboard").field("now", &self.now).finish_non_exhaustive()
    }
}

impl Switchboard {
    /// A network without stations.
    pub fn new(seed: u64) -> Self {
        Self {
            now: Instant::from_nanos(1),
            random: Random::from_number(seed),
            delay: Span::from_millis(1),
            short_writes: 0,
            window: 0,
            stalled: BTreeSet::new(),
            stations: Vec::new(),
            listening: BTreeMap::new(),
            lines: Vec::new(),
        }
    }

    /// Adds a station, which is dialled at `address`; keep a handle of your own to talk to it.
    pub fn add(&mut self, station: Rc<RefCell<dyn Station>>, address: Option<Address>) -> usize {
        self.stations.push(Some(station));
        if let Some(address) = address {
            self.listening.insert(address, self.stations.len() - 1);
        }
        self.stations.len() - 1
    }

    /// The process ends without a word: its connections are lost, and nobody answers there.
    pub fn kill(&mut self, station: usize) {
        self.stations[station] = None;
        self.listening.retain(|_, at| *at != station);
        self.cut(station);
    }

    /// All connections of a station are lost.
    pub fn cut(&mut self, station: usize) {
        for line in 0..self.lines.len() {
            let Some(ends) = self.lines[line].as_ref().map(|line| line.ends) else { continue };
            if ends.iter().any(|(at, _)| *at == station) {
                self.lines[line] = None;
                for (at, key) in ends {
                    self.with(at, |station, now| station.handle_failed(key, now));
                }
            }
        }
    }

    /// The connection of a station that was made earliest, but for so many, is lost.
    ///
    /// # Panics
    ///
    /// If there is no such connection.
    pub fn cut_one(&mut self, station: usize, which: usize) {
        let has = |line: &Option<Line>| {
            line.as_ref().is_some_and(|line| line.ends.iter().any(|(at, _)| *at == station))
        };
        let mut lines = (0..self.lines.len()).filter(|at| has(&self.lines[*at]));
        let line = lines.nth(which).and_then(|at| self.lines[at].take()).expect("a connection");
        for (at, key) in line.ends {
            self.with(at, |station, now| station.handle_failed(key, now));
        }
    }

    /// Lets so much time pass.
    pub fn pass(&mut self, span: Span) {
        let end = self.now + span;
        self.drain();
        loop {
            let lines = self.lines.iter().flatten();
            let ways = lines.flat_map(|line| line.ends.iter().zip(&line.on_way));
            let read = ways.filter(|((station, _), _)| !self.stalled.contains(station));
            let due = read.filter_map(|(_, way)| way.front().map(|(at, _)| *at)).min();
            let timers = self.stations.iter().flatten();
            let timer = timers.filter_map(|station| station.borrow_mut().poll_timeout()).min();
            let Some(next) = due.into_iter().chain(timer).min().filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            for station in 0..self.stations.len() {
                self.with(station, |station, now| station.handle_timeout(now));
            }
            self.deliver();
            self.drain();
        }
        self.now = end;
    }

    fn with(&mut self, station: usize, act: impl FnOnce(&mut dyn Station, Instant)) {
        if let Some(station) = &self.stations[station] {
            act(&mut *station.borrow_mut(), self.now);
        }
    }

    fn deliver(&mut self) {
        for line in 0..self.lines.len() {
            for side in 0..2 {
                while let Some(open) = &mut self.lines[line]
                    && !self.stalled.contains(&open.ends[side].0)
                    && let Some((_, bytes)) =
                        open.on_way[side].pop_front_if(|(due, _)| *due <= self.now)
                {
                    let (station, key) = open.ends[side];
                    let (sender, its) = open.ends[1 - side];
                    let blocked = std::mem::take(&mut open.blocked[1 - side]);
                    self.with(station, |station, now| station.handle_received(key, &bytes, now));
                    if blocked {
                        self.with(sender, |station, now| station.handle_writable(its, now));
                    }
                }
            }
        }
    }

    fn drain(&mut self) {
        let mut any = true;
        while any {
            any = false;
            for at in 0..self.stations.len() {
                let Some(station) = self.stations[at].clone() else { continue };
                loop {
                    let Some(output) = station.borrow_mut().poll_output() else { break };
                    any = true;
                    self.obey(at, output);
                }
            }
        }
    }

    fn obey(&mut self, from: usize, output: Output) {
        match output {
            Output::Dial(key, address) => match self.listening.get(&address).copied() {
                Some(to) => {
                    let mut other = None;
                    self.with(to, |station, now| other = Some(station.handle_accepted(now)));
                    let Some(other) = other else { return };
                    let ends = [(from, key), (to, other)];
                    let line = Line { ends, on_way: Default::default(), blocked: [false; 2] };
                    self.lines.push(Some(line));
                    self.with(from, |station, now| station.handle_connected(key, now));
                }
                None => self.with(from, |station, now| station.handle_failed(key, now)),
            },
            Output::Send(key) => self.send(from, key),
            Output::Close(key) => {
                let Some((line, side)) = self.find(from, key) else { return };
                let Some(line) = self.lines[line].take() else { return };
                // What was sent before arrives before the end does.
                let (to, other) = line.ends[1 - side];
                for (_, bytes) in &line.on_way[1 - side] {
                    self.with(to, |station, now| station.handle_received(other, bytes, now));
                }
                self.with(to, |station, now| station.handle_failed(other, now));
            }
        }
    }

    fn send(&mut self, from: usize, key: Key) {
        let Some((line, side)) = self.find(from, key) else { return };
        let most = match self.short_writes {
            0 => usize::MAX,
            most => 1 + self.random.below(most as u64) as usize,
        };
        let room = self.room(line, side);
        let (mut sent, mut blocked) = (Vec::new(), false);
        self.with(from, |station, now| {
            station.transmit(key, now, &mut |bytes| {
                sent.extend_from_slice(&bytes[..bytes.len().min(most).min(room)]);
                blocked = sent.len() == room && room < bytes.len();
                (sent.len(), blocked)
            });
        });
        let wait = Span::from_nanos(self.random.below(self.delay.as_nanos().max(1)));
        let Some(line) = &mut self.lines[line] else { return };
        line.blocked[side] |= blocked;
        if sent.is_empty() {
            return;
        }
        let way = &mut line.on_way[1 - side];
        let due = way.back().map_or(Instant::ZERO, |(due, _)| *due).max(self.now + wait);
        way.push_back((due, sent));
    }

    /// How many bytes an end of a line may send now.
    fn room(&self, line: usize, side: usize) -> usize {
        let way = self.lines[line].as_ref().map(|line| &line.on_way[1 - side]);
        let under_way: usize = way.into_iter().flatten().map(|(_, bytes)| bytes.len()).sum();
        match self.window {
            0 => usize::MAX,
            window => window.saturating_sub(under_way),
        }
    }

    fn find(&self, station: usize, key: Key) -> Option<(usize, usize)> {
        self.lines.iter().enumerate().find_map(|(at, line)| {
            let side = line.as_ref()?.ends.iter().position(|end| *end == (station, key))?;
            Some((at, side))
        })
    }
}
