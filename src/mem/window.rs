//! The reorder and dedupe window of numbered sends.

use std::collections::{BTreeMap, VecDeque};

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
/// A gap that does not fill within a span is given up, so that missing numbers, however many gaps
/// they make, never hold a later one for longer than that from its coming on. The window itself
/// knows no bound; its owner asks [`Window::expected`] and [`Window::held`] before it offers.
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
    /// What waits and since when, in the order of its coming; no number below `next`.
    arrivals: VecDeque<(u64, Instant)>,
    skipped: Vec<(u64, u64)>,
}

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Window<T> {
    /// A window that expects number 1.
    pub const fn new() -> Self {
        Self { next: 1, held: BTreeMap::new(), arrivals: VecDeque::new(), skipped: Vec::new() }
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
            return (if self.is_skipped(n) { Offer::Skipped } else { Offer::Dup }, None);
        }
        if n == self.next {
            self.go_to(n + 1);
            return (Offer::Taken, Some(item));
        }
        self.held.entry(n).or_insert_with(|| {
            self.arrivals.push_back((n, now));
            item
        });
        (Offer::Held, None)
    }

    /// The next held item, if its turn has come.
    pub fn next_ready(&mut self) -> Option<(u64, T)> {
        let n = self.next;
        let item = self.held.remove(&n)?;
        self.go_to(n + 1);
        Some((n, item))
    }

    /// When the present gap is given up, because what has waited longest has waited for `skip`;
    /// `None` while nothing waits.
    pub fn deadline(&self, skip: Span) -> Option<Instant> {
        self.arrivals.front().map(|&(_, since)| since + skip)
    }

    /// Gives up the numbers before the first that waits and returns their range; the items behind
    /// them come from [`Window::next_ready`].
    pub fn give_up(&mut self) -> Option<(u64, u64)> {
        let (&first, _) = self.held.first_key_value()?;
        if first == self.next {
            return None;
        }
        let range = (self.next, first - 1);
        if self.skipped.len() == SKIPPED_RANGES_MAX {
            self.skipped.remove(0);
        }
        self.skipped.push(range);
        self.go_to(first);
        Some(range)
    }

    /// Takes out all that still waits, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = (u64, T)> + use<T> {
        self.arrivals.clear();
        std::mem::take(&mut self.held).into_iter()
    }

    fn go_to(&mut self, next: u64) {
        self.next = next;
        while self.arrivals.front().is_some_and(|&(n, _)| n < next) {
            self.arrivals.pop_front();
        }
    }

    fn is_skipped(&self, n: u64) -> bool {
        // The ranges are in order.
        let at = self.skipped.partition_point(|&(_, to)| to < n);
        self.skipped.get(at).is_some_and(|&(from, _)| from <= n)
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
        assert_eq!(window.give_up(), Some((1, 2)));
        assert_eq!(window.next_ready(), Some((3, 'c')));
        assert_eq!(window.offer(2, 'b', start), (Offer::Skipped, None));
        assert_eq!(window.offer(4, 'd', start), (Offer::Taken, Some('d')));
        assert_eq!(window.give_up(), None);
    }

    #[test]
    fn what_waits_is_released_in_time_however_many_gaps_stand_before_it() {
        let skip = Span::from_millis(50);
        for seed in 0..100 {
            let mut random = Random::from_number(seed);
            let mut window = Window::new();
            let mut came = BTreeMap::new();
            let mut fates = BTreeMap::new();
            for at in 0..400 {
                let now = Instant::ZERO + Span::from_millis(at);
                while window.deadline(skip).is_some_and(|deadline| deadline <= now) {
                    let (from, to) = window.give_up().unwrap();
                    (from..=to).for_each(|n| assert_eq!(fates.insert(n, false), None));
                    while let Some((n, ())) = window.next_ready() {
                        assert_eq!(fates.insert(n, true), None);
                    }
                }
                let n = window.expected() + random.below(8);
                came.entry(n).or_insert(now);
                if window.offer(n, (), now).1.is_some() {
                    assert_eq!(fates.insert(n, true), None);
                }
                while let Some((n, ())) = window.next_ready() {
                    assert_eq!(fates.insert(n, true), None);
                }
                for (&n, &since) in came.range(window.expected()..) {
                    assert!(now.since(since) < skip, "seed {seed}: {n} waits since {since:?}");
                }
            }
            for (&n, &taken) in &fates {
                let again = if taken { Offer::Dup } else { Offer::Skipped };
                assert_eq!(window.offer(n, (), Instant::ZERO).0, again, "seed {seed}: {n}");
            }
        }
    }
}
