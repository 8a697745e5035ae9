//! Where a request goes: a command, a built-in page, or a publisher's door; and who may ask.

use std::net::SocketAddr;

use crate::auth::verdict::Proof;
use crate::base::id::ConnKey;
use crate::base::reason::ErrorCode;
use crate::http::request::{Head, Method};
use crate::http::target::Authority;
use crate::proto::answer::{Answer, Carriage, Content, Meta};
use crate::proto::connection::Door;
use crate::proto::hub::Hub;
use crate::proto::parcel::{Forwarded, Parcel, ReplyTo};
use crate::proto::porter::{Standing, refusal};
use crate::wire::command::{self, Command, CommandError, Request};

/// Who asks, and where the answer belongs.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) reply: ReplyTo,
    pub(crate) address: SocketAddr,
    /// What its client has proved, if it has.
    pub(crate) proof: Option<Proof>,
}

/// A client's command as it was read, or why it is none.
pub(crate) type ClientRequest<'q> = Result<Request<'q>, CommandError>;

impl Hub {
    /// The command that a request is; `None` where it came through the other door, or is about
    /// something else.
    pub(crate) fn client_request<'q>(
        &self,
        conn: ConnKey,
        head: &Head<'q>,
    ) -> Option<ClientRequest<'q>> {
        self.conns.get(conn).filter(|connection| connection.door == Door::Public)?;
        let name = head.target.path.strip_prefix(self.settings.prefix.as_str())?;
        Some(command::parse(name, head.target.query))
    }

    /// Carries out a request whose body is complete. `request` is what [`Hub::client_request`] says
    /// of it.
    pub(crate) fn dispatch(
        &mut self,
        conn: ConnKey,
        head: &Head<'_>,
        (request, standing): (Option<ClientRequest<'_>>, Standing),
        body: Option<Vec<u8>>,
    ) {
        let origin = head.field("Origin");
        let allowed = origin.is_none_or(|origin| self.is_origin_allowed(origin, head));
        let foreign = origin.filter(|origin| allowed && !is_own_origin(origin, head));
        let meta = Meta {
            carriage: Carriage::Http(head.version),
            head_only: head.method == Method::Head,
            close: !head.persistent || self.stopping,
            origin: foreign.map(Into::into),
        };
        let Some(connection) = self.conns.get_mut(conn) else { return };
        connection.last_taken |= meta.close;
        let (door, address) = (connection.door, connection.address());
        let proof = match standing {
            Ok(proof) => proof,
            Err(why) => {
                let reply = self.open_exchange(conn, meta);
                return self.give(reply, refusal(&why));
            }
        };
        if allowed
            && let Some(Ok(request)) = &request
            && let Command::Document(document) = &request.command
            && matches!(head.method, Method::Get | Method::Post)
            && !is_prefetch(head)
        {
            // A document that cannot begin is answered like any other command.
            let path = head.target.path;
            let name = path.strip_prefix(self.settings.prefix.as_str()).unwrap_or_default();
            let asked = (request, document, (method_word(&head.method), name, head.target.query));
            let showing = (head.field("AHM-Key"), proof.as_ref());
            let failure = self.open_document(conn, asked, showing, body, &meta);
            if let Some(failure) = failure {
                let reply = self.open_exchange(conn, meta);
                self.give(reply, failure);
            }
            return;
        }
        let reply = self.open_exchange(conn, meta);
        let incoming = Incoming { reply, address, proof };
        if door.is_private() {
            self.serve_private(&incoming, head, body.as_deref().unwrap_or_default());
        } else if !allowed {
            let detail = "pages of this origin may not use this server";
            self.give(reply, Answer::error(ErrorCode::Forbidden, detail));
        } else if let Some(request) = request {
            self.serve_command(incoming, head, request, body);
        } else {
            self.serve_page(&incoming, head);
        }
    }

    pub(crate) fn open_exchange(&mut self, conn: ConnKey, meta: Meta) -> ReplyTo {
        let shard = self.shard;
        let exchange = self.conns.get_mut(conn).map_or(0, |conn| conn.exchanges().open(meta));
        ReplyTo { shard, conn, exchange, part: None }
    }

    /// Answers an exchange, here or on the shard of its connection.
    pub(crate) fn give(&mut self, reply: ReplyTo, answer: Answer) {
        let Some(answer) = self.seal_answer(reply, answer) else { return };
        if reply.shard != self.shard {
            self.post(reply.shard, Parcel::Answer(reply, Box::new(answer)));
            return;
        }
        let unix_seconds = self.unix_micros() / 1_000_000;
        let Some(connection) = self.conns.get_mut(reply.conn) else { return };
        let Some(exchanges) = connection.exchanges.as_mut() else { return };
        exchanges.answer(reply.exchange, reply.part, answer, unix_seconds);
        if !exchanges.unsent().is_empty() {
            self.name(reply.conn);
        }
    }

    fn serve_page(&mut self, incoming: &Incoming, head: &Head<'_>) {
        let readable = matches!(head.method, Method::Get | Method::Head);
        let answer = match self.directory.page(head.target.path) {
            Some(page) if readable => {
                let content = Content::Page(page.content_type, page.bytes);
                Answer { status: 200, content, field: None }
            }
            Some(_) => not_allowed("GET, HEAD"),
            None => Answer::text(404, "404 Not Found: there is nothing at this address\n"),
        };
        self.give(incoming.reply, answer);
    }

    fn serve_command(
        &mut self,
        incoming: Incoming,
        head: &Head<'_>,
        request: ClientRequest<'_>,
        body: Option<Vec<u8>>,
    ) {
        let reply = incoming.reply;
        let answer = match (&request, head.method) {
            (_, Method::Options) => preflight(),
            (Err(error), _) => Answer::error(error.code, &error.detail),
            (Ok(_), _) if is_prefetch(head) => {
                Answer::error(ErrorCode::Forbidden, "a prefetch creates nothing")
            }
            (Ok(request), Method::Head) => match request.command {
                Command::Document(_) => {
                    Answer { status: 200, content: Content::Frames(Vec::new()), field: None }
                }
                Command::Ping { .. } | Command::ClientJs | Command::History { .. } => {
                    return self.run_request(incoming, head, request, body);
                }
                _ => not_allowed("GET, POST"),
            },
            (Ok(request), Method::Get | Method::Post) => {
                return self.run_request(incoming, head, request, body);
            }
            (Ok(_), _) => not_allowed("GET, HEAD, POST"),
        };
        self.give(reply, answer);
    }

    fn run_request(
        &mut self,
        incoming: Incoming,
        head: &Head<'_>,
        request: &Request<'_>,
        body: Option<Vec<u8>>,
    ) {
        let name = head.target.path.strip_prefix(self.settings.prefix.as_str());
        let connection = self.conns.get(incoming.reply.conn);
        let secured = connection.and_then(|connection| connection.secured.clone());
        let forwarded = Forwarded {
            reply: incoming.reply,
            method: method_word(&head.method),
            proved: None,
            name: name.unwrap_or_default().to_string(),
            query: head.target.query.to_string(),
            key: head.field("AHM-Key").map(str::to_string),
            address: incoming.address,
            proof: incoming.proof,
            secured,
            body,
        };
        self.run_parsed(request, forwarded);
    }

    /// Whether a page asks that may not.
    pub(crate) fn is_foreign(&self, head: &Head<'_>) -> bool {
        head.field("Origin").is_some_and(|origin| !self.is_origin_allowed(origin, head))
    }

    fn is_origin_allowed(&self, origin: &str, head: &Head<'_>) -> bool {
        let listed = |allowed: &String| allowed == "*" || allowed.eq_ignore_ascii_case(origin);
        is_own_origin(origin, head) || self.settings.origins.iter().any(listed)
    }
}

