//! Readiness: one `Poller` to a shard, over mio, edge-triggered.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::Token;

use crate::base::time::Span;

/// What became ready. Edges may be spurious: to read or write and be blocked is no surprise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// What the source was registered as.
    pub token: Token,
    /// Reading is worth a try: there are bytes, an end, an error, a connection to accept.
    pub readable: bool,
    /// Writing is worth a try: there is room, an error, or the outcome of a connect.
    pub writable: bool,
    /// An end or an error is there to be read, maybe behind bytes.
    pub closed: bool,
}

/// Waits for edges of everything that is registered with it.
///
/// ```
/// use ahm::base::time::Span;
/// use ahm::reactor::poller::Poller;
/// use mio::Token;
///
/// const MAIL: Token = Token(0);
///
/// let mut poller = Poller::new(256)?;
/// let waker = poller.waker(MAIL)?;
/// // The waker outlives the poll: with the last of its clones the edge would go too.
/// let other = waker.clone();
/// std::thread::spawn(move || other.wake());
/// poller.poll(None)?;
/// assert!(poller.events().all(|ready| ready.token == MAIL));
/// poller.poll(Some(Span::ZERO))?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Poller {
    poll: mio::Poll,
    events: mio::Events,
}

impl Poller {
    /// A poller that takes up to `events_max` edges (at least one) a call; what is ready beyond
    /// that comes with the next call.
    ///
    /// # Errors
    ///
    /// When the process has no descriptor left.
    pub fn new(events_max: usize) -> io::Result<Self> {
        Ok(Self { poll: mio::Poll::new()?, events: mio::Events::with_capacity(events_max.max(1)) })
    }

    /// Where sources are registered.
    pub fn registry(&self) -> &mio::Registry {
        self.poll.registry()
    }

    /// What ends a wait from any other thread, seen as readiness of `token`. At most one to a
    /// poller.
    ///
    /// # Errors
    ///
    /// When the process has no descriptor left.
    pub fn waker(&self, token: Token) -> io::Result<Arc<mio::Waker>> {
        mio::Waker::new(self.poll.registry(), token).map(Arc::new)
    }

    /// Waits until something is ready, or for `timeout`, rounded up to whole milliseconds and cut
    /// at 24 days; `None` waits without end, zero does not wait. A signal may end the wait early
    /// with no events, so whoever waits for a moment looks at the clock.
    ///
    /// # Errors
    ///
    /// What the operating system says; never `Interrupted`.
    pub fn poll(&mut self, timeout: Option<Span>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout.map(whole_millis)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// What the last call of [`Poller::poll`] found.
    pub fn events(&self) -> impl Iterator<Item = Ready> + '_ {
        self.events.iter().map(|event| Ready {
            token: event.token(),
            readable: event.is_readable() || event.is_read_closed() || event.is_error(),
            writable: event.is_writable() || event.is_write_closed() || event.is_error(),
            closed: event.is_read_closed() || event.is_error(),
        })
    }
}

/// Rounded up, or a timer that is due in less than a millisecond would be polled for in a circle;
/// cut, because the system call takes 32 bits of milliseconds.
fn whole_millis(span: Span) -> Duration {
    let millis = span.as_nanos().div_ceil(1_000_000);
    Duration::from_millis(millis.min(i32::MAX as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_rounded_up_and_cut() {
        assert_eq!(whole_millis(Span::ZERO), Duration::ZERO);
        assert_eq!(whole_millis(Span::from_nanos(1)), Duration::from_millis(1));
        assert_eq!(whole_millis(Span::from_millis(1)), Duration::from_millis(1));
        assert_eq!(whole_millis(Span::from_nanos(1_000_001)), Duration::from_millis(2));
        let longest = whole_millis(Span::from_nanos(u64::MAX));
        assert_eq!(longest, Duration::from_millis(2_147_483_647));
    }
}
