//! Commands as lines on a connection without HTTP.
//!
//! Each is answered by a line of JSON, in their order; a document that is asked for begins on the
//! same connection, and commands go on beside it: their answers stand between its frames. Commands
//! that name no session are the connection's: of the first that was made or proved on it, or of the
//! document that it carries. Where that lives on another shard, the connection goes there first, so
//! that it is always at hand.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::auth::verdict::Refusal;
use crate::base::id::{ConnKey, Key, Mid};
use crate::base::limits::TARGET_BYTES_MAX;
use crate::base::reason::ErrorCode;
use crate::base::time::Instant;
use crate::http::request::Version;
use crate::http::status::Refusal as Broken;
use crate::proto::answer::{Answer, Carriage, Meta, refusal};
use crate::proto::connection::Phase;
use crate::proto::hub::Hub;
use crate::proto::intake::Step;
use crate::proto::output::Output;
use crate::proto::parcel::{Forwarded, ReplyTo};
use crate::proto::porter::{self, Standing};
use crate::proto::routes::ClientRequest;
use crate::proto::session::encode_key;
use crate::seal::mac;
use crate::wire::command::{self, Command, Request};
use crate::wire::line::{self, Foreign, Found};

impl Hub {
    /// Takes a command from a connection that carries nothing, or a document.
    pub(crate) fn take_line(&mut self, conn: ConnKey, rest: &[u8]) -> Step {
        let (name, query, bytes) = match line::find(rest, self.settings.line_bytes_max()) {
            Found::Command { name, query, bytes } => (name, query, bytes),
            Found::Empty(bytes) => return Step::Used(bytes),
            Found::Part => {
                if rest.len() > TARGET_BYTES_MAX {
                    // As long as a body: it need only get on.
                    self.set_deadline(conn, self.settings.body_timeout);
                }
                return Step::More;
            }
            Found::Foreign(why) => {
                self.refuse_line(conn, why);
                return Step::Used(rest.len());
            }
        };
        let (query, body) = mac::divide_body(query);
        let request = command::parse(name, query);
        if let Ok(request) = &request
            && let Some(step) = self.place_line(conn, request)
        {
            return step;
        }
        let shown = line::authorization(query);
        let standing = match (&request, &shown) {
            (Ok(request), Ok(shown)) => {
                let shown = shown.as_ref().map(|shown| shown.as_str());
                self.standing_of_line(conn, request, shown)
            }
            (_, Err(error)) => Some(Err(Refusal::Unknown(error.detail.clone()))),
            (Err(_), _) => Some(Ok(None)),
        };
        let Some(standing) = standing else { return Step::Wait };
        self.run_line(conn, (name, query, body), request, standing);
        self.set_idle_deadline(conn);
        if let Some(connection) = self.conns.get_mut(conn)
            && matches!(connection.phase, Phase::Stream(_))
        {
            connection.deadline = Instant::NEVER;
        }
        Step::Used(bytes)
    }

    /// Whether the command must wait, or its connection move, before it can be carried out.
    fn place_line(&mut self, conn: ConnKey, request: &Request<'_>) -> Option<Step> {
        let connection = self.conns.get_mut(conn)?;
        if let Phase::Stream(_) = connection.phase {
            return None;
        }
        let (idle, bound) = (connection.is_idle(), connection.session.is_some());
        let is_document = matches!(request.command, Command::Document(_));
        if is_document && !idle {
            return Some(Step::Wait);
        }
        let shard = request.mid?.shard();
        let here = shard == self.shard || shard.index() >= usize::from(self.shards);
        if here || (bound && !is_document) {
            return None;
        }
        if !idle {
            return Some(Step::Wait);
        }
        connection.session = None;
        connection.moving = true;
        self.outputs.push_back(Output::Move(conn, shard));
        Some(Step::More)
    }

