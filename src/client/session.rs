//! The agent asks for documents and acts on the end of documents and sessions.

use crate::base::reason::ErrorCode;
use crate::base::time::{Instant, Span};
use crate::client::agent::Agent;
use crate::client::answer::{Answer, Refused};
use crate::client::channel::Status;
use crate::client::document::{Document, Phase, Purpose};
use crate::client::event::{
    ChannelKey, Event, Failure, Fate, Output, Request, RouteId, SendId, StreamId, StreamState,
};
use crate::wire::command::{OpenRequest, Positions, encode_query};

/// Bytes of a target beyond which positions go in the body and further channels by commands.
const TARGET_BYTES_MAX: usize = 4096;

impl Agent {
    /// Whether commands of the session make sense: one of its documents runs.
    pub(crate) fn can_call(&self) -> bool {
        let current = |d: &Document| d.is_running() && d.session == self.session_count;
        !self.stopped && self.session.is_some() && self.documents.iter().any(current)
    }

    /// How long a lane waits at a gap: one heartbeat interval.
    pub(crate) fn hold_for(&self) -> Span {
        let running = self.documents.iter().filter(|document| document.is_running());
        running.map(|document| document.heartbeat).max().unwrap_or(Span::ZERO)
    }

    /// Asks for a document.
    pub(crate) fn ask(&mut self, purpose: Purpose, succeeds: Option<StreamId>, now: Instant) {
        let stream = StreamId(self.next_id());
        let mut document = Document::new(stream, purpose, &self.settings, now);
        document.succeeds = succeeds;
        let session = self.session.clone().filter(|_| purpose != Purpose::Session);
        let mut pairs: Vec<(&str, String)> = Vec::new();
        let mut body = None;
        match &session {
            Some(session) => {
                pairs.push(("scs", session.scs.clone()));
                pairs.push(("mid", session.mid.to_string()));
                let last = self.positions().to_string();
                if last.len() > TARGET_BYTES_MAX / 2 {
                    body = Some(last.into_bytes());
                } else {
                    pairs.push(("last", last));
                }
            }
            None => pairs.extend([("mid", "0".into()), ("scs", "0".into())]),
        }
        if let Some(heartbeat) = self.settings.heartbeat {
            pairs.push(("h", heartbeat.as_millis().to_string()));
        }
        if let Some(flush) = self.settings.flush {
            pairs.push(("flush", flush.as_millis().to_string()));
        }
        let succeeded = succeeds.and_then(|stream| self.document(stream).map(|old| old.d));
        if document.is_duplicate() {
            pairs.push(("dup", "1".into()));
            pairs.extend(succeeded.map(|d| ("d", d.to_string())));
        } else {
            if session.is_none() && !self.singly {
                self.ask_channels(&mut document, &mut pairs);
            }
            self.singly = false;
            self.document_at = Instant::NEVER;
        }
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let refreshes = purpose == Purpose::Refresh || succeeded.is_some();
        let name = if refreshes { "refresh.html" } else { "mux.html" };
        let target = format!("{name}?{}", encode_query(&pairs));
        let key = session.and_then(|session| session.key);
        self.counters.documents += 1;
        self.merge.begin_stream(stream);
        self.documents.push(document);
        let request = Request { target, key, body };
        self.outputs.push_back(Output::OpenStream { stream, route: RouteId(0), request });
    }

    /// Puts as many channels into the request of a new session as fit; the rest follow by command.
    fn ask_channels(&self, document: &mut Document, pairs: &mut Vec<(&str, String)>) {
        let mut bytes = 0;
        for (key, channel) in &self.channels {
            let open = self.open_request(*key, &channel.request).to_string();
            bytes += open.len() + "&open=".len();
            if bytes > TARGET_BYTES_MAX {
                break;
            }
            if channel.status != Status::Ended {
                document.opens.push(*key);
                pairs.push(("open", open));
            }
        }
    }

