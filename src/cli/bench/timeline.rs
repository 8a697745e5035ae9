//! A run second by second: what was published, and what arrived.

use serde::Serialize;

use crate::base::time::{Instant, Span};

/// The length of a step.
const STEP: Span = Span::from_secs(1);

/// One second of a run, or what was left of it at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Second {
    /// Its end, in seconds since the first message was due.
    pub end: f64,
    /// How long it was.
    pub length: f64,
    /// Messages given to the server's socket.
    pub published: u64,
    /// Messages that arrived.
    pub deliveries: u64,
}

impl Second {
    /// `count` of this second as a rate.
    pub fn rate(&self, count: u64) -> f64 {
        count as f64 / self.length.max(1e-9)
    }
}

/// Seconds so far.
#[derive(Debug, Default)]
pub struct Timeline {
    /// The ones that are over.
    pub seconds: Vec<Second>,
    start: Option<Instant>,
    /// Moment and counters at the end of the last one.
    last: (Instant, u64, u64),
}

impl Timeline {
    /// The first message is due at `start`; `counts`: what was published and has arrived before.
    pub fn begin(&mut self, start: Instant, (published, deliveries): (u64, u64)) {
        (self.start, self.last) = (Some(start), (start, published, deliveries));
    }

    /// Notes how far the counters are; a second ends when it is full.
    pub fn note(&mut self, now: Instant, counts: (u64, u64)) {
        if self.start.is_some() && now.since(self.last.0) >= STEP {
            self.end(now, counts);
        }
    }

    /// Notes what is left, if anything came since the last full second; then nothing more. What is
    /// left is a second of its own only if it is long enough for a rate, and seconds in which
    /// nothing came at the end are none.
    pub fn finish(&mut self, now: Instant, counts: (u64, u64)) {
        if self.start.is_some() && counts != (self.last.1, self.last.2) {
            let long = now.since(self.last.0) >= STEP.fraction(1, 10);
            match self.seconds.last_mut().filter(|_| !long) {
                Some(second) => {
                    second.published += counts.0 - self.last.1;
                    second.deliveries += counts.1 - self.last.2;
                }
                None => self.end(now, counts),
            }
        }
        self.start = None;
        let silent = |second: &Second| second.published == 0 && second.deliveries == 0;
        while self.seconds.last().is_some_and(silent) {
            self.seconds.pop();
        }
    }

    fn end(&mut self, now: Instant, (published, deliveries): (u64, u64)) {
        let Some(start) = self.start else { return };
        let seconds = |span: Span| span.as_nanos() as f64 / 1e9;
        let (before, published_before, deliveries_before) = self.last;
        self.seconds.push(Second {
            end: seconds(now.since(start)),
            length: seconds(now.since(before)),
            published: published - published_before,
            deliveries: deliveries - deliveries_before,
        });
        self.last = (now, published, deliveries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_end_when_they_are_full_and_the_rest_at_the_end() {
        let at = |ms| Instant::ZERO + Span::from_millis(ms);
        let mut timeline = Timeline::default();
        timeline.note(at(900), (1, 1));
        timeline.begin(at(1000), (5, 50));
        for (ms, counts) in [(1500, (7, 70)), (2010, (15, 150)), (3009, (20, 200))] {
            timeline.note(at(ms), counts);
        }
        timeline.finish(at(3210), (20, 210));
        timeline.note(at(9000), (30, 300));
        let [first, rest] = timeline.seconds[..] else { panic!("{timeline:?}") };
        let full = Second { end: 1.01, length: 1.01, published: 10, deliveries: 100 };
        assert_eq!(first, full);
        assert_eq!((rest.end, rest.published, rest.deliveries), (2.21, 5, 60));
        assert!((first.rate(first.deliveries) - 99.0).abs() < 0.1);
    }

    #[test]
    fn a_short_rest_belongs_to_the_second_before() {
        let mut timeline = Timeline::default();
        timeline.begin(Instant::ZERO, (0, 0));
        timeline.note(Instant::ZERO + STEP, (3, 3));
        timeline.finish(Instant::ZERO, (4, 5));
        let [second] = timeline.seconds[..] else { panic!("{timeline:?}") };
        assert_eq!((second.end, second.published, second.deliveries), (1.0, 4, 5));
    }

    #[test]
    fn an_end_at_which_nothing_came_is_no_second() {
        let mut timeline = Timeline::default();
        timeline.begin(Instant::ZERO, (0, 0));
        timeline.note(Instant::ZERO + STEP, (3, 3));
        timeline.note(Instant::ZERO + STEP.times(2), (3, 3));
        timeline.finish(Instant::ZERO + STEP.times(3), (3, 3));
        assert_eq!(timeline.seconds.len(), 1);
    }
}
