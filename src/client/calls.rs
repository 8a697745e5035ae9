//! The agent's short commands, and what their answers mean.

use crate::base::id::Cid;
use crate::base::reason::{ErrorCode, SendOutcome};
use crate::base::time::{Instant, Span};
use crate::client::agent::Agent;
use crate::client::answer::{Answer, Refused};
use crate::client::channel::Status;
use crate::client::event::{CallId, ChannelKey, Event, Fate, Output, Request, RouteId, SendId};
use crate::wire::command::{OpenRequest, encode_query};

/// Channels asked for in one batch.
const BATCH_LINES_MAX: usize = 500;

/// What a command on its way is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `open`, one for each.
    Open(Vec<ChannelKey>),
    /// A numbered send of this channel.
    Send(ChannelKey),
    /// `close` or `logout`: nobody waits for the answer.
    Farewell,
    /// `ping`, sent at this moment.
    Ping(Instant),
}

/// A command on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    kind: Kind,
    /// The agent's count of sessions when it was sent.
    session: u32,
}

impl Agent {
    /// A command was answered.
    pub fn handle_answer(
        &mut self,
        call: CallId,
        status: u16,
        retry_after: Option<Span>,
        body: &[u8],
        now: Instant,
    ) {
        let known = self.calls.remove(&call);
        if let Some(Call { kind, session }) = known
            && !self.stopped
        {
            if status < 400 {
                self.call_backoff.reset();
            }
            let current = session == self.session_count;
            let wait = retry_after.unwrap_or(Span::ZERO);
            match kind {
                Kind::Open(keys) if current => self.answer_opens(&keys, status, body, wait, now),
                Kind::Send(key) if current => {
                    self.answer_send(key, call, Answer::parse(status, body), wait, now);
                }
                Kind::Ping(sent) => self.events.push_back(Event::RoundTrip(now.since(sent))),
                _ => {}
            }
        }
        self.drive(now);
    }

    /// Nobody knows whether a command arrived: its connection was lost before the answer.
    ///
    /// Every command of the agent may be repeated: an `open` finds the channel that exists, a send
    /// has its number.
    pub fn handle_failure(&mut self, call: CallId, now: Instant) {
        let known = self.calls.remove(&call);
        if let Some(Call { kind, session }) = known
            && session == self.session_count
            && !self.stopped
        {
            let at = now + self.call_backoff.wait(&mut self.random);
            match kind {
                Kind::Open(keys) => keys.into_iter().for_each(|key| self.want(key, at)),
                Kind::Send(key) => self.retry_send(key, call, at),
                Kind::Farewell | Kind::Ping(_) => {}
            }
        }
        self.drive(now);
    }

    fn want(&mut self, key: ChannelKey, at: Instant) {
        if let Some(channel) = self.channels.get_mut(&key)
            && matches!(channel.status, Status::Asked(_) | Status::Wanted(_))
        {
            channel.status = Status::Wanted(at);
            self.channels_at = self.channels_at.min(at);
        }
    }

    fn retry_send(&mut self, key: ChannelKey, call: CallId, at: Instant) {
        if let Some(channel) = self.channels.get_mut(&key) {
            channel.outbox.retry(call, at);
            self.sending.insert(key);
        }
    }

    fn answer_opens(
        &mut self,
        keys: &[ChannelKey],
        status: u16,
        body: &[u8],
        wait: Span,
        now: Instant,
    ) {
        let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let mut lines: Vec<_> = if keys.len() == 1 { vec![body] } else { lines.collect() };
        if lines.len() != keys.len() {
            // The batch was refused as a whole, or what answered is no server of ours.
            lines = vec![body; keys.len()];
        }
        for (key, line) in keys.iter().zip(lines) {
            // A line of a batch carries its own fate; the status is that of the batch.
            self.answer_open(*key, Answer::parse(status, line), wait, now);
        }
    }

