//! What every end of the resource protocol is: connections, and what their frames mean to it.

use crate::base::id::Key;
use crate::base::time::Instant;
use crate::link::links::{Links, Output, Seen};
use crate::link::peer::{End, Other};
use crate::wire::resource::Frame;

/// A registry, a resource server, or a consumer of resources: a state machine without sockets,
/// clock and threads. The shell calls the `handle_*` methods, then drains
/// [`Station::poll_output`] to the end.
pub trait Station {
    /// Its connections.
    fn links(&mut self) -> &mut Links;

    /// The other end of a connection has said who it is.
    fn on_greeted(&mut self, link: Key);

    /// A frame has come that is about more than the connection itself.
    fn on_frame(&mut self, link: Key, frame: &Frame<'_>);

    /// A connection is over; its key means nothing any more. `other` is `None` if it never said who
    /// it is.
    fn on_over(&mut self, link: Key, other: Option<Other>, end: End);

    /// Everything is sent that was put on the connection.
    fn on_emptied(&mut self, link: Key) {
        let _ = link;
    }

    /// Time has passed.
    fn on_time(&mut self) {}

    /// When the station's own timers are due.
    fn next_moment(&self) -> Option<Instant> {
        None
    }

    /// Somebody has dialled this process; the key of the connection.
    fn handle_accepted(&mut self, now: Instant) -> Key {
        self.links().set_now(now);
        self.links().accept()
    }

    /// The connect that [`Output::Dial`] asked for has worked.
    fn handle_connected(&mut self, link: Key, now: Instant) {
        self.links().set_now(now);
        self.links().connected(link);
    }

    /// That connect, or the connection, has failed, or the other end has closed it.
    fn handle_failed(&mut self, link: Key, now: Instant) {
        self.links().set_now(now);
        self.links().failed(link);
        self.settle();
    }

    /// Bytes have come.
    fn handle_received(&mut self, link: Key, bytes: &[u8], now: Instant) {
        self.links().set_now(now);
        let Some(mut decoder) = self.links().lend(link) else { return };
        let outcome = decoder.push(bytes, |frame| match self.links().see(link, &frame) {
            Seen::Nothing => {}
            Seen::Greeted => self.on_greeted(link),
            Seen::Frame => self.on_frame(link, &frame),
        });
        self.links().give_back(link, decoder, outcome);
        self.settle();
    }

    /// A socket takes bytes again.
    fn handle_writable(&mut self, link: Key, now: Instant) {
        self.links().set_now(now);
        self.links().writable(link);
    }

    /// Time has passed.
    fn handle_timeout(&mut self, now: Instant) {
        self.links().set_now(now);
        self.links().timeout();
        self.settle();
        self.on_time();
        self.settle();
    }

    /// When [`Station::handle_timeout`] is due at the latest.
    fn poll_timeout(&mut self) -> Option<Instant> {
        let own = self.next_moment();
        [self.links().next_timeout(), own].into_iter().flatten().min()
    }

    /// What the shell does next.
    fn poll_output(&mut self) -> Option<Output> {
        self.settle();
        self.links().poll_output()
    }

    /// Calls `write` with what a connection has to send; it returns how many bytes the socket took,
    /// and whether it takes no more until it says so.
    fn transmit(&mut self, link: Key, now: Instant, write: &mut dyn FnMut(&[u8]) -> (usize, bool)) {
        self.links().set_now(now);
        let bytes = self.links().unsent(link);
        if !bytes.is_empty() {
            let (taken, blocked) = write(bytes);
            self.links().sent(link, taken, blocked);
        }
        self.settle();
    }

    /// Tells the station what has become of its connections.
    fn settle(&mut self) {
        while let Some((link, other, end)) = self.links().next_over() {
            self.on_over(link, other, end);
        }
        while let Some(link) = self.links().next_emptied() {
            self.on_emptied(link);
        }
    }
}
