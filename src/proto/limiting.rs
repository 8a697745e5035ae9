//! Where the limits against abuse are applied, and what is said to whoever meets one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::auth::identity::Identity;
use crate::base::id::{ConnKey, Key};
use crate::base::reason::{CloseReason, ErrorCode};
use crate::base::time::Instant;
use crate::http::status::Refusal;
use crate::proto::answer::Answer;
use crate::proto::connection::{Connection, Door, Gate, Phase};
use crate::proto::hub::Hub;
use crate::proto::limits::Limits;

/// How often each limit was met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// Connections that were turned away because their address had as many as it may.
    pub connections: u64,
    /// TLS handshakes that came too fast from one address.
    pub handshakes: u64,
    /// Sessions that came too fast from one address.
    pub logins: u64,
    /// Sessions that one user more has than it may.
    pub sessions: u64,
    /// Channels beyond those that one session may have.
    pub channels: u64,
    /// Commands that came too fast.
    pub commands: u64,
    /// Heads that did not arrive in time.
    pub heads: u64,
    /// Bodies that did not arrive in time, or too slowly.
    pub bodies: u64,
}

impl Met {
    /// Adds another shard's.
    pub fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.handshakes += other.handshakes;
        self.logins += other.logins;
        self.sessions += other.sessions;
        self.channels += other.channels;
        self.commands += other.commands;
        self.heads += other.heads;
        self.bodies += other.bodies;
    }

    /// Every figure with its name.
    pub fn named(&self) -> [(&'static str, u64); 8] {
        [
            ("limits_connections", self.connections),
            ("limits_handshakes", self.handshakes),
            ("limits_logins", self.logins),
            ("limits_sessions", self.sessions),
            ("limits_channels", self.channels),
            ("limits_commands", self.commands),
            ("limits_heads", self.heads),
            ("limits_bodies", self.bodies),
        ]
    }
}

impl Hub {
    /// Has clients bounded by these limits, which all shards of a process share.
    pub fn limit_by(&mut self, limits: Arc<Limits>) {
        self.limits = Some(limits);
    }

    /// Whether a client from there may begin a TLS handshake now. Asked once for each connection,
    /// before anything is computed for it; where the answer is no, it is closed.
    pub fn allow_handshake(&mut self, client: SocketAddr, now: Instant) -> bool {
        let limits = self.limits.as_ref();
        let allowed = limits.is_none_or(|limits| limits.allow_handshake(client.ip(), now));
        self.stats.met.handshakes += u64::from(!allowed);
        allowed
    }

    /// The same of a connection whose client a load balancer has just introduced; where the answer
    /// is no, it closes.
    pub fn may_shake(&mut self, conn: ConnKey, now: Instant) -> bool {
        self.now = now;
        let Some(connection) = self.conns.get(conn) else { return false };
        let (client, refused) = (connection.address(), connection.last_taken);
        let may = !refused && self.allow_handshake(client, now);
        if !may {
            // Words would not be understood before the handshake.
            self.close(conn, CloseReason::TooMany);
        }
        may
    }

    /// Whether a connection may come in, as far as its address goes. Where a load balancer stands
    /// before the listener, the address is not known yet.
    pub(crate) fn admits(&mut self, peer: SocketAddr, gate: Gate) -> bool {
        if gate.introduced || gate.door.is_private() {
            return true;
        }
        let now = self.now;
        let limits = self.limits.as_ref();
        let admitted = limits.is_none_or(|limits| limits.admit(peer.ip(), now));
        self.stats.met.connections += u64::from(!admitted);
        admitted
    }

    /// A load balancer has said whose connection this is; says whether it may go on. It counts in
    /// any case, until it is closed.
    pub(crate) fn introduce(&mut self, conn: ConnKey, client: Option<SocketAddr>) -> bool {
        let now = self.now;
        let Some(connection) = self.conns.get_mut(conn) else { return false };
        connection.phase = Phase::Head;
        if let Some(client) = client {
            connection.introduce(client);
        }
        let address = connection.address().ip();
        let limits = self.limits.as_ref();
        let admitted = limits.is_none_or(|limits| limits.enter(address, now));
        if !admitted {
            self.stats.met.connections += 1;
            self.refuse(conn, Refusal::TooMany, CloseReason::TooMany);
        }
        admitted
    }

    /// A connection has ended that was in `phase`.
    pub(crate) fn leave_address(&self, connection: &Connection, phase: &Phase) {
        if connection.door.is_private() || matches!(phase, Phase::Introduction) {
            return;
        }
        if let Some(limits) = &self.limits {
            limits.leave(connection.address().ip(), self.now);
        }
    }

