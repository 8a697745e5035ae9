//! Sessions that begin with a login, because something proves who the client is or a seal is
//! wanted, and what keeps them alive when that proof is about to end.

use crate::auth::secret::Secret;
use crate::base::id::Mid;
use crate::base::reason::ErrorCode;
use crate::base::time::{Instant, Span};
use crate::client::agent::Agent;
use crate::client::answer::{Answer, Refused};
use crate::client::calls::{Call, Kind};
use crate::client::document::{Document, Purpose};
use crate::client::event::{CallId, Event, Failure, Output, Request, RouteId, StreamId};
use crate::client::leg::{LegId, Session};
use crate::client::sealed::sealed_session;
use crate::client::settings::Settings;
use crate::html::frame::Identity;
use crate::wire::command::encode_query;

/// Connections over which the first document of a session is asked for, one after the other, where
/// they lead to servers that have not made it.
const STRAYS_MAX: u8 = 8;
/// Between renewals that have come to nothing, at least.
const RENEWAL_WAIT: Span = Span::from_secs(1);

/// When a session ends unless it is renewed, and what is done about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Renewal {
    /// When it is renewed.
    pub(crate) at: Instant,
    /// When the session ends, as the server has warned; from then on no word of it is new.
    ends: Instant,
    /// The same as the server has told it with the last proof, in seconds since 1970.
    expires: Option<u64>,
}

impl Default for Renewal {
    fn default() -> Self {
        Self { at: Instant::NEVER, ends: Instant::NEVER, expires: None }
    }
}

impl Renewal {
    /// Tries again while there is time: whoever has the new proof may only just be writing it.
    fn again(&mut self, at_least: Span, now: Instant) {
        let left = self.ends.since(now);
        let wait = left.fraction(1, 4).max(RENEWAL_WAIT).max(at_least);
        let in_time = self.ends != Instant::NEVER && wait < left;
        self.at = if in_time { now + wait } else { Instant::NEVER };
    }
}

impl Agent {
    /// Proves to every server anew who the client is, so that its sessions go on: with what whoever
    /// drives the agent adds to the request. What comes of it is told by [`Event::Known`] and
    /// [`Event::NotRenewed`].
    pub fn renew(&mut self, now: Instant) {
        for leg in &mut self.legs {
            leg.renewal.at = now;
        }
        self.drive(now);
    }

    /// Whether a session begins with a login.
    pub(crate) fn logs_in(&self) -> bool {
        let settings = &self.settings;
        settings.login || settings.seal.is_some() || settings.script.is_some()
    }

    /// Logs in; the document follows when the session is there.
    pub(crate) fn ask_login(&mut self, document: Document) {
        let call = CallId(self.next_id());
        let (stream, route) = (document.stream, document.route);
        if let Some(leg) = self.leg(document.leg) {
            leg.singly = false;
            leg.document_at = Instant::NEVER;
        }
        self.counters.documents += 1;
        self.merge.begin_stream(stream);
        self.documents.push(document);
        self.calls.insert(call, Call { kind: Kind::Login(stream), session: 0, proof: None });
        let Settings { seal, script, .. } = &self.settings;
        let mut pairs = Vec::new();
        pairs.extend(seal.map(|algorithm| ("seal", algorithm.word())));
        pairs.extend(script.as_deref().map(|script| ("auth", script)));
        let target = format!("login?{}", encode_query(&pairs));
        let target = target.trim_end_matches('?').to_owned();
        let request = Request { target, ..Request::default() };
        self.outputs.push_back(Output::Login { call, route, request });
    }

