//! The numbered sends of one channel: each is put on the wire until its fate is known.

use std::collections::VecDeque;

use crate::base::time::Instant;
use crate::client::event::{CallId, Failure, Fate, SendId};

/// Times that a send is refused as beyond the window before that is believed: what was given up may
/// still be on its way.
const TRIES: u32 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not on the way; to be put on the wire when its turn comes.
    Idle,
    /// In this call, and perhaps in a copy of it that takes another way.
    InFlight(CallId, Option<CallId>),
    /// The server keeps it for its turn and has said so; asked about again at this moment.
    Held(Instant),
}

#[derive(Debug)]
struct Pending {
    id: SendId,
    /// Given when it is first put on the wire, and kept.
    n: Option<u64>,
    word: Option<String>,
    payload: Vec<u8>,
    state: State,
    /// How often it was put on the wire.
    puts: u32,
}

/// A send to put on the wire now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its number in the channel.
    pub n: u64,
    /// The word that reaches the resource with it.
    pub word: Option<String>,
    /// What the consumer wrote.
    pub payload: Vec<u8>,
    /// Whether it was on the wire before.
    pub again: bool,
}

/// The sends of one channel whose fate is not known, in order.
#[derive(Debug, Default)]
pub struct Outbox {
    pending: VecDeque<Pending>,
    /// Nothing is put on the wire before this moment.
    retry_at: Instant,
}

impl Outbox {
    /// Takes a send.
    pub fn push(&mut self, id: SendId, word: Option<String>, payload: Vec<u8>) {
        let (n, state) = (None, State::Idle);
        self.pending.push_back(Pending { id, n, word, payload, state, puts: 0 });
    }

    /// Whether every fate is known.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The next send to put on the wire as `call`, with at most `window` undecided; only one that
    /// was there before unless `fresh`. A new one gets the number `next`, which advances.
    pub fn next_due(
        &mut self,
        call: CallId,
        (window, fresh): (usize, bool),
        next: &mut u64,
        now: Instant,
    ) -> Option<Due> {
        if now < self.retry_at {
            return None;
        }
        let mut within = self.pending.iter().take(window);
        let at = within.position(|pending| pending.due_at(fresh).is_some_and(|at| at <= now))?;
        let pending = &mut self.pending[at];
        let again = pending.n.is_some();
        let n = *pending.n.get_or_insert_with(|| {
            *next += 1;
            *next - 1
        });
        pending.state = State::InFlight(call, None);
        pending.puts += 1;
        Some(Due { n, word: pending.word.clone(), payload: pending.payload.clone(), again })
    }

    /// When [`Outbox::next_due`] may give something without anything else happening.
    pub fn next_at(&self, window: usize, fresh: bool) -> Option<Instant> {
        let due = self.pending.iter().take(window).filter_map(|pending| pending.due_at(fresh));
        due.min().map(|at| at.max(self.retry_at))
    }

    /// A copy of the send in `call` goes out as `copy`; the first answer to either counts.
    pub fn double(&mut self, call: CallId, copy: CallId) {
        if let Some(pending) = self.in_call(call) {
            pending.state = State::InFlight(call, Some(copy));
            pending.puts += 1;
        }
    }

    /// Whether the send in `call` was put on the wire at another time too, and may have been taken
    /// then, whatever `call` is answered.
    pub fn may_have_arrived(&mut self, call: CallId) -> bool {
        self.in_call(call).is_some_and(|pending| pending.puts > 1)
    }

    /// Whether a send has a number and no fate yet.
    pub fn has_numbered(&self) -> bool {
        self.pending.iter().any(|pending| pending.n.is_some())
    }

    /// Whether the send in `call` lies beyond the server's window for good: what lies between it
    /// and `expected`, the server's next, was given up here and does not come any more.
    pub fn is_out_of_reach(&self, call: CallId, expected: u64) -> bool {
        let lowest = self.pending.iter().filter_map(|pending| pending.n).min();
        let tried = self.pending.iter().any(|pending| pending.is_in(call) && pending.puts >= TRIES);
        tried && lowest.is_some_and(|lowest| lowest > expected)
    }

    /// The server holds the send that went out in `call`; it is asked about again at `until`.
    pub fn hold(&mut self, call: CallId, until: Instant) {
        if let Some(pending) = self.in_call(call) {
            pending.state = State::Held(until);
        }
    }

    /// Nobody knows whether the send in `call` arrived, or it was refused for now: unless a copy of
    /// it is on its way, it goes out again under the same number, which the server takes once.
    pub fn retry(&mut self, call: CallId, at: Instant) {
        let Some(pending) = self.in_call(call) else { return };
        match pending.state {
            State::InFlight(first, Some(copy)) => {
                let left = if first == call { copy } else { first };
                pending.state = State::InFlight(left, None);
            }
            _ => {
                pending.state = State::Idle;
                self.retry_at = at;
            }
        }
    }

    /// The fate of the send in `call` is known.
    pub fn settle_call(&mut self, call: CallId) -> Option<SendId> {
        let at = self.pending.iter().position(|pending| pending.is_in(call))?;
        self.pending.remove(at).map(|pending| pending.id)
    }

    /// The fate of number `n` is known.
    pub fn settle(&mut self, n: u64) -> Option<SendId> {
        let at = self.pending.iter().position(|pending| pending.n == Some(n))?;
        self.pending.remove(at).map(|pending| pending.id)
    }

