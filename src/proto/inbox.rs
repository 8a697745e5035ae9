//! Numbered sends of one session: put in order, each taken once, bounded together.

use std::collections::BTreeMap;

use crate::base::id::Cid;
use crate::base::limits;
use crate::base::time::{Instant, Span};
use crate::mem::window::{Offer, Window};

/// A send that waits for its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The client's own mark.
    pub id: Option<String>,
    /// What was sent.
    pub payload: Vec<u8>,
}

/// The bounds on what may wait.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Sends that wait, per session.
    pub count_max: u32,
    /// Their bytes, per session.
    pub bytes_max: usize,
}

/// The numbered sends of one session, by channel number. A number goes on across close and reopen.
#[derive(Debug, Default)]
pub struct Inboxes {
    windows: BTreeMap<Cid, Window<Sent>>,
    held: u32,
    held_bytes: usize,
}

impl Inboxes {
    /// The next number expected on `cid`.
    pub fn expected(&self, cid: Cid) -> u64 {
        self.windows.get(&cid).map_or(1, Window::expected)
    }

    /// Offers number `n` on `cid`; `None` if it lies beyond the window.
    pub fn offer(
        &mut self,
        cid: Cid,
        n: u64,
        sent: Sent,
        bounds: Bounds,
        now: Instant,
    ) -> Option<(Offer, Option<Sent>)> {
        if self.windows.len() >= limits::INBOXES_MAX && !self.windows.contains_key(&cid) {
            return None;
        }
        let window = self.windows.entry(cid).or_default();
        let bytes = sent.payload.len();
        if n > window.expected() && !window.holds(n) {
            let ahead = n - window.expected();
            let full = self.held >= bounds.count_max || ahead > u64::from(bounds.count_max);
            if full || self.held_bytes + bytes > bounds.bytes_max {
                return None;
            }
            self.held += 1;
            self.held_bytes += bytes;
        }
        Some(window.offer(n, sent, now))
    }

    /// The next held send on `cid` whose turn has come.
    pub fn next_ready(&mut self, cid: Cid) -> Option<(u64, Sent)> {
        let (n, sent) = self.windows.get_mut(&cid)?.next_ready()?;
        self.held -= 1;
        self.held_bytes -= sent.payload.len();
        Some((n, sent))
    }

    /// When the first of the present gaps is given up: `skip` after the first held send came.
    pub fn deadline(&self, skip: Span) -> Option<Instant> {
        if self.held == 0 {
            return None;
        }
        self.windows.values().filter_map(|window| window.deadline(skip)).min()
    }

    /// Gives up one gap before a send that has waited for `skip`; what stood behind it is ready.
    pub fn give_up(&mut self, skip: Span, now: Instant) -> Option<(Cid, u64, u64)> {
        self.windows.iter_mut().find_map(|(cid, window)| {
            let due = window.deadline(skip).is_some_and(|deadline| deadline <= now);
            let (from, to) = due.then(|| window.give_up()).flatten()?;
            Some((*cid, from, to))
        })
    }

    /// Takes out what waits on `cid`, whose channel has ended.
    pub fn drain(&mut self, cid: Cid) -> Vec<u64> {
        let mut numbers = Vec::new();
        let Some(window) = self.windows.get_mut(&cid) else { return numbers };
        for (n, sent) in window.drain() {
            self.held -= 1;
            self.held_bytes -= sent.payload.len();
            numbers.push(n);
        }
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(bytes: usize) -> Sent {
        Sent { id: None, payload: vec![0; bytes] }
    }

    #[test]
    fn the_window_is_bounded_by_count_and_by_bytes() {
        let bounds = Bounds { count_max: 2, bytes_max: 100 };
        let mut inboxes = Inboxes::default();
        let mut offer = |cid, n, bytes| {
            let outcome = inboxes.offer(Cid(cid), n, sent(bytes), bounds, Instant::ZERO);
            outcome.map(|(offer, _)| offer)
        };
        assert_eq!(offer(1, 4, 1), None, "too far ahead");
        assert_eq!(offer(1, 2, 90), Some(Offer::Held));
        assert_eq!(offer(2, 2, 11), None, "too many bytes together");
        assert_eq!(offer(2, 2, 10), Some(Offer::Held));
        assert_eq!(offer(2, 3, 0), None, "too many together");
        assert_eq!(offer(1, 2, 90), Some(Offer::Held), "the same number again is no further one");
        assert_eq!(offer(1, 1, 1), Some(Offer::Taken));
    }

    #[test]
    fn a_gap_on_one_channel_does_not_hold_another() {
        let bounds = Bounds { count_max: 9, bytes_max: 100 };
        let mut inboxes = Inboxes::default();
        let skip = Span::from_secs(5);
        inboxes.offer(Cid(1), 2, sent(3), bounds, Instant::ZERO);
        assert_eq!(inboxes.give_up(skip, Instant::ZERO), None);
        let late = Instant::ZERO + skip;
        assert_eq!(inboxes.give_up(skip, late), Some((Cid(1), 1, 1)));
        assert_eq!(inboxes.next_ready(Cid(1)), Some((2, sent(3))));
        assert_eq!((inboxes.expected(Cid(1)), inboxes.expected(Cid(2))), (3, 1));
        assert_eq!(inboxes.drain(Cid(1)), Vec::<u64>::new());
    }
}
