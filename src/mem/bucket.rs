//! How often something may happen, in one word.

use crate::base::time::{Instant, Span};

/// How often something may happen in the long run, and how much of it at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// One is due so often.
    every: Span,
    /// What may be taken ahead of its time.
    depth: Span,
}

impl Rate {
    /// `count` a second, and as many at once as come in `seconds`; `None` for a `count` of 0, which
    /// stands for no bound.
    pub fn per_second(count: u32, seconds: u32) -> Option<Self> {
        let every = Span::from_secs(1).as_nanos().checked_div(u64::from(count))?.max(1);
        let at_once = u64::from(count).saturating_mul(u64::from(seconds)).max(1);
        let every = Span::from_nanos(every);
        Some(Self { every, depth: every.times(at_once) })
    }
}

/// What is left of a rate: the moment at which nothing of it will be missing any more, so that
/// nothing has to be refilled (the "virtual scheduling" of the generic cell rate algorithm, ITU-T
/// I.371).
///
/// ```
/// use ahm::base::time::{Instant, Span};
/// use ahm::mem::bucket::{Bucket, Rate};
/// let rate = Rate::per_second(10, 2).unwrap();
/// let (mut bucket, now) = (Bucket::default(), Instant::ZERO);
/// assert_eq!((0..100).filter(|_| bucket.take(rate, now)).count(), 20);
/// assert!(!bucket.take(rate, now + Span::from_millis(99)));
/// assert!(bucket.take(rate, now + Span::from_millis(100)));
/// assert!(!bucket.is_full(now) && bucket.is_full(now + Span::from_millis(2_100)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket(Instant);

impl Bucket {
    /// Takes one, if that is allowed now.
    pub fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let missing = self.0.since(now);
        if missing.as_nanos().saturating_add(rate.every.as_nanos()) > rate.depth.as_nanos() {
            return false;
        }
        self.0 = now + missing + rate.every;
        true
    }

    /// Whether nothing is missing.
    pub fn is_full(&self, now: Instant) -> bool {
        self.0 <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn none_is_no_bound_and_one_is_one() {
        assert_eq!(Rate::per_second(0, 5), None);
        let (mut bucket, rate) = (Bucket::default(), Rate::per_second(1, 0).unwrap());
        assert!(bucket.take(rate, Instant::ZERO) && !bucket.take(rate, Instant::ZERO));
    }

    proptest! {
        #[test]
        fn never_more_than_the_rate_and_what_may_come_at_once(
            count in 1u32..2_000,
            seconds in 1u32..10,
            waits in proptest::collection::vec(0u64..5_000_000, 1..400),
        ) {
            let rate = Rate::per_second(count, seconds).unwrap();
            let (mut bucket, mut now, mut taken) = (Bucket::default(), Instant::ZERO, 0u64);
            for wait in waits {
                now += Span::from_nanos(wait);
                taken += u64::from(bucket.take(rate, now));
                // What one second holds is rounded up by less than one in a whole second.
                let due = u128::from(now.as_nanos()) * u128::from(count + 1) / 1_000_000_000;
                prop_assert!(u128::from(taken) <= due + 1 + u128::from(count * seconds));
            }
        }
    }
}
