//! From received bytes to requests: heads, bodies, pipelining, and when a connection moves.

use crate::base::id::ConnKey;
use crate::base::limits;
use crate::base::reason::{CloseReason, ErrorCode};
use crate::base::time::Span;
use crate::http::body::BodyDecoder;
use crate::http::proxy::{self, Introduction};
use crate::http::request::{Framing, Head, Limits, Method, Version, parse_head};
use crate::http::response::CONTINUE;
use crate::http::status::Refusal;
use crate::proto::answer::{Answer, Carriage, refusal};
use crate::proto::connection::{Body, Door, Phase};
use crate::proto::document::Coding;
use crate::proto::hub::Hub;
use crate::proto::output::Output;
use crate::seal::cipher::TAG_BYTES;
use crate::wire::command::{Command, Request};

/// How long a closed connection waits for the peer to close too, or to send more, so that the last
/// answer is not lost with input that nobody read.
const LINGER: Span = Span::from_secs(1);
/// How long a peer may go on sending then. Many look for an answer only when all of their body is
/// sent, or when that fails.
const LINGER_MAX: Span = Span::from_secs(30);

/// What became of a look at the input.
pub(crate) enum Step {
    /// So many bytes were used.
    Used(usize),
    /// More is needed.
    More,
    /// Something else must happen first.
    Wait,
}

impl Hub {
    /// Takes bytes of a connection after those that it still holds.
    pub(crate) fn intake(&mut self, conn: ConnKey, bytes: &[u8]) {
        let Some(connection) = self.conns.get_mut(conn) else { return };
        let mut held = connection.input.take();
        let fresh = held.is_empty();
        let used = if fresh {
            self.consume(conn, bytes)
        } else {
            held.extend_from_slice(bytes);
            self.consume(conn, &held)
        };
        let Some(connection) = self.conns.get_mut(conn) else { return };
        if fresh {
            if used < bytes.len() {
                connection.input = bytes[used..].to_vec().into();
            }
        } else if used < held.len() {
            held.drain(..used);
            connection.input = held.into();
        }
        let begins = (fresh || used > 0) && !connection.input.is_empty() && !connection.paused;
        let waits = match connection.phase {
            Phase::Head | Phase::Introduction => true,
            Phase::Stream(_) => connection.is_raw(),
            _ => false,
        };
        if begins && waits {
            let span = self.settings.head_timeout;
            self.set_deadline(conn, span);
        }
    }

    /// Goes on with requests that had to wait for earlier answers.
    pub(crate) fn resume_intake(&mut self, conn: ConnKey) {
        let Some(connection) = self.conns.get_mut(conn) else { return };
        let full = connection.exchanges.as_ref().is_some_and(|exchanges| exchanges.is_full());
        if full {
            return;
        }
        let was_paused = std::mem::replace(&mut connection.paused, false);
        if !connection.input.is_empty() {
            self.intake(conn, &[]);
        }
        let Some(connection) = self.conns.get(conn) else { return };
        if was_paused && !connection.paused {
            self.outputs.push_back(Output::Receive(conn));
        }
    }

    fn consume(&mut self, conn: ConnKey, data: &[u8]) -> usize {
        let mut used = 0;
        loop {
            let Some(connection) = self.conns.get_mut(conn) else { return data.len() };
            let rest = &data[used..];
            if connection.moving || (rest.is_empty() && !matches!(connection.phase, Phase::Body(_)))
            {
                return used;
            }
            let full = connection.exchanges.as_ref().is_some_and(|exchanges| exchanges.is_full());
            let fresh = match connection.phase {
                // Answers never come before the first line of a document that was asked for before.
                Phase::Stream(slot) => {
                    self.documents.at(slot).is_some_and(|d| d.coding == Coding::RawFresh)
                }
                _ => false,
            };
            let step = match connection.phase {
                Phase::Drain(_, until) => {
                    self.set_deadline(conn, LINGER.min(until.since(self.now)));
                    return data.len();
                }
                Phase::Stream(_) if !connection.is_raw() => {
                    if rest.len() > limits::HEAD_BYTES_MAX {
                        self.close(conn, CloseReason::BadRequest);
                    }
                    return used;
                }
                Phase::Relay(key) => self.feed_relay(conn, key, rest),
                Phase::Asking(_) => Step::Wait,
                _ if connection.last_taken => return data.len(),
                Phase::Introduction => self.take_introduction(conn, rest),
                Phase::Body(_) => self.take_body(conn, rest),
                Phase::Head | Phase::Stream(_) if full || fresh => Step::Wait,
                Phase::Head | Phase::Stream(_) if connection.is_raw() => self.take_line(conn, rest),
                Phase::Head | Phase::Stream(_) => self.take_head(conn, rest),
            };
            match step {
                Step::Used(count) => used += count,
                Step::More => return used,
                Step::Wait => {
                    if let Some(connection) = self.conns.get_mut(conn) {
                        connection.paused = true;
                    }
                    return used;
                }
            }
        }
    }