    /// The answer to a login has come: asks for the document, over the way of the document.
    pub(crate) fn take_login(
        &mut self,
        stream: StreamId,
        (status, body): (u16, &[u8]),
        now: Instant,
    ) {
        let Ok(answer) = Answer::parse(status, body) else {
            return self.refused(stream, status, body, now);
        };
        let made = match self.settings.seal {
            Some(algorithm) => sealed_session(&answer, algorithm),
            None => open_session(&answer),
        };
        let Some(made) = made else {
            let what = match self.settings.seal {
                Some(_) => "the server has made no sealed session",
                None => "the server has made no session",
            };
            return self.lose(stream, Failure::Broken(what.to_owned()), false, now);
        };
        if let Some(document) = self.document(stream) {
            let route = document.route;
            document.expires = answer.number("expires");
            self.tell_known(route, &answer);
            self.ask_made(stream, made, now);
        }
    }

    /// Asks for the first document of a session that was made for it.
    fn ask_made(&mut self, stream: StreamId, mut session: Session, now: Instant) {
        let mut pairs = vec![("scs", session.scs.clone()), ("mid", session.mid.to_string())];
        self.add_wishes(&mut pairs);
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let target = format!("mux.html?{}", encode_query(&pairs));
        let line_bytes_max = self.settings.line_bytes_max;
        let Some(document) = self.document(stream) else { return };
        let request = match &mut session.seal {
            Some(seal) => {
                let (request, proof) = seal.prove(&target, None);
                document.unseal(proof, line_bytes_max);
                request
            }
            None => Request { target, key: session.key.clone(), ..Request::default() },
        };
        document.since = now;
        document.made = Some(session);
        let route = document.route;
        self.outputs.push_back(Output::OpenStream { stream, route, request });
    }

    /// The document was asked for of a server that has not made its session: a balancer has led
    /// there, and over another connection it may lead to the one that has, sooner than another
    /// login would find its own. False: that was tried often enough.
    pub(crate) fn ask_elsewhere(&mut self, stream: StreamId, now: Instant) -> bool {
        let Some(old) = self.document(stream).filter(|old| old.strays < STRAYS_MAX) else {
            return false;
        };
        let Some(session) = old.made.take() else { return false };
        let (way, purpose) = ((old.leg, old.route), old.purpose);
        let (succeeds, strays, expires) = (old.succeeds, old.strays + 1, old.expires);
        self.drop_document(stream, false, now);
        let stream = StreamId(self.next_id());
        let document = Document::new(stream, way, purpose, &self.settings, now);
        self.counters.documents += 1;
        self.merge.begin_stream(stream);
        self.documents.push(Document { succeeds, strays, expires, ..document });
        self.ask_made(stream, session, now);
        true
    }

    /// The connection of a command that should have proved who the client is was lost, or could not
    /// be made; of any other command [`Agent::handle_failure`] is told.
    pub fn handle_lost(&mut self, call: CallId, failure: Failure, now: Instant) {
        match self.calls.get(&call).map(|call| (&call.kind, call.session)) {
            Some((&Kind::Login(stream), _)) => {
                self.calls.remove(&call);
                if !self.stopped {
                    self.fail(stream, failure, false, now);
                }
                self.drive(now);
            }
            Some((Kind::Renew, session)) => {
                if let Some(route) = self.leg_of_session(session).map(|leg| leg.route) {
                    self.events.push_back(Event::NotRenewed { route, failure });
                }
                self.handle_failure(call, now);
            }
            _ => self.handle_failure(call, now),
        }
    }

    /// The document's server could not be connected to because one side has not proved to the other
    /// who it is: for a new session there is no use in trying again.
    pub fn handle_untrusted(&mut self, stream: StreamId, detail: &str, now: Instant) {
        self.fail(stream, Failure::Untrusted(detail.to_owned()), false, now);
        self.drive(now);
    }

    /// A document is lost; where that is for want of proof, and no way is left to a new session,
    /// everything is over.
    fn fail(&mut self, stream: StreamId, failure: Failure, close: bool, now: Instant) {
        let Some(document) = self.document(stream) else { return };
        let of_session = document.purpose == Purpose::Session;
        let hopeless = of_session && matches!(failure, Failure::Untrusted(_));
        self.lose_for_good(stream, failure, (hopeless, close), now);
    }