    /// What to ask for so that the channel goes on where the consumer is.
    pub(crate) fn open_request(&self, key: ChannelKey, request: &OpenRequest) -> OpenRequest {
        OpenRequest { since: self.merge.place(key).or(request.since), ..request.clone() }
    }

    fn positions(&self) -> Positions {
        let open = self
            .channels
            .iter()
            .filter_map(|(key, channel)| Some((channel.cid?, self.merge.place(*key)?)));
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

    /// A document was refused with an error answer.
    fn refused(&mut self, stream: StreamId, status: u16, body: &[u8], now: Instant) {
        let Some(document) = self.document(stream) else { return };
        let (purpose, opens) = (document.purpose, !document.opens.is_empty());
        let refused = match Answer::parse(status, body) {
            Err(refused) => refused,
            Ok(_) => Refused { status, code: None, detail: "an answer, but no document".into() },
        };
        let (of_session, passing, code) =
            (refused.is_of_session(), refused.is_passing(), refused.code);
        if purpose == Purpose::Duplicate {
            // The main document runs: if its session is in doubt, its own successor will tell.
            if code == Some(ErrorCode::NoSession) {
                self.doubt_session(now);
            }
            self.lose(stream, refused.into_failure(), false, now);
            return;
        }
        if purpose != Purpose::Session && of_session {
            // Nothing is wrong but the session: a new one need not wait.
            self.drop_document(stream, false, now);
            self.lose_session();
            self.lose_event(refused.into_failure());
            self.document_at = now;
            return;
        }
        let of_one = !matches!(code, Some(ErrorCode::TooMany | ErrorCode::AuthRequired));
        self.singly = opens && of_one && (400..500).contains(&status);
        let hopeless = !passing && !self.singly && purpose == Purpose::Session;
        self.lose(stream, refused.into_failure(), false, now);
        if hopeless && self.documents.is_empty() {
            self.give_up(now);
        }
    }

    /// The agent gives a document up.
    pub(crate) fn abandon(&mut self, stream: StreamId, failure: Failure, now: Instant) {
        self.lose(stream, failure, true, now);
    }

    /// A document is lost: the next attempt is set.
    fn lose(&mut self, stream: StreamId, failure: Failure, close: bool, now: Instant) {
        let Some(at) = self.documents.iter().position(|lost| lost.stream == stream) else { return };
        let lost = self.documents.remove(at);
        self.set_next(&lost, lost.retry_after, now);
        self.drop_document(stream, close, now);
        self.counters.cuts += 1;
        self.lose_event(failure);
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

    /// The session is over: every channel is to be opened anew, and sends that were on the wire end
    /// unknown.
    pub(crate) fn lose_session(&mut self) {
        self.session_count += 1;
        if self.session.take().is_none() {
            return;
        }
        let mut fates: Vec<(ChannelKey, Vec<(SendId, Fate)>)> = Vec::new();
        for (key, channel) in &mut self.channels {
            channel.cid = None;
            channel.numbered = None;
            if matches!(channel.status, Status::Open | Status::Asked(_)) {
                channel.status = Status::Wanted(Instant::ZERO);
            }
            fates.push((*key, channel.outbox.lose_session()));
        }
        self.numbers.clear();
        self.channels_at = Instant::ZERO;
        for (key, fates) in fates {
            self.tell_fates(key, fates);
        }
    }

    /// A command was answered as if the session were unknown: a successor document will tell.
    pub(crate) fn doubt_session(&mut self, now: Instant) {
        let wait = self.call_backoff.wait(&mut self.random);
        self.document_at = self.document_at.min(now + wait);
    }

    /// Ends everything but what is to be put out still.
    pub(crate) fn give_up(&mut self, now: Instant) {
        for document in std::mem::take(&mut self.documents) {
            self.drop_document(document.stream, true, now);
        }
        self.lose_session();
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
        } else if self.is_asking() {
            StreamState::Connecting
        } else if self.channels.is_empty() {
            StreamState::Idle
        } else {
            StreamState::Waiting(self.document_at)
        };
        if state != self.state {
            self.state = state;
            self.events.push_back(Event::State(state));
        }
    }
}
