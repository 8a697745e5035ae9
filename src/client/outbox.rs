//! The numbered sends of one channel: each is put on the wire until its fate is known.

use std::collections::VecDeque;

use crate::base::time::Instant;
use crate::client::event::{CallId, Failure, Fate, SendId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not on the way; to be put on the wire when its turn comes.
    Idle,
    /// In this call.
    InFlight(CallId),
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
#[derive(Debug)]
pub struct Outbox {
    next: u64,
    pending: VecDeque<Pending>,
    /// Nothing is put on the wire before this moment.
    retry_at: Instant,
}

impl Default for Outbox {
    fn default() -> Self {
        Self { next: 1, pending: VecDeque::new(), retry_at: Instant::ZERO }
    }
}

impl Outbox {
    /// Takes a send.
    pub fn push(&mut self, id: SendId, word: Option<String>, payload: Vec<u8>) {
        self.pending.push_back(Pending { id, n: None, word, payload, state: State::Idle });
    }

    /// Whether every fate is known.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// No send bears a number below `n` from now on. Never goes back: a number that was on the wire
    /// may still arrive, and would be taken for the send that bears it next.
    pub fn expect(&mut self, n: u64) {
        self.next = self.next.max(n);
    }

    /// The next send to put on the wire as `call`, with at most `window` undecided.
    pub fn next_due(&mut self, call: CallId, window: usize, now: Instant) -> Option<Due> {
        if now < self.retry_at {
            return None;
        }
        let at = self.pending.iter().take(window).position(|pending| match pending.state {
            State::Idle => true,
            State::InFlight(_) => false,
            State::Held(until) => until <= now,
        })?;
        let pending = &mut self.pending[at];
        let again = pending.n.is_some();
        let n = *pending.n.get_or_insert_with(|| {
            self.next += 1;
            self.next - 1
        });
        pending.state = State::InFlight(call);
        Some(Due { n, word: pending.word.clone(), payload: pending.payload.clone(), again })
    }

    /// When [`Outbox::next_due`] may give something without anything else happening.
    pub fn next_at(&self, window: usize) -> Option<Instant> {
        let due = |pending: &Pending| match pending.state {
            State::Idle => Some(self.retry_at),
            State::InFlight(_) => None,
            State::Held(until) => Some(until.max(self.retry_at)),
        };
        self.pending.iter().take(window).filter_map(due).min()
    }

    /// The server holds the send that went out in `call`; it is asked about again at `until`.
    pub fn hold(&mut self, call: CallId, until: Instant) {
        if let Some(pending) = self.in_call(call) {
            pending.state = State::Held(until);
        }
    }

    /// Nobody knows whether the send in `call` arrived, or it was refused for now: it goes out
    /// again under the same number, which the server takes once.
    pub fn retry(&mut self, call: CallId, at: Instant) {
        if let Some(pending) = self.in_call(call) {
            pending.state = State::Idle;
            self.retry_at = at;
        }
    }

    /// The fate of the send in `call` is known.
    pub fn settle_call(&mut self, call: CallId) -> Option<SendId> {
        let of_call = |pending: &Pending| pending.state == State::InFlight(call);
        let at = self.pending.iter().position(of_call)?;
        self.pending.remove(at).map(|pending| pending.id)
    }

    /// The fate of number `n` is known.
    pub fn settle(&mut self, n: u64) -> Option<SendId> {
        let at = self.pending.iter().position(|pending| pending.n == Some(n))?;
        self.pending.remove(at).map(|pending| pending.id)
    }

    /// The session is over. What was on the wire ends `Unknown` and is not sent again; the rest is
    /// kept for the next session, whose numbers start at 1.
    pub fn lose_session(&mut self) -> Vec<(SendId, Fate)> {
        self.next = 1;
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
        self.pending.iter_mut().find(|pending| pending.state == State::InFlight(call))
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

    #[test]
    fn a_number_is_kept_over_every_retry() {
        let now = Instant::ZERO;
        let mut outbox = out(2);
        assert_eq!(outbox.next_due(CallId(1), 8, now).unwrap().n, 1);
        assert_eq!(outbox.next_due(CallId(2), 8, now).unwrap().n, 2);
        assert_eq!(outbox.next_due(CallId(3), 8, now), None);
        let later = now + Span::from_secs(1);
        outbox.retry(CallId(1), later);
        assert_eq!(outbox.next_due(CallId(3), 8, now), None);
        assert_eq!(outbox.next_at(8), Some(later));
        let due = outbox.next_due(CallId(3), 8, later).unwrap();
        assert_eq!((due.n, due.again, due.payload), (1, true, vec![b'1']));
        assert_eq!(outbox.settle_call(CallId(1)), None, "its first call is forgotten");
        assert_eq!(outbox.settle_call(CallId(3)), Some(SendId(1)));
        assert_eq!(outbox.settle(2), Some(SendId(2)));
        assert!(outbox.is_empty());
    }

    #[test]
    fn the_window_bounds_what_is_undecided() {
        let mut outbox = out(5);
        let due = |outbox: &mut Outbox, call| outbox.next_due(CallId(call), 2, Instant::ZERO);
        assert!(due(&mut outbox, 1).is_some() && due(&mut outbox, 2).is_some());
        assert!(due(&mut outbox, 3).is_none());
        outbox.hold(CallId(1), Instant::NEVER);
        assert!(due(&mut outbox, 3).is_none(), "held is undecided");
        outbox.settle(1);
        assert_eq!(due(&mut outbox, 3).unwrap().n, 3);
    }

    #[test]
    fn with_the_session_go_the_numbers_and_what_bore_one() {
        let mut outbox = out(3);
        outbox.next_due(CallId(1), 8, Instant::ZERO);
        assert_eq!(outbox.lose_session(), [(SendId(1), Fate::Unknown)]);
        let due = outbox.next_due(CallId(2), 8, Instant::ZERO).unwrap();
        assert_eq!((due.n, due.payload), (1, vec![b'2']));
    }
}