    /// Whether a new session may begin for whoever comes from there.
    pub(crate) fn allow_login(&mut self, client: SocketAddr) -> Result<(), Answer> {
        let now = self.now;
        let limits = self.limits.as_ref();
        if limits.is_none_or(|limits| limits.allow_login(client.ip(), now)) {
            return Ok(());
        }
        self.stats.met.logins += 1;
        Err(Answer::error(ErrorCode::TooMany, "too many new sessions from this address"))
    }

    /// Whether a session may have a command carried out now; if not, what is answered.
    pub(crate) fn allow_command(&mut self, session: Key, address: IpAddr) -> Result<(), Answer> {
        let now = self.now;
        let (Some(limits), Some(session)) = (&self.limits, self.sessions.get_mut(session)) else {
            return Ok(());
        };
        if limits.allow_command(address, &mut session.pace, now) {
            return Ok(());
        }
        self.stats.met.commands += 1;
        Err(too_fast("too many commands a second in this session"))
    }

    /// The same for a command without a session, by the address that it comes from.
    pub(crate) fn allow_request(&mut self, from: IpAddr) -> Result<(), Answer> {
        let limits = self.limits.as_ref();
        if limits.is_none_or(|limits| limits.allow_request(from, self.now)) {
            return Ok(());
        }
        self.stats.met.commands += 1;
        Err(too_fast("too many commands a second from this address"))
    }

    /// A new session for whoever comes from there, or for whom a web server asks; it belongs to
    /// that user, if there is one.
    ///
    /// # Errors
    ///
    /// The answer where there is no room, or the address or the user has had enough.
    pub(crate) fn new_session(
        &mut self,
        from: Option<SocketAddr>,
        identity: Option<Arc<Identity>>,
    ) -> Result<Key, Answer> {
        from.map_or(Ok(()), |from| self.allow_login(from))?;
        let full = |code| Answer::error(code, "no room for another session");
        let session = self.begin_session().map_err(full)?;
        if let Some(identity) = identity
            && let Err(refusal) = self.belong(session, identity)
        {
            self.end_session(session);
            return Err(refusal);
        }
        self.arm_session(session);
        Ok(session)
    }

    /// Lets a session belong to its user, or to the same one with other rights or another end.
    ///
    /// # Errors
    ///
    /// The user has as many sessions as it may; then the session belongs to whom it did before.
    pub(crate) fn belong(&mut self, key: Key, identity: Arc<Identity>) -> Result<(), Answer> {
        let Some(session) = self.sessions.get_mut(key) else { return Ok(()) };
        let before = session.identity.as_ref().map(|identity| identity.user.as_str());
        if before != Some(identity.user.as_str())
            && let Some(limits) = &self.limits
        {
            if !limits.admit_user(&identity.user) {
                self.stats.met.sessions += 1;
                let detail = "this user has as many sessions as it may have";
                return Err(Answer::error(ErrorCode::TooMany, detail));
            }
            if let Some(before) = before {
                limits.leave_user(before);
            }
        }
        session.identity = Some(identity);
        session.warned = false;
        self.arm_session(key);
        Ok(())
    }

    /// A session has ended that belonged to somebody, or to nobody.
    pub(crate) fn forget_user(&self, identity: Option<&Identity>) {
        if let (Some(limits), Some(identity)) = (&self.limits, identity) {
            limits.leave_user(&identity.user);
        }
    }

    /// The moment by which the body must be whole that is on its way.
    pub(crate) fn body_until(&self, conn: ConnKey) -> Instant {
        let Some(connection) = self.conns.get(conn) else { return Instant::NEVER };
        let (Phase::Body(body), Some(limits)) = (&connection.phase, &self.limits) else {
            return Instant::NEVER;
        };
        if connection.door.is_private() || limits.is_exempt(connection.address().ip()) {
            return Instant::NEVER;
        }
        let bytes = body.content.len() as u64;
        limits.body_until(body.began, bytes, self.settings.body_timeout)
    }

    /// A request did not arrive in time.
    pub(crate) fn count_slow(&mut self, conn: ConnKey) {
        match self.conns.get(conn).map(|connection| &connection.phase) {
            Some(Phase::Body(_)) => self.stats.met.bodies += 1,
            Some(_) => self.stats.met.heads += 1,
            None => {}
        }
    }
}

impl Door {
    /// Whether it is for publishers and operators, not for clients.
    pub const fn is_private(self) -> bool {
        matches!(self, Self::Private | Self::Local)
    }
}

fn too_fast(detail: &str) -> Answer {
    Answer::error(ErrorCode::TooMany, detail)
}
