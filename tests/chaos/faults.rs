//! What is done to a connection, and when: drawn from a seed and the number of the connection.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ahm::base::random::Random;

/// The way that bytes take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

impl Way {
    pub const BOTH: [Self; 2] = [Self::Up, Self::Down];

    fn draw(random: &mut Random) -> Self {
        Self::BOTH[random.below(2) as usize]
    }
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The receiver of that way gets a reset; the other side an end in order.
    Reset(Way),
    /// As `Reset`, but the other side is kept for so long, unread and without a word.
    Orphan(Way, Duration),
    /// Nothing is passed on for so long.
    Stall(Way, Duration),
    /// The receiver of that way gets an end in order; the other way goes on.
    HalfClose(Way),
    /// For a second, what is read waits so long before it is passed on.
    Delay(Way, Duration),
    /// So many writes are of one to seven bytes.
    Trickle(Way, u32),
    /// After exactly so many bytes more both sides get an end in order.
    Cut(Way, u32),
    /// A connection that has just been made: nothing is passed on for so long, then both sides are
    /// reset.
    Hole(Duration),
}

/// Words for the kinds, in the order of [`Fault::kind`].
const KINDS: [&str; 8] =
    ["reset", "orphan", "stall", "half-close", "delay", "trickle", "cut", "hole"];

impl Fault {
    fn kind(self) -> usize {
        match self {
            Self::Reset(_) => 0,
            Self::Orphan(..) => 1,
            Self::Stall(..) => 2,
            Self::HalfClose(_) => 3,
            Self::Delay(..) => 4,
            Self::Trickle(..) => 5,
            Self::Cut(..) => 6,
            Self::Hole(_) => 7,
        }
    }
}

/// How often, how long.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// Between two faults of one connection, on average.
    pub every: Duration,
    /// The longest stall.
    pub stall_max: Duration,
    /// Of a hundred new connections so many lead into a hole.
    pub holes: u64,
    /// Nothing is broken: only stalls, delays and small pieces.
    pub gentle: bool,
}

/// The faults of one connection, in order.
#[derive(Debug)]
pub struct Faults {
    random: Random,
    profile: Profile,
    first: bool,
}

impl Faults {
    /// Those of connection `number` in the run with `seed`.
    pub fn new(profile: Profile, seed: u64, number: u64) -> Self {
        let random = Random::from_number(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
        Self { random, profile, first: true }
    }

    fn span(&mut self, least: u64, most: Duration) -> Duration {
        let most = (most.as_millis() as u64).max(least + 1);
        Duration::from_millis(least + self.random.below(most - least))
    }

    /// The next fault, and how long after now (or after the last one) it comes.
    pub fn next(&mut self) -> (Duration, Fault) {
        let Profile { every, stall_max, holes, gentle } = self.profile;
        if std::mem::take(&mut self.first) && self.random.below(100) < holes {
            return (Duration::ZERO, Fault::Hole(self.span(200, stall_max)));
        }
        let wait = self.span(0, every * 2);
        let way = Way::draw(&mut self.random);
        let draw = self.random.below(100);
        let fault = match draw {
            _ if gentle => match draw % 3 {
                0 => Fault::Stall(way, self.span(10, stall_max)),
                1 => Fault::Delay(way, self.span(1, stall_max)),
                _ => Fault::Trickle(way, 1 + self.random.below(40) as u32),
            },
            0..18 => Fault::Reset(way),
            18..26 => Fault::Orphan(way, self.span(100, stall_max)),
            26..52 => Fault::Stall(way, self.span(50, stall_max)),
            52..62 => Fault::HalfClose(way),
            62..72 => Fault::Delay(way, self.span(1, Duration::from_millis(200))),
            72..82 => Fault::Trickle(way, 1 + self.random.below(40) as u32),
            _ => Fault::Cut(way, self.random.below(2000) as u32),
        };
        (wait, fault)
    }

    /// Bytes of the next write of a trickle.
    pub fn piece(&mut self) -> usize {
        1 + self.random.below(7) as usize
    }
}

/// How many of each kind there were.
#[derive(Debug, Default)]
pub struct Counts([AtomicU64; KINDS.len()]);

impl Counts {
    pub fn add(&self, fault: Fault) {
        self.0[fault.kind()].fetch_add(1, Ordering::Relaxed);
    }

    /// Adds those of `other`.
    pub fn merge(&self, other: &Self) {
        for (mine, theirs) in self.0.iter().zip(&other.0) {
            mine.fetch_add(theirs.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.total())?;
        for (kind, count) in KINDS.iter().zip(&self.0) {
            write!(f, ", {kind} {}", count.load(Ordering::Relaxed))?;
        }
        Ok(())
    }
}
