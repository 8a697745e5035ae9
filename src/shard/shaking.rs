//! Setting up TLS on connections that were accepted. It is the dearest thing that a stranger can
//! ask for, so it has a time of its own in each turn: a storm of clients waits for itself, and no
//! stream waits for it.

use std::sync::Arc;

use crate::auth::certificate::{Certificate, Secured};
use crate::base::id::ConnKey;
use crate::base::time::Span;
use crate::http::proxy;
use crate::reactor::front::{Front, Passed};
use crate::reactor::tls_shake::Shaken;
use crate::reactor::transport::{Io, Transport};
use crate::shard::turn::Shard;
use crate::shard::wires::{Input, Owner};

/// Time for handshakes in one turn; one that is begun is not broken off.
const SHAKE_SPAN: Span = Span::from_micros(300);
/// Bytes that a load balancer says before the client's.
const INTRODUCTION_BYTES_MAX: usize = 4_608;

impl Shard {
    /// Sets up TLS on a connection from now on.
    pub(crate) fn begin_shaking(&mut self, conn: ConnKey) {
        if let Some(wire) = self.wires.get(conn).filter(|wire| !wire.queued) {
            wire.queued = true;
            self.to_shake.push_back(conn);
        }
    }

    /// Goes on with handshakes on which something has moved, within bounds.
    pub(crate) fn shake_some(&mut self) {
        let mut budget = self.budget(SHAKE_SPAN);
        for _ in 0..self.to_shake.len() {
            if budget.is_spent(|| self.clock.now()) {
                return;
            }
            let Some(conn) = self.to_shake.pop_front() else { return };
            let Some(wire) = self.wires.get(conn) else { continue };
            wire.queued = false;
            self.shake(conn);
            // Each costs more than the clock does.
            budget.charge(u32::MAX as usize);
        }
    }

    fn shake(&mut self, conn: ConnKey) {
        if self.hub.awaits_introduction(conn)
            && !(self.take_introduction(conn) && self.hub.may_shake(conn, self.now))
        {
            return;
        }
        let Some(wire) = self.wires.get(conn) else { return };
        let Transport::Tls(secure) = &mut wire.transport else { return };
        match secure.shake() {
            Ok(Shaken::Pending) => {}
            Ok(Shaken::Done(shown)) => {
                wire.shaking = false;
                let secured = match shown {
                    Some(der) => Arc::new(Secured { certificate: Some(Certificate { der }) }),
                    None => Arc::clone(&self.unnamed),
                };
                self.hub.handle_secured(conn, secured, self.now);
                self.read_from_now(conn);
            }
            Ok(Shaken::Passed(passed)) => self.pass(conn, passed),
            Err(error) => {
                log::debug!("TLS handshake: {error}");
                self.strip(conn);
                self.hub.handle_unshaken(conn, self.now);
                self.read_from_now(conn);
            }
        }
    }

    /// From now on bytes are read and written as they are. The transport is registered as it was.
    fn strip(&mut self, conn: ConnKey) {
        let Some(wire) = self.wires.remove(conn) else { return };
        let transport = match wire.transport {
            Transport::Tls(secure) => secure.into_under(),
            plain => plain,
        };
        self.wires.insert(conn, transport, wire.owner == Owner::Publisher).input = wire.input;
    }

    /// Whoever comes from now on gets these certificates; who is there keeps what it has.
    pub(crate) fn renew_fronts(&mut self, fronts: &[Option<Arc<Front>>]) {
        for (entrance, front) in self.doors.iter_mut().zip(fronts) {
            entrance.front.clone_from(front);
        }
    }

    fn read_from_now(&mut self, conn: ConnKey) {
        if let Some(wire) = self.wires.get(conn) {
            wire.input = wire.input.max(Input::Bytes);
            self.queue_read(conn);
        }
    }

    /// A client wants somebody else: what it says goes there as it is.
    fn pass(&mut self, conn: ConnKey, passed: Passed) {
        self.strip(conn);
        let passed = (passed.name, passed.target, passed.heard);
        self.hub.handle_passed(conn, passed, self.now);
        self.read_from_now(conn);
    }

    /// Takes what a load balancer says before the handshake, and not a byte more; says whether it
    /// is complete.
    fn take_introduction(&mut self, conn: ConnKey) -> bool {
        let Some(wire) = self.wires.get(conn) else { return false };
        let Transport::Tls(secure) = &mut wire.transport else { return false };
        let mut bytes = [0; INTRODUCTION_BYTES_MAX];
        let seen = match secure.under().peek(&mut bytes) {
            Io::Bytes(count) | Io::All(count) => count,
            Io::Blocked => return false,
            Io::Closed => {
                self.hub.handle_peer_closed(conn, self.now);
                return false;
            }
            Io::Failed(error) => {
                self.fail(conn, "peek", &error);
                return false;
            }
        };
        let length = match proxy::introduction(&bytes[..seen]) {
            Ok(None) => return false,
            Ok(Some(introduction)) => introduction.bytes,
            // It is the core that refuses it.
            Err(_) => seen,
        };
        let (Io::Bytes(count) | Io::All(count)) = secure.under_mut().read(&mut bytes[..length])
        else {
            return false;
        };
        self.hub.handle_received(conn, &bytes[..count], self.now);
        !self.hub.awaits_introduction(conn) && self.wires.get(conn).is_some()
    }
}