    fn answer_open(
        &mut self,
        key: ChannelKey,
        answer: Result<Answer, Refused>,
        wait: Span,
        now: Instant,
    ) {
        // Where the consumer has left meanwhile, the channel's own frame has it closed.
        let Some(channel) = self.channels.get_mut(&key) else { return };
        match answer {
            Ok(answer) => {
                let named = channel.cid.or_else(|| answer.cid());
                channel.status = Status::Open;
                channel.backoff.reset();
                if let Some(place) = answer.position() {
                    self.merge.start(key, place);
                }
                if let Some(cid) = named {
                    self.name_channel(key, cid, answer.number("sn").unwrap_or(1));
                }
                self.sending.insert(key);
            }
            Err(_) if channel.status == Status::Open => {} // its frame was faster than the answer
            Err(refused) if refused.is_of_session() => {
                self.want(key, now + wait + Span::from_secs(1));
                self.doubt_session(now);
            }
            Err(refused) if refused.is_passing() => {
                let retry_in = channel.backoff.wait(&mut self.random).max(wait);
                self.want(key, now + retry_in);
                self.tell_refused(key, refused, Some(retry_in));
            }
            Err(refused) => {
                self.tell_refused(key, refused, None);
                self.end_channel(key);
            }
        }
    }

    fn tell_refused(&mut self, channel: ChannelKey, refused: Refused, retry_in: Option<Span>) {
        let failure = refused.into_failure();
        self.events.push_back(Event::Refused { channel, failure, retry_in });
    }

    fn answer_send(
        &mut self,
        key: ChannelKey,
        call: CallId,
        answer: Result<Answer, Refused>,
        wait: Span,
        now: Instant,
    ) {
        let at = now + self.call_backoff.wait(&mut self.random).max(wait);
        let Some(channel) = self.channels.get_mut(&key) else { return };
        let fate = match answer.map(|answer| answer.outcome()) {
            Ok(Some(SendOutcome::Held)) => {
                channel.outbox.hold(call, now + self.settings.held_timeout);
                return;
            }
            Ok(outcome) => Fate::from_outcome(outcome.unwrap_or(SendOutcome::Taken)),
            Err(refused) if refused.is_of_session() => {
                self.doubt_session(now);
                None
            }
            Err(refused) if refused.is_passing() => None,
            Err(Refused { code: Some(ErrorCode::Skipped), .. }) => Some(Fate::Skipped),
            Err(refused) => Some(Fate::Refused(refused.into_failure())),
        };
        match fate {
            None => self.retry_send(key, call, at),
            Some(fate) => {
                self.call_backoff.reset();
                self.settle_call(key, call, fate);
            }
        }
    }

    fn settle_call(&mut self, key: ChannelKey, call: CallId, fate: Fate) {
        let settled = self.channels.get_mut(&key).and_then(|c| c.outbox.settle_call(call));
        let fates: Vec<(SendId, Fate)> = settled.map(|id| (id, fate)).into_iter().collect();
        self.tell_fates(key, fates);
        self.sending.insert(key);
    }

    /// Asks for the channels that are due.
    pub(crate) fn call_opens(&mut self, now: Instant) {
        if now < self.channels_at {
            return;
        }
        let mut next = Instant::NEVER;
        let mut due: Vec<(ChannelKey, OpenRequest)> = Vec::new();
        for (key, channel) in &self.channels {
            match channel.due_at() {
                Some(at) if at <= now => {
                    due.push((*key, self.open_request(*key, &channel.request)))
                }
                Some(at) => next = next.min(at),
                None => {}
            }
        }
        // Asked by command: the answer, or the loss of its connection, is what comes next.
        for (key, _) in &due {
            if let Some(channel) = self.channels.get_mut(key) {
                channel.status = Status::Asked(Instant::NEVER);
                self.merge.begin_channel(*key);
            }
        }
        self.channels_at = next;
        for part in due.chunks(BATCH_LINES_MAX) {
            let keys = part.iter().map(|(key, _)| *key).collect();
            let lines: Vec<_> = part.iter().map(|(_, request)| open_command(request)).collect();
            match &lines[..] {
                [line] => self.call(Kind::Open(keys), "open", line, None),
                _ => {
                    let lines: String = lines.iter().map(|l| format!("open?{l}\n")).collect();
                    self.call(Kind::Open(keys), "batch", "", Some(lines.into_bytes()));
                }
            }
        }
    }