    /// A server warns that a session is about to end.
    pub(crate) fn take_expiry(&mut self, stream: StreamId, within: Span, now: Instant) {
        let (renews, latest) = (self.logs_in(), self.random_below(within.fraction(1, 8)));
        let Some(leg) = self.current_leg(stream) else { return };
        if leg.renewal.ends != Instant::NEVER {
            return; // another document has said so
        }
        leg.renewal.ends = now + within;
        if renews {
            // Not all at once, whose tokens were issued at once.
            leg.renewal.at = leg.renewal.at.min(now + latest);
        }
        let route = leg.route;
        self.events.push_back(Event::Expiring { route, within });
    }

    /// Renews the leg's session, if that is due.
    pub(crate) fn call_renew(&mut self, id: LegId, now: Instant) {
        let Some(leg) = self.leg(id).filter(|leg| leg.renewal.at <= now) else { return };
        leg.renewal.at = Instant::NEVER;
        let route = leg.route;
        let script = self.settings.script.clone();
        let pairs: Vec<_> = script.as_deref().map(|script| ("auth", script)).into_iter().collect();
        let call = CallId(self.next_id());
        let query = encode_query(&pairs);
        self.call_over(id, (Kind::Renew, call, route), ("renew", &query), None);
    }

    /// A renewal was answered.
    pub(crate) fn answer_renew(
        &mut self,
        id: LegId,
        answer: Result<Answer, Refused>,
        wait: Span,
        now: Instant,
    ) {
        let again = self.call_wait(id).max(wait);
        let Some(leg) = self.leg(id) else { return };
        let route = leg.route;
        match answer {
            Ok(answer) => {
                let expires = answer.number("expires");
                let stale = expires.is_some() && expires == leg.renewal.expires;
                leg.call_backoff.reset();
                if stale {
                    leg.renewal.again(Span::ZERO, now);
                    let what = "the proof ends when the one before it does";
                    let failure = Failure::Broken(what.to_owned());
                    self.events.push_back(Event::NotRenewed { route, failure });
                } else {
                    leg.renewal = Renewal { expires, ..Renewal::default() };
                    self.tell_known(route, &answer);
                }
            }
            Err(refused) if refused.is_of_session() => {
                if refused.code == Some(ErrorCode::WrongServer) {
                    // Over another connection it may come to the right one.
                    leg.renewal.at = now + again;
                } else {
                    self.doubt_session(id, now);
                }
            }
            Err(refused) => {
                leg.renewal.again(again, now);
                let failure = refused.into_failure();
                self.events.push_back(Event::NotRenewed { route, failure });
            }
        }
    }

    fn tell_known(&mut self, route: RouteId, answer: &Answer) {
        let (user, key) = (answer.text("user"), answer.text("key"));
        let (user, key) = (user.map(str::to_owned), key.map(Secret::from));
        let expires = answer.number("expires");
        self.events.push_back(Event::Known { route, user, expires, key });
    }
}

impl Renewal {
    /// Of a session that has begun, whose proof ends then.
    pub(crate) fn new(expires: Option<u64>) -> Self {
        Self { expires, ..Self::default() }
    }
}

impl Document {
    /// Whether it is of another session than it was asked for, which `same` says of its leg's.
    pub(crate) fn is_strange(&self, identity: &Identity<'_>, same: bool) -> bool {
        match &self.made {
            Some(made) => made.scs != identity.scs || made.mid != identity.mid,
            None => self.proof.is_some() && !same,
        }
    }
}

/// The session that a login was answered with.
fn open_session(answer: &Answer) -> Option<Session> {
    let mid = answer.text("mid").and_then(Mid::parse)?;
    let (scs, key) = (answer.text("scs")?.to_owned(), answer.text("k")?.to_owned());
    Some(Session { scs, mid, key: Some(key), seal: None })
}
