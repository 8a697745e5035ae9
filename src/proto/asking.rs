//! A client asks for a document: for which session, and whether it may have one more.

use std::borrow::Cow;
use std::sync::Arc;

use crate::auth::verdict::Proof;
use crate::base::id::{ConnKey, Key};
use crate::base::reason::ErrorCode;
use crate::proto::answer::{Answer, Meta};
use crate::proto::hub::Hub;
use crate::proto::sealing::Proved;
use crate::wire::command::{DocumentRequest, Request};
use crate::wire::position::Positions;

/// A request for a document, and its method, name and query.
type Asked<'a> = (&'a Request<'a>, &'a DocumentRequest, (&'a str, &'a str, &'a str));

/// What says that a session is the client's.
#[derive(Clone, Copy)]
enum Shown<'a> {
    /// Its key, and who the client is.
    Key((Option<&'a str>, Option<&'a Proof>)),
    /// The seal of the request, which was looked at already.
    Seal(&'a Proved),
}

impl Hub {
    /// Begins a document on `conn`; returns the answer if it cannot.
    pub(crate) fn open_document(
        &mut self,
        conn: ConnKey,
        (request, document, target): Asked<'_>,
        showing: (Option<&str>, Option<&Proof>),
        body: Option<Vec<u8>>,
        meta: &Meta,
    ) -> Option<Answer> {
        match self.prove_document(target, (request, showing.1), body) {
            Ok((None, body)) => {
                self.open_proved(conn, (request, document), Shown::Key(showing), body, meta)
            }
            Ok((Some(proved), body)) => {
                let shown = Shown::Seal(&proved);
                let asked = (request, document);
                let mut failure = self.open_proved(conn, asked, shown, body, meta)?;
                proved.sign(&mut failure);
                Some(failure)
            }
            Err(answer) => Some(answer),
        }
    }

    fn open_proved(
        &mut self,
        conn: ConnKey,
        (request, document): (&Request<'_>, &DocumentRequest),
        shown: Shown<'_>,
        body: Option<Vec<u8>>,
        meta: &Meta,
    ) -> Option<Answer> {
        let mut document = Cow::Borrowed(document);
        if let Some(body) = body.filter(|body| !body.is_empty()) {
            if document.last.is_some() {
                let detail = "`last` stands in the target or in the body, not in both";
                return Some(Answer::error(ErrorCode::BadRequest, detail));
            }
            match Positions::parse_body(&body) {
                Ok(last) => document.to_mut().last = Some(last),
                Err(error) => return Some(Answer::error(error.code, &error.detail)),
            }
        }
        match self.session_for_document(conn, request, &document, shown) {
            Ok((session, made_here)) => {
                let q = match shown {
                    Shown::Seal(proved) => Some(proved.q),
                    Shown::Key(_) => None,
                };
                self.begin_document(conn, (session, made_here, q), &document, meta);
                None
            }
            Err(answer) => Some(answer),
        }
    }

    fn session_for_document(
        &mut self,
        conn: ConnKey,
        request: &Request<'_>,
        document: &DocumentRequest,
        shown: Shown<'_>,
    ) -> Result<(Key, bool), Answer> {
        if request.mid.is_none() {
            if document.refresh {
                let detail = "a refresh needs the session that it is for";
                return Err(Answer::error(ErrorCode::NoSession, detail));
            }
            if let Some(refusal) = self.refuse_while_leaving() {
                return Err(refusal);
            }
            let proof = match shown {
                Shown::Key((_, proof)) => proof,
                Shown::Seal(_) => None,
            };
            if let Some(refusal) = self.refuse_unknown(proof) {
                return Err(refusal);
            }
            let from = self.conns.get(conn).map(|connection| connection.address());
            let identity = proof.map(|proof| Arc::clone(&proof.identity));
            return self.new_session(from, identity).map(|session| (session, true));
        }
        let session = match shown {
            Shown::Key(showing) => self.session_of(request, showing)?,
            Shown::Seal(proved) => proved.session,
        };
        if let Some(connection) = self.conns.get(conn) {
            self.allow_command(session, connection.address().ip())?;
        }
        self.hear(session);
        // A session that has lost its document may stay to the end; the successor of one that
        // lives belongs elsewhere.
        if (self.stopping || self.has_live_document(session))
            && let Some(refusal) = self.refuse_while_leaving()
        {
            return Err(refusal);
        }
        if !self.has_room_for_document(session, document) {
            let detail = "a session has at most 4 documents";
            return Err(Answer::error(ErrorCode::TooMany, detail));
        }
        Ok((session, false))
    }
}