    fn run_line(
        &mut self,
        conn: ConnKey,
        (name, query, body): (&str, &str, Option<&str>),
        request: ClientRequest<'_>,
        standing: Standing,
    ) {
        let close = self.stopping;
        let Some(connection) = self.conns.get_mut(conn) else { return };
        connection.last_taken |= close;
        let (address, bound) = (connection.address(), connection.session);
        let streams = matches!(connection.phase, Phase::Stream(_));
        let id = match &request {
            // Nothing is put into an answer that is signed.
            Ok(request) if request.mac.is_some() => None,
            Ok(request) => request.id.clone(),
            Err(_) => command::id_of(query),
        };
        let carriage = Carriage::Line(id.map(String::into_boxed_str));
        let meta = Meta { carriage, head_only: false, close, origin: None };
        let (mut request, body) = match fit(request, body, streams) {
            Ok(fit) => fit,
            Err(answer) => {
                let reply = self.open_exchange(conn, meta);
                return self.give(reply, answer);
            }
        };
        let mut key = request.key.take();
        if let Some(mid) = bound.filter(|_| !names_session(query)) {
            request.mid = Some(mid);
            key = self.key_of(mid);
        }
        let proof = match standing {
            Ok(proof) => proof,
            Err(why) => {
                let reply = self.open_exchange(conn, meta);
                return self.give(reply, porter::refusal(&why));
            }
        };
        // What it would be in HTTP, so that what proves it proves it everywhere.
        let method = if body.is_some() { "POST" } else { "GET" };
        if let Command::Document(document) = &request.command {
            let asked = (&request, document, (method, name, query));
            let showing = (key.as_deref(), proof.as_ref());
            if let Some(failure) = self.open_document(conn, asked, showing, body, &meta) {
                let reply = self.open_exchange(conn, meta);
                self.give(reply, failure);
            }
            return;
        }
        let reply = self.open_exchange(conn, meta);
        let (name, query) = (name.to_string(), query.to_string());
        let secured = self.conns.get(conn).and_then(|connection| connection.secured.clone());
        let proved = None;
        let forwarded =
            Forwarded { reply, method, proved, name, query, key, address, proof, secured, body };
        self.run_parsed(&request, forwarded);
    }

    /// A session was made, or proved, by a command: where commands are lines, those on the same
    /// connection are its from now on, unless they are another's.
    pub(crate) fn bind_lines(&mut self, reply: ReplyTo, session: Key) {
        let mid = self.mid_of(session);
        if reply.shard == self.shard
            && let Some(connection) = self.conns.get_mut(reply.conn)
            && connection.is_raw()
            && connection.session.is_none()
        {
            connection.session = mid;
        }
    }

    /// The key of a session of this shard, as its client knows it.
    fn key_of(&self, mid: Mid) -> Option<String> {
        let session = self.sessions.get(mid.key()).filter(|_| mid.shard() == self.shard)?;
        let mut text = [0; 22];
        encode_key(&session.key, &mut text);
        std::str::from_utf8(&text).ok().map(str::to_string)
    }

    /// Answers what is no command, and closes; what follows is never read as one.
    fn refuse_line(&mut self, conn: ConnKey, why: Foreign) {
        let Some(connection) = self.conns.get(conn) else { return };
        let streams = matches!(connection.phase, Phase::Stream(_));
        log::debug!("{}: {}", connection.address(), why.detail());
        let code = match why {
            Foreign::Long => ErrorCode::TooLarge,
            _ => ErrorCode::BadRequest,
        };
        if why == Foreign::Http && !streams {
            let answer = refusal(Broken::BadRequest(why.detail()));
            self.say_last(conn, Carriage::Http(Version::Http11), answer);
        } else {
            self.say_last(conn, Carriage::Line(None), Answer::error(code, why.detail()));
        }
    }

    /// Gives an answer that no request has, and closes behind it.
    pub(crate) fn say_last(&mut self, conn: ConnKey, carriage: Carriage, answer: Answer) {
        let reply = self
            .open_exchange(conn, Meta { carriage, head_only: false, close: true, origin: None });
        let Some(connection) = self.conns.get_mut(conn) else { return };
        if !matches!(connection.phase, Phase::Stream(_)) {
            connection.phase = Phase::Head;
        }
        connection.last_taken = true;
        connection.input.take();
        self.set_deadline(conn, self.settings.idle_timeout);
        self.give(reply, answer);
    }
}

/// A command that can be carried out as a line, and its body; else what is answered.
fn fit<'q>(
    request: ClientRequest<'q>,
    body: Option<&str>,
    streams: bool,
) -> Result<(Request<'q>, Option<Vec<u8>>), Answer> {
    let request = request.map_err(|error| Answer::error(error.code, &error.detail))?;
    if let Some(detail) = why_unfit(&request, streams) {
        return Err(Answer::error(ErrorCode::BadRequest, detail));
    }
    match body.map(|body| URL_SAFE_NO_PAD.decode(body)).transpose() {
        Ok(body) => Ok((request, body)),
        Err(_) => {
            let detail = "`body` is base64url without padding";
            Err(Answer::error(ErrorCode::BadRequest, detail))
        }
    }
}

/// Why a command has no place among lines; `streams`: beside a document.
const fn why_unfit(request: &Request<'_>, streams: bool) -> Option<&'static str> {
    match &request.command {
        // A sealed one hides from whoever is on the way what it asks for.
        Command::Batch if request.mac.is_none() => Some("lines are a batch as they are"),
        Command::ClientJs => Some("the client for browsers is given out over HTTP"),
        Command::Document(_) if streams => {
            Some("this connection carries a document; another one needs a connection of its own")
        }
        Command::History { .. } if streams => {
            Some("this connection carries a document; a history needs another one")
        }
        _ => None,
    }
}

/// Whether a command says which session it is of, or that it is of none.
fn names_session(query: &str) -> bool {
    query.split('&').any(|pair| pair.split('=').next() == Some("mid"))
}
