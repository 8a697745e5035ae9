//! The head of a web server's answer, written anew for the client.

use crate::http::date::http_date;
use crate::http::head::Version;
use crate::http::response::{ResponseFraming, ResponseParts, put_decimal};
use crate::http::status::Refusal;
use crate::relay::fields::{Named, is_hop_by_hop, put};
use crate::relay::paging::{Mapping, put_of_page};
use crate::relay::transcode::Transcoder;

/// What of the request shapes its answer.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The request's version.
    pub version: Version,
    /// HEAD: fields without the body.
    pub head_only: bool,
    /// Whether the connection closes behind the answer, whatever that is.
    pub close: bool,
    /// Seconds since 1970.
    pub unix_seconds: u64,
}

/// How the body of an answer travels.
#[derive(Debug)]
pub struct Passage {
    /// The body.
    pub body: Transcoder,
    /// Whether the client's connection closes behind it.
    pub close: bool,
    /// Whether it is the end of the client's connection that ends it.
    pub until_close: bool,
}

/// Appends the head of a final answer.
///
/// # Errors
/// In words, when the answer cannot be passed on.
pub fn put_head(
    out: &mut Vec<u8>,
    parts: &ResponseParts<'_>,
    terms: Terms,
    mapping: Mapping<'_>,
) -> Result<Passage, &'static str> {
    let named = Named::read(parts.fields()).ok_or("Connection names too many fields")?;
    let framing = if terms.head_only { ResponseFraming::None } else { parts.framing };
    let page = mapping.page_of(parts);
    let has_body = framing != ResponseFraming::None;
    let open_end = matches!(framing, ResponseFraming::Chunked | ResponseFraming::UntilClose)
        || (page.is_some() && has_body);
    let chunked = open_end && terms.version == Version::Http11;
    let until_close = open_end && !chunked;
    let close = terms.close || until_close;
    put_status(out, parts);
    let mut has_date = false;
    for field in parts.fields() {
        if is_hop_by_hop(field.name) || named.has(field.name) {
            continue;
        }
        match field.name.len() {
            4 if field.name.eq_ignore_ascii_case("date")
                && std::mem::replace(&mut has_date, true) =>
            {
                continue;
            }
            7 if field.name.eq_ignore_ascii_case("trailer") && !chunked => continue,
            14 if field.name.eq_ignore_ascii_case("content-length") => {
                // A page has another length when its links are mapped.
                if page.is_none() {
                    put_length(out, field.name, field.value, parts.status);
                }
                continue;
            }
            _ => {}
        }
        if page.is_none() || !put_of_page(out, field) {
            mapping.put(out, field);
        }
    }
    if !has_date {
        put(out, "Date", &http_date(terms.unix_seconds));
    }
    if chunked {
        put(out, "Transfer-Encoding", b"chunked");
    }
    match (close, terms.version) {
        (true, _) => put(out, "Connection", b"close"),
        (false, Version::Http10) => put(out, "Connection", b"keep-alive"),
        (false, Version::Http11) => {}
    }
    out.extend_from_slice(b"\r\n");
    let mut body = Transcoder::of_answer(framing, chunked).map_err(Refusal::detail)?;
    if let Some((journey, encoding)) = page.filter(|_| has_body) {
        body.map_links(journey.clone(), encoding)?;
    }
    Ok(Passage { body, close, until_close })
}

/// Appends an interim answer.
///
/// # Errors
/// In words, when it cannot be passed on.
pub fn put_interim(
    out: &mut Vec<u8>,
    parts: &ResponseParts<'_>,
    mapping: Mapping<'_>,
) -> Result<(), &'static str> {
    put_bodiless(out, parts, mapping)?;
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Appends the answer that opens a tunnel for `upgrade`.
///
/// # Errors
/// In words, when it cannot be passed on, as when it is for something else.
pub fn put_switch(
    out: &mut Vec<u8>,
    parts: &ResponseParts<'_>,
    upgrade: &str,
) -> Result<(), &'static str> {
    let taken = parts.field("upgrade").unwrap_or_default();
    if !taken.eq_ignore_ascii_case(upgrade) {
        return Err("it switches to another protocol than the one that was asked for");
    }
    put_bodiless(out, parts, Mapping::default())?;
    put(out, "Upgrade", upgrade.as_bytes());
    put(out, "Connection", b"Upgrade");
    out.extend_from_slice(b"\r\n");
    Ok(())
}

