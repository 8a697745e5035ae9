//! Who may open and read what: access lists at each way in, and again when something has changed.
//!
//! A client is looked at when it opens a channel, asks for a history or sends, each time with the
//! connection that asks; a session's open channels are looked at again when it begins a document,
//! when it has become somebody else, and when a list has changed.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::auth::access::{Asking, By, Decision, Lists};
use crate::auth::certificate::Secured;
use crate::auth::list::List;
use crate::auth::rule::Bounds;
use crate::base::id::{Cid, ConnKey, Key};
use crate::base::name::TopicName;
use crate::base::reason::{ChannelEnd, ErrorCode};
use crate::base::time::{Instant, Span};
use crate::proto::hub::Hub;
use crate::proto::parcel::{Forwarded, Listed, Parcel};
use crate::proto::session::ChannelState;
use crate::proto::timer::Timer;
use crate::proto::topic::Role;

/// Refusals a second that are told one by one: clients may cause as many as they like.
const TOLD_MAX: u32 = 20;
/// Sessions that are looked at again at a time.
const SLICE: usize = 256;
/// How long the next ones wait.
const SLICE_EVERY: Span = Span::from_millis(1);

/// What access lists have refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Opens, histories and sends, by a list.
    pub by_list: u64,
    /// The same, by the rights of a session.
    pub by_rights: u64,
    /// The same, until the client says more of who it is.
    pub more: u64,
    /// Channels that were open and are allowed no more.
    pub ended: u64,
}

impl Refusals {
    /// Adds what another shard has counted.
    pub fn add(&mut self, other: &Self) {
        self.by_list += other.by_list;
        self.by_rights += other.by_rights;
        self.more += other.more;
        self.ended += other.ended;
    }

    /// By name.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        [
            ("access_denied_by_list", self.by_list),
            ("access_denied_by_rights", self.by_rights),
            ("access_auth_required", self.more),
            ("access_channels_ended", self.ended),
        ]
        .into_iter()
    }
}

/// The lists of a hub, and what is to be done about them.
#[derive(Debug)]
pub(crate) struct Access {
    lists: Arc<Lists>,
    /// Sessions that are to be looked at again.
    again: Vec<Key>,
    /// In which second of the server's clock refusals were last told, how many, and how many were
    /// not.
    told: (u64, u32, u64),
}

impl Access {
    pub(crate) fn new(lists: Arc<Lists>) -> Self {
        Self { lists, again: Vec::new(), told: (0, 0, 0) }
    }

    /// Refusals that are still to be told as a number.
    #[cfg(test)]
    pub(crate) fn untold(&self) -> u64 {
        self.told.2
    }

    /// Tells the operator of a refusal, unless there are too many.
    fn tell(
        told: &mut (u64, u32, u64),
        now: Instant,
        what: &str,
        (asking, name, by): (&Asking, &str, By<'_>),
    ) {
        let (second, count, left_out) = told;
        let present = now.as_nanos() / 1_000_000_000;
        if *second != present {
            (*second, *count) = (present, 0);
            if *left_out > 0 {
                log::info!("access: {left_out} more refusals were not told");
                *left_out = 0;
            }
        }
        if *count >= TOLD_MAX {
            *left_out += 1;
            return;
        }
        *count += 1;
        let user = asking.user();
        let user = if user.is_empty() { "-" } else { user };
        let address = asking.address;
        log::info!("access {what}: user={user:?} address={address} topic={name:?} by {by}");
    }
}

/// What is known of the client of a command that names no session.
pub(crate) fn asking_alone(forwarded: &Forwarded) -> Asking {
    let tls = forwarded.secured.is_some();
    let identity = forwarded.proof.as_ref().map(|proof| Arc::clone(&proof.identity));
    Asking { tls, identity, ..Asking::from_address(forwarded.address.ip()) }
}

impl Hub {
    /// Has these lists decide from now on. Channels that are open and not allowed any more end
    /// `denied`, within moments.
    pub fn set_access(&mut self, lists: Arc<Lists>, now: Instant) {
        self.now = now;
        self.access.lists = lists;
        let all = self.sessions.keys().collect();
        self.recheck_later(all);
    }

