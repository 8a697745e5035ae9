//! Taking in the connections of a listener.

use std::io::IoSlice;

use crate::base::time::Span;
use crate::proto::connection::Door;
use crate::reactor::tls::Secure;
use crate::reactor::transport::Transport;
use crate::shard::turn::{ACCEPT_SPAN, Shard};

/// How long a listener that could not accept is left alone.
const ACCEPT_RETRY: Span = Span::from_millis(5);
impl Shard {
    /// Accepts what waits at a listener, within bounds.
    pub(crate) fn accept(&mut self, index: usize) {
        let mut budget = self.budget(ACCEPT_SPAN);
        while !budget.is_spent(|| self.clock.now()) {
            let Some(entrance) = self.doors.get_mut(index) else { return };
            let Some(listener) = entrance.listener.as_mut().filter(|_| entrance.waiting) else {
                return;
            };
            match listener.accept() {
                Ok(Some((transport, peer))) => {
                    let (gate, front) = (entrance.gate, entrance.front.clone());
                    // Where a load balancer stands before it, whose it is is not known yet.
                    let counts = !gate.introduced && !gate.door.is_private();
                    let shakes = front.is_some() && counts;
                    if shakes && !self.hub.allow_handshake(peer, self.now) {
                        continue;
                    }
                    let Some(conn) = self.hub.handle_accepted(peer, gate, self.now) else {
                        if front.is_none() {
                            turn_away(transport, gate.door);
                        }
                        continue;
                    };
                    match front {
                        None => {
                            self.keep(conn, transport, gate.door, true);
                            self.try_to_read(conn);
                        }
                        Some(front) => {
                            let secure = Box::new(Secure::accept(transport, front));
                            self.keep(conn, Transport::Tls(secure), gate.door, true);
                            self.begin_shaking(conn);
                        }
                    }
                }
                Ok(None) => entrance.waiting = false,
                Err(error) => {
                    // No edge will tell when descriptors or memory are there again.
                    log::warn!("accept: {error}");
                    entrance.waiting = false;
                    self.accept_at = Some(self.now + ACCEPT_RETRY);
                    return;
                }
            }
        }
    }
}

/// Says why in one write, as far as that can be heard: nothing is kept of a connection that is one
/// too many, and what its client has sent already may reset it first.
fn turn_away(mut transport: Transport, door: Door) {
    const WORDS: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\n\
        Content-Length: 45\r\nRetry-After: 5\r\nConnection: close\r\n\r\n\
        429 Too Many Requests: too many connections.\n";
    if door == Door::Public {
        let _ = transport.send(&[IoSlice::new(WORDS)]);
    }
}
