//! One simulated connection: bytes under way in both directions, and what goes wrong with them.

use std::collections::VecDeque;

use crate::base::id::ConnKey;
use crate::base::random::Random;
use crate::base::time::{Instant, Span};
use crate::proto::connection::{Door, Gate};
use crate::proto::output::Written;

/// One of the server's listeners: some have a flush span of their own.
pub fn gate(door: Door, rough: bool, random: &mut Random) -> Gate {
    let own = rough && door != Door::Private && random.below(4) == 0;
    let flush = own.then(|| Span::from_millis([0, 20, 400][random.below(3) as usize]).into());
    Gate { flush, ..door.into() }
}

/// Bytes of one write of the server.
#[derive(Debug)]
pub struct Segment {
    /// When the server wrote them.
    pub at: Instant,
    /// Whether the socket took nothing at some time since the write before.
    pub held_up: bool,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What the client has done with its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It sends and reads.
    Open,
    /// It closed; the server learns that after the bytes before.
    Closed,
    /// It is gone; the server gets an error at some time.
    Reset,
    /// It is gone, and nothing ever tells the server.
    Vanished,
}

/// One connection.
#[derive(Debug)]
pub struct Wire {
    /// Its shard and key there; `None` between two shards and after its end.
    pub at: Option<(usize, ConnKey)>,
    /// Whether the server has forgotten it.
    pub over: bool,
    /// Bytes on their way to the server.
    pub up: VecDeque<u8>,
    /// The client's side.
    pub side: Side,
    /// When the server learns what became of the client.
    pub notice_at: Instant,
    /// Whether the server has closed its writing side.
    pub finished: bool,
    /// When the server wrote last.
    pub written_at: Instant,
    /// Bytes that may be under way to the client.
    pub window: usize,
    /// Bytes that one write takes at most.
    pub grain: usize,
    /// How long the kernel waits for a client that acknowledges nothing.
    pub patience: Span,
    left_at: Instant,
    down: VecDeque<Segment>,
    in_flight: usize,
    blocked: bool,
    held_up: bool,
    writable_at: Instant,
}

impl Wire {
    /// A new connection.
    pub fn new(at: (usize, ConnKey), now: Instant) -> Self {
        Self {
            at: Some(at),
            over: false,
            up: VecDeque::new(),
            side: Side::Open,
            notice_at: Instant::NEVER,
            finished: false,
            written_at: now,
            window: 64 * 1024,
            grain: usize::MAX,
            patience: Span::from_secs(100),
            left_at: Instant::NEVER,
            down: VecDeque::new(),
            in_flight: 0,
            blocked: false,
            held_up: false,
            writable_at: Instant::ZERO,
        }
    }

    /// The socket takes little at a time.
    pub fn roughen(&mut self, random: &mut Random) {
        self.window = [200, 2_000, 20_000, 200_000][random.below(4) as usize];
        self.grain = [1, 10, 100, usize::MAX, usize::MAX, usize::MAX][random.below(6) as usize];
    }

    /// The server offers `total` bytes; says what the socket takes of them.
    pub fn offer(&mut self, total: usize, now: Instant, random: &mut Random) -> Written {
        let room = self.window.saturating_sub(self.in_flight);
        let mut bytes = total.min(room).min(self.grain);
        if bytes > 1 && random.below(8) == 0 {
            bytes = 1 + random.below(bytes as u64) as usize;
        }
        let full = bytes == room;
        let short = bytes < total && random.below(4) > 0;
        let blocked = full || short || bytes == 0 || random.below(20) == 0;
        if blocked {
            self.blocked = true;
            self.writable_at = now + Span::from_millis(random.below(30));
        }
        Written { bytes, blocked }
    }

    /// The socket took these bytes.
    pub fn put(&mut self, bytes: Vec<u8>, now: Instant) {
        if self.side == Side::Vanished {
            self.in_flight += bytes.len();
        }
        if self.side == Side::Open && !bytes.is_empty() {
            self.in_flight += bytes.len();
            self.down.push_back(Segment { at: now, held_up: self.held_up, bytes });
            self.written_at = now;
            self.held_up = false;
        }
        self.held_up |= self.blocked;
    }

    /// Whether the socket has just become writable again.
    pub fn take_writable(&mut self, now: Instant) -> bool {
        let writable = self.blocked && now >= self.writable_at && self.in_flight < self.window;
        self.blocked &= !writable;
        writable
    }

    /// Whether the socket takes nothing, or took nothing since the last write.
    pub fn is_held_up(&self) -> bool {
        self.blocked || self.held_up
    }

    /// The client reads at most `max` bytes.
    pub fn read(&mut self, mut max: usize) -> Vec<Segment> {
        let mut segments = Vec::new();
        while max > 0
            && let Some(mut segment) = self.down.pop_front()
        {
            if segment.bytes.len() > max {
                let rest = segment.bytes.split_off(max);
                let rest = Segment { at: segment.at, held_up: false, bytes: rest };
                self.down.push_front(rest);
            }
            max -= segment.bytes.len();
            self.in_flight -= segment.bytes.len();
            segments.push(segment);
        }
        segments
    }

    /// Whether the client has read everything that the server has written so far.
    pub fn is_drained(&self) -> bool {
        self.down.is_empty()
    }

    /// Whether the server has closed and all its bytes were read.
    pub fn is_read_out(&self) -> bool {
        self.finished && self.down.is_empty()
    }

    /// Whether the kernel has given up on the client.
    pub fn is_given_up(&self, now: Instant) -> bool {
        let waits = self.side == Side::Vanished && self.in_flight > 0;
        waits && now.since(self.left_at) > self.patience
    }

    /// The client lets go of it: what is under way to it is lost.
    pub fn leave(&mut self, side: Side, notice_at: Instant, now: Instant) {
        if self.side == Side::Open {
            self.side = side;
            self.left_at = now;
            self.notice_at = notice_at;
            self.down.clear();
            if side != Side::Vanished {
                self.in_flight = 0;
            }
        }
    }
}