    /// Puts the sends that are due on the wire.
    pub(crate) fn call_sends(&mut self, now: Instant) {
        for key in std::mem::take(&mut self.sending) {
            while let Some((cid, call, due)) = self.next_send(key, now) {
                self.counters.sends += 1;
                self.counters.resends += u64::from(due.again);
                let (cid, n) = (cid.to_string(), due.n.to_string());
                let mut pairs = vec![("cid", cid.as_str()), ("n", n.as_str())];
                pairs.extend(due.word.as_deref().map(|word| ("id", word)));
                let query = encode_query(&pairs);
                self.call_as(call, Kind::Send(key), "send", &query, Some(due.payload));
            }
            if self.channels.get(&key).is_some_and(|channel| !channel.outbox.is_empty()) {
                self.sending.insert(key);
            }
        }
    }

    fn next_send(
        &mut self,
        key: ChannelKey,
        now: Instant,
    ) -> Option<(Cid, CallId, crate::client::outbox::Due)> {
        let call = CallId(self.next_id());
        let channel = self.channels.get_mut(&key)?;
        let cid = channel.cid?;
        let due = channel.outbox.next_due(call, self.settings.send_window, now)?;
        let next = self.numbers.entry(cid).or_default();
        *next = (*next).max(due.n + 1);
        Some((cid, call, due))
    }

    /// Ends the channel that the session calls `cid`.
    pub(crate) fn call_close(&mut self, cid: Cid) {
        if self.session.is_some() {
            let query = encode_query(&[("cid", &cid.to_string())]);
            self.call(Kind::Farewell, "close", &query, None);
        }
    }

    /// Ends the session at the server.
    pub(crate) fn call_logout(&mut self) {
        if self.session.is_some() {
            self.call(Kind::Farewell, "logout", "", None);
        }
    }

    /// Measures the round trip.
    pub(crate) fn call_ping(&mut self, now: Instant) {
        let stamp = now.as_nanos().to_string();
        self.call(Kind::Ping(now), "ping", &encode_query(&[("t", &stamp)]), None);
    }

    fn call(&mut self, kind: Kind, name: &str, query: &str, body: Option<Vec<u8>>) {
        let call = CallId(self.next_id());
        self.call_as(call, kind, name, query, body);
    }

    fn call_as(
        &mut self,
        call: CallId,
        kind: Kind,
        name: &str,
        query: &str,
        body: Option<Vec<u8>>,
    ) {
        let mut target = format!("{name}?");
        let mut key = None;
        if let Some(session) = &self.session {
            let mid = session.mid.to_string();
            target += &encode_query(&[("scs", &session.scs), ("mid", &mid)]);
            key = session.key.clone();
        }
        if !query.is_empty() {
            target = format!("{target}{}{query}", if key.is_some() { "&" } else { "" });
        }
        self.calls.insert(call, Call { kind, session: self.session_count });
        let request = Request { target, key, body };
        self.outputs.push_back(Output::Call { call, route: RouteId(0), request });
    }
}

/// The query of the `open` command that asks for the same as `open=` in a document's request.
fn open_command(request: &OpenRequest) -> String {
    let (cid, since, rate) = (
        request.cid.map(|cid| cid.to_string()),
        request.since.map(|since| since.to_string()),
        request.rate.map(|rate| rate.to_string()),
    );
    let mut pairs =
        vec![("resource", request.name.resource()), ("subject", request.name.subject())];
    pairs.push(("mode", request.mode.word()));
    pairs.extend(cid.as_deref().map(|cid| ("cid", cid)));
    pairs.extend(since.as_deref().map(|since| ("since", since)));
    pairs.extend(rate.as_deref().map(|rate| ("rate", rate)));
    if request.strict {
        pairs.push(("strict", "1"));
    }
    encode_query(&pairs)
}
