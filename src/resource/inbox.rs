//! What waits for a program that reads a resource: bounded, and what did not fit is told.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::base::id::{Epoch, Offset};
use crate::base::reason::{ChannelEnd, ErrorCode};

/// What has happened to a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An instance serves it, first or again; the next message has this offset, if it has none of
    /// its own kept.
    Opened {
        /// The epoch.
        ep: Epoch,
        /// The offset of the next message.
        next: Offset,
    },
    /// A message.
    Message {
        /// The epoch.
        ep: Epoch,
        /// The offset.
        n: Offset,
        /// Whether it is a snapshot: it stands for all before it.
        snapshot: bool,
        /// What it says.
        payload: Vec<u8>,
    },
    /// Messages are missing here: so many, or nobody knows how many.
    Gap(Option<u64>),
    /// The resource has taken a message, or nobody can tell whether it has.
    Sent {
        /// The number that [`Subscription::send`](crate::resource::consumer::Subscription::send)
        /// gave.
        n: u64,
        /// Whether it was taken.
        taken: bool,
    },
    /// It may not be read, or nobody serves it. The last event.
    Denied(ErrorCode, String),
    /// It is over. The last event.
    Closed(ChannelEnd),
}

impl Event {
    const fn is_last(&self) -> bool {
        matches!(self, Self::Denied(..) | Self::Closed(_))
    }
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Event>,
    /// Messages that did not fit since the last one that did.
    missed: u64,
    over: bool,
}

/// Events from one thread to another.
#[derive(Debug)]
pub struct Inbox {
    messages_max: usize,
    state: Mutex<State>,
    changed: Condvar,
}

impl Inbox {
    /// An empty one, for so many messages.
    pub fn new(messages_max: usize) -> Self {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Self { messages_max: messages_max.max(1), state, changed }
    }

    /// Adds an event; never waits. A message for which there is no room is counted, and told as a
    /// gap before the next one for which there is.
    pub fn push(&self, event: Event) {
        let mut state = self.lock();
        if state.over {
            return;
        }
        let full = state.events.len() >= self.messages_max;
        if full && matches!(event, Event::Message { .. }) {
            state.missed += 1;
            return;
        }
        if state.missed > 0 {
            let missed = std::mem::take(&mut state.missed);
            state.events.push_back(Event::Gap(Some(missed)));
        }
        state.over = event.is_last();
        state.events.push_back(event);
        self.changed.notify_all();
    }

    /// The next event; waits for one until `until`, or without end. `None`: there is none, or there
    /// will be none any more.
    pub fn next(&self, until: Option<Instant>) -> Option<Event> {
        let mut state = self.lock();
        loop {
            if let Some(event) = state.events.pop_front() {
                return Some(event);
            }
            if state.over {
                return None;
            }
            state = match until {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left == Duration::ZERO {
                        return None;
                    }
                    let waited = self.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Whether the last event was added, whether read or not.
    pub fn is_over(&self) -> bool {
        self.lock().over
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A queue is whole between any two of its steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(n: u64) -> Event {
        Event::Message { ep: Epoch(1), n: Offset(n), snapshot: false, payload: Vec::new() }
    }

    #[test]
    fn what_does_not_fit_is_told_where_it_is_missing() {
        let inbox = Inbox::new(2);
        (1..=5).for_each(|n| inbox.push(message(n)));
        let next = || inbox.next(Some(Instant::now()));
        assert_eq!(next(), Some(message(1)));
        assert_eq!(next(), Some(message(2)));
        assert_eq!(next(), None);
        inbox.push(message(6));
        assert_eq!(next(), Some(Event::Gap(Some(3))));
        assert_eq!(next(), Some(message(6)));
    }

    #[test]
    fn the_last_event_is_the_last() {
        let inbox = Inbox::new(2);
        inbox.push(Event::Closed(ChannelEnd::Gone));
        inbox.push(message(1));
        assert!(inbox.is_over());
        assert_eq!(inbox.next(None), Some(Event::Closed(ChannelEnd::Gone)));
        assert_eq!(inbox.next(None), None);
    }

    #[test]
    fn whoever_waits_is_woken() {
        let inbox = std::sync::Arc::new(Inbox::new(2));
        let other = inbox.clone();
        let waiting = std::thread::spawn(move || other.next(None));
        inbox.push(message(1));
        assert_eq!(waiting.join().unwrap(), Some(message(1)));
    }
}
