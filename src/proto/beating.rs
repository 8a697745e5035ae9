//! Heartbeats both ways: the interval that a session agrees on, and the client that must be heard.

use crate::base::id::Key;
use crate::base::reason::CloseReason;
use crate::base::time::{Instant, Span};
use crate::proto::hub::Hub;
use crate::proto::output::Output;
use crate::proto::session::Session;
use crate::proto::settings::Settings;

impl Hub {
    /// Sets the session's interval, where one is wanted, and returns what is in force for the
    /// documents to come. Those that live keep what they have told.
    pub(crate) fn agree_on_heartbeat(&mut self, key: Key, wanted: Option<Span>) -> Span {
        let interval = wanted.map(|wanted| self.settings.bound_heartbeat(wanted));
        let Some(session) = self.sessions.get_mut(key) else { return self.settings.heartbeat };
        session.heartbeat = interval.map_or(session.heartbeat, Into::into);
        let agreed = session.heartbeat.span();
        self.arm_session(key);
        agreed
    }

    /// Sets the interval of the session and of all its documents; each tells it at once with a
    /// heartbeat. Returns what is in force.
    pub(crate) fn change_heartbeat(&mut self, key: Key, wanted: Option<Span>) -> Span {
        let interval = self.agree_on_heartbeat(key, wanted);
        let Some(session) = self.sessions.get_mut(key).filter(|_| wanted.is_some()) else {
            return interval;
        };
        let patience = self.settings.tcp_patience(interval);
        for slot in session.document_slots() {
            let Some(document) = self.documents.at_mut(slot) else { continue };
            if document.heartbeat == interval.into() {
                continue;
            }
            document.heartbeat = interval.into();
            document.heartbeat_due = !document.ended;
            self.outputs.push_back(Output::Stream(document.conn, patience));
            self.name_document(slot);
            self.arm_document(slot);
        }
        interval
    }

    /// The client of a session has sent something. Costs no timer: the session's looks when it
    /// fires.
    pub(crate) fn hear(&mut self, session: Key) {
        let now = self.now;
        if let Some(session) = self.sessions.get_mut(session) {
            session.heard_at = now;
            session.quiet = false;
        }
    }

    /// Counts a client that should have been heard, and drops its documents when that goes on.
    pub(crate) fn watch_client(&mut self, key: Key) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let heartbeat = session.heartbeat.span();
        let lost = session.heard_at + heartbeat.times(u64::from(self.settings.drop_intervals));
        let quiet = session.heard_at + heartbeat.times(u64::from(self.settings.warn_intervals));
        if self.now < lost.min(quiet) {
            return;
        }
        if !session.quiet {
            session.quiet = true;
            self.stats.clients_quiet += 1;
        }
        if self.now < lost {
            return;
        }
        self.stats.clients_dropped += 1;
        let slots: Vec<u32> = session.document_slots().collect();
        for slot in slots {
            if let Some(conn) = self.documents.at(slot).map(|document| document.conn) {
                self.close(conn, CloseReason::Stale);
            }
        }
    }
}

impl Settings {
    /// An interval that a client asks for, within the bounds.
    pub fn bound_heartbeat(&self, wanted: Span) -> Span {
        wanted.min(self.heartbeat_max).max(self.heartbeat_min)
    }

    /// How many milliseconds TCP waits for an acknowledgement: one interval more than we wait
    /// ourselves. A reader that stalls is dropped by us, under its reason and with a reset; TCP
    /// finds the peer that is gone before its socket was full.
    pub fn tcp_patience(&self, heartbeat: Span) -> u32 {
        let patience = heartbeat.times(u64::from(self.drop_intervals) + 1).as_millis();
        u32::try_from(patience).unwrap_or(u32::MAX)
    }

    /// The same for a document whose client asks for no interval of its own.
    pub fn first_patience(&self) -> Span {
        let interval = self.bound_heartbeat(self.heartbeat);
        Span::from_millis(u64::from(self.tcp_patience(interval)))
    }

    /// When a client that must be heard has been silent for so long that something is to be done;
    /// never where it need not be heard, or has no document.
    pub(crate) fn silence_ends_at(&self, session: &Session) -> Instant {
        if !self.client_heartbeat || session.document_slots().next().is_none() {
            return Instant::NEVER;
        }
        let intervals = match session.quiet {
            true => self.drop_intervals,
            false => self.warn_intervals.min(self.drop_intervals),
        };
        session.heard_at + session.heartbeat.span().times(u64::from(intervals))
    }
}
