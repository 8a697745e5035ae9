//! What happens on a connection before its first byte of HTTP.

use std::sync::Arc;

use crate::auth::certificate::Secured;
use crate::base::id::ConnKey;
use crate::base::reason::CloseReason;
use crate::base::time::Instant;
use crate::proto::connection::Phase;
use crate::proto::hub::Hub;

impl Hub {
    /// TLS protects the connection, as was found before its first byte came.
    pub fn handle_secured(&mut self, conn: ConnKey, secured: Arc<Secured>, now: Instant) {
        self.now = now;
        if let Some(connection) = self.conns.get_mut(conn) {
            connection.secured = Some(secured);
            self.stats.handshakes += 1;
            self.set_deadline(conn, self.settings.idle_timeout);
        }
    }

    /// Setting up TLS has failed, and the client was told why. What it sends yet is thrown away for
    /// a moment: where nobody reads it, the system resets the connection, and that may be all that
    /// the client sees.
    pub fn handle_unshaken(&mut self, conn: ConnKey, now: Instant) {
        self.now = now;
        self.stats.handshakes_failed += 1;
        self.finish(conn, CloseReason::TransportError);
    }

    /// Whether a load balancer has still to say who the client is.
    pub fn awaits_introduction(&self, conn: ConnKey) -> bool {
        let connection = self.conns.get(conn);
        connection.is_some_and(|connection| matches!(connection.phase, Phase::Introduction))
    }
}
