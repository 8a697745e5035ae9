//! What keeps the steps of a turn short, whatever the world has in store.

use std::collections::VecDeque;

use crate::base::id::ConnKey;
use crate::base::time::{Instant, Span};

/// Pieces of work between two looks at the clock.
const STRIDE: u32 = 8;
/// So many bytes to be taken in are as much work as a piece.
const PIECE_BYTES: usize = 8 * 1024;

/// The time that one step of a turn may take. The clock is looked at now and then only: a look
/// costs a noticeable part of a piece of work.
///
/// ```
/// use ahm::base::time::{Instant, Span};
/// use ahm::shard::budget::Budget;
/// let mut budget = Budget::new(Instant::ZERO, Span::from_millis(1));
/// let late = || Instant::ZERO + Span::from_millis(2);
/// let pieces = (0..).take_while(|_| !budget.is_spent(late)).count();
/// assert_eq!(pieces, 8);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    end: Instant,
    /// Pieces to come before the next look.
    until_look: u32,
}

impl Budget {
    /// From `now` on, for `span`.
    pub fn new(now: Instant, span: Span) -> Self {
        Self { end: now + span, until_look: STRIDE }
    }

    /// Asked before each piece of work: whether it must wait for the next turn.
    pub fn is_spent(&mut self, now: impl FnOnce() -> Instant) -> bool {
        let look = self.until_look == 0;
        if look {
            self.until_look = STRIDE;
        }
        self.until_look -= 1;
        look && now() >= self.end
    }

    /// So many pieces were done at once.
    pub fn charge(&mut self, pieces: usize) {
        self.until_look = self.until_look.saturating_sub(pieces as u32);
    }

    /// The piece of work that was just done took in so many bytes, which may be as much as many.
    pub fn weigh(&mut self, bytes: usize) {
        self.charge(bytes / PIECE_BYTES);
    }
}

/// Connections to be read, each at most once. Those of publishers come first: what waits behind
/// thousands of clients that come or go is a message that nobody gets.
#[derive(Debug, Default)]
pub struct ReadQueue {
    publishers: VecDeque<ConnKey>,
    clients: VecDeque<ConnKey>,
}

impl ReadQueue {
    /// Adds a connection.
    pub fn push(&mut self, conn: ConnKey, publisher: bool) {
        let queue = if publisher { &mut self.publishers } else { &mut self.clients };
        queue.push_back(conn);
    }

    /// The connection whose turn it is.
    pub fn pop(&mut self) -> Option<ConnKey> {
        self.publishers.pop_front().or_else(|| self.clients.pop_front())
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.publishers.len() + self.clients.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_that_is_not_spent_lets_everything_through() {
        let mut budget = Budget::new(Instant::ZERO, Span::from_millis(1));
        assert!((0..1_000).all(|_| !budget.is_spent(|| Instant::ZERO)));
        assert!(!(0..STRIDE).all(|_| !budget.is_spent(|| Instant::NEVER)));
    }

    #[test]
    fn a_large_piece_has_the_clock_looked_at() {
        let mut budget = Budget::new(Instant::ZERO, Span::from_millis(1));
        assert!(!budget.is_spent(|| Instant::NEVER));
        budget.weigh(PIECE_BYTES - 1);
        assert!(!budget.is_spent(|| Instant::NEVER));
        budget.weigh(64 * 1024);
        assert!(budget.is_spent(|| Instant::NEVER));
    }

    #[test]
    fn publishers_are_read_before_clients_and_each_in_their_order() {
        let conn = |slot| ConnKey { slot, generation: 1 };
        let mut queue = ReadQueue::default();
        for slot in 0..6 {
            queue.push(conn(slot), slot % 3 == 2);
        }
        assert_eq!(queue.len(), 6);
        let order: Vec<u32> = std::iter::from_fn(|| queue.pop()).map(|conn| conn.slot).collect();
        assert_eq!(order, [2, 5, 0, 1, 3, 4]);
        assert!(queue.is_empty());
    }
}
