//! The agent asks for documents and acts on the end of documents and sessions.

use crate::base::reason::ErrorCode;
use crate::base::time::{Instant, Span};
use crate::client::agent::Agent;
use crate::client::answer::{Answer, Refused};
use crate::client::channel::{Seat, Status};
use crate::client::document::{Document, Phase, Purpose};
use crate::client::event::{
    ChannelKey, Event, Failure, Output, Request, RouteId, StreamId, StreamState,
};
use crate::client::leg::{Leg, LegId};
use crate::wire::command::{OpenRequest, Positions, encode_query};

/// Bytes of a target beyond which positions go in the body and further channels by commands.
const TARGET_BYTES_MAX: usize = 4096;

impl Agent {
    /// Whether commands of the leg's session make sense: one of its documents runs.
    pub(crate) fn can_call(&self, leg: &Leg) -> bool {
        !self.stopped && leg.session.is_some() && self.runs(leg)
    }

    /// Whether a document of the leg's session of now runs.
    pub(crate) fn runs(&self, leg: &Leg) -> bool {
        self.documents.iter().any(|document| document.is_running() && document.is_of(leg))
    }

    /// How long a lane waits at a gap: one heartbeat interval.
    pub(crate) fn hold_for(&self) -> Span {
        let running = self.documents.iter().filter(|document| document.is_running());
        running.map(|document| document.heartbeat).max().unwrap_or(Span::ZERO)
    }

    /// Asks for a document of `leg` over `route`.
    pub(crate) fn ask(
        &mut self,
        (leg, route): (LegId, RouteId),
        purpose: Purpose,
        succeeds: Option<StreamId>,
        now: Instant,
    ) {
        let stream = StreamId(self.next_id());
        let mut document = Document::new(stream, (leg, route), purpose, &self.settings, now);
        document.succeeds = succeeds;
        if purpose == Purpose::Session && self.logs_in() {
            return self.ask_login(document);
        }
        let succeeded = succeeds.and_then(|stream| self.document(stream).map(|old| old.d));
        let Some(leg) = self.legs.iter().find(|other| other.id == leg) else { return };
        let session = leg.session.clone().filter(|_| purpose != Purpose::Session);
        let mut pairs: Vec<(&str, String)> = Vec::new();
        let mut body = None;
        match &session {
            Some(session) => {
                pairs.push(("scs", session.scs.clone()));
                pairs.push(("mid", session.mid.to_string()));
                let last = self.positions(leg).to_string();
                if last.len() > TARGET_BYTES_MAX / 2 {
                    body = Some(last.into_bytes());
                } else {
                    pairs.push(("last", last));
                }
            }
            None => pairs.extend([("mid", "0".into()), ("scs", "0".into())]),
        }
        self.add_wishes(&mut pairs);
        if document.is_duplicate() {
            pairs.push(("dup", "1".into()));
            pairs.extend(succeeded.map(|d| ("d", d.to_string())));
        } else {
            if session.is_none() && !leg.singly {
                self.ask_channels(leg, &mut document, &mut pairs);
            }
            if let Some(leg) = self.leg(document.leg) {
                leg.singly = false;
                leg.document_at = Instant::NEVER;
            }
        }
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let refreshes = purpose == Purpose::Refresh || succeeded.is_some();
        let name = if refreshes { "refresh.html" } else { "mux.html" };
        let target = format!("{name}?{}", encode_query(&pairs));
        let request = match session {
            Some(session) => self.prove_document(&mut document, session, target, body),
            None => Request { target, body, ..Request::default() },
        };
        self.counters.documents += 1;
        self.merge.begin_stream(stream);
        self.documents.push(document);
        self.outputs.push_back(Output::OpenStream { stream, route, request });
    }

    /// What the settings ask of a document.
    pub(crate) fn add_wishes(&self, pairs: &mut Vec<(&str, String)>) {
        if let Some(heartbeat) = self.settings.heartbeat {
            pairs.push(("h", heartbeat.as_millis().to_string()));
        }
        if let Some(flush) = self.settings.flush {
            pairs.push(("flush", flush.as_millis().to_string()));
        }
    }

