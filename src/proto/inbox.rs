//! Numbered sends of one session: put in order, each taken once, bounded together.

use std::collections::{BTreeMap, VecDeque};

use crate::base::id::Cid;
use crate::base::limits;
use crate::base::time::{Instant, Span};
use crate::mem::window::{Offer, Window};

/// Sends without a known fate that are remembered for one channel number.
const UNKNOWN_MAX: usize = 4_096;

/// A send that waits for its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The client's own mark.
    pub id: Option<String>,
    /// What was sent.
    pub payload: Vec<u8>,
}

/// The bounds on what may wait, or be on its way to a resource in another process.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Sends, per session.
    pub count_max: u32,
    /// Their bytes, per session.
    pub bytes_max: usize,
}

/// What a repetition of a number learns of the send that was passed on under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassedOn {
    /// It was taken, as far as is known here.
    Taken,
    /// It is on its way to a resource in another process.
    OnWay,
    /// The resource was lost before it said that it has taken it.
    Unknown,
}

/// The numbered sends on one channel number.
#[derive(Debug, Default)]
struct Inbox {
    window: Window<Sent>,
    /// Sends on their way to a resource in another process, and their bytes.
    on_way: BTreeMap<u64, usize>,
    /// Sends of which nobody can tell what became of them, the latest of them.
    unknown: VecDeque<u64>,
}

/// The numbered sends of one session, by channel number. A number goes on across close and reopen.
#[derive(Debug, Default)]
pub struct Inboxes {
    inboxes: BTreeMap<Cid, Inbox>,
    /// Sends that wait for their turn or are on their way, and their bytes.
    held: u32,
    held_bytes: usize,
}

impl Inboxes {
    /// The next number expected on `cid`.
    pub fn expected(&self, cid: Cid) -> u64 {
        self.inboxes.get(&cid).map_or(1, |inbox| inbox.window.expected())
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
        if self.inboxes.len() >= limits::INBOXES_MAX && !self.inboxes.contains_key(&cid) {
            return None;
        }
        let inbox = self.inboxes.entry(cid).or_default();
        let window = &mut inbox.window;
        let bytes = sent.payload.len();
        let full = self.held >= bounds.count_max || self.held_bytes + bytes > bounds.bytes_max;
        if n > window.expected() && !window.holds(n) {
            if full || n - window.expected() > u64::from(bounds.count_max) {
                return None;
            }
            self.held += 1;
            self.held_bytes += bytes;
        } else if n == window.expected() && full && !inbox.on_way.is_empty() {
            // The resource is behind. (Where none is on its way, this one frees those it holds up.)
            return None;
        }
        Some(window.offer(n, sent, now))
    }

    /// The send `n`, which has just been passed on, is on its way to a resource in another process.
    pub fn depart(&mut self, cid: Cid, n: u64, bytes: usize) {
        if self.inboxes.entry(cid).or_default().on_way.insert(n, bytes).is_none() {
            self.held += 1;
            self.held_bytes += bytes;
        }
    }

    /// What became of such a send has been told.
    pub fn arrive(&mut self, cid: Cid, n: u64, taken: bool) {
        let Some(inbox) = self.inboxes.get_mut(&cid) else { return };
        let Some(bytes) = inbox.on_way.remove(&n) else { return };
        self.held -= 1;
        self.held_bytes -= bytes;
        if !taken {
            if inbox.unknown.len() == UNKNOWN_MAX {
                inbox.unknown.pop_front();
            }
            inbox.unknown.push_back(n);
        }
    }

    /// What a repetition of `n` learns, which was passed on before.
    pub fn passed_on(&self, cid: Cid, n: u64) -> PassedOn {
        match self.inboxes.get(&cid) {
            Some(inbox) if inbox.on_way.contains_key(&n) => PassedOn::OnWay,
            Some(inbox) if inbox.unknown.contains(&n) => PassedOn::Unknown,
            _ => PassedOn::Taken,
        }
    }

    /// The next held send on `cid` whose turn has come.
    pub fn next_ready(&mut self, cid: Cid) -> Option<(u64, Sent)> {
        let (n, sent) = self.inboxes.get_mut(&cid)?.window.next_ready()?;
        self.held -= 1;
        self.held_bytes -= sent.payload.len();
        Some((n, sent))
    }

    /// When the first of the present gaps is given up: `skip` after the first held send came.
    pub fn deadline(&self, skip: Span) -> Option<Instant> {
        if self.held == 0 {
            return None;
        }
        self.inboxes.values().filter_map(|inbox| inbox.window.deadline(skip)).min()
    }

    /// Gives up one gap before a send that has waited for `skip`; what stood behind it is ready.
    pub fn give_up(&mut self, skip: Span, now: Instant) -> Option<(Cid, u64, u64)> {
        self.inboxes.iter_mut().find_map(|(cid, Inbox { window, .. })| {
            let due = window.deadline(skip).is_some_and(|deadline| deadline <= now);
            let (from, to) = due.then(|| window.give_up()).flatten()?;
            Some((*cid, from, to))
        })
    }

    /// Takes out what waits on `cid`, whose channel has ended.
    pub fn drain(&mut self, cid: Cid) -> Vec<u64> {
        let mut numbers = Vec::new();
        let Some(inbox) = self.inboxes.get_mut(&cid) else { return numbers };
        for (n, sent) in inbox.window.drain() {
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
    fn what_is_on_its_way_counts_and_a_repetition_learns_what_became_of_it() {
        let bounds = Bounds { count_max: 2, bytes_max: 100 };
        let mut inboxes = Inboxes::default();
        let offer = |inboxes: &mut Inboxes, n, bytes| {
            inboxes.offer(Cid(1), n, sent(bytes), bounds, Instant::ZERO).map(|(offer, _)| offer)
        };
        for n in 1..=2 {
            assert_eq!(offer(&mut inboxes, n, 20), Some(Offer::Taken));
            inboxes.depart(Cid(1), n, 20);
        }
        assert_eq!(offer(&mut inboxes, 3, 0), None, "the resource is behind");
        assert_eq!(offer(&mut inboxes, 1, 20), Some(Offer::Dup));
        assert_eq!(inboxes.passed_on(Cid(1), 1), PassedOn::OnWay);
        inboxes.arrive(Cid(1), 1, true);
        inboxes.arrive(Cid(1), 1, false);
        inboxes.arrive(Cid(1), 2, false);
        assert_eq!(inboxes.passed_on(Cid(1), 1), PassedOn::Taken, "told once");
        assert_eq!(inboxes.passed_on(Cid(1), 2), PassedOn::Unknown);
        assert_eq!(offer(&mut inboxes, 3, 100), Some(Offer::Taken), "all room is there again");
        assert_eq!(inboxes.deadline(Span::ZERO), None);
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
