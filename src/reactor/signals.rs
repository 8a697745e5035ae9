//! What the operator asks of the process by signals, as an event source.

use std::fmt;
use std::io;

use mio::{Interest, Registry, Token};

/// A signal that the server understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGINT: somebody pressed Ctrl-C.
    Interrupt,
    /// SIGTERM: a supervisor wants it to stop.
    Terminate,
    /// SIGHUP: it should read its configuration again.
    Hangup,
}

/// Catches SIGINT, SIGTERM and SIGHUP of the whole process from its making on. Make one, in the
/// thread that decides; when it is dropped, the three signals are ignored.
///
/// ```no_run
/// use ahm::reactor::poller::Poller;
/// use ahm::reactor::signals::{Signal, Signals};
/// use mio::Token;
///
/// let mut poller = Poller::new(16)?;
/// let mut signals = Signals::new()?;
/// signals.register(poller.registry(), Token(0))?;
/// loop {
///     poller.poll(None)?;
///     if signals.pending().any(|signal| signal != Signal::Hangup) {
///         break;
///     }
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Signals(signal_hook_mio::v1_0::Signals);

impl Signals {
    /// Begins to catch.
    ///
    /// # Errors
    ///
    /// When no descriptor is left, or the operating system refuses a handler.
    pub fn new() -> io::Result<Self> {
        let caught = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];
        signal_hook_mio::v1_0::Signals::new(caught).map(Self)
    }

    /// Has the arrival of a signal reported as readiness of `token`.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.0, token, Interest::READABLE)
    }

    /// The signals that came since the last call, each once, in no particular order.
    pub fn pending(&mut self) -> impl Iterator<Item = Signal> + '_ {
        self.0.pending().filter_map(|number| match number {
            libc::SIGINT => Some(Signal::Interrupt),
            libc::SIGTERM => Some(Signal::Terminate),
            libc::SIGHUP => Some(Signal::Hangup),
            _ => None,
        })
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::poller::Poller;

    fn raise(number: libc::c_int) {
        // SAFETY: a handler for the signal is installed, and it only writes to a pipe.
        assert_eq!(unsafe { libc::raise(number) }, 0);
    }

    #[test]
    fn signals_arrive_as_readiness_each_once() {
        let mut poller = Poller::new(4).unwrap();
        let mut signals = Signals::new().unwrap();
        signals.register(poller.registry(), Token(3)).unwrap();
        for (number, signal) in [
            (libc::SIGHUP, Signal::Hangup),
            (libc::SIGTERM, Signal::Terminate),
            (libc::SIGINT, Signal::Interrupt),
        ] {
            raise(number);
            raise(number);
            let mut seen = Vec::new();
            while seen.is_empty() {
                poller.poll(None).unwrap();
                assert!(poller.events().all(|ready| ready.token == Token(3) && ready.readable));
                seen.extend(signals.pending());
            }
            assert_eq!(seen, [signal]);
        }
    }
}
