//! Conditional requests: RFC 9110, section 13.

use std::time::{Duration, SystemTime};

use crate::http::request::{Head, Method};

/// What tells one state of a file from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Its entity tag, with the quotation marks; a strong one.
    pub tag: String,
    /// When it was changed, in whole seconds since 1970.
    pub changed: u64,
}

/// What the conditions of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is answered.
    Go,
    /// The client has it already: 304.
    NotModified,
    /// It is not what the client takes it for: 412.
    Failed,
}

/// Judges the conditions of a request for a file in this state, in the order of section 13.2.2.
pub fn judge(head: &Head<'_>, state: &State) -> Verdict {
    let reads = matches!(head.method, Method::Get | Method::Head);
    if let Some(tags) = head.field("If-Match") {
        if !lists(tags, &state.tag, false) {
            return Verdict::Failed;
        }
    } else if date(head, "If-Unmodified-Since").is_some_and(|moment| state.changed > moment) {
        return Verdict::Failed;
    }
    if let Some(tags) = head.field("If-None-Match") {
        if !lists(tags, &state.tag, true) {
            return Verdict::Go;
        }
        return if reads { Verdict::NotModified } else { Verdict::Failed };
    }
    if reads && date(head, "If-Modified-Since").is_some_and(|moment| state.changed <= moment) {
        return Verdict::NotModified;
    }
    Verdict::Go
}

/// Whether a `Range` counts: only for the state that the client has a part of.
pub fn range_counts(head: &Head<'_>, state: &State) -> bool {
    match head.field("If-Range") {
        None => true,
        Some(tag) if tag.starts_with('"') => tag == state.tag,
        // A weak tag never matches here.
        Some(tag) if tag.starts_with("W/") => false,
        Some(_) => date(head, "If-Range") == Some(state.changed),
    }
}

/// Whether a list of entity tags has this one; where `weak`, as a weak one too.
fn lists(tags: &str, tag: &str, weak: bool) -> bool {
    let matches = |one: &str| {
        let one = one.trim();
        one == "*" || one == tag || (weak && one.strip_prefix("W/") == Some(tag))
    };
    // Our tags hold no comma, so one that does is another's.
    tags.split(',').any(matches)
}

/// The moment in a field, in seconds since 1970; what is no date is passed over.
fn date(head: &Head<'_>, name: &str) -> Option<u64> {
    let moment = httpdate::parse_http_date(head.field(name)?).ok()?;
    moment.duration_since(SystemTime::UNIX_EPOCH).as_ref().map(Duration::as_secs).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::{Limits, parse_head};

    /// What becomes of a request with these fields for a file that was changed at that second.
    fn verdict(method: &str, fields: &str) -> (Verdict, bool) {
        let text = format!("{method} / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let (head, _) = parse_head(text.as_bytes(), &Limits::default()).unwrap().unwrap();
        let state = State { tag: "\"1-2\"".into(), changed: 784_111_777 };
        (judge(&head, &state), range_counts(&head, &state))
    }

    #[test]
    fn conditions_in_their_order() {
        use Verdict::{Failed, Go, NotModified};
        const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
        const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
        for (method, fields, expected) in [
            ("GET", String::new(), Go),
            ("GET", "If-None-Match: \"1-2\"\r\n".into(), NotModified),
            ("HEAD", "If-None-Match: \"x\", W/\"1-2\"\r\n".into(), NotModified),
            ("POST", "If-None-Match: *\r\n".into(), Failed),
            ("GET", "If-None-Match: \"x\"\r\n".into(), Go),
            ("GET", format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {THEN}\r\n"), Go),
            ("GET", format!("If-Modified-Since: {THEN}\r\n"), NotModified),
            ("GET", format!("If-Modified-Since: {BEFORE}\r\n"), Go),
            ("GET", "If-Modified-Since: yesterday\r\n".into(), Go),
            ("POST", format!("If-Modified-Since: {THEN}\r\n"), Go),
            ("GET", "If-Match: \"x\"\r\n".into(), Failed),
            ("GET", "If-Match: W/\"1-2\"\r\n".into(), Failed),
            ("GET", "If-Match: \"x\", \"1-2\"\r\n".into(), Go),
            ("GET", format!("If-Match: *\r\nIf-Unmodified-Since: {BEFORE}\r\n"), Go),
            ("GET", format!("If-Unmodified-Since: {BEFORE}\r\n"), Failed),
            ("GET", format!("If-Unmodified-Since: {THEN}\r\n"), Go),
        ] {
            assert_eq!(verdict(method, &fields).0, expected, "{method} {fields}");
        }
        for (field, counts) in [
            ("If-Range: \"1-2\"\r\n".to_string(), true),
            ("If-Range: \"x\"\r\n".to_string(), false),
            ("If-Range: W/\"1-2\"\r\n".to_string(), false),
            (format!("If-Range: {THEN}\r\n"), true),
            (format!("If-Range: {BEFORE}\r\n"), false),
            (String::new(), true),
        ] {
            assert_eq!(verdict("GET", &field).1, counts, "{field}");
        }
    }
}
