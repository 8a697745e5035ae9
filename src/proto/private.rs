//! The private listener: who asks, what it may, and where a request goes.

use std::sync::Arc;

use crate::auth::passes::{HolderId, Passes, Right};
use crate::base::id::ConnKey;
use crate::base::reason::ErrorCode;
use crate::http::request::{Head, Method};
use crate::http::target::Authority;
use crate::proto::answer::Answer;
use crate::proto::connection::Door;
use crate::proto::hub::Hub;
use crate::proto::routes::{Incoming, not_allowed};
use crate::proto::settings::Settings;

/// What is asked for by whoever shows nothing.
const CHALLENGE: &str = "Bearer realm=\"ahm private listener\"";

/// What happened at the private listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrivateCounts {
    /// Requests of browsers, or for a foreign name.
    pub refused: u64,
    /// Requests without a token or certificate, or with an unknown one.
    pub unknown: u64,
    /// Requests, or lines of a batch, whose sender has not the right.
    pub denied: u64,
    /// Sessions that were made for web servers.
    pub sessions: u64,
    /// Sessions that web servers have ended.
    pub ended: u64,
}

impl PrivateCounts {
    /// Adds another shard's.
    pub fn add(&mut self, other: &Self) {
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.denied += other.denied;
        self.sessions += other.sessions;
        self.ended += other.ended;
    }

    /// Every figure with its name.
    pub fn named(&self) -> [(&'static str, u64); 5] {
        [
            ("private_refused", self.refused),
            ("private_unknown", self.unknown),
            ("private_denied", self.denied),
            ("private_sessions", self.sessions),
            ("private_ended", self.ended),
        ]
    }
}

/// Who asks on the private listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Somebody who may do everything.
    All,
    /// Somebody with the rights of a line in the file of tokens.
    Holder(HolderId),
}

impl Hub {
    /// These may do something on the private listener from now on, and nobody else.
    pub fn let_in(&mut self, passes: Arc<Passes>) {
        let settings = Settings { private_passes: passes, ..(*self.settings).clone() };
        self.settings = Arc::new(settings);
    }

    /// Serves the private listener.
    pub(crate) fn serve_private(&mut self, incoming: &Incoming, head: &Head<'_>, body: &[u8]) {
        let reply = incoming.reply;
        let caller = match self.caller(reply.conn, head) {
            Ok(caller) => caller,
            Err(refusal) => return self.give(reply, refusal),
        };
        let path = head.target.path;
        match path {
            "/metrics" => match head.method {
                Method::Get | Method::Head => match self.check(caller, Right::Metrics) {
                    Ok(()) => self.serve_metrics(reply),
                    Err(refusal) => self.give(reply, refusal),
                },
                _ => self.give(reply, not_allowed("GET, HEAD")),
            },
            _ if path.starts_with("/control/") => match self.check(caller, Right::Control) {
                Ok(()) => self.serve_control(reply, head, body),
                Err(refusal) => self.give(reply, refusal),
            },
            _ if path == "/publish" || path.starts_with("/publish/") => {
                self.serve_publisher(reply, caller, head, body);
            }
            _ => {
                let detail = "here are POST /publish/RESOURCE/SUBJECT, POST /publish, \
                     GET /metrics, POST /control/session, POST /control/logout and \
                     GET /control/sessions";
                self.give(reply, Answer::error(ErrorCode::NoCommand, detail));
            }
        }
    }

    /// Whether the caller has the right; if not, what is answered.
    pub(crate) fn check(&mut self, caller: Caller, right: Right<'_>) -> Result<(), Answer> {
        let holder = match caller {
            Caller::All => return Ok(()),
            Caller::Holder(holder) => holder,
        };
        let passes = &self.settings.private_passes;
        if passes.has(holder, right) {
            return Ok(());
        }
        self.stats.private.denied += 1;
        let detail = format!("{:?} has not the right {right}", passes.name(holder));
        Err(Answer::error(ErrorCode::Forbidden, &detail))
    }

    /// The private listener is for programs of the private network: no browser, no foreign name,
    /// and whoever is known where anybody is.
    fn caller(&mut self, conn: ConnKey, head: &Head<'_>) -> Result<Caller, Answer> {
        if let Some(detail) = self.foreign_mark(head) {
            self.stats.private.refused += 1;
            return Err(Answer::error(ErrorCode::Forbidden, detail));
        }
        let settings = &self.settings;
        let connection = self.conns.get(conn);
        // Whoever may open the socket's file may do everything.
        if connection.is_some_and(|connection| connection.door == Door::Local) {
            return Ok(Caller::All);
        }
        let passes = &settings.private_passes;
        if settings.private_token.is_none() && passes.is_empty() {
            return Ok(Caller::All);
        }
        if let Some(shown) = bearer(head) {
            let is_token =
                settings.private_token.as_ref().is_some_and(|token| token.matches(shown));
            if is_token {
                return Ok(Caller::All);
            }
            if let Some(holder) = passes.by_token(shown) {
                return Ok(Caller::Holder(holder));
            }
            return Err(self.challenge("this token is not known", ", error=\"invalid_token\""));
        }
        let secured = connection.and_then(|connection| connection.secured.as_deref());
        let certificate = secured.and_then(|secured| secured.certificate.as_ref());
        match certificate.map(|certificate| passes.by_certificate(certificate)) {
            Some(Some(holder)) => Ok(Caller::Holder(holder)),
            Some(None) => Err(self.challenge("this certificate is not known", "")),
            None => Err(self.challenge("a bearer token is needed", "")),
        }
    }

    fn challenge(&mut self, detail: &str, more: &str) -> Answer {
        self.stats.private.unknown += 1;
        let mut answer = Answer::error(ErrorCode::AuthRequired, detail);
        answer.field = Some(("WWW-Authenticate", format!("{CHALLENGE}{more}")));
        answer
    }

    /// Why a request is not one of the private network.
    fn foreign_mark(&self, head: &Head<'_>) -> Option<&'static str> {
        if head.field("Origin").is_some() || head.field("Sec-Fetch-Site").is_some() {
            return Some("the private listener is not for browsers");
        }
        let host = head.host.and_then(Authority::parse).map(|authority| authority.host);
        let known = host.is_none_or(|host| {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let local = bare.parse::<std::net::IpAddr>().is_ok();
            let named = |name: &String| name.eq_ignore_ascii_case(host);
            local
                || host.eq_ignore_ascii_case("localhost")
                || self.settings.private_hosts.iter().any(named)
        });
        (!known).then_some("this Host is not one of the private listener's names")
    }
}

/// The token of `Authorization: Bearer`; the name of the scheme is written in any case (RFC 9110,
/// section 11.1).
fn bearer<'h>(head: &Head<'h>) -> Option<&'h [u8]> {
    let (scheme, token) = head.field("Authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim().as_bytes())
}