fn put_bodiless(
    out: &mut Vec<u8>,
    parts: &ResponseParts<'_>,
    mapping: Mapping<'_>,
) -> Result<(), &'static str> {
    let named = Named::read(parts.fields()).ok_or("Connection names too many fields")?;
    put_status(out, parts);
    for field in parts.fields() {
        let is_length = field.name.eq_ignore_ascii_case("content-length");
        if !is_length && !is_hop_by_hop(field.name) && !named.has(field.name) {
            mapping.put(out, field);
        }
    }
    Ok(())
}

fn put_status(out: &mut Vec<u8>, parts: &ResponseParts<'_>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    put_decimal(u64::from(parts.status), out);
    out.push(b' ');
    out.extend_from_slice(parts.reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The length as a number, which is all that it was found to be; where there can be none, nothing.
fn put_length(out: &mut Vec<u8>, name: &str, value: &[u8], status: u16) {
    if status == 204 {
        return;
    }
    let zeros = value.iter().take_while(|byte| **byte == b'0').count();
    let digits = &value[zeros.min(value.len().saturating_sub(1))..];
    put(out, name, digits);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::response::parse_response;

    const TERMS: Terms =
        Terms { version: Version::Http11, head_only: false, close: false, unix_seconds: 0 };

    fn put_it(answer: &str, terms: Terms) -> (String, Passage) {
        let (parts, _) = parse_response(answer.as_bytes()).unwrap().unwrap();
        let mut out = Vec::new();
        let passage = put_head(&mut out, &parts, terms, Mapping::default()).unwrap();
        (String::from_utf8(out).unwrap(), passage)
    }

    #[test]
    fn pitfalls_13_and_22_fields_pass_but_for_those_between_two_ends() {
        let answer = "HTTP/1.1 200 Fine\r\ndate: a\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
            ETAG: \"x\"\r\nDate: b\r\nConnection: X-Gone, keep-alive\r\nX-Gone: 1\r\n\
            Keep-Alive: timeout=5\r\nUpgrade: h2c\r\nVary: *\r\nContent-Length: 007\r\n\r\n";
        let (text, passage) = put_it(answer, TERMS);
        let wanted = "HTTP/1.1 200 Fine\r\ndate: a\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
            ETAG: \"x\"\r\nVary: *\r\nContent-Length: 7\r\n\r\n";
        assert_eq!(text, wanted);
        assert!(!passage.close && !passage.until_close && !passage.body.is_done());
    }

    #[test]
    fn pitfall_15_no_body_whatever_the_fields_say() {
        let head_only = Terms { head_only: true, ..TERMS };
        for (answer, terms, length) in [
            ("HTTP/1.1 200 OK\r\nDate: a\r\nContent-Length: 9\r\n\r\n", head_only, true),
            ("HTTP/1.1 200 OK\r\nDate: a\r\nTransfer-Encoding: chunked\r\n\r\n", head_only, false),
            ("HTTP/1.1 304 N\r\nDate: a\r\nContent-Length: 9\r\n\r\n", TERMS, true),
            ("HTTP/1.1 204 N\r\nDate: a\r\nContent-Length: 9\r\n\r\n", TERMS, false),
            ("HTTP/1.1 204 N\r\nDate: a\r\nTransfer-Encoding: chunked\r\n\r\n", TERMS, false),
        ] {
            let (text, passage) = put_it(answer, terms);
            assert_eq!(text.contains("Content-Length: 9"), length, "{text}");
            assert!(passage.body.is_done() && !text.contains("chunked"), "{text}");
        }
    }

    #[test]
    fn pitfall_18_chunks_are_for_those_who_know_them() {
        let answers = [
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        ];
        for answer in answers {
            let (text, passage) = put_it(answer, TERMS);
            assert!(text.contains("\r\nTransfer-Encoding: chunked\r\n"), "{text}");
            assert!(!passage.close && text.contains("\r\nDate: Thu, 01 Jan 1970"), "{text}");
            let old = Terms { version: Version::Http10, ..TERMS };
            let (text, passage) = put_it(answer, old);
            assert!(text.contains("\r\nConnection: close\r\n") && !text.contains("chunked"));
            assert!(passage.close && passage.until_close);
        }
    }

    #[test]
    fn pitfall_14_a_switch_is_to_what_was_asked_for() {
        let answer = "HTTP/1.1 101 Go\r\nUpgrade: WebSocket\r\nConnection: upgrade, x\r\nX: 1\r\n\
            Sec-WebSocket-Accept: y\r\n\r\n";
        let (parts, _) = parse_response(answer.as_bytes()).unwrap().unwrap();
        let mut out = Vec::new();
        put_switch(&mut out, &parts, "websocket").unwrap();
        let wanted = "HTTP/1.1 101 Go\r\nSec-WebSocket-Accept: y\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
        assert!(put_switch(&mut Vec::new(), &parts, "h2c").is_err());
    }
}
