//! A web server, as one shard sees it: its connections that are kept, and whether it seems well.

use std::collections::VecDeque;

use crate::base::id::Key;
use crate::base::time::{Instant, Span};
use crate::link::address::Address;

/// How long a web server that has failed is passed over, if there is another.
const DOWN: Span = Span::from_secs(2);

/// A web server.
#[derive(Debug)]
pub struct Backend {
    /// Where it is.
    pub address: Address,
    /// Whether it is spoken to by TLS.
    pub secure: bool,
    /// Connections that nobody uses, the one that was used last at the end, each with the moment
    /// from which on it is unused.
    idle: VecDeque<(Key, Instant)>,
    /// Connections, those included that are being made.
    pub open: usize,
    /// Until when it is passed over.
    down_until: Instant,
}

impl Backend {
    /// A web server that nobody has tried yet.
    pub const fn new(address: Address, secure: bool) -> Self {
        Self { address, secure, idle: VecDeque::new(), open: 0, down_until: Instant::ZERO }
    }

    /// Whether it is passed over now, if there is another.
    pub fn is_down(&self, now: Instant) -> bool {
        self.down_until > now
    }

    /// It has failed.
    pub fn fail(&mut self, now: Instant) {
        if !self.is_down(now) {
            log::warn!("web server {} has failed; others go first for {DOWN}", self.address);
        }
        self.down_until = now + DOWN;
    }

    /// It has answered.
    pub const fn succeed(&mut self) {
        self.down_until = Instant::ZERO;
    }

    /// Keeps a connection that nobody uses from now on.
    pub fn keep(&mut self, upstream: Key, now: Instant) {
        self.idle.push_back((upstream, now));
    }

    /// The connection that was used last: the likeliest to be alive still.
    pub fn take_newest(&mut self) -> Option<Key> {
        self.idle.pop_back().map(|(upstream, _)| upstream)
    }

    /// The connection that has been unused for longest.
    pub fn take_oldest(&mut self) -> Option<Key> {
        self.idle.pop_front().map(|(upstream, _)| upstream)
    }

    /// That connection, if it has been unused since before `moment`.
    pub fn take_older(&mut self, moment: Instant) -> Option<Key> {
        let (_, since) = self.idle.front()?;
        (*since <= moment).then(|| self.take_oldest()).flatten()
    }

    /// The connection is lost.
    pub fn forget(&mut self, upstream: Key) {
        // From the end, where those are that were used last.
        if let Some(at) = self.idle.iter().rposition(|(key, _)| *key == upstream) {
            self.idle.remove(at);
        }
    }

    /// How many connections nobody uses.
    pub fn idle_count(&self) -> usize {
        self.idle.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_used_and_the_oldest_goes() {
        let mut backend = Backend::new("127.0.0.1:1".parse().unwrap(), false);
        let key = |slot| Key { slot, generation: 1 };
        let at = |secs| Instant::ZERO + Span::from_secs(secs);
        (0..5).for_each(|n| backend.keep(key(n), at(u64::from(n))));
        assert_eq!(backend.take_newest(), Some(key(4)));
        backend.forget(key(1));
        assert_eq!(backend.take_older(at(0)), Some(key(0)));
        assert_eq!(backend.take_older(at(1)), None);
        assert_eq!((backend.take_oldest(), backend.idle_count()), (Some(key(2)), 1));
    }

    #[test]
    fn a_failure_is_forgiven_after_a_while_or_by_an_answer() {
        let mut backend = Backend::new("127.0.0.1:1".parse().unwrap(), false);
        let now = Instant::ZERO + DOWN;
        backend.fail(now);
        assert!(backend.is_down(now) && !backend.is_down(now + DOWN));
        backend.succeed();
        assert!(!backend.is_down(now));
    }
}
