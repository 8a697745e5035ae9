//! The reorder and dedupe window of numbered sends.

use std::collections::BTreeMap;

use crate::base::time::{Instant, Span};

/// Ranges of given-up numbers that are remembered; one arises at most every `skip`.
const SKIPPED_RANGES_MAX: usize = 4_096;

/// What became of a number that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It was the next: pass it on, then take what [`Window::next_ready`] gives.
    Taken,
    /// It waits for the numbers before it.
    Held,
    /// It was taken before.
    Dup,
    /// It was given up before.
    Skipped,
}

/// Puts numbered items in order, each once: 1, 2, 3, and so on.
///
/// A gap that does not fill within a span is given up, so that one missing number never holds the
/// later ones for longer. The window itself knows no bound; its owner asks [`Window::expected`]
/// and [`Window::held`] before it offers.
///
/// ```
/// use ahm::base::time::Instant;
/// use ahm::mem::window::{Offer, Window};
/// let mut window = Window::new();
/// assert_eq!(window.offer(2, "two", Instant::ZERO), (Offer::Held, None));
/// assert_eq!(window.offer(1, "one", Instant::ZERO), (Offer::Taken, Some("one")));
/// assert_eq!(window.next_ready(), Some((2, "two")));
/// assert_eq!(window.offer(2, "two", Instant::ZERO).0, Offer::Dup);
/// ```
#[derive(Debug)]
pub struct Window<T> {
    next: u64,
    held: BTreeMap<u64, T>,
    skipped: Vec<(u64, u64)>,
    gap_since: Instant,
}

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Window<T> {
    /// A window that expects number 1.
    pub const fn new() -> Self {
        Self { next: 1, held: BTreeMap::new(), skipped: Vec::new(), gap_since: Instant::ZERO }
    }

    /// The next number in turn.
    pub const fn expected(&self) -> u64 {
        self.next
    }

    /// How many items wait for their turn.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Whether `n` waits for its turn.
    pub fn holds(&self, n: u64) -> bool {
        self.held.contains_key(&n)
    }

    /// Offers item `n`; gives it back when its turn is now.
    pub fn offer(&mut self, n: u64, item: T, now: Instant) -> (Offer, Option<T>) {
        if n < self.next {
            let given_up = self.skipped.iter().any(|&(from, to)| (from..=to).contains(&n));
            return (if given_up { Offer::Skipped } else { Offer::Dup }, None);
        }
        if n == self.next {
            self.advance(now);
            return (Offer::Taken, Some(item));
        }
        if self.held.is_empty() {
            self.gap_since = now;
        }
        self.held.entry(n).or_insert(item);
        (Offer::Held, None)
    }

    /// The next held item, if its turn has come.
    pub fn next_ready(&mut self) -> Option<(u64, T)> {
        let n = self.next;
        let item = self.held.remove(&n)?;
        self.next += 1;
        Some((n, item))
    }

    /// When the present gap is given up; `None` while nothing waits.
    pub fn deadline(&self, skip: Span) -> Option<Instant> {
        (!self.held.is_empty()).then(|| self.gap_since + skip)
    }

    /// Gives up the numbers before the first that waits and returns their range; the items behind
    /// them come from [`Window::next_ready`].
    pub fn give_up(&mut self, now: Instant) -> Option<(u64, u64)> {
        let (&first, _) = self.held.first_key_value()?;
        if first == self.next {
            return None;
        }
        let range = (self.next, first - 1);
        if self.skipped.len() == SKIPPED_RANGES_MAX {
            self.skipped.remove(0);
        }
        self.skipped.push(range);
        self.next = first;
        self.gap_since = now;
        Some(range)
    }

    /// Takes out all that still waits, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = (u64, T)> + use<T> {
        std::mem::take(&mut self.held).into_iter()
    }

    fn advance(&mut self, now: Instant) {
        self.next += 1;
        // What still waits, waits for another number from now on.
        self.gap_since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    #[test]
    fn any_order_with_repeats_comes_out_in_order_and_once() {
        for seed in 0..200 {
            let mut random = Random::from_number(seed);
            let mut window = Window::new();
            let mut offers: Vec<u64> = (1..=40).chain(1..=40).collect();
            for at in (1..offers.len()).rev() {
                offers.swap(at, random.below(at as u64 + 1) as usize);
            }
            let mut out = Vec::new();
            for n in offers {
                out.extend(window.offer(n, n, Instant::ZERO).1);
                while let Some((n, item)) = window.next_ready() {
                    assert_eq!(n, item);
                    out.push(item);
                }
            }
            assert_eq!(out, (1..=40).collect::<Vec<_>>(), "seed {seed}");
        }
    }

    #[test]
    fn a_gap_is_given_up_and_stays_given_up() {
        let mut window = Window::new();
        let start = Instant::from_nanos(5);
        assert_eq!(window.deadline(Span::from_secs(5)), None);
        assert_eq!(window.offer(3, 'c', start).0, Offer::Held);
        assert_eq!(window.deadline(Span::from_secs(5)), Some(start + Span::from_secs(5)));
        assert_eq!(window.give_up(start), Some((1, 2)));
        assert_eq!(window.next_ready(), Some((3, 'c')));
        assert_eq!(window.offer(2, 'b', start), (Offer::Skipped, None));
        assert_eq!(window.offer(4, 'd', start), (Offer::Taken, Some('d')));
        assert_eq!(window.give_up(start), None);
    }
}