/// The word of a method with which commands come.
pub(crate) fn method_word(method: &Method<'_>) -> &'static str {
    match method {
        Method::Post => "POST",
        Method::Head => "HEAD",
        _ => "GET",
    }
}

/// Whether a page of this very server asks.
fn is_own_origin(origin: &str, head: &Head<'_>) -> bool {
    let (scheme, authority) = origin.split_once("://").unwrap_or_default();
    let port = if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 };
    match (Authority::parse(authority), head.host.and_then(Authority::parse)) {
        (Some(origin), Some(host)) => origin.agrees_with(&host, port),
        _ => false,
    }
}

/// Browsers mark what they fetch before anybody wants it.
pub(crate) fn is_prefetch(head: &Head<'_>) -> bool {
    ["Sec-Purpose", "Purpose", "X-Moz"]
        .iter()
        .any(|name| head.field(name).is_some_and(|value| value.contains("prefetch")))
}

fn preflight() -> Answer {
    Answer { status: 204, content: Content::Preflight, field: None }
}

/// 405 with the methods that are.
pub(crate) fn not_allowed(allow: &'static str) -> Answer {
    let mut answer = Answer::error(ErrorCode::BadMethod, "this is not served with this method");
    answer.field = Some(("Allow", allow.to_string()));
    answer
}
