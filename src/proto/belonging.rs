//! Sessions and their users: whose a session is, and what happens when that runs out.

use std::sync::Arc;

use crate::auth::verdict::{Proof, Refusal};
use crate::base::id::Key;
use crate::base::reason::ChannelEnd;
use crate::base::time::{Instant, Span};
use crate::html::frame;
use crate::proto::answer::{Answer, quote};
use crate::proto::hub::Hub;
use crate::proto::porter::refusal;
use crate::proto::session::{ChannelState, Session};

/// How long before its end a session is told of it where no rule says so: the web server may have
/// made it, though nobody proves anything here.
const WARNING: Span = Span::from_secs(60);

impl Hub {
    /// Why somebody who has proved that, or nothing, gets no session and no answer about topics.
    pub(crate) fn refuse_unknown(&mut self, proof: Option<&Proof>) -> Option<Answer> {
        let demand = match &self.porter {
            Some(porter) if porter.office.required && proof.is_none() => porter.office.demand(),
            _ => return None,
        };
        Some(refusal(&self.count_refusal(demand)))
    }

    /// Why somebody who has proved that may not use the session: it is another's.
    pub(crate) fn refuse_other(&mut self, session: Key, proof: Option<&Proof>) -> Option<Answer> {
        let owner = self.sessions.get(session)?.identity.as_ref()?;
        if proof.is_none_or(|proof| proof.identity.user == owner.user) {
            return None;
        }
        let why = Refusal::Forbidden("this session is another user's".into());
        Some(refusal(&self.count_refusal(why)))
    }

    /// `renew`: the session goes on with what was proved anew.
    pub(crate) fn renew(&mut self, session: Key, proof: Option<&Proof>) -> Answer {
        let Some(proof) = proof else {
            let Some(porter) = &self.porter else {
                let why = Refusal::Unknown("nobody proves who they are to this server".into());
                return refusal(&why);
            };
            let demand = porter.office.demand();
            return refusal(&self.count_refusal(demand));
        };
        if let Err(refusal) = self.belong(session, Arc::clone(&proof.identity)) {
            return refusal;
        }
        self.recheck_session(session);
        if let Some(porter) = &mut self.porter {
            porter.counts.renewed += 1;
        }
        Answer::ok(&told(Some(proof)))
    }

    /// When the session's user is to be told of its end, and when that is.
    fn ends_at(&self, session: &Session) -> Option<(Instant, Instant)> {
        let expires = session.identity.as_ref()?.expires?;
        let micros = expires.saturating_mul(1_000_000).saturating_sub(self.unix_micros_at_zero);
        let end = Instant::ZERO + Span::from_nanos(micros.saturating_mul(1_000));
        let warning = self.porter.as_ref().map_or(WARNING, |porter| porter.office.warning);
        let warned = Span::from_nanos(end.as_nanos().saturating_sub(warning.as_nanos()));
        Some((Instant::ZERO + warned, end))
    }

    /// The next moment at which something is due because of who the session's user is.
    pub(crate) fn user_moment(&self, session: &Session) -> Instant {
        match self.ends_at(session) {
            Some((warning, _)) if !session.warned => warning,
            Some((_, end)) => end,
            None => Instant::NEVER,
        }
    }

    /// Tells the session's documents of the end of its identity, or brings it about; says whether
    /// the session has ended.
    pub(crate) fn watch_user(&mut self, key: Key) -> bool {
        let now = self.now;
        let Some(session) = self.sessions.get(key) else { return true };
        let Some((warning, end)) = self.ends_at(session) else { return false };
        if end <= now {
            self.expire_session(key);
            return true;
        }
        if warning <= now && !session.warned {
            let slots: Vec<u32> = session.document_slots().collect();
            if let Some(session) = self.sessions.get_mut(key) {
                session.warned = true;
            }
            for slot in slots {
                self.tell_expiry(slot, key);
            }
        }
        false
    }

    /// Tells a document how long its session's user is still known, once that was told to others.
    pub(crate) fn tell_expiry(&mut self, slot: u32, key: Key) {
        let now = self.now;
        let Some(session) = self.sessions.get(key).filter(|session| session.warned) else { return };
        let Some((_, end)) = self.ends_at(session) else { return };
        let Some(document) = self.documents.at_mut(slot) else { return };
        if document.ending.is_none() && !document.ended {
            frame::moved(document.notes.get_mut(), "expiry", Some(end.since(now)));
            self.name_document(slot);
        }
    }

    fn expire_session(&mut self, key: Key) {
        if let Some(porter) = &mut self.porter {
            porter.counts.expired += 1;
        }
        let channels = self.sessions.get(key).map_or(0, |session| session.channels.len());
        for index in 0..channels {
            let channel = self.sessions.get(key).and_then(|session| session.channels.get(index));
            if channel.is_some_and(|channel| matches!(channel.state, ChannelState::Open(_))) {
                self.end_channel(key, index, ChannelEnd::Expired, None);
            }
        }
        self.end_session(key);
    }
}

/// What the answer to `login` or `renew` says of the user, as members of a JSON object.
pub(crate) fn told(proof: Option<&Proof>) -> String {
    let Some(proof) = proof else { return String::new() };
    let mut members = format!(",\"user\":{}", quote(&proof.identity.user));
    if let Some(expires) = proof.identity.expires {
        members.push_str(&format!(",\"expires\":{expires}"));
    }
    if let Some(key) = &proof.key {
        members.push_str(&format!(",\"key\":{}", quote(key.expose())));
    }
    members
}
