//! The agent's short commands, and what their answers mean.

use crate::base::time::{Instant, Span};
use crate::client::agent::Agent;
use crate::client::answer::{Answer, Refused};
use crate::client::channel::{Status, Which};
use crate::client::document::Document;
use crate::client::event::{
    CallId, ChannelKey, Event, Failure, Output, Request, RouteId, StreamId,
};
use crate::client::leg::{Leg, LegId};
use crate::client::sealed::Proof;
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
    /// `close`, `logout`, a heartbeat: nobody waits for the answer.
    Word,
    /// `ping`, sent at this moment.
    Ping(Instant),
    /// `login` for the session of this document.
    Login(StreamId),
    /// `renew`.
    Renew,
}

/// A command on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub(crate) kind: Kind,
    /// The number of the session that it was sent in.
    pub(crate) session: u32,
    /// Where that is sealed: what the answer is measured by.
    pub(crate) proof: Option<Proof>,
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
        let proof = self.calls.get(&call).and_then(|call| call.proof.clone());
        if !self.is_believed(proof.as_ref(), status, body) {
            // Who knows who has answered: the command may have arrived or not.
            return self.handle_failure(call, now);
        }
        let known = self.calls.remove(&call);
        if let Some(Call { kind, session, .. }) = known
            && !self.stopped
        {
            let wait = retry_after.unwrap_or(Span::ZERO);
            let leg = self.leg_of_session(session).map(|leg| {
                if status < 400 {
                    leg.call_backoff.reset();
                }
                leg.id
            });
            match (kind, leg) {
                (Kind::Open(keys), Some(leg)) => {
                    self.answer_opens(leg, &keys, (status, body), wait, now);
                }
                (Kind::Send(key), Some(leg)) if leg == self.legs[0].id => {
                    self.answer_send(key, call, Answer::parse(status, body), wait, now);
                }
                (Kind::Renew, Some(leg)) => {
                    self.answer_renew(leg, Answer::parse(status, body), wait, now);
                }
                (Kind::Login(stream), _) => self.take_login(stream, (status, body), now),
                (Kind::Ping(sent), _) => self.events.push_back(Event::RoundTrip(now.since(sent))),
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
        if let Some(Call { kind: Kind::Login(stream), .. }) = known
            && !self.stopped
        {
            let what = "the login was not answered".to_owned();
            self.lose(stream, Failure::Broken(what), false, now);
        } else if let Some(Call { kind, session, .. }) = known
            && !self.stopped
            && let Some(id) = self.leg_of_session(session).map(|leg| leg.id)
        {
            let at = now + self.call_wait(id);
            match kind {
                Kind::Open(keys) => {
                    let Some(leg) = self.leg(id) else { return };
                    keys.into_iter().for_each(|key| leg.want(key, at));
                }
                Kind::Send(key) if id == self.legs[0].id => self.retry_send(key, call, at),
                Kind::Renew => {
                    let Some(leg) = self.leg(id) else { return };
                    leg.renewal.at = at;
                }
                Kind::Send(_) | Kind::Word | Kind::Ping(_) | Kind::Login(_) => {}
            }
        }
        self.drive(now);
    }

    /// How long to wait after one more command of the leg came to nothing.
    pub(crate) fn call_wait(&mut self, id: LegId) -> Span {
        let random = &mut self.random;
        let leg = self.legs.iter_mut().find(|leg| leg.id == id);
        leg.map_or(Span::ZERO, |leg| leg.call_backoff.wait(random))
    }

    fn answer_opens(
        &mut self,
        leg: LegId,
        keys: &[ChannelKey],
        (status, body): (u16, &[u8]),
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
            self.answer_open((leg, *key), Answer::parse(status, line), wait, now);
        }
    }

    fn answer_open(
        &mut self,
        (id, key): (LegId, ChannelKey),
        answer: Result<Answer, Refused>,
        wait: Span,
        now: Instant,
    ) {
        // Where the consumer has left meanwhile, the channel's own frame has it closed.
        let Self { legs, random, .. } = self;
        let Some(leg) = legs.iter_mut().find(|leg| leg.id == id) else { return };
        let found = answer.as_ref().ok().and_then(Answer::channel);
        let left = found.is_some_and(|found| leg.is_over(found));
        let Some(seat) = leg.seats.get_mut(&key) else { return };
        match answer {
            Ok(answer) => {
                // Its frame may have been faster than the answer.
                let known = seat.which();
                if let Some(channel) = known.or(found) {
                    if known.is_none() && left {
                        // It was found before the word had come that it was left.
                        let retry_in = seat.backoff.wait(random);
                        leg.want(key, now + retry_in);
                        return self.call_close(id, channel);
                    }
                    leg.expect(channel.0, answer.number("sn").unwrap_or(1));
                    if !self.name_channel(id, key, channel) {
                        return;
                    }
                }
                if let Some(place) = answer.position() {
                    self.merge.start(key, place);
                }
            }
            Err(_) if seat.status == Status::Open => {} // its frame was faster than the answer
            Err(refused) if refused.is_of_session() => {
                leg.want(key, now + wait + Span::from_secs(1));
                self.doubt_session(id, now);
            }
            Err(refused) if refused.is_passing() => {
                let retry_in = seat.backoff.wait(random).max(wait);
                leg.want(key, now + retry_in);
                self.tell_refused(key, refused, Some(retry_in));
            }
            Err(refused) => {
                seat.status = Status::Refused;
                if self.legs.iter().all(|leg| leg.has_given_up(key)) {
                    self.tell_refused(key, refused, None);
                    self.end_channel(key);
                }
            }
        }
    }

    /// The leg's session calls the channel `cid`; says whether that is of use.
    pub(crate) fn name_channel(&mut self, id: LegId, key: ChannelKey, (cid, life): Which) -> bool {
        let is_main = id == self.legs[0].id;
        let Some(leg) = self.leg(id) else { return false };
        if !is_main && cid.is_private() {
            // A conversation of its own on each server: what is sent is heard on the main one.
            if let Some(seat) = leg.seats.get_mut(&key) {
                (seat.cid, seat.status) = (None, Status::Elsewhere);
            }
            self.call_close(id, (cid, life));
            return false;
        }
        if leg.name(key, (cid, life)) && is_main {
            // What was numbered under another channel number can be decided no more.
            self.forsake_channel(key);
        }
        self.sending.insert(key);
        true
    }

    /// Tells of a channel that could not be opened, unless it is open elsewhere.
    fn tell_refused(&mut self, channel: ChannelKey, refused: Refused, retry_in: Option<Span>) {
        let open = |leg: &Leg| leg.seats.get(&channel).is_some_and(|s| s.status == Status::Open);
        if self.legs.iter().any(open) {
            return;
        }
        let failure = refused.into_failure();
        self.events.push_back(Event::Refused { channel, failure, retry_in });
    }

    /// Asks for the leg's channels that are due.
    pub(crate) fn call_opens(&mut self, id: LegId, now: Instant) {
        let Some(leg) = self.legs.iter_mut().find(|leg| leg.id == id) else { return };
        if now < leg.channels_at {
            return;
        }
        let mut next = Instant::NEVER;
        let mut due = Vec::new();
        for (key, seat) in &mut leg.seats {
            match seat.due_at() {
                Some(at) if at <= now => {
                    // The answer, or the loss of its connection, is what comes next.
                    seat.status = Status::Asked(Instant::NEVER);
                    due.push(*key);
                }
                Some(at) => next = next.min(at),
                None => {}
            }
        }
        leg.channels_at = next;
        let mut requests: Vec<(ChannelKey, OpenRequest)> = Vec::new();
        for key in due {
            let Some(channel) = self.channels.get(&key) else { continue };
            requests.push((key, self.open_request(key, &channel.request)));
        }
        for part in requests.chunks(BATCH_LINES_MAX) {
            let keys = part.iter().map(|(key, _)| *key).collect();
            let lines: Vec<_> = part.iter().map(|(_, request)| open_command(request)).collect();
            let sealed = self.is_sealed(id);
            match &lines[..] {
                // In a batch of a sealed session nobody on the way reads what it is that is read.
                [line] if !sealed => self.call(id, Kind::Open(keys), ("open", line), None),
                _ => {
                    let lines: String = lines.iter().map(|l| format!("open?{l}\n")).collect();
                    self.call(id, Kind::Open(keys), ("batch", ""), Some(lines.into_bytes()));
                }
            }
        }
    }

    fn is_sealed(&self, id: LegId) -> bool {
        let leg = self.legs.iter().find(|leg| leg.id == id);
        leg.and_then(|leg| leg.session.as_ref()).is_some_and(|session| session.seal.is_some())
    }

    /// Leaves a channel of the leg's session.
    pub(crate) fn call_close(&mut self, id: LegId, (cid, life): Which) {
        if let Some(leg) = self.leg(id) {
            leg.set_over((cid, life));
        }
        let query = encode_query(&[("cid", &cid.to_string()), ("l", &life.to_string())]);
        self.call(id, Kind::Word, ("close", &query), None);
    }

    /// Ends the leg's session at the server.
    pub(crate) fn call_logout(&mut self, id: LegId) {
        self.call(id, Kind::Word, ("logout", ""), None);
    }

    /// Lets the leg's server hear of the client, where it demands that and nothing else did.
    pub(crate) fn call_beat(&mut self, id: LegId, now: Instant) {
        if self.leg(id).is_some_and(|leg| leg.beat_at <= now && !leg.spoke) {
            self.call(id, Kind::Word, ("ping", ""), None);
        }
        let beat = self.beat_of(id);
        if let Some(leg) = self.leg(id).filter(|leg| leg.spoke) {
            // Any command will do.
            leg.spoke = false;
            leg.beat_at = beat.map_or(Instant::NEVER, |beat| now + beat);
        }
    }

    /// How often the leg's server wants to hear of the client; `None`: it does not demand it.
    fn beat_of(&self, id: LegId) -> Option<Span> {
        let mine = self.documents.iter().filter(|d| d.leg == id && d.is_running() && d.demands);
        mine.map(Document::beat).min()
    }

    /// Asks the leg's server for another heartbeat interval.
    pub(crate) fn call_heartbeat(&mut self, id: LegId, interval: Span) {
        let query = encode_query(&[("h", &interval.as_millis().to_string())]);
        self.call(id, Kind::Word, ("ping", &query), None);
    }

    /// Measures the round trip.
    pub(crate) fn call_ping(&mut self, now: Instant) {
        let main = self.legs[0].id;
        let stamp = now.as_nanos().to_string();
        self.call(main, Kind::Ping(now), ("ping", &encode_query(&[("t", &stamp)])), None);
    }

    fn call(&mut self, leg: LegId, kind: Kind, command: (&str, &str), body: Option<Vec<u8>>) {
        let call = CallId(self.next_id());
        let Some(route) = self.leg(leg).map(|leg| leg.route) else { return };
        self.call_over(leg, (kind, call, route), command, body);
    }

    /// Puts a command of the leg's session on the wire. Without a session only a ping makes sense.
    pub(crate) fn call_over(
        &mut self,
        leg: LegId,
        (kind, call, route): (Kind, CallId, RouteId),
        (name, query): (&str, &str),
        body: Option<Vec<u8>>,
    ) {
        let Some(leg) = self.leg(leg) else { return };
        leg.spoke = true;
        let number = leg.number;
        let mut target = format!("{name}?");
        let mut key = None;
        match &leg.session {
            Some(session) => {
                let mid = session.mid.to_string();
                target += &encode_query(&[("scs", &session.scs), ("mid", &mid)]);
                key = session.key.clone();
                if !query.is_empty() {
                    target.push('&');
                }
            }
            None if matches!(kind, Kind::Ping(_)) => {}
            None => return,
        }
        target.push_str(query);
        let seal = leg.session.as_mut().and_then(|session| session.seal.as_mut());
        let (request, proof) = match seal {
            Some(seal) => {
                let (request, proof) = seal.prove(&target, body);
                (request, Some(proof))
            }
            None => (Request { target, key, body, ..Request::default() }, None),
        };
        let output = match kind {
            Kind::Renew => Output::Login { call, route, request },
            _ => Output::Call { call, route, request },
        };
        self.calls.insert(call, Call { kind, session: number, proof });
        self.outputs.push_back(output);
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
    let parameters = request.parameters.iter().filter_map(|pair| pair.split_once('='));
    let named: Vec<_> = parameters.map(|(name, value)| (format!("x-{name}"), value)).collect();
    pairs.extend(named.iter().map(|(name, value)| (name.as_str(), *value)));
    encode_query(&pairs)
}
