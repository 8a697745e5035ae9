//! What the shell asks for: the outputs of a hub, and its timers; all of them, or as many as there
//! is time for.

use crate::base::time::Instant;
use crate::link::station::Station as _;
use crate::proto::hub::Hub;
use crate::proto::output::Output;

impl Hub {
    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.handle_timeouts_while(now, || true);
    }

    /// Time has passed: fires timers that are due, those of earlier moments first, as long as
    /// `goes_on` says so. Where some are left, [`Hub::poll_timeout`] is not after `now`.
    pub fn handle_timeouts_while(&mut self, now: Instant, mut goes_on: impl FnMut() -> bool) {
        self.now = now;
        while goes_on()
            && let Some(timer) = self.wheel.pop(now)
        {
            self.fire(timer.unpack());
        }
        self.fire_relays();
        self.with_upstream(|upstream| {
            if upstream.next_due().is_some_and(|due| due <= now) {
                upstream.handle_timeout(now);
            }
        });
    }

    /// When [`Hub::handle_timeout`] is due at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let links = self.remote.upstream.as_ref().and_then(|upstream| upstream.next_due());
        let relay = self.relay.as_ref().and_then(|relay| relay.poll_timeout());
        [self.wheel.next(), links, relay].into_iter().flatten().min()
    }

    /// What the shell does next; drained to `None` after each input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.poll_output_while(|| true)
    }

    /// The same, but goes on telling readers of what is new only as long as `goes_on` says so.
    /// Where some are left, [`Hub::is_waking`] says it; all else is done.
    pub fn poll_output_while(&mut self, mut goes_on: impl FnMut() -> bool) -> Option<Output> {
        loop {
            self.settle_relays();
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            }
            if let Some(parcel) = self.own_mail.pop_front() {
                self.take_parcel(parcel);
                continue;
            }
            if let Some(output) = self.poll_relay() {
                return Some(Output::Relay(output));
            }
            if let Some(output) = self.poll_link() {
                return Some(Output::Link(output));
            }
            let more = self.take_news()
                || self.settle()
                || (self.is_waking() && goes_on() && self.wake_some());
            if !more {
                return None;
            }
        }
    }

    /// Whether there are readers who do not know yet of what is new.
    pub fn is_waking(&self) -> bool {
        !self.waking.is_empty()
    }
}
