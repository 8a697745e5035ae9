//! Answers to requests: what is said, and how it becomes HTTP, or a line.

use crate::base::reason::ErrorCode;
use crate::html::frame::PREAMBLE;
use crate::http::date::http_date;
use crate::http::request::Version;
use crate::http::response::ResponseHead;
use crate::http::status::{Refusal, reason_phrase};
use crate::proto::metrics::Counted;
use crate::seal::mac;

/// What a built-in page may load: its own files and streams, nothing inline, nothing foreign.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// The body of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing: yes to a browser that asks before it sends a command across origins.
    Preflight,
    /// One JSON object.
    Json(String),
    /// Frames, as a finite document.
    Frames(Vec<u8>),
    /// Words for a person.
    Text(String),
    /// What a shard has counted: a part of the answer to `/metrics`.
    Counted(Box<Counted>),
    /// One of the built-in pages.
    Page(&'static str, &'static [u8]),
}

/// An answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub content: Content,
    /// A further field.
    pub field: Option<(&'static str, String)>,
}

/// How a request came, and its answer goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carriage {
    /// In HTTP of this version.
    Http(Version),
    /// As a line, with the `id` of its command.
    Line(Option<Box<str>>),
}

/// What of the request shapes its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// How it came.
    pub carriage: Carriage,
    /// HEAD: fields without the body.
    pub head_only: bool,
    /// Whether the connection closes after the answer.
    pub close: bool,
    /// The origin that may read the answer, where it is not the server's own.
    pub origin: Option<Box<str>>,
}

impl Answer {
    /// `{"ok":true` and then `members`, which begin with a comma or are empty.
    pub fn ok(members: &str) -> Self {
        Self {
            status: 200,
            content: Content::Json(format!("{{\"ok\":true{members}}}")),
            field: None,
        }
    }

    /// The answer to a command that failed.
    pub fn error(code: ErrorCode, detail: &str) -> Self {
        let json = format!("{{{}}}", error_members(code, detail, false));
        let field = match code {
            ErrorCode::Busy | ErrorCode::Draining | ErrorCode::TooMany => {
                Some(("Retry-After", "1".to_string()))
            }
            _ => None,
        };
        Self { status: code.status(), content: Content::Json(json), field }
    }

    /// A plain sentence with a status.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self { status, content: Content::Text(text.into()), field: None }
    }

    /// The JSON of the answer, for one line of a batch.
    pub fn into_line(self) -> String {
        match self.content {
            Content::Json(json) => json,
            _ => format!("{{{}}}", error_members(ErrorCode::BadRequest, "not in a batch", false)),
        }
    }

    /// Appends the whole answer to `out`.
    pub fn encode(&self, meta: &Meta, unix_seconds: u64, out: &mut Vec<u8>) {
        let version = match &meta.carriage {
            Carriage::Http(version) => *version,
            Carriage::Line(id) => return self.encode_line(id.as_deref(), out),
        };
        let (content_type, body): (&str, &[u8]) = match &self.content {
            Content::Preflight => ("", &[]),
            Content::Json(json) => ("application/json", json.as_bytes()),
            Content::Frames(frames) => ("text/html; charset=utf-8", frames),
            Content::Text(text) => ("text/plain; charset=utf-8", text.as_bytes()),
            // Parts are joined before they are given out.
            Content::Counted(_) => ("", &[]),
            Content::Page(content_type, bytes) => (content_type, bytes),
        };
        let date = http_date(unix_seconds);
        let date = std::str::from_utf8(&date).unwrap_or_default();
        let mut head = ResponseHead::new(out, version, self.status).field("Date", date);
        if self.status != 204 {
            head = head.number("Content-Length", body.len() as u64);
        }
        if !content_type.is_empty() {
            head =
                head.field("Content-Type", content_type).field("X-Content-Type-Options", "nosniff");
        }
        head = match self.content {
            Content::Page(..) => head
                .field("Cache-Control", "no-cache")
                .field("Content-Security-Policy", PAGE_POLICY)
                .field("Referrer-Policy", "no-referrer"),
            _ => head.field("Cache-Control", "no-store"),
        };
        if let Some(origin) = &meta.origin {
            head = head.field("Access-Control-Allow-Origin", origin).field("Vary", "Origin");
        }
        if self.content == Content::Preflight {
            head = head
                .field("Access-Control-Allow-Methods", "GET, HEAD, POST")
                .field("Access-Control-Allow-Headers", "AHM-Key, Content-Type, Authorization")
                .field("Access-Control-Max-Age", "600");
        }
        if let Some((name, value)) = &self.field {
            head = head.field(name, value);
        }
        match (meta.close, version) {
            (true, _) => head.field("Connection", "close").end(),
            (false, Version::Http10) => head.field("Connection", "keep-alive").end(),
            (false, Version::Http11) => head.end(),
        }
        if !meta.head_only {
            out.extend_from_slice(body);
        }
    }
}

impl Answer {
    /// Appends the answer as one JSON object on a line, behind the frames where it has some. What a
    /// field of HTTP says beside the body stands in it.
    fn encode_line(&self, id: Option<&str>, out: &mut Vec<u8>) {
        let json = match &self.content {
            Content::Json(json) => json.as_str(),
            Content::Frames(frames) => {
                out.extend_from_slice(frames.strip_prefix(PREAMBLE).unwrap_or(frames));
                "{\"ok\":true}"
            }
            // The answers to a sealed batch. No text in JSON holds a TAB.
            Content::Text(lines) => {
                out.extend_from_slice(lines.trim_end().replace('\n', "\t").as_bytes());
                return out.push(b'\n');
            }
            // No line is answered so.
            _ => "{\"ok\":false,\"error\":\"bad-request\"}",
        };
        if mac::is_signed(json) {
            // Whatever came to it would belong to it no more.
            return out.extend_from_slice(&[json.as_bytes(), b"\n"].concat());
        }
        out.extend_from_slice(json.strip_suffix('}').unwrap_or(json).as_bytes());
        if let Some(("Retry-After", seconds)) = &self.field {
            out.extend_from_slice(format!(",\"retry_after\":{seconds}").as_bytes());
        }
        if let Some(id) = id {
            out.extend_from_slice(format!(",\"id\":{}", quote(id)).as_bytes());
        }
        out.extend_from_slice(b"}\n");
    }
}

/// The members of an error object, without braces; `ok` stands first unless it is `bare`.
pub fn error_members(code: ErrorCode, detail: &str, bare: bool) -> String {
    let ok = if bare { "" } else { "\"ok\":false," };
    format!("{ok}\"error\":\"{code}\",\"detail\":{}", quote(detail))
}

/// `text` as a JSON string.
pub fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The answer to a request that broke HTTP.
pub fn refusal(refusal: Refusal) -> Answer {
    let status = refusal.status();
    let phrase = reason_phrase(status);
    Answer::text(status, format!("{status} {phrase}: {}\n", refusal.detail()))
}