    fn take_head(&mut self, conn: ConnKey, rest: &[u8]) -> Step {
        let (head, head_len) = match parse_head(rest, &Limits::default()) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => return Step::More,
            Err(why) => return self.refuse_all(conn, why, rest),
        };
        if self.relay.is_some() && self.is_relayed(conn, &head) {
            return self.relay_request(conn, &head, head_len, rest);
        }
        let Some(connection) = self.conns.get_mut(conn) else { return Step::More };
        let bytes_max = body_bytes_max(&head, connection.door, &self.settings);
        let mut decoder = match BodyDecoder::new(head.framing, bytes_max) {
            Ok(decoder) => decoder,
            Err(why) => return self.refuse_all(conn, why, rest),
        };
        if head.framing == Framing::None && needs_body(&head, connection.door) {
            return self.refuse_all(conn, Refusal::LengthRequired, rest);
        }
        let request = self.client_request(conn, &head);
        if let Some(Ok(request)) = &request
            && let Some(step) = self.place(conn, request)
        {
            return step;
        }
        let standing = match &request {
            Some(Ok(request)) => self.standing(conn, &head, request),
            _ => Some(Ok(None)),
        };
        let Some(standing) = standing else { return Step::Wait };
        let mut content = Vec::new();
        let taken = match decoder.decode(&rest[head_len..], &mut content) {
            Ok(taken) => taken,
            Err(why) => return self.refuse_all(conn, why, rest),
        };
        let used = Step::Used(head_len + taken);
        if decoder.is_done() {
            let body = (head.framing != Framing::None).then_some(content);
            self.dispatch(conn, &head, (request, standing), body);
            self.set_idle_deadline(conn);
            return used;
        }
        let (head_bytes, began) = (rest[..head_len].into(), self.now);
        let body = Body { head: head_bytes, decoder, content, began, standing };
        self.await_body(conn, body, head.expect_continue && taken == 0);
        used
    }

    fn await_body(&mut self, conn: ConnKey, body: Body, is_asked_for: bool) {
        let Some(connection) = self.conns.get_mut(conn) else { return };
        if is_asked_for {
            connection.exchanges().interject(CONTINUE);
        }
        connection.phase = Phase::Body(Box::new(body));
        let span = self.settings.body_timeout;
        self.set_deadline(conn, span);
        self.name(conn);
    }

    fn take_body(&mut self, conn: ConnKey, rest: &[u8]) -> Step {
        let span = self.settings.body_timeout;
        let Some(connection) = self.conns.get_mut(conn) else { return Step::More };
        let Phase::Body(body) = &mut connection.phase else { return Step::More };
        let taken = match body.decoder.decode(rest, &mut body.content) {
            Ok(taken) => taken,
            Err(why) => return self.refuse_all(conn, why, rest),
        };
        if !body.decoder.is_done() {
            if taken > 0 {
                // Each byte buys a little time; what drips in is not waited for without end.
                let span = span.min(self.body_until(conn).since(self.now));
                self.set_deadline(conn, span);
                return Step::Used(taken);
            }
            return Step::More;
        }
        let Phase::Body(body) = std::mem::replace(&mut connection.phase, Phase::Head) else {
            return Step::More;
        };
        // The head was read once already; it is kept as bytes so that nothing borrows from it.
        if let Ok(Some((head, _))) = parse_head(&body.head, &Limits::default()) {
            let request = self.client_request(conn, &head);
            self.dispatch(conn, &head, (request, body.standing), Some(body.content));
        }
        self.set_idle_deadline(conn);
        Step::Used(taken)
    }

    pub(crate) fn set_idle_deadline(&mut self, conn: ConnKey) {
        let span = self.settings.idle_timeout;
        if self.conns.get(conn).is_some_and(|conn| !matches!(conn.phase, Phase::Stream(_))) {
            self.set_deadline(conn, span);
        }
    }

    /// Whether the request must wait or its connection must move before it can be served.
    fn place(&mut self, conn: ConnKey, request: &Request<'_>) -> Option<Step> {
        let is_document = matches!(request.command, Command::Document(_));
        let connection = self.conns.get_mut(conn)?;
        let idle = connection.is_idle();
        if is_document && !idle {
            return Some(Step::Wait);
        }
        let mid = request.mid?;
        let named_before = connection.session.is_some_and(|session| session != mid);
        connection.pinned |= named_before;
        if !is_document && (connection.pinned || !idle) {
            return None;
        }
        connection.session = Some(mid);
        let shard = mid.shard();
        if shard == self.shard || shard.index() >= usize::from(self.shards) {
            return None;
        }
        connection.moving = true;
        self.outputs.push_back(Output::Move(conn, shard));
        Some(Step::More)
    }

    /// Takes what a load balancer says of the client.
    fn take_introduction(&mut self, conn: ConnKey, rest: &[u8]) -> Step {
        let found = proxy::introduction(rest);
        let Some(connection) = self.conns.get_mut(conn) else { return Step::More };
        match found {
            Ok(Some(Introduction { client, bytes })) => match self.introduce(conn, client) {
                true => Step::Used(bytes),
                false => Step::Used(rest.len()),
            },
            Ok(None) => Step::More,
            Err(what) => {
                log::debug!("{}: {what}", connection.address());
                self.close(conn, CloseReason::BadRequest);
                Step::Used(rest.len())
            }
        }
    }

    /// Answers a request that broke HTTP and closes; what follows is never read as a request.
    pub(crate) fn refuse_all(&mut self, conn: ConnKey, why: Refusal, rest: &[u8]) -> Step {
        self.refuse(conn, why, CloseReason::BadRequest);
        Step::Used(rest.len())
    }

    pub(crate) fn refuse(&mut self, conn: ConnKey, why: Refusal, reason: CloseReason) {
        let Some(connection) = self.conns.get(conn) else { return };
        log::debug!("{}: {} ({})", connection.address(), why.detail(), reason.word());
        let (carriage, answer) = match connection.is_raw() {
            true => (Carriage::Line(None), Answer::error(ErrorCode::BadRequest, why.detail())),
            false => (Carriage::Http(Version::Http11), refusal(why)),
        };
        self.say_last(conn, carriage, answer);
    }

    /// All is sent that will be: our side closes now, the connection when the peer closes too.
    pub(crate) fn finish(&mut self, conn: ConnKey, reason: CloseReason) {
        let Some(connection) = self.conns.get_mut(conn) else { return };
        if connection.eof {
            self.close(conn, reason);
            return;
        }
        connection.input.take();
        connection.exchanges = None;
        connection.phase = Phase::Drain(reason, self.now + LINGER_MAX);
        self.outputs.push_back(Output::Finish(conn));
        self.set_deadline(conn, LINGER);
    }
}

fn body_bytes_max(head: &Head<'_>, door: Door, settings: &crate::proto::settings::Settings) -> u64 {
    let path = head.target.path;
    let single = match door {
        Door::Private | Door::Local => {
            path.starts_with("/publish/") || path.starts_with("/control/")
        }
        Door::Public | Door::Raw => path.strip_prefix(settings.prefix.as_str()) == Some("send"),
    };
    // A payload may be sealed, which makes it longer; what is in it is measured once more.
    let single_max = settings.payload_bytes_max + TAG_BYTES;
    let bytes = if single { single_max } else { settings.batch_bytes_max };
    bytes as u64
}

/// Whether the request means nothing without a body, so that one without a length is 411.
fn needs_body(head: &Head<'_>, door: Door) -> bool {
    if head.method != Method::Post {
        return false;
    }
    let name = head.target.path.rsplit('/').next().unwrap_or_default();
    match door {
        Door::Private | Door::Local => head.target.path.starts_with("/publish"),
        Door::Public | Door::Raw => {
            let in_target = head.target.query.split('&').any(|pair| pair.starts_with("data="));
            name == "batch" || (name == "send" && !in_target)
        }
    }
}
