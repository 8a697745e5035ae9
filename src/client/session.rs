//! The agent opens, watches and replaces its documents.

use crate::base::reason::ErrorCode;
use crate::base::time::{Instant, Span};
use crate::client::agent::Agent;
use crate::client::answer::{Answer, Refused};
use crate::client::channel::Status;
use crate::client::document::{Document, Phase, Purpose};
use crate::client::event::{ChannelKey, Failure, Output, Request, StreamId, StreamState};
use crate::client::event::{Event, Fate, SendId};
use crate::wire::command::{OpenRequest, Positions, encode_query};

/// Bytes of a target beyond which positions go in the body and further channels by commands.
const TARGET_BYTES_MAX: usize = 4096;

impl Agent {
    /// After every input: whatever is due now is put out.
    pub(crate) fn drive(&mut self, now: Instant) {
        if self.stopped {
            return;
        }
        self.watch(now);
        self.retire(now);
        if !self.is_asking() && !self.channels.is_empty() {
            let (at, purpose) = match (self.documents_running(), &self.session) {
                (0, None) => (self.retry_at, Purpose::Session),
                (0, Some(_)) => (self.retry_at, Purpose::Resume),
                (_, None) => (self.successor_at, Purpose::Session),
                (_, Some(_)) => (self.successor_at, Purpose::Refresh),
            };
            if at <= now {
                self.ask(purpose, now);
            }
        }
        if self.can_call() {
            self.call_opens(now);
            self.call_sends(now);
        }
        self.tell_state();
    }

    /// Whether a document was asked for and does not run yet.
    pub(crate) fn is_asking(&self) -> bool {
        self.documents.iter().any(|document| !document.is_running())
    }

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

    /// Warns about documents that are silent, and abandons those that are so for too long.
    fn watch(&mut self, now: Instant) {
        let settings = &self.settings;
        for document in &mut self.documents {
            if document.warn_at(settings).is_some_and(|at| at <= now) {
                document.quiet = true;
            }
        }
        let due = |document: &&Document| document.drop_at(settings) <= now;
        let dead: Vec<_> = self.documents.iter().filter(due).map(|d| (d.stream, d.phase)).collect();
        for (stream, phase) in dead {
            let failure = match phase {
                Phase::Running => Failure::Silent,
                _ => Failure::Broken("no answer in time".into()),
            };
            self.abandon(stream, failure, now);
        }
    }

    /// When the older of two running documents is closed whatever the newer one carries.
    pub(crate) fn retire_at(&self) -> Instant {
        let newest = self.documents.iter().rev().find(|document| document.is_running());
        newest.map_or(Instant::NEVER, |newest| newest.since + newest.heartbeat)
    }

    /// Closes documents that a newer one has replaced.
    fn retire(&mut self, now: Instant) {
        let running: Vec<StreamId> =
            self.documents.iter().filter(|d| d.is_running()).map(|d| d.stream).collect();
        let Some((newest, older)) = running.split_last() else { return };
        for old in older {
            if self.merge.covers(*newest, *old) || self.retire_at() <= now {
                self.counters.refreshes += 1;
                self.drop_document(*old, true, now);
            }
        }
    }

    /// Asks for a document.
    fn ask(&mut self, purpose: Purpose, now: Instant) {
        let stream = StreamId(self.next_id());
        let mut document = Document::new(stream, purpose, &self.settings, now);
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
        if session.is_none() && !self.singly {
            self.ask_channels(&mut document, &mut pairs);
        }
        self.singly = false;
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let name = if purpose == Purpose::Refresh { "refresh.html" } else { "mux.html" };
        let target = format!("{name}?{}", encode_query(&pairs));
        let key = session.and_then(|session| session.key);
        self.counters.documents += 1;
        self.successor_at = Instant::NEVER;
        self.merge.begin_stream(stream);
        self.documents.push(document);
        self.outputs
            .push_back(Output::OpenStream { stream, request: Request { target, key, body } });
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
        if purpose != Purpose::Session && of_session {
            // Nothing is wrong but the session: a new one need not wait.
            self.drop_document(stream, false, now);
            self.lose_session();
            self.lose_event(refused.into_failure());
            (self.retry_at, self.successor_at) = (now, now);
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
        let Some(document) = self.document(stream) else { return };
        let lived = if document.is_running() { now.since(document.since) } else { Span::ZERO };
        let retry_after = document.retry_after;
        self.drop_document(stream, close, now);
        self.counters.cuts += 1;
        if lived >= self.settings.settled_after {
            self.backoff.reset();
        }
        let wait = self.backoff.wait(&mut self.random).max(retry_after);
        if self.documents_running() == 0 {
            self.retry_at = now + wait;
        } else if !self.is_asking() {
            self.successor_at = self.successor_at.min(now + wait);
        }
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
            if matches!(channel.status, Status::Open | Status::Asked(_)) {
                channel.status = Status::Wanted(Instant::ZERO);
            }
            fates.push((*key, channel.outbox.lose_session()));
        }
        self.channels_at = Instant::ZERO;
        for (key, fates) in fates {
            self.tell_fates(key, fates);
        }
    }

    /// A command was answered as if the session were unknown: a successor document will tell.
    pub(crate) fn doubt_session(&mut self, now: Instant) {
        let wait = self.call_backoff.wait(&mut self.random);
        self.successor_at = self.successor_at.min(now + wait);
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
            StreamState::Waiting(self.retry_at)
        };
        if state != self.state {
            self.state = state;
            self.events.push_back(Event::State(state));
        }
    }
}