    /// Puts as many channels into the request of a new session as fit; the rest follow by command.
    fn ask_channels(&self, leg: &Leg, document: &mut Document, pairs: &mut Vec<(&str, String)>) {
        let mut bytes = 0;
        let over = |seat: &Seat| matches!(seat.status, Status::Refused | Status::Elsewhere);
        let wanted = leg.seats.iter().filter(|(_, seat)| !over(seat));
        for (key, _) in wanted {
            let Some(channel) = self.channels.get(key) else { continue };
            let open = self.open_request(*key, &channel.request).to_string();
            bytes += open.len() + "&open=".len();
            if bytes > TARGET_BYTES_MAX {
                break;
            }
            document.opens.push(*key);
            pairs.push(("open", open));
        }
    }

    /// What to ask for so that the channel goes on where the consumer is.
    pub(crate) fn open_request(&self, key: ChannelKey, request: &OpenRequest) -> OpenRequest {
        OpenRequest { since: self.merge.place(key).or(request.since), ..request.clone() }
    }

    fn positions(&self, leg: &Leg) -> Positions {
        let open =
            leg.seats.iter().filter_map(|(key, seat)| Some((seat.cid?, self.merge.place(*key)?)));
        Positions(open.collect())
    }

    /// The connection of a document is gone.
    pub(crate) fn ended(&mut self, stream: StreamId, detail: &str, now: Instant) {
        let Some(document) = self.document(stream) else { return };
        let body = std::mem::take(&mut document.refusal);
        match document.phase {
            Phase::Refused(status) => self.refused(stream, status, &body, now),
            _ => self.lose(stream, Failure::Broken(detail.to_owned()), false, now),
        }
    }

    /// A document was refused with an error answer, or the login for it.
    pub(crate) fn refused(&mut self, stream: StreamId, status: u16, body: &[u8], now: Instant) {
        let proof = self.document(stream).and_then(|document| document.proof.clone());
        if !self.is_believed(proof.as_ref(), status, body) {
            let what = "a refusal that the server has not signed".to_owned();
            return self.lose(stream, Failure::Broken(what), false, now);
        }
        let refused = match Answer::parse(status, body) {
            Err(refused) => refused,
            Ok(_) => {
                let detail = "an answer, but no document".into();
                Refused { status, code: None, detail, expected: None }
            }
        };
        let (passing, code) = (refused.is_passing(), refused.code);
        let Some(document) = self.document(stream) else { return };
        let (id, purpose) = (document.leg, document.purpose);
        // The session was made over another way, which has led to another server.
        let strayed = document.made.is_some() && refused.is_of_session();
        let opens = !document.opens.is_empty();
        if strayed && code == Some(ErrorCode::WrongServer) && self.ask_elsewhere(stream, now) {
            return;
        }
        if purpose != Purpose::Session && refused.is_of_session() {
            return self.refused_session(stream, refused, now);
        }
        let of_one = !matches!(code, Some(ErrorCode::TooMany | ErrorCode::AuthRequired));
        let singly = opens && of_one && (400..500).contains(&status);
        if let Some(leg) = self.leg(id) {
            leg.singly = singly;
        }
        let hopeless = !passing && !strayed && !singly && purpose == Purpose::Session;
        self.lose_for_good(stream, refused.into_failure(), (hopeless, false), now);
    }

    /// A document is lost; if `hopeless`, and no other way is left, everything is over.
    pub(crate) fn lose_for_good(
        &mut self,
        stream: StreamId,
        failure: Failure,
        (hopeless, close): (bool, bool),
        now: Instant,
    ) {
        let Some(id) = self.document(stream).map(|document| document.leg) else { return };
        let last_way = self.leg(id).map_or(0, |leg| leg.failed);
        self.lose(stream, failure, close, now);
        let all_ways = last_way + 1 >= u32::from(self.settings.routes);
        if hopeless && all_ways && self.documents.is_empty() && self.legs[0].id == id {
            self.give_up(now);
        }
    }

    /// A server does not know the session that a document was asked for with.
    fn refused_session(&mut self, stream: StreamId, refused: Refused, now: Instant) {
        let Some(document) = self.document(stream) else { return };
        let (id, route, duplicate) = (document.leg, document.route, document.is_duplicate());
        let unknown = refused.code == Some(ErrorCode::NoSession);
        let routes = self.settings.routes;
        let Some(leg) = self.leg(id) else { return };
        // Who knows the session over its own way is asked again; over another one the way leads to
        // another server.
        let strange = routes > 1 && (route != leg.route || !unknown);
        if strange {
            leg.foreign.insert(route);
        }
        if duplicate {
            if strange {
                // Nothing is wrong: the route gets a session of its own.
                return self.drop_document(stream, false, now);
            }
            // The main document runs: if its session is in doubt, its own successor will tell.
            if unknown {
                self.doubt_session(id, now);
            }
            return self.lose(stream, refused.into_failure(), false, now);
        }
        // Nothing is wrong but the session: the next attempt need not wait.
        leg.document_at = now;
        self.drop_document(stream, false, now);
        if !strange {
            self.lose_session(id);
        }
        self.lose_event(route, refused.into_failure());
    }

