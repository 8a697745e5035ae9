//! The head of a document's answer.

use crate::http::date::http_date;
use crate::http::request::Version;
use crate::http::response::ResponseHead;
use crate::proto::answer::{Carriage, Meta};
use crate::proto::document::Coding;

/// A `Content-Length` that no document reaches: for peers without chunks.
const LARGE: u64 = 1 << 50;

/// The head that nearly all documents have: only its date changes, once a second.
#[derive(Debug, Default)]
pub struct CommonHead {
    unix_seconds: u64,
    bytes: Vec<u8>,
}

impl CommonHead {
    /// Whether it answers this request, if in chunks.
    pub fn fits(meta: &Meta) -> bool {
        meta.carriage == Carriage::Http(Version::Http11) && meta.origin.is_none()
    }

    /// The head as it is in this second.
    pub fn at(&mut self, unix_seconds: u64) -> &[u8] {
        if self.bytes.is_empty() || self.unix_seconds != unix_seconds {
            self.bytes.clear();
            put_head(&mut self.bytes, Coding::Chunked, (Version::Http11, None), unix_seconds);
            self.unix_seconds = unix_seconds;
        }
        &self.bytes
    }
}

/// Appends the head of the answer to a request of `version`, which `origin` may read where it is
/// not the server's own.
pub fn put_head(
    out: &mut Vec<u8>,
    coding: Coding,
    (version, origin): (Version, Option<&str>),
    unix_seconds: u64,
) {
    let fields = ResponseHead::new(out, version, 200)
        .date(&http_date(unix_seconds))
        .field("Content-Type", "text/html; charset=utf-8")
        .field("Cache-Control", "no-store, no-transform")
        .field("X-Accel-Buffering", "no")
        .field("X-Content-Type-Options", "nosniff")
        .field("Referrer-Policy", "no-referrer")
        .field("Content-Security-Policy", "default-src 'none'; sandbox");
    let fields = match origin {
        Some(origin) => fields.field("Access-Control-Allow-Origin", origin).field("Vary", "Origin"),
        None => fields,
    };
    match coding {
        Coding::Large => fields.number("Content-Length", LARGE).persistent(false).end(),
        _ => fields.field("Transfer-Encoding", "chunked").end(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_head_is_made_anew_each_second() {
        let mut common = CommonHead::default();
        for unix_seconds in [0, 0, 1_700_000_000, 1_700_000_001] {
            let mut expected = Vec::new();
            put_head(&mut expected, Coding::Chunked, (Version::Http11, None), unix_seconds);
            assert_eq!(common.at(unix_seconds), expected);
        }
    }

    #[test]
    fn only_what_has_no_field_of_its_own_gets_the_common_head() {
        let meta = |version, origin: Option<&str>| Meta {
            carriage: Carriage::Http(version),
            head_only: false,
            close: false,
            origin: origin.map(Into::into),
        };
        assert!(CommonHead::fits(&meta(Version::Http11, None)));
        assert!(!CommonHead::fits(&meta(Version::Http11, Some("http://a"))));
        assert!(!CommonHead::fits(&meta(Version::Http10, None)));
    }
}