    /// Whether a client may read a topic; `theirs` is the list of its resource server, where there
    /// is such.
    pub fn may_open<'a>(
        &'a self,
        asking: &Asking,
        name: &TopicName,
        theirs: Option<&'a List>,
    ) -> Decision<'a> {
        self.access.lists.decide(asking, name, theirs)
    }

    /// The same for a client that wants to: a refusal is counted and told.
    pub(crate) fn admit(
        &mut self,
        asking: &Asking,
        name: &TopicName,
        theirs: Option<&List>,
    ) -> Result<Bounds, (ErrorCode, String)> {
        let Access { lists, told, .. } = &mut self.access;
        let decision = lists.decide(asking, name, theirs);
        let (code, by) = match decision.bounds() {
            Ok(bounds) => return Ok(bounds),
            Err(refusal) => refusal,
        };
        Access::tell(told, self.now, "denied", (asking, name.as_str(), by));
        let is_by_rights = by == By::Rights;
        self.count_denial(code, is_by_rights);
        Err((code, refusal_detail(code, name.as_str())))
    }

    /// The same for a topic that there is, with the list of its resource server.
    pub(crate) fn admit_to(
        &mut self,
        asking: &Asking,
        slot: u32,
    ) -> Result<Bounds, (ErrorCode, String)> {
        let Some(topic) = self.topics.slots.at(slot) else {
            return Err((ErrorCode::Busy, "the topic has just ended".to_string()));
        };
        let (name, access) = (topic.name.clone(), topic.access.clone());
        self.admit(asking, &name, access.as_deref())
    }

    /// Whether a client may open any topic of a resource, as far as its lists are known here.
    pub(crate) fn may_open_any(
        &mut self,
        asking: &Asking,
        resource: &str,
    ) -> Result<(), (ErrorCode, String)> {
        let upstream = self.remote.upstream.as_ref();
        let theirs = upstream.and_then(|upstream| upstream.list_of(resource));
        let Access { lists, told, .. } = &mut self.access;
        let decision = lists.decide_resource(asking, resource, theirs.as_deref());
        if let Err((code, by)) = decision.bounds() {
            Access::tell(told, self.now, "denied", (asking, resource, by));
            let is_by_rights = by == By::Rights;
            self.count_denial(code, is_by_rights);
            return Err((code, refusal_detail(code, resource)));
        }
        let is_known = self.directory.resource(resource).is_some();
        if is_known || self.remote.upstream.is_some() {
            return Ok(());
        }
        Err((ErrorCode::NoResource, "no such resource".to_string()))
    }

    fn count_denial(&mut self, code: ErrorCode, by_rights: bool) {
        let counts = &mut self.stats.access;
        match code {
            ErrorCode::AuthRequired => counts.more += 1,
            _ if by_rights => counts.by_rights += 1,
            _ => counts.by_list += 1,
        }
    }

    /// What is known of a session's client that asks over a connection of that address. What it
    /// opens goes out over its documents, so TLS must protect these too.
    pub(crate) fn asking_for(
        &self,
        session: Key,
        address: SocketAddr,
        secured: &Option<Arc<Secured>>,
    ) -> Asking {
        let session = self.sessions.get(session);
        let mut slots = session.into_iter().flat_map(|session| session.document_slots());
        let is_plain = |slot: u32| {
            let document = self.documents.at(slot);
            let conn = document.and_then(|document| self.conns.get(document.conn));
            conn.is_some_and(|conn| conn.secured.is_none())
        };
        Asking {
            identity: session.and_then(|session| session.identity.clone()),
            address: address.ip(),
            tls: secured.is_some() && !slots.any(is_plain),
            seal: session.is_some_and(|session| session.seal.is_some()),
        }
    }

    /// Whether the client may send on a channel that it reads.
    pub(crate) fn check_sends(
        &mut self,
        session: Key,
        cid: Cid,
        asking: &Asking,
    ) -> Result<(), (ErrorCode, &'static str)> {
        let found = self.sessions.get(session);
        let channel = found.and_then(|session| session.channels.get(session.find_channel(cid)?));
        let Some(slot) = channel.and_then(|channel| channel.topic()) else {
            return Err((ErrorCode::NoChannel, "no such channel"));
        };
        match self.admit_to(asking, slot) {
            Ok(bounds) if bounds.sends => Ok(()),
            Ok(_) => Err((ErrorCode::Forbidden, "you may read here, and not send")),
            Err((code, _)) => Err((code, "you may not read this any more")),
        }
    }

    /// The session's client has become somebody else, or may do less: its channels are looked at
    /// again, and those that are not allowed any more end `denied`. Where it has no document, that
    /// is done when it begins one.
    pub fn recheck_session(&mut self, session: Key) {
        let Some(found) = self.sessions.get(session) else { return };
        for slot in found.document_slots() {
            if let Some(conn) = self.documents.at(slot).map(|document| document.conn) {
                self.recheck_for(session, conn);
            }
        }
    }

    /// The same for a document on that connection.
    pub(crate) fn recheck_for(&mut self, session_key: Key, conn: ConnKey) {
        let Some(connection) = self.conns.get(conn) else { return };
        let asking = self.asking_for(session_key, connection.address(), &connection.secured);
        let Some(session) = self.sessions.get(session_key) else { return };
        let mut changes = Vec::new();
        for (index, channel) in session.channels.iter().enumerate() {
            if let ChannelState::Opening(ask) = channel.state
                && let Some(opening) = self.openings.get_mut(ask)
            {
                // It is looked at when its topic is known.
                opening.consumer.identity.clone_from(&asking.identity);
                opening.asking = asking.clone();
            }
            let Some(topic) = channel.topic().and_then(|slot| self.topics.slots.at(slot)) else {
                continue;
            };
            let Access { lists, told, .. } = &mut self.access;
            match lists.decide(&asking, &topic.name, topic.access.as_deref()).bounds() {
                Ok(bounds) if bounds.limit(channel.rate) == channel.rate => {}
                // To read it more slowly means to pass over messages.
                Ok(bounds) if topic.options.latest => {
                    changes.push((index, Some(bounds.limit(channel.rate))));
                }
                Ok(_) => changes.push((index, None)),
                Err((_, by)) => {
                    let name = topic.name.as_str();
                    Access::tell(told, self.now, "ended", (&asking, name, by));
                    changes.push((index, None));
                }
            }
        }
        for (index, rate) in changes {
            match rate {
                Some(rate) => self.slow_down(session_key, index, rate),
                None => {
                    self.stats.access.ended += 1;
                    self.end_channel(session_key, index, ChannelEnd::Denied, None);
                }
            }
        }
    }

    /// A channel that is open goes on with so many messages a second at most.
    fn slow_down(&mut self, session_key: Key, index: usize, rate: u16) {
        let Some(session) = self.sessions.get_mut(session_key) else { return };
        let Some(channel) = session.channels.get_mut(index) else { return };
        channel.rate = rate;
        for slot in session.document_slots() {
            let Some(document) = self.documents.at_mut(slot) else { continue };
            if let Some(cursor) = document.cursors.get_mut(index) {
                cursor.rate = rate;
                document.rated = true;
            }
        }
    }

    /// Has sessions looked at again, a few at a time, so that no stream waits for that.
    fn recheck_later(&mut self, sessions: Vec<Key>) {
        if self.access.again.is_empty() && !sessions.is_empty() {
            self.wheel.insert(self.now, Timer::Recheck.pack());
        }
        self.access.again.extend(sessions);
    }

    pub(crate) fn fire_recheck(&mut self) {
        let from = self.access.again.len().saturating_sub(SLICE);
        for session in self.access.again.split_off(from) {
            self.recheck_session(session);
        }
        if !self.access.again.is_empty() {
            self.wheel.insert(self.now + SLICE_EVERY, Timer::Recheck.pack());
        }
    }

    /// The list of the resource server behind a topic: other shards that read it learn of it, and
    /// whoever may not read it any more loses it.
    pub(crate) fn set_access_of(&mut self, slot: u32, access: Option<Arc<List>>) {
        let Some(topic) = self.topics.slots.at_mut(slot) else { return };
        if topic.access == access {
            return;
        }
        topic.access.clone_from(&access);
        let number = topic.number;
        let followers = match &topic.role {
            Role::Home { followers, .. } => followers.iter().map(|one| one.shard).collect(),
            Role::Follower(_) | Role::Private => Vec::new(),
        };
        let documents = topic.subscribers.iter().map(|subscriber| subscriber.document);
        let mut sessions: Vec<Key> = documents
            .filter_map(|slot| self.sessions.key_at(self.documents.at(slot)?.session))
            .collect();
        sessions.dedup();
        for shard in followers {
            self.post(shard, Parcel::Access(Listed::Shared(number), access.clone()));
        }
        self.recheck_later(sessions);
    }

    /// From a topic's home: the list of its resource server has changed.
    pub(crate) fn take_access(&mut self, topic: Listed, access: Option<Arc<List>>) {
        let slot = match topic {
            Listed::Shared(number) => self.topics.find_number(number),
            Listed::Private(key) => self.topics.slots.get(key).map(|_| key.slot),
        };
        if let Some(slot) = slot {
            self.set_access_of(slot, access);
        }
    }
}

/// What a client is told; which rule it was is for the operator alone.
fn refusal_detail(code: ErrorCode, what: &str) -> String {
    match code {
        ErrorCode::AuthRequired => format!("to read {what} you must say who you are"),
        _ => format!("you may not read {what}"),
    }
}
