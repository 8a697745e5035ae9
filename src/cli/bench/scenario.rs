//! What is recorded of the streams beside the running ones: the stalled, and those of the storm.

use serde::Serialize;

use crate::base::time::Span;
use crate::cli::bench::copies::Doubled;
use crate::cli::bench::record::Percentiles;
use crate::cli::bench::roles::Awake;
use crate::cli::bench::sink::{Split, histogram, record};
use crate::cli::bench::tally::Tally;

/// Bytes within which a stream that wakes up should see something fresh.
pub const FRESH_WITHIN: u64 = 256 * 1024;

/// What became of streams that were not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Stalled {
    /// Streams.
    pub streams: u64,
    /// Those that the server dropped.
    pub dropped: u64,
    /// When it did, in milliseconds since the first message was due.
    pub dropped_ms: Percentiles,
    /// What lay unread in their sockets, in runs that end after the warm-up and do not wake them.
    pub unread: Option<Unread>,
    /// Those that read again, where the run has that.
    pub woken: Option<Woken>,
}

/// What lay in the receive buffers of stalled streams when the warm-up ended and when messages
/// ended. Where nothing has moved between, their sockets were full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unread {
    /// Streams connected at the end of the warm-up.
    pub connected: u64,
    /// Bytes that they had not read then, all together.
    pub bytes: u64,
    /// The least that one had.
    pub bytes_min: u64,
    /// Streams connected at the end.
    pub connected_at_end: u64,
    /// Of those, the ones that had received more meanwhile.
    pub moved: u64,
}

impl Unread {
    /// From what lay unread in each stream at the two moments; none for one that was gone.
    pub fn of(full: &[Option<usize>], end: &[Option<usize>]) -> Self {
        let there = full.iter().flatten();
        let both = full.iter().zip(end).filter(|(_, end)| end.is_some());
        Self {
            connected: there.clone().count() as u64,
            bytes: there.clone().sum::<usize>() as u64,
            bytes_min: there.min().copied().unwrap_or(0) as u64,
            connected_at_end: both.clone().count() as u64,
            moved: both.filter(|(full, end)| full != end).count() as u64,
        }
    }
}

/// What streams saw that read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Woken {
    /// Streams that read again.
    pub streams: u64,
    /// Those that saw a message younger than 200 ms in their first 256 KiB.
    pub fresh: u64,
    /// Those that saw none before the run ended.
    pub never: u64,
    /// Most bytes that one read up to that message, in steps of 16 KiB.
    pub bytes_max: u64,
    /// The same for half of them at most.
    pub bytes_p50: u64,
    /// Time from the first read to that message.
    pub fresh_ms: Percentiles,
    /// Age of that message when it was read.
    pub fresh_age_ms: Percentiles,
    /// Age of the oldest message among the first 16 KiB that they read.
    pub first_age_ms: Percentiles,
    /// Everything counted on their way.
    pub tally: Tally,
}

impl Woken {
    /// What `awake` streams of `streams` saw; the others saw nothing fresh.
    pub fn of(streams: u64, awake: &[Awake], tally: Tally) -> Self {
        let percentiles = |of: fn(&Awake) -> Span| {
            let mut values = histogram();
            awake.iter().for_each(|one| record(&mut values, of(one)));
            Percentiles::of(&values)
        };
        let mut bytes: Vec<u64> = awake.iter().map(|one| one.bytes).collect();
        bytes.sort_unstable();
        Self {
            streams,
            fresh: bytes.iter().filter(|bytes| **bytes <= FRESH_WITHIN).count() as u64,
            never: streams - awake.len() as u64,
            bytes_max: bytes.last().copied().unwrap_or(0),
            bytes_p50: bytes.get(bytes.len() / 2).copied().unwrap_or(0),
            fresh_ms: percentiles(|one| one.span),
            fresh_age_ms: percentiles(|one| one.fresh_age),
            first_age_ms: percentiles(|one| one.first_age),
            tally,
        }
    }
}

/// What became of streams that were all reset at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Storm {
    /// Streams.
    pub streams: u64,
    /// Seconds that it took the driver to reset them all.
    pub cut_seconds: f64,
    /// Seconds over which they tried to come back first, each at a random moment.
    pub spread: f64,
    /// Streams that came back with all their channels.
    pub back: u64,
    /// Seconds from the cut to when all were back, if they were.
    pub seconds: Option<f64>,
    /// Attempts that came to nothing and were repeated.
    pub attempts_failed: u64,
    /// From connect to the last opened frame of a stream that came back.
    pub reopen_ms: Percentiles,
    /// Deliveries there should have been on them, before and after the cut.
    pub expected: u64,
    /// Of those, the ones that never arrived.
    pub lost: u64,
    /// Everything counted on arrival.
    pub tally: Tally,
    /// Latency of the running streams before the cut.
    pub before_ms: Percentiles,
    /// From the cut to when all were back.
    pub during_ms: Percentiles,
    /// Of that, from when the last one was cut. Before, the driver itself keeps a core busy: the
    /// kernel resets both ends of each stream in its call.
    pub returning_ms: Percentiles,
    /// After that.
    pub after_ms: Percentiles,
}

impl Storm {
    /// The latencies of the running streams before, during and after.
    pub fn set_parts(&mut self, split: &Split) {
        let [before, during, after] = split.parts.each_ref().map(Percentiles::of);
        self.returning_ms = Percentiles::of(&split.returning);
        (self.before_ms, self.during_ms, self.after_ms) = (before, during, after);
    }

    /// p99 during the storm, in multiples of what it was before.
    pub fn slowdown(&self) -> f64 {
        self.during_ms.p99 / self.before_ms.p99.max(1e-6)
    }
}

/// What the streams beside the running ones did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scenario {
    /// They stalled.
    Stalled(Stalled),
    /// They were cut.
    Storm(Storm),
    /// Each subscriber had a second one, to a second server.
    Doubled(Doubled),
}

impl Scenario {
    /// What makes the run a failure, one sentence each.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        let (tally, lost, whose) = match self {
            Self::Doubled(doubled) => return doubled.failures(),
            Self::Stalled(Stalled { woken: None, .. }) => return failures,
            Self::Stalled(Stalled { woken: Some(woken), .. }) => {
                let late = woken.streams - woken.fresh;
                if late > 0 {
                    failures.push(format!("{late} woken streams saw nothing fresh in 256 KiB"));
                }
                (&woken.tally, 0, "on woken streams")
            }
            Self::Storm(storm) => {
                let away = storm.streams - storm.back;
                if away > 0 {
                    failures.push(format!("{away} streams did not come back"));
                }
                (&storm.tally, storm.lost, "on streams of the storm")
            }
        };
        let counts = [
            (lost, "deliveries lost"),
            (tally.repeated, "deliveries repeated"),
            (tally.out_of_order, "deliveries out of order"),
            (tally.misnumbered, "deliveries with a wrong offset"),
            (tally.silent, "offsets passed over without a gap frame"),
            (tally.closed, "channels closed by the server"),
        ];
        let wrong = counts.iter().filter(|(count, _)| *count > 0);
        failures.extend(wrong.map(|(count, of)| format!("{count} {of} {whose}")));
        failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moved_between_the_two_looks_is_counted() {
        let (full, end) = ([Some(5), Some(3), Some(4), None], [Some(5), None, Some(6), None]);
        let unread = Unread::of(&full, &end);
        assert_eq!((unread.connected, unread.bytes, unread.bytes_min), (3, 12, 3));
        assert_eq!((unread.connected_at_end, unread.moved), (2, 1));
        assert_eq!(Unread::of(&[], &[]), Unread::default());
    }
}
