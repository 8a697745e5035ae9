//! Our own answers, where no web server gave one.

use crate::http::date::http_date;
use crate::http::head::Version;
use crate::http::response::ResponseHead;
use crate::http::status::reason_phrase;
use crate::relay::answer::Terms;
use crate::relay::entry::RequestId;

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:1.125rem/1.6 system-ui,sans-serif;margin:0;min-height:100vh;display:grid;\
place-items:center}\
main{max-width:34rem;padding:2rem}\
h1{font-size:1.75rem;line-height:1.25;margin:0 0 .75rem}\
p{margin:0 0 .75rem}\
footer{margin-top:2rem;font-size:.875rem;opacity:.7}\
code{font-size:1em}";

/// What a person is told.
const fn words(status: u16) -> (&'static str, &'static str) {
    match status {
        503 => (
            "Too many people are here at once",
            "Every place at this site is taken at the moment. Please try again in a few seconds.",
        ),
        504 => (
            "This takes too long",
            "The server behind this site has not answered in time. Please try again; if that does \
             not help, come back in a few minutes.",
        ),
        _ => (
            "This site is not there right now",
            "The server behind this site does not answer as it should. Please try again in a few \
             minutes.",
        ),
    }
}

/// A whole answer of this status: 502, 503 or 504.
pub fn answer(status: u16, id: &RequestId, terms: Terms) -> Vec<u8> {
    let phrase = reason_phrase(status);
    let (title, text) = words(status);
    let body = format!(
        "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n\
         <meta name=viewport content=\"width=device-width\">\n<title>{status} {phrase}</title>\n\
         <style>{STYLE}</style>\n<main>\n<h1>{title}</h1>\n<p>{text}</p>\n\
         <footer>{status} {phrase} &middot; request <code>{id}</code></footer>\n</main>\n"
    );
    let mut out = Vec::with_capacity(body.len() + 512);
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";
    let id = id.to_string();
    let head = ResponseHead::new(&mut out, terms.version, status)
        .date(&http_date(terms.unix_seconds))
        .number("Content-Length", body.len() as u64)
        .field("Content-Type", "text/html; charset=utf-8")
        .field("X-Content-Type-Options", "nosniff")
        .field("Content-Security-Policy", policy)
        .field("Cache-Control", "no-store")
        .field("X-Request-Id", &id);
    let head = if status == 503 { head.field("Retry-After", "2") } else { head };
    match (terms.close, terms.version) {
        (true, _) => head.field("Connection", "close").end(),
        (false, Version::Http10) => head.field("Connection", "keep-alive").end(),
        (false, Version::Http11) => head.end(),
    }
    if !terms.head_only {
        out.extend_from_slice(body.as_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::response::parse_response;

    #[test]
    fn a_page_is_a_whole_answer_with_the_request_id() {
        for (status, head_only) in [(502, false), (503, true), (504, false)] {
            let version = Version::Http11;
            let terms = Terms { version, head_only, close: true, unix_seconds: 0 };
            let bytes = answer(status, &RequestId::new(0xabc), terms);
            let (parts, head) = parse_response(&bytes).unwrap().unwrap();
            assert_eq!((parts.status, parts.persistent), (status, false));
            let body = std::str::from_utf8(&bytes[head..]).unwrap();
            assert_eq!(body.is_empty(), head_only);
            assert!(head_only || body.contains("<code>0000000000000abc</code>"), "{body}");
            assert_eq!(parts.field("x-request-id"), Some("0000000000000abc"));
            assert_eq!(parts.field("retry-after").is_some(), status == 503);
        }
    }
}
