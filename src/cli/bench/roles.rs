//! What streams do that are not simply read: stall and wake up, or be cut and come back.

use std::io::ErrorKind;
use std::time::Duration;

use mio::{Interest, Token};
use socket2::SockRef;

use crate::base::time::{Instant, Span};
use crate::cli::bench::sink::Gauge;
use crate::cli::bench::swarm::{Phase, Subscriber, Swarm};

/// Bytes that a stream reads at once while it looks for something fresh.
pub const WAKING_BYTES: usize = 16 * 1024;
/// A message younger than this is fresh.
pub const FRESH: Span = Span::from_millis(200);

/// A stream that has begun to read again and has not yet seen anything fresh.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waking {
    pub(crate) at: Instant,
    bytes: u64,
    /// Age of the oldest message among the first bytes.
    first_age: Option<Span>,
}

/// What a stream saw that had begun to read again.
#[derive(Clone, Copy, Debug)]
pub struct Awake {
    /// Bytes read up to the first fresh message, in steps of [`WAKING_BYTES`].
    pub bytes: u64,
    /// How long that took.
    pub span: Span,
    /// Age of the oldest message among the first bytes.
    pub first_age: Span,
    /// Age of that fresh message when it was read.
    pub fresh_age: Span,
}

impl Swarm<'_> {
    /// Has stalled stream `at` read again; false if it is gone.
    pub fn wake(&mut self, at: usize) -> bool {
        let now = self.clock.now();
        let subscriber = &mut self.subscribers[at];
        let Some(stream) = &mut subscriber.stream else { return false };
        match std::mem::replace(&mut subscriber.phase, Phase::Gone) {
            Phase::Stalled(feed) => subscriber.phase = Phase::Streaming(feed),
            other => {
                subscriber.phase = other;
                return false;
            }
        }
        let interest = Interest::READABLE | Interest::WRITABLE;
        let _ = self.poll.registry().reregister(stream, Token(at), interest);
        self.waking.insert(at, Waking { at: now, bytes: 0, first_age: None });
        self.read(at, true);
        true
    }

    /// Resets every stream at once.
    pub fn cut_all(&mut self) {
        for subscriber in &mut self.subscribers {
            subscriber.phase = Phase::Gone;
            subscriber.open = 0;
            if let Some(stream) = subscriber.stream.take() {
                // Closing a socket that lingers for no time throws away what it holds and tells
                // the peer at once.
                let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
        }
        self.slots.iter_mut().for_each(|slot| slot.open = false);
        self.open = 0;
        self.returning = true;
    }

    /// Has stream `at` come back to its session.
    pub fn come_back(&mut self, at: usize) {
        match self.connect(at) {
            Ok(stream) => {
                let subscriber = &mut self.subscribers[at];
                (subscriber.stream, subscriber.phase) = (Some(stream), Phase::Dialing);
                subscriber.begun = self.clock.now();
            }
            Err(error) => self.cut(at, &format!("connect: {error}")),
        }
    }

    /// Stream `at` has woken up and read `count` bytes more: whether something in them is fresh.
    pub(crate) fn look_for_fresh(&mut self, at: usize, count: usize) {
        let (now, Gauge { oldest, youngest, .. }) = (self.heard, &self.gauge);
        let Some(waking) = self.waking.get_mut(&at) else { return };
        waking.bytes += count as u64;
        if *youngest == Instant::ZERO {
            return;
        }
        let first_age = *waking.first_age.get_or_insert_with(|| now.since(*oldest));
        if now.since(*youngest) < FRESH {
            let span = now.since(waking.at);
            let fresh_age = now.since(*youngest);
            self.awake.push(Awake { bytes: waking.bytes, span, first_age, fresh_age });
            self.waking.remove(&at);
            // It has shown what it was for; to read on would only be load.
            self.subscribers[at].phase = Phase::Gone;
            self.subscribers[at].stream = None;
        }
    }

    /// What each stream has received and not read, in bytes, at most as many as a buffer holds;
    /// none for a stream that is gone.
    pub fn unread(&mut self) -> Vec<Option<usize>> {
        let Self { subscribers, buffer, .. } = self;
        let unread = |subscriber: &Subscriber| match subscriber.stream.as_ref()?.peek(buffer) {
            Ok(0) => None, // its end has come
            Ok(count) => Some(count),
            Err(error) => (error.kind() == ErrorKind::WouldBlock).then_some(0),
        };
        subscribers.iter().map(unread).collect()
    }

    /// Streams that have woken up and not yet seen anything fresh.
    pub fn waking(&self) -> usize {
        self.waking.len()
    }
}
