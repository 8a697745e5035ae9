//! Taking in the connections of a listener.

use crate::base::time::Span;
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
                    let Some(conn) = self.hub.handle_accepted(peer, gate, self.now) else {
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