    /// The numbers given so far mean nothing any more: the session is over, or the channel has
    /// another number. What was on the wire ends `Unknown` and is not sent again; the rest is kept.
    pub fn lose_numbers(&mut self) -> Vec<(SendId, Fate)> {
        self.retry_at = Instant::ZERO;
        let (sent, kept) = self.pending.drain(..).partition(|pending| pending.n.is_some());
        self.pending = kept;
        let sent: VecDeque<Pending> = sent;
        sent.into_iter().map(|pending| (pending.id, Fate::Unknown)).collect()
    }

    /// The channel is over.
    pub fn end(&mut self) -> Vec<(SendId, Fate)> {
        let fate = |pending: &Pending| match pending.n {
            Some(_) => Fate::Unknown,
            None => Fate::Refused(Failure::Ended("the channel ended")),
        };
        self.pending.drain(..).map(|pending| (pending.id, fate(&pending))).collect()
    }

    fn in_call(&mut self, call: CallId) -> Option<&mut Pending> {
        self.pending.iter_mut().find(|pending| pending.is_in(call))
    }
}

impl Pending {
    /// When it is to be put on the wire.
    fn due_at(&self, fresh: bool) -> Option<Instant> {
        match self.state {
            State::Idle => (fresh || self.n.is_some()).then_some(Instant::ZERO),
            State::InFlight(..) => None,
            State::Held(until) => Some(until),
        }
    }

    fn is_in(&self, call: CallId) -> bool {
        matches!(self.state, State::InFlight(first, copy) if first == call || copy == Some(call))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Span;

    fn out(sends: u64) -> Outbox {
        let mut outbox = Outbox::default();
        (1..=sends).for_each(|id| outbox.push(SendId(id), None, vec![b'0' + id as u8]));
        outbox
    }

    fn due(outbox: &mut Outbox, call: u64, next: &mut u64, now: Instant) -> Option<Due> {
        outbox.next_due(CallId(call), (8, true), next, now)
    }

    #[test]
    fn a_number_is_kept_over_every_retry() {
        let (now, mut next) = (Instant::ZERO, 1);
        let mut outbox = out(2);
        assert_eq!(due(&mut outbox, 1, &mut next, now).unwrap().n, 1);
        assert_eq!(due(&mut outbox, 2, &mut next, now).unwrap().n, 2);
        assert_eq!(due(&mut outbox, 3, &mut next, now), None);
        let later = now + Span::from_secs(1);
        outbox.retry(CallId(1), later);
        assert_eq!(due(&mut outbox, 3, &mut next, now), None);
        assert_eq!(outbox.next_at(8, false), Some(later));
        let again = due(&mut outbox, 3, &mut next, later).unwrap();
        assert_eq!((again.n, again.again, again.payload), (1, true, vec![b'1']));
        assert!(outbox.may_have_arrived(CallId(3)) && !outbox.may_have_arrived(CallId(2)));
        assert_eq!(outbox.settle_call(CallId(1)), None, "its first call is forgotten");
        assert_eq!(outbox.settle_call(CallId(3)), Some(SendId(1)));
        assert_eq!(outbox.settle(2), Some(SendId(2)));
        assert!(outbox.is_empty());
        assert_eq!(next, 3);
    }

    #[test]
    fn of_two_copies_the_first_answer_counts_and_both_must_fail() {
        let (now, mut next) = (Instant::ZERO, 1);
        let mut outbox = out(1);
        due(&mut outbox, 1, &mut next, now);
        outbox.double(CallId(1), CallId(2));
        outbox.retry(CallId(1), now);
        assert_eq!(due(&mut outbox, 3, &mut next, now), None, "the copy is still on its way");
        outbox.retry(CallId(2), now);
        assert_eq!(due(&mut outbox, 3, &mut next, now).unwrap().n, 1);
        outbox.double(CallId(3), CallId(4));
        assert_eq!(outbox.settle_call(CallId(4)), Some(SendId(1)));
        assert_eq!(outbox.settle_call(CallId(3)), None);
    }

    #[test]
    fn the_window_bounds_what_is_undecided() {
        let (mut outbox, mut next) = (out(5), 1);
        let mut two = |outbox: &mut Outbox, call| {
            outbox.next_due(CallId(call), (2, true), &mut next, Instant::ZERO)
        };
        assert!(two(&mut outbox, 1).is_some() && two(&mut outbox, 2).is_some());
        assert!(two(&mut outbox, 3).is_none());
        outbox.hold(CallId(1), Instant::NEVER);
        assert!(two(&mut outbox, 3).is_none(), "held is undecided");
        outbox.settle(1);
        assert_eq!(two(&mut outbox, 3).unwrap().n, 3);
    }

    #[test]
    fn a_session_that_is_left_gets_nothing_new() {
        let (now, mut next) = (Instant::ZERO, 1);
        let mut outbox = out(2);
        outbox.next_due(CallId(1), (1, true), &mut next, now);
        outbox.retry(CallId(1), now);
        assert_eq!(outbox.next_due(CallId(2), (8, false), &mut next, now).unwrap().n, 1);
        assert_eq!(outbox.next_due(CallId(3), (8, false), &mut next, now), None);
        assert!(outbox.has_numbered());
        outbox.settle_call(CallId(2));
        assert!(!outbox.has_numbered() && !outbox.is_empty());
    }

    #[test]
    fn with_the_session_goes_what_bore_a_number() {
        let (mut outbox, mut next) = (out(3), 7);
        due(&mut outbox, 1, &mut next, Instant::ZERO);
        assert_eq!(outbox.lose_numbers(), [(SendId(1), Fate::Unknown)]);
        next = 1;
        let next_due = due(&mut outbox, 2, &mut next, Instant::ZERO).unwrap();
        assert_eq!((next_due.n, next_due.payload), (1, vec![b'2']));
    }
}
