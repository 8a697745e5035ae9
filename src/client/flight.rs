//! Commands on one connection that wait for their answers, which come in their order.

use std::collections::VecDeque;

use crate::base::time::{Instant, Span};
use crate::client::event::CallId;

/// Commands on the wire at a time.
const CALLS_MAX: usize = 32;
/// A command must be answered within this span after the last answer.
const ANSWER_TIMEOUT: Span = Span::from_secs(10);

/// A command on the wire.
#[derive(Debug)]
struct Waiting {
    /// `None` where nobody waits any more, but the answer may come yet.
    call: Option<CallId>,
    /// Answers that are still to come: several where a batch went out as lines.
    left: usize,
    /// Those of a batch that have come, a line each.
    batch: Option<Vec<u8>>,
}

/// A command that has its answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Done {
    /// The command.
    pub(crate) call: CallId,
    /// The whole answer of a batch; any other is what was given.
    pub(crate) batch: Option<Vec<u8>>,
}

/// Commands that wait for their answers.
#[derive(Debug)]
pub(crate) struct Flight {
    calls: VecDeque<Waiting>,
    /// The last command that found none before it, or the last answer.
    since: Instant,
}

impl Flight {
    /// None so far.
    pub(crate) const fn new(now: Instant) -> Self {
        Self { calls: VecDeque::new(), since: now }
    }

    /// Whether no further command may go out.
    pub(crate) fn is_full(&self) -> bool {
        self.calls.len() >= CALLS_MAX
    }

    /// Whether an answer is waited for.
    pub(crate) fn is_waiting(&self) -> bool {
        self.calls.iter().any(|waiting| waiting.call.is_some())
    }

    /// When the next answer must have come.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.is_waiting().then(|| self.since + ANSWER_TIMEOUT)
    }

    /// A command goes out that has so many answers.
    pub(crate) fn push(&mut self, call: CallId, answers: usize, now: Instant) {
        if self.calls.is_empty() {
            self.since = now;
        }
        let batch = (answers > 1).then(Vec::new);
        self.calls.push_back(Waiting { call: Some(call), left: answers, batch });
    }

    /// An answer has come; says whose it is, once that has all of its answers.
    pub(crate) fn answered(&mut self, body: &[u8], now: Instant) -> Option<Done> {
        self.since = now;
        let waiting = self.calls.front_mut()?;
        if let Some(batch) = &mut waiting.batch {
            batch.extend_from_slice(body);
            batch.push(b'\n');
        }
        waiting.left = waiting.left.saturating_sub(1);
        if waiting.left > 0 {
            return None;
        }
        let Waiting { call, batch, .. } = self.calls.pop_front()?;
        call.map(|call| Done { call, batch })
    }

    /// Nobody waits any more for what is out; returns who did.
    pub(crate) fn give_up(&mut self) -> Vec<CallId> {
        self.calls.iter_mut().filter_map(|waiting| waiting.call.take()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_answers_are_nobodys_and_do_not_shift_the_others() {
        let (start, later) = (Instant::ZERO, Instant::ZERO + Span::from_secs(1));
        let mut flight = Flight::new(start);
        let one = |call| Some(Done { call: CallId(call), batch: None });
        assert_eq!((flight.timeout(), flight.answered(b"a", start)), (None, None));
        flight.push(CallId(1), 1, later);
        flight.push(CallId(2), 1, later + ANSWER_TIMEOUT);
        assert_eq!(flight.timeout(), Some(later + ANSWER_TIMEOUT));
        assert_eq!(flight.answered(b"a", later), one(1));
        assert_eq!(flight.give_up(), [CallId(2)]);
        assert!(!flight.is_waiting() && flight.timeout().is_none());
        flight.push(CallId(3), 1, later);
        assert_eq!(flight.answered(b"a", later), None, "the late answer to 2");
        assert_eq!(flight.answered(b"a", later), one(3));
        flight.push(CallId(4), 2, later);
        assert_eq!(flight.answered(b"a", later), None);
        let both = Done { call: CallId(4), batch: Some(b"a\nb\n".to_vec()) };
        assert_eq!(flight.answered(b"b", later), Some(both));
        (0..CALLS_MAX as u64).for_each(|call| flight.push(CallId(call), 1, later));
        assert!(flight.is_full());
    }
}
