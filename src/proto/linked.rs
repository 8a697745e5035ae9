//! The hub's connections to registries and resource servers, as its shell sees them.

use crate::base::id::Key;
use crate::base::time::Instant;
use crate::link::peer::Me;
use crate::link::station::Station as _;
use crate::link::upstream::{Seek, Upstream};
use crate::proto::hub::Hub;

impl Hub {
    /// Has resources that are not in the directory sought in other processes, from now on.
    pub fn look_for_resources(&mut self, me: Me, seek: Seek, now: Instant) {
        self.now = now;
        self.remote.upstream = Some(Box::new(Upstream::new(me, seek, now)));
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
