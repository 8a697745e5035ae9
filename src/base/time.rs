//! Integer time: a moment and a span, both in nanoseconds, both passed in by whoever owns a clock.

use std::fmt;
use std::num::NonZero;
use std::ops::{Add, AddAssign, Sub};

/// A moment: nanoseconds since the start of the process (or of the simulated world).
///
/// ```
/// use ahm::base::time::{Instant, Span};
/// let start = Instant::ZERO;
/// assert_eq!((start + Span::from_millis(2)).since(start).as_micros(), 2_000);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

/// A length of time in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

impl Instant {
    /// The start of the process.
    pub const ZERO: Self = Self(0);
    /// A moment that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `nanos` nanoseconds after the start.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The span from `earlier` to this moment; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// `n` nanoseconds.
    pub const fn from_nanos(n: u64) -> Self {
        Self(n)
    }

    /// `n` microseconds.
    pub const fn from_micros(n: u64) -> Self {
        Self(n.saturating_mul(1_000))
    }

    /// `n` milliseconds.
    pub const fn from_millis(n: u64) -> Self {
        Self(n.saturating_mul(1_000_000))
    }

    /// `n` seconds.
    pub const fn from_secs(n: u64) -> Self {
        Self(n.saturating_mul(1_000_000_000))
    }

    /// Whole nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole microseconds, rounded down.
    pub const fn as_micros(self) -> u64 {
        self.0 / 1_000
    }

    /// Whole milliseconds, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Whole seconds, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// This span `n` times.
    pub const fn times(self, n: u64) -> Self {
        Self(self.0.saturating_mul(n))
    }

    /// `part` parts of `whole` of this span, as in three quarters: `fraction(3, 4)`.
    pub const fn fraction(self, part: u64, whole: u64) -> Self {
        debug_assert!(whole > 0);
        Self((self.0 as u128 * part as u128 / whole as u128) as u64)
    }

    /// The same length for `std` interfaces.
    pub const fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_nanos(self.0)
    }
}

/// A span in whole milliseconds, up to 49 days, in half the room; an `Option` of it takes no more.
///
/// ```
/// use ahm::base::time::{Millis, Span};
/// assert_eq!(Millis::from(Span::from_micros(1_900)).span(), Span::from_millis(1));
/// assert_eq!((Millis::ZERO.span(), size_of::<Option<Millis>>()), (Span::ZERO, 4));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Millis(
    /// One more than the milliseconds.
    NonZero<u32>,
);

impl Millis {
    /// No time at all.
    pub const ZERO: Self = Self(NonZero::<u32>::MIN);

    /// The span.
    pub const fn span(self) -> Span {
        Span::from_millis(self.0.get() as u64 - 1)
    }
}

impl From<Span> for Millis {
    /// Rounds down, and to what fits.
    fn from(span: Span) -> Self {
        let millis = u32::try_from(span.as_millis()).unwrap_or(u32::MAX);
        Self(NonZero::<u32>::MIN.saturating_add(millis))
    }
}

impl Add<Span> for Instant {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl AddAssign<Span> for Instant {
    fn add_assign(&mut self, span: Span) {
        *self = *self + span;
    }
}

impl Add for Span {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Span {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_std(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Instant::NEVER + Span::from_secs(1), Instant::NEVER);
        assert_eq!(Instant::ZERO.since(Instant::NEVER), Span::ZERO);
        assert_eq!(Span::from_secs(u64::MAX).times(2), Span::from_nanos(u64::MAX));
        assert_eq!(Span::from_millis(1000).fraction(3, 4).as_millis(), 750);
    }
}
