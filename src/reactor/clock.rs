//! The only reader of the operating system's clock.

use std::time;

use crate::base::time::Instant;

/// A monotonic clock, started once in a process; copies of it tell the same time on every thread.
///
/// ```
/// use ahm::reactor::clock::Clock;
///
/// let clock = Clock::start();
/// let earlier = clock.now();
/// assert!(clock.now() >= earlier);
/// assert!(clock.unix_micros(earlier) >= clock.unix_micros_at_start());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: time::Instant,
    unix_micros_at_start: u64,
}

impl Clock {
    /// Starts a clock at [`Instant::ZERO`].
    pub fn start() -> Self {
        let unix = time::SystemTime::now().duration_since(time::UNIX_EPOCH);
        // A machine whose clock stands before 1970 gets wrong dates, but it gets them.
        let micros = unix.map_or(0, |unix| unix.as_micros());
        Self {
            start: time::Instant::now(),
            unix_micros_at_start: u64::try_from(micros).unwrap_or(u64::MAX),
        }
    }

    /// The time since the start. One read of the clock, which is no system call on most machines.
    pub fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Microseconds since 1970-01-01 00:00 UTC at the moment the clock was started.
    pub fn unix_micros_at_start(&self) -> u64 {
        self.unix_micros_at_start
    }

    /// Microseconds since 1970-01-01 00:00 UTC at `at`. Later steps of the machine's calendar clock
    /// are not followed: the result grows steadily.
    pub fn unix_micros(&self, at: Instant) -> u64 {
        self.unix_micros_at_start.saturating_add(at.since(Instant::ZERO).as_micros())
    }
}
