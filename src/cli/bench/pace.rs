//! When messages are due, and where they go: at a fixed rate, or as they were recorded.

use std::sync::Arc;

use crate::base::time::Span;
use crate::cli::bench::profile::{Played, Profile};

/// The course of a run's messages.
#[derive(Clone, Debug)]
pub enum Pace {
    /// Messages of one size at a fixed rate; the topics take turns.
    Fixed {
        /// Messages a second over all topics.
        rate: f64,
        /// Bytes of each.
        size: usize,
        /// Topics.
        topics: usize,
    },
    /// Recorded ticks at their true times, in a loop.
    Recorded {
        /// The recording.
        profile: Arc<Profile>,
        /// How many times faster than recorded.
        speed: f64,
    },
}

/// One message of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// When it is due, counted from the first one's moment at a fixed rate, or from the beginning
    /// of the recording.
    pub due: Span,
    /// Its topic.
    pub topic: usize,
    /// Its number in its topic, from 1.
    pub seq: u64,
    /// Bytes of its payload.
    pub size: usize,
}

impl Pace {
    /// Message `k`, from 0.
    pub fn message(&self, k: u64) -> Message {
        match self {
            Self::Fixed { rate, size, topics } => {
                let due = Span::from_nanos((k as f64 * (1e9 / rate)) as u64);
                let topics = *topics as u64;
                let (topic, seq) = ((k % topics) as usize, k / topics + 1);
                Message { due, topic, seq, size: *size }
            }
            Self::Recorded { profile, speed } => {
                let (at, topic, seq, size) = profile.beat(k);
                let due = Span::from_nanos((at.as_nanos() as f64 / speed) as u64);
                Message { due, topic, seq, size }
            }
        }
    }

    /// Messages of a run of `span`.
    pub fn count(&self, span: Span) -> u64 {
        match self {
            Self::Fixed { rate, .. } => ((span.as_nanos() as f64 / 1e9 * rate) as u64).max(1),
            Self::Recorded { profile, speed } => profile.count(recorded(span, *speed)),
        }
    }

    /// Messages a second over a run of `span`: the mean.
    pub fn rate(&self, span: Span) -> f64 {
        match self {
            Self::Fixed { rate, .. } => *rate,
            Self::Recorded { .. } => self.count(span) as f64 * 1e9 / span.as_nanos() as f64,
        }
    }

    /// Bytes of a payload of a run of `span`: the mean.
    pub fn size(&self, span: Span) -> usize {
        match self {
            Self::Fixed { size, .. } => *size,
            Self::Recorded { profile, speed } => {
                let bytes = profile.bytes(recorded(span, *speed));
                (bytes / self.count(span).max(1)) as usize
            }
        }
    }

    /// What is recorded of a run of `span` where ticks are played.
    pub fn played(&self, span: Span) -> Option<Played> {
        match self {
            Self::Fixed { .. } => None,
            Self::Recorded { profile, speed } => {
                Some(profile.played(*speed, recorded(span, *speed)))
            }
        }
    }
}

/// How much of a recording is played in `span`.
pub fn recorded(span: Span, speed: f64) -> Span {
    Span::from_nanos((span.as_nanos() as f64 * speed) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn messages_are_due_at_a_fixed_rate_and_topics_take_turns() {
        let pace = Pace::Fixed { rate: 1000.0, size: 50, topics: 7 };
        assert_eq!(pace.count(Span::from_secs(3)), 3000);
        let due = Span::from_millis(1500);
        assert_eq!(pace.message(1500), Message { due, topic: 2, seq: 215, size: 50 });
        assert_eq!((pace.rate(due), pace.size(due), pace.played(due)), (1000.0, 50, None));
    }

    #[test]
    fn a_recording_is_played_faster() {
        let until = Span::from_secs(240);
        let profile = Arc::new(Profile::read(&[PathBuf::from("crypto")], until).unwrap());
        let pace = |speed| Pace::Recorded { profile: Arc::clone(&profile), speed };
        let (plain, fast) = (pace(1.0), pace(10.0));
        let (one, other) = (plain.message(70_000), fast.message(70_000));
        assert_eq!((one.topic, one.seq, one.size), (other.topic, other.seq, other.size));
        assert_eq!(other.due.as_micros(), one.due.as_nanos() / 10_000);
        let span = Span::from_secs(24);
        assert_eq!(fast.count(span), 2 * 114_175);
        assert!((fast.rate(span) - 9514.6).abs() < 0.1, "{}", fast.rate(span));
        assert!(fast.size(span) >= 32);
        let played = fast.played(span).unwrap();
        assert_eq!((played.speed, played.passes, played.topics.len()), (10.0, 2.0, 12));
        assert!(played.second_max > plain.played(span).unwrap().second_max);
    }
}
