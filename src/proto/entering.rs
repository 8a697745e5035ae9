//! Commands of clients that have no session: to get one, and to read what a log holds.

use std::sync::Arc;

use crate::base::id::Key;
use crate::base::reason::ErrorCode;
use crate::proto::access::asking_alone;
use crate::proto::answer::Answer;
use crate::proto::belonging::told;
use crate::proto::hub::Hub;
use crate::proto::parcel::{Forwarded, HistoryAsk, Parcel};
use crate::wire::command::Command;

/// Messages that `history` gives unless it is asked for another number.
const HISTORY_LIMIT: u32 = 100;

impl Hub {
    /// Asks a topic's home what its log holds, for the client of that session, or for one without.
    pub(crate) fn ask_history(
        &mut self,
        command: &Command<'_>,
        forwarded: &Forwarded,
        session: Option<Key>,
    ) {
        let Command::History { name, since, limit } = command else { return };
        let limit = u64::from(limit.unwrap_or(HISTORY_LIMIT));
        let (reply, name, since) = (forwarded.reply, name.clone(), *since);
        let asking = match session {
            Some(session) => self.asking_for(session, forwarded.address, &forwarded.secured),
            None => asking_alone(forwarded),
        };
        let home = self.home_of(&name);
        let ask = HistoryAsk { reply, name, asking, since, limit };
        self.post(home, Parcel::History(Box::new(ask)));
    }

    /// Makes a session, for whoever may have one; sealed, where that is wanted.
    pub(crate) fn login(
        &mut self,
        (resource, seal): (Option<&str>, Option<&str>),
        forwarded: &Forwarded,
    ) -> Answer {
        let proof = forwarded.proof.as_ref();
        let secured = forwarded.secured.is_some();
        let seal = match seal.map(|word| self.check_seal(secured, word)).transpose() {
            Ok(seal) => seal,
            Err(refusal) => return refusal,
        };
        if let Some(resource) = resource
            && let Err((code, detail)) = self.may_open_any(&asking_alone(forwarded), resource)
        {
            return Answer::error(code, &detail);
        }
        let identity = proof.map(|proof| Arc::clone(&proof.identity));
        let session = match self.new_session(Some(forwarded.address), identity) {
            Ok(session) => session,
            Err(refusal) => return refusal,
        };
        self.bind_lines(forwarded.reply, session);
        let members = match seal {
            Some(algorithm) => self.seal_session(session, algorithm),
            None => self.session_members(session),
        };
        match members {
            Some(members) => Answer::ok(&format!("{members}{}", told(proof))),
            None => Answer::error(ErrorCode::Busy, "try again"),
        }
    }
}
