//! The commands of clients, whichever carriage brought them.

use crate::auth::verdict::Proof;
use crate::base::id::{Cid, Key, ShardId};
use crate::base::reason::{ChannelEnd, ErrorCode, SendOutcome};
use crate::base::time::Span;
use crate::html::frame;
use crate::mem::window::Offer;
use crate::proto::answer::{Answer, Content, quote};
use crate::proto::exchange::Gather;
use crate::proto::hub::Hub;
use crate::proto::inbox::{Bounds, PassedOn, Sent};
use crate::proto::parcel::{Forwarded, Parcel, ReplyTo};
use crate::wire::command::{self, Command, Request};

impl Hub {
    /// Whether a request's session is another server's.
    pub(crate) fn is_elsewhere(&self, request: &Request<'_>) -> bool {
        request.scs.as_deref().is_some_and(|scs| scs != self.settings.scs)
    }

    /// The session that a request names and proves, which is nobody else's than who has sent it.
    pub(crate) fn session_of(
        &mut self,
        request: &Request<'_>,
        (key, proof): (Option<&str>, Option<&Proof>),
    ) -> Result<Key, Answer> {
        if self.is_elsewhere(request) {
            return Err(wrong_server());
        }
        let in_target = request.key.as_deref().filter(|_| self.settings.key_in_target);
        let session = request.mid.and_then(|mid| self.prove_session(mid, key.or(in_target)));
        let none = || Answer::error(ErrorCode::NoSession, "no such session with this key");
        let session = session.ok_or_else(none)?;
        self.refuse_other(session, proof).map_or(Ok(session), Err)
    }

    /// Carries out a command that is no document.
    pub(crate) fn run_command(&mut self, forwarded: Forwarded) {
        let query = forwarded.query.clone();
        match command::parse(&forwarded.name, &query) {
            Ok(request) => self.run_parsed(&request, forwarded),
            Err(error) => self.give(forwarded.reply, Answer::error(error.code, &error.detail)),
        }
    }

    /// The same where the command was read already.
    pub(crate) fn run_parsed(&mut self, request: &Request<'_>, forwarded: Forwarded) {
        let reply = forwarded.reply;
        if reply.part.is_some() && !request.command.is_short() {
            let detail = "this command does not stand in a batch";
            return self.give(reply, Answer::error(ErrorCode::BadRequest, detail));
        }
        if reply.part.is_some() && request.way().is_some() {
            let detail = "auth stands in no batch: the batch itself shows who sends it";
            return self.give(reply, Answer::error(ErrorCode::BadRequest, detail));
        }
        let paced = match &request.command {
            Command::ClientJs | Command::History { .. } => true,
            Command::Ping { .. } => request.mid.is_none(),
            _ => false,
        };
        if paced && let Err(answer) = self.allow_request(forwarded.address.ip()) {
            return self.give(reply, answer);
        }
        match &request.command {
            Command::ClientJs => self.give_client(reply),
            // As a whole, so that its client sees by the status that the connection leads astray.
            Command::Batch if self.is_elsewhere(request) => {
                self.give(reply, wrong_server());
            }
            Command::Batch if request.mac.is_some() => self.run_for_session(request, forwarded),
            Command::Batch => self.run_batch(forwarded),
            Command::History { .. } if request.mid.is_none() => {
                if let Some(refusal) = self.refuse_unknown(forwarded.proof.as_ref()) {
                    return self.give(reply, refusal);
                }
                self.ask_history(&request.command, &forwarded, None);
            }
            Command::Login { resource, seal, .. } => {
                let proof = forwarded.proof.as_ref();
                let refusal = self.refuse_while_leaving().or_else(|| self.refuse_unknown(proof));
                let wanted = (resource.as_deref(), seal.as_deref());
                let answer = refusal.unwrap_or_else(|| self.login(wanted, &forwarded));
                self.give(reply, answer);
            }
            Command::Ping { t, .. } if request.mid.is_none() => {
                // What asks whether new clients may come here, a load balancer for one, asks so.
                let refusal = self.refuse_while_leaving();
                let answer = refusal.unwrap_or_else(|| self.pong(t.as_deref(), None));
                self.give(reply, answer);
            }
            _ => self.run_for_session(request, forwarded),
        }
    }

    /// At a session's shard: a command that came to another one.
    pub(crate) fn take_command(&mut self, forwarded: Forwarded) {
        self.run_command(forwarded);
    }

