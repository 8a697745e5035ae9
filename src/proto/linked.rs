//! The hub's connections to registries and resource servers, as its shell sees them.

use crate::base::id::Key;
use crate::base::time::Instant;
use crate::link::peer::Me;
use crate::link::station::Station as _;
use crate::link::upstream::{Seek, Upstream};
use crate::proto::hub::Hub;

impl Hub {
    /// Has resources that are not in the directory sought in other processes, from now on; where
    /// there is neither a registry nor a guest to be expected, as soon as a guest has come.
    pub fn look_for_resources(&mut self, me: Me, seek: Seek, now: Instant) {
        self.now = now;
        if seek.registries.is_empty() && !seek.guests {
            self.remote.dormant = Some(Box::new((me, seek)));
        } else {
            self.remote.upstream = Some(upstream(me, seek, now));
        }
    }

    /// A resource server has dialled this one, and wants to talk to this shard; who wants one of
    /// the resources that it is `expected` to serve waits until it has said so itself. `None` if
    /// the hub was never told how to [look for resources](Hub::look_for_resources).
    pub fn handle_guest(&mut self, expected: &[String], now: Instant) -> Option<Key> {
        self.now = now;
        if let Some(dormant) = self.remote.dormant.take() {
            let (me, seek) = *dormant;
            self.remote.upstream = Some(upstream(me, seek, now));
        }
        let upstream = self.remote.upstream.as_mut()?;
        expected.iter().for_each(|resource| upstream.expect(resource));
        Some(upstream.handle_accepted(now))
    }

    /// The connect that [`Output::Dial`](crate::link::links::Output::Dial) asked for has worked.
    pub fn handle_link_connected(&mut self, link: Key, now: Instant) {
        self.now = now;
        self.with_upstream(|upstream| upstream.handle_connected(link, now));
    }

    /// That connect, or the connection, has failed or was closed.
    pub fn handle_link_failed(&mut self, link: Key, now: Instant) {
        self.now = now;
        self.with_upstream(|upstream| upstream.handle_failed(link, now));
    }

    /// Bytes have come from a registry or a resource server.
    pub fn handle_link_received(&mut self, link: Key, bytes: &[u8], now: Instant) {
        self.now = now;
        self.with_upstream(|upstream| upstream.handle_received(link, bytes, now));
    }

    /// The connection's socket takes bytes again.
    pub fn handle_link_writable(&mut self, link: Key, now: Instant) {
        self.now = now;
        self.with_upstream(|upstream| upstream.handle_writable(link, now));
    }

    /// Calls `write` with what the connection has to send; it returns how many bytes the socket
    /// took, and whether it takes no more until it says so.
    pub fn transmit_link(
        &mut self,
        link: Key,
        now: Instant,
        write: &mut dyn FnMut(&[u8]) -> (usize, bool),
    ) {
        self.now = now;
        self.with_upstream(|upstream| upstream.transmit(link, now, write));
    }
}

/// A consumer's end by whose access lists this hub judges.
fn upstream(me: Me, seek: Seek, now: Instant) -> Box<Upstream> {
    let mut upstream = Box::new(Upstream::new(me, seek, now));
    upstream.judge();
    upstream
}
