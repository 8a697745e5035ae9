//! Requests for files, and what is said to them.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::files::condition::{State, Verdict, judge, range_counts};
use crate::files::path::{Found, find};
use crate::files::range::{Wanted, wanted};
use crate::http::date::http_date;
use crate::http::request::{Framing, Head, Method};
use crate::http::response::ResponseHead;
use crate::http::status::{Refusal, reason_phrase};

/// What is sent: a head, and then so much of a file.
#[derive(Debug)]
pub struct Answer {
    /// The head, and the body where that is none of a file.
    pub head: Vec<u8>,
    /// The part of a file that follows.
    pub body: Option<Body>,
    /// Whether the connection closes behind it.
    pub close: bool,
}

/// A part of a file: from `at` up to `end`.
#[derive(Debug)]
pub struct Body {
    /// The file.
    pub file: File,
    /// The next byte.
    pub at: u64,
    /// The byte behind the last one.
    pub end: u64,
}

/// The answer to a request whose head has come, about files under `root`, which must be canonical.
pub fn answer(root: &Path, head: &Head<'_>, unix_seconds: u64) -> Answer {
    // A body is not read: nobody can tell where the next request would begin.
    let close = !head.persistent || !matches!(head.framing, Framing::None | Framing::Length(0));
    let say = Say { head, close, date: http_date(unix_seconds) };
    if !matches!(head.method, Method::Get | Method::Head) {
        return say.words(405, &[("Allow", "GET, HEAD")], "files are only read here");
    }
    match find(root, head.target.path) {
        Found::Nothing => say.words(404, &[], "there is nothing here"),
        Found::Directory => {
            let query = match head.target.query {
                "" => String::new(),
                query => format!("?{query}"),
            };
            let location = format!("{}/{query}", head.target.path);
            say.words(301, &[("Location", &location)], "a slash is missing at the end")
        }
        Found::File(path, metadata) => match File::open(&path) {
            Ok(file) => say.file(&path, file, &metadata),
            Err(error) => {
                log::warn!("{}: {error}", path.display());
                say.words(403, &[], "this file cannot be read")
            }
        },
    }
}

/// The answer to what is no request; nothing may be read behind it.
pub fn refused(refusal: Refusal, unix_seconds: u64) -> Vec<u8> {
    let text = format!("{refusal}\n");
    let mut out = Vec::new();
    ResponseHead::new(&mut out, crate::http::request::Version::Http11, refusal.status())
        .date(&http_date(unix_seconds))
        .field("Content-Type", "text/plain; charset=utf-8")
        .number("Content-Length", text.len() as u64)
        .persistent(false)
        .end();
    out.extend_from_slice(text.as_bytes());
    out
}

/// A request that is being answered.
struct Say<'h> {
    head: &'h Head<'h>,
    close: bool,
    date: [u8; 29],
}

impl Say<'_> {
    fn begin<'o>(&self, out: &'o mut Vec<u8>, status: u16) -> ResponseHead<'o> {
        ResponseHead::new(out, self.head.version, status)
            .date(&self.date)
            .field("X-Content-Type-Options", "nosniff")
    }

    /// A few words with a status.
    fn words(&self, status: u16, fields: &[(&str, &str)], words: &str) -> Answer {
        let text = format!("{status} {}: {words}\n", reason_phrase(status));
        let mut out = Vec::new();
        let mut begun = self.begin(&mut out, status);
        for (name, value) in fields {
            begun = begun.field(name, value);
        }
        begun
            .field("Content-Type", "text/plain; charset=utf-8")
            .number("Content-Length", text.len() as u64)
            .persistent(!self.close)
            .end();
        if self.head.method != Method::Head {
            out.extend_from_slice(text.as_bytes());
        }
        Answer { head: out, body: None, close: self.close }
    }

    fn file(&self, path: &Path, file: File, metadata: &Metadata) -> Answer {
        let length = metadata.len();
        let state = state(metadata);
        let part = match judge(self.head, &state) {
            Verdict::Failed => {
                return self.words(412, &[], "the file is not what the request takes it for");
            }
            Verdict::NotModified => return self.not_modified(&state),
            Verdict::Go => match self.head.field("Range") {
                // RFC 9110, 14.2: only for GET.
                Some(value)
                    if self.head.method == Method::Get && range_counts(self.head, &state) =>
                {
                    wanted(value, length)
                }
                _ => Wanted::Whole,
            },
        };
        let (status, at, end) = match part {
            Wanted::Whole => (200, 0, length),
            Wanted::Part(part) => (206, part.start, part.end),
            Wanted::Unsatisfiable => {
                let range = format!("bytes */{length}");
                return self.words(416, &[("Content-Range", &range)], "the file is shorter");
            }
        };
        let mut out = Vec::new();
        let mut begun = self.begin(&mut out, status).field("Content-Type", &kind(path));
        if status == 206 {
            let range = format!("bytes {at}-{}/{length}", end - 1);
            begun = begun.field("Content-Range", &range);
        }
        put_state(begun, &state)
            .field("Accept-Ranges", "bytes")
            .number("Content-Length", end - at)
            .persistent(!self.close)
            .end();
        let has_body = self.head.method != Method::Head && at < end;
        let body = has_body.then_some(Body { file, at, end });
        Answer { head: out, body, close: self.close }
    }

    fn not_modified(&self, state: &State) -> Answer {
        let mut out = Vec::new();
        let begun = ResponseHead::new(&mut out, self.head.version, 304).date(&self.date);
        put_state(begun, state).persistent(!self.close).end();
        Answer { head: out, body: None, close: self.close }
    }
}

fn put_state<'o>(head: ResponseHead<'o>, state: &State) -> ResponseHead<'o> {
    let changed = http_date(state.changed);
    head.field("ETag", &state.tag)
        .field("Last-Modified", std::str::from_utf8(&changed).unwrap_or_default())
}

/// The tag is of length and time of change, to the nanosecond: another content has another one
/// wherever the file system's clock goes on between two changes.
fn state(metadata: &Metadata) -> State {
    let changed = u64::try_from(metadata.mtime()).unwrap_or(0);
    let tag = format!("\"{:x}-{changed:x}-{:x}\"", metadata.len(), metadata.mtime_nsec());
    State { tag, changed }
}

/// The media type, by the name; text is taken to be UTF-8.
fn kind(path: &Path) -> String {
    let kind = mime_guess::from_path(path).first_or_octet_stream();
    let is_text = kind.type_() == mime_guess::mime::TEXT
        || kind.subtype() == mime_guess::mime::JAVASCRIPT
        || kind.subtype() == mime_guess::mime::JSON;
    if is_text && kind.get_param("charset").is_none() {
        return format!("{}; charset=utf-8", kind.essence_str());
    }
    kind.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_by_name() {
        for (name, expected) in [
            ("a/index.html", "text/html; charset=utf-8"),
            ("ahm.js", "text/javascript; charset=utf-8"),
            ("a.mjs", "application/javascript; charset=utf-8"),
            ("style.CSS", "text/css; charset=utf-8"),
            ("data.json", "application/json; charset=utf-8"),
            ("a.svg", "image/svg+xml"),
            ("a.png", "image/png"),
            ("a.woff2", "font/woff2"),
            ("a.wasm", "application/wasm"),
            ("archive.tar.gz", "application/gzip"),
            ("README", "application/octet-stream"),
        ] {
            assert_eq!(kind(Path::new(name)), expected, "{name}");
        }
    }
}