    /// The shard to which a command goes, if it is another one.
    fn other_shard(&self, request: &Request<'_>, forwarded: &Forwarded) -> Option<ShardId> {
        // What was proved here is of a session here, or is refused.
        let shard = request.mid.filter(|_| forwarded.proved.is_none())?.shard();
        (shard != self.shard && shard.index() < usize::from(self.shards)).then_some(shard)
    }

    fn run_for_session(&mut self, request: &Request<'_>, mut forwarded: Forwarded) {
        let reply = forwarded.reply;
        if let Some(shard) = self.other_shard(request, &forwarded) {
            return self.post(shard, Parcel::Command(Box::new(forwarded)));
        }
        let (session, opened) = match self.prove_command(request, &mut forwarded) {
            Ok(proved) => proved,
            Err(answer) => return self.give(reply, answer),
        };
        if let Err(answer) = self.allow_command(session, forwarded.address.ip()) {
            return self.give(reply, answer);
        }
        self.hear(session);
        self.bind_lines(reply, session);
        let answer = match &request.command {
            Command::Open(open) => {
                let asking = self.asking_for(session, forwarded.address, &forwarded.secured);
                return self.open_channel(session, open, Some(reply), (forwarded.address, asking));
            }
            Command::History { .. } if self.is_sealed(session) => {
                let detail = "a history is not sealed: open the topic with `since` instead";
                Answer::error(ErrorCode::Forbidden, detail)
            }
            Command::History { .. } => {
                return self.ask_history(&request.command, &forwarded, Some(session));
            }
            Command::Send { cid, n, id, data } => {
                let data = opened.as_deref().or(data.as_deref());
                match payload_of(data, forwarded.body.take()) {
                    Ok(payload) => {
                        let sent = Sent { id: id.as_ref().map(|id| id.to_string()), payload };
                        self.send(session, *cid, *n, sent, &forwarded)
                    }
                    Err(detail) => Answer::error(ErrorCode::BadRequest, detail),
                }
            }
            Command::Batch => return self.run_sealed_batch(session, forwarded),
            Command::Close { cid, life } => self.close_channel(session, *cid, *life),
            Command::Renew { .. } => self.renew(session, forwarded.proof.as_ref()),
            Command::Logout => {
                self.end_session(session);
                Answer::ok("")
            }
            Command::Ping { t, h } => {
                self.stay(session);
                let heartbeat = self.change_heartbeat(session, *h);
                self.pong(t.as_deref(), Some(heartbeat))
            }
            _ => Answer::error(ErrorCode::BadRequest, "not a command of a session"),
        };
        self.give(reply, answer);
    }

    fn close_channel(&mut self, session: Key, cid: Cid, life: Option<u32>) -> Answer {
        let found = self.sessions.get(session).and_then(|session| session.find_life(cid, life));
        match found {
            Some(index) => {
                self.end_channel(session, index, ChannelEnd::Closed, None);
                Answer::ok("")
            }
            None => Answer::error(ErrorCode::NoChannel, "no such channel"),
        }
    }

    fn give_client(&mut self, reply: ReplyTo) {
        let answer = match self.directory.page("client.js") {
            Some(page) => {
                let content = Content::Page(page.content_type, page.bytes);
                Answer { status: 200, content, field: None }
            }
            None => Answer::error(ErrorCode::NoCommand, "this server gives out no client"),
        };
        self.give(reply, answer);
    }

    /// Each line is a command of the batch's session, unless the line names another.
    fn run_batch(&mut self, forwarded: Forwarded) {
        let reply = forwarded.reply;
        let body = forwarded.body.unwrap_or_default();
        let Ok(body) = String::from_utf8(body) else {
            return self.give(reply, Answer::error(ErrorCode::BadRequest, "not UTF-8"));
        };
        let lines: Vec<_> = command::split_batch(&body).collect();
        if lines.is_empty() {
            return self
                .give(reply, Answer { content: Content::Text(String::new()), ..Answer::ok("") });
        }
        if let Some(connection) = self.conns.get_mut(reply.conn) {
            connection.exchanges().gather(reply.exchange, Gather::Lines, lines.len());
        }
        for (part, (name, query)) in lines.into_iter().enumerate() {
            self.run_command(Forwarded {
                reply: ReplyTo { part: Some(part as u32), ..reply },
                method: forwarded.method,
                proved: None,
                name: name.to_string(),
                query: join_queries(query, &forwarded.query),
                key: forwarded.key.clone(),
                address: forwarded.address,
                proof: forwarded.proof.clone(),
                secured: forwarded.secured.clone(),
                body: None,
            });
        }
    }