    /// The agent gives a document up.
    pub(crate) fn abandon(&mut self, stream: StreamId, failure: Failure, now: Instant) {
        self.lose(stream, failure, true, now);
    }

    /// A document is lost: the next attempt is set.
    pub(crate) fn lose(&mut self, stream: StreamId, failure: Failure, close: bool, now: Instant) {
        let Some(at) = self.documents.iter().position(|lost| lost.stream == stream) else { return };
        let lost = self.documents.remove(at);
        self.set_next(&lost, lost.retry_after, now);
        self.counters.cuts += 1;
        // The cause comes before its effects.
        self.lose_event(lost.route, failure);
        self.drop_document(stream, close, now);
    }

    /// Forgets a document; `close`: its connection is still there.
    pub(crate) fn drop_document(&mut self, stream: StreamId, close: bool, now: Instant) {
        self.documents.retain(|document| document.stream != stream);
        if close {
            self.outputs.push_back(Output::CloseStream { stream });
        }
        let (merge, mut sink) = self.merging(now);
        merge.end_stream(stream, &mut sink);
        if !self.ended.is_empty() {
            self.end_channels(now);
        }
    }

    /// The leg's session is over: every channel is to be opened anew, and of the main leg sends
    /// that were on the wire end unknown.
    pub(crate) fn lose_session(&mut self, id: LegId) {
        self.session_count += 1;
        let number = self.session_count;
        let others: Vec<RouteId> =
            self.legs.iter().filter(|leg| leg.id != id).map(|leg| leg.route).collect();
        let Some(leg) = self.leg(id) else { return };
        // A route that another leg has taken led to another server so far.
        leg.foreign.retain(|route| others.contains(route));
        let had = leg.forget_session(number);
        if had && self.legs[0].id == id {
            self.forsake_sends();
        }
    }

    /// The session that sends were numbered in is no longer the one they go to.
    pub(crate) fn forsake_sends(&mut self) {
        let keys: Vec<ChannelKey> = self.channels.keys().copied().collect();
        keys.into_iter().for_each(|key| self.forsake_channel(key));
    }

    /// The same for one channel.
    pub(crate) fn forsake_channel(&mut self, key: ChannelKey) {
        let Some(channel) = self.channels.get_mut(&key) else { return };
        let fates = channel.outbox.lose_numbers();
        self.tell_fates(key, fates);
    }

    /// A command was answered as if the session were unknown: a successor document will tell.
    pub(crate) fn doubt_session(&mut self, id: LegId, now: Instant) {
        let Some(mut backoff) = self.leg(id).map(|leg| leg.call_backoff) else { return };
        let wait = backoff.wait(&mut self.random);
        let Some(leg) = self.leg(id) else { return };
        leg.call_backoff = backoff;
        leg.document_at = leg.document_at.min(now + wait);
    }

    /// Ends everything but what is to be put out still.
    pub(crate) fn give_up(&mut self, now: Instant) {
        for document in std::mem::take(&mut self.documents) {
            self.drop_document(document.stream, true, now);
        }
        for id in self.leg_ids() {
            self.lose_session(id);
        }
        self.stopped = true;
        self.tell_state();
    }

    /// Tells the consumer of a new state.
    pub(crate) fn tell_state(&mut self) {
        let mut running = self.documents.iter().filter(|document| document.is_running()).peekable();
        let state = if self.stopped {
            StreamState::Stopped
        } else if running.peek().is_some() {
            let quiet = running.all(|document| document.quiet);
            if quiet { StreamState::Quiet } else { StreamState::Live }
        } else if !self.documents.is_empty() {
            StreamState::Connecting
        } else if self.channels.is_empty() {
            StreamState::Idle
        } else {
            StreamState::Waiting(self.legs[0].document_at)
        };
        if state != self.state {
            self.state = state;
            self.events.push_back(Event::State(state));
        }
    }
}
