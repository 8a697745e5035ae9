//! How long to wait before the next attempt: exponential with full jitter above a floor.

use crate::base::random::Random;
use crate::base::time::Span;

/// The waits between attempts that fail.
///
/// The n-th wait in a row is drawn evenly between the floor and `base * 2^n` (at most the cap), so
/// that a thousand clients which lost the same server do not come back in step, and none comes
/// back at once.
///
/// ```
/// use ahm::base::random::Random;
/// use ahm::base::time::Span;
/// use ahm::base::backoff::Backoff;
///
/// let mut random = Random::from_number(1);
/// let mut backoff = Backoff::default();
/// assert!(backoff.wait(&mut random) <= Span::from_millis(250));
/// assert!(backoff.wait(&mut random) <= Span::from_millis(500));
/// backoff.reset();
/// assert!(backoff.wait(&mut random) <= Span::from_millis(250));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// No wait is shorter.
    pub floor: Span,
    /// The longest first wait.
    pub base: Span,
    /// No wait is longer.
    pub cap: Span,
    /// Attempts that failed in a row.
    pub failed: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            floor: Span::from_millis(50),
            base: Span::from_millis(250),
            cap: Span::from_secs(15),
            failed: 0,
        }
    }
}

impl Backoff {
    /// The wait after one more failure.
    pub fn wait(&mut self, random: &mut Random) -> Span {
        // 2^20 times any sensible base is above any sensible cap, and the shift cannot overflow.
        let grown = self.base.times(1 << self.failed.min(20));
        self.failed = self.failed.saturating_add(1);
        let width = grown.min(self.cap) - self.floor;
        self.floor + Span::from_nanos(random.below(width.as_nanos().saturating_add(1)))
    }

    /// Something worked: the next wait is short again.
    pub fn reset(&mut self) {
        self.failed = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_between_floor_and_cap_and_spread() {
        let mut random = Random::from_number(7);
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..100).map(|_| backoff.wait(&mut random)).collect();
        assert!(waits.iter().all(|&wait| wait >= backoff.floor && wait <= backoff.cap));
        assert!(waits.iter().any(|&wait| wait > Span::from_secs(12)));
        assert!(waits[20..].iter().any(|&wait| wait < Span::from_secs(3)));
    }

    #[test]
    fn a_floor_above_the_base_is_the_wait() {
        let mut random = Random::from_number(7);
        let mut backoff = Backoff { floor: Span::from_secs(1), ..Backoff::default() };
        assert_eq!(backoff.wait(&mut random), Span::from_secs(1));
    }
}