    fn pong(&self, t: Option<&str>, heartbeat: Option<Span>) -> Answer {
        let back = t.map(|t| format!(",\"t\":{}", quote(t))).unwrap_or_default();
        let h = heartbeat.map(|h| format!(",\"h\":{}", h.as_millis())).unwrap_or_default();
        Answer::ok(&format!("{back},\"time\":{}{h}", self.unix_micros()))
    }

    /// A session without a document lives on while its client says so.
    fn stay(&mut self, session: Key) {
        let now = self.now;
        if let Some(session) = self.sessions.get_mut(session) {
            session.idle_since = now;
        }
    }

    fn send(
        &mut self,
        session_key: Key,
        cid: crate::base::id::Cid,
        n: u64,
        sent: Sent,
        forwarded: &Forwarded,
    ) -> Answer {
        if sent.payload.len() > self.settings.payload_bytes_max {
            return Answer::error(ErrorCode::TooLarge, "the payload is larger than allowed");
        }
        let may_send = self.check_takes_messages(session_key, cid).and_then(|()| {
            let asking = self.asking_for(session_key, forwarded.address, &forwarded.secured);
            self.check_sends(session_key, cid, &asking)
        });
        if let Err((code, detail)) = may_send {
            return Answer::error(code, detail);
        }
        let bounds = Bounds {
            count_max: self.settings.send_window,
            bytes_max: self.settings.send_window_bytes,
        };
        let now = self.now;
        let is_remote = self.is_remote_channel(session_key, cid);
        let Some(session) = self.sessions.get_mut(session_key) else {
            return Answer::error(ErrorCode::NoSession, "the session has ended");
        };
        let inboxes = session.inboxes.get_or_insert_default();
        let Some((offer, ready)) = inboxes.offer(cid, n, sent, bounds, now) else {
            let mut answer = Answer::error(ErrorCode::OutOfWindow, "too far ahead of the next");
            if let Content::Json(json) = &mut answer.content {
                json.pop();
                json.push_str(&format!(",\"sn\":{}}}", inboxes.expected(cid)));
            }
            return answer;
        };
        let outcome = match offer {
            // Whether it was taken, its resource will say.
            Offer::Taken if is_remote => SendOutcome::Held,
            Offer::Taken => SendOutcome::Taken,
            Offer::Held => SendOutcome::Held,
            Offer::Dup => match inboxes.passed_on(cid, n) {
                PassedOn::Taken => SendOutcome::Dup,
                PassedOn::OnWay => SendOutcome::Held,
                PassedOn::Unknown => SendOutcome::Unknown,
            },
            Offer::Skipped => return Answer::error(ErrorCode::Skipped, "this number was given up"),
        };
        if let Some(sent) = ready {
            self.deliver(session_key, cid, n, sent, forwarded.address);
            self.deliver_ready(session_key, cid, forwarded.address);
        }
        self.arm_session(session_key);
        Answer::ok(&format!(",\"outcome\":\"{}\",\"n\":{n}", outcome.word()))
    }

    /// Tells all documents of a session what became of a send that was held.
    pub(crate) fn tell_outcome(
        &mut self,
        session: Key,
        cid: crate::base::id::Cid,
        n: u64,
        outcome: SendOutcome,
    ) {
        let Some(session) = self.sessions.get(session) else { return };
        for slot in session.document_slots() {
            let Some(document) = self.documents.at_mut(slot) else { continue };
            frame::outcome(document.notes.get_mut(), cid, n, outcome);
            self.name_document(slot);
        }
    }
}

/// The payload of a send.
fn payload_of(data: Option<&[u8]>, body: Option<Vec<u8>>) -> Result<Vec<u8>, &'static str> {
    match (data, body) {
        (Some(_), Some(body)) if !body.is_empty() => {
            Err("the payload stands in `data` or in the body, not in both")
        }
        (Some(data), _) => Ok(data.to_vec()),
        (None, Some(body)) => Ok(body),
        (None, None) => Err("a send needs a payload, in `data` or as the body"),
    }
}

pub(crate) fn wrong_server() -> Answer {
    Answer::error(ErrorCode::WrongServer, "the session lives on another communication server")
}

/// The parameters of a batch's line; what it does not say of the session, the batch says.
pub(crate) fn join_queries(line: &str, batch: &str) -> String {
    let mut joined = line.to_string();
    for pair in batch.split('&') {
        let name = pair.split('=').next().unwrap_or_default();
        let of_session = matches!(name, "scs" | "mid" | "k");
        let given = line.split('&').any(|own| own.split('=').next() == Some(name));
        if of_session && !given {
            if !joined.is_empty() {
                joined.push('&');
            }
            joined.push_str(pair);
        }
    }
    joined
}
