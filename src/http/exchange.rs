//! HTTP as a client speaks it: writes requests, reads answers that arrive in any pieces.

use crate::base::id::parse_decimal;
use crate::base::time::Span;
use crate::http::body::BodyDecoder;
use crate::http::response::{ResponseFraming, parse_response};

/// Appends the request line and the fields that every request has.
pub fn put_head(out: &mut Vec<u8>, method: &str, target: &str, authority: &str) {
    const AGENT: &str = concat!("ahm/", env!("CARGO_PKG_VERSION"));
    let head =
        format!("{method} {target} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: {AGENT}\r\n");
    out.extend_from_slice(head.as_bytes());
}

/// Ends the head, and appends the body where there is one.
pub fn put_body(out: &mut Vec<u8>, body: Option<&[u8]>) {
    if let Some(body) = body {
        let length = body.len();
        let fields = format!("Content-Type: text/plain\r\nContent-Length: {length}\r\n");
        out.extend_from_slice(fields.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body.unwrap_or_default());
}

/// A piece of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// The head of a final answer.
    Head {
        /// The status.
        status: u16,
        /// How long the server asks to stay away (`Retry-After` in seconds).
        retry_after: Option<Span>,
        /// Whether the server keeps the connection.
        persistent: bool,
    },
    /// Bytes of the body, decoded.
    Body(&'a [u8]),
    /// The answer is whole.
    End,
}

/// Reads the answers of one connection, one after the other.
///
/// ```
/// use ahm::http::exchange::{Part, ResponseReader};
/// let mut reader = ResponseReader::new(1000);
/// let mut body = Vec::new();
/// let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
/// for byte in bytes.chunks(1) {
///     reader.push(byte, |part| if let Part::Body(bytes) = part { body.extend_from_slice(bytes) })
///         .unwrap();
/// }
/// assert_eq!(body, b"hi");
/// assert!(reader.is_idle());
/// ```
#[derive(Debug)]
pub struct ResponseReader {
    body_bytes_max: u64,
    /// The beginning of a head.
    head: Vec<u8>,
    body: Option<BodyDecoder>,
    until_close: bool,
    decoded: Vec<u8>,
}

impl ResponseReader {
    /// A reader of answers with at most `body_bytes_max` bytes of body.
    pub fn new(body_bytes_max: u64) -> Self {
        Self {
            body_bytes_max,
            head: Vec::new(),
            body: None,
            until_close: false,
            decoded: Vec::new(),
        }
    }

    /// Whether the last answer is whole and no other has begun.
    pub fn is_idle(&self) -> bool {
        self.body.is_none() && self.head.is_empty()
    }

    /// Takes `bytes`, and gives what they hold piece by piece.
    ///
    /// # Errors
    /// In words, when the answer cannot be understood; the connection is of no use any more.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(Part<'_>)) -> Result<(), String> {
        while !bytes.is_empty() {
            bytes = match &mut self.body {
                None => self.push_head(bytes, &mut each)?,
                Some(decoder) => {
                    self.decoded.clear();
                    let taken = decoder.decode(bytes, &mut self.decoded);
                    let done = decoder.is_done();
                    let taken = taken.map_err(|refusal| refusal.detail().to_owned())?;
                    if !self.decoded.is_empty() {
                        each(Part::Body(&self.decoded));
                    }
                    if done {
                        self.body = None;
                        each(Part::End);
                    }
                    &bytes[taken..]
                }
            };
        }
        Ok(())
    }

    /// The connection has ended: true if that is the regular end of an answer's body.
    pub fn ends_with_connection(&self) -> bool {
        self.body.is_some() && self.until_close
    }

    fn push_head<'b>(
        &mut self,
        bytes: &'b [u8],
        each: &mut impl FnMut(Part<'_>),
    ) -> Result<&'b [u8], String> {
        let had = self.head.len();
        self.head.extend_from_slice(bytes);
        let parsed = parse_response(&self.head).map_err(|error| error.to_string())?;
        let Some((parts, len)) = parsed else { return Ok(&[]) };
        let rest = &bytes[len.saturating_sub(had).min(bytes.len())..];
        if parts.is_interim() {
            self.head.clear();
            return Ok(rest);
        }
        let decoder = BodyDecoder::of_response(parts.framing, self.body_bytes_max);
        let decoder = decoder.map_err(|refusal| refusal.detail().to_owned())?;
        self.until_close = parts.framing == ResponseFraming::UntilClose;
        let seconds = parts.field("retry-after").and_then(parse_decimal);
        each(Part::Head {
            status: parts.status,
            retry_after: seconds.map(Span::from_secs),
            persistent: parts.persistent && !self.until_close,
        });
        if decoder.is_done() {
            each(Part::End);
        } else {
            self.body = Some(decoder);
        }
        self.head.clear();
        Ok(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_in_any_pieces() {
        let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Busy\r\nRetry-After: 2\r\n\
            Content-Length: 3\r\n\r\nabcHTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
        for size in 1..bytes.len() {
            let mut reader = ResponseReader::new(10);
            let mut seen = Vec::new();
            for part in bytes.chunks(size) {
                let note = |part: Part<'_>| match part {
                    Part::Head { status, retry_after, persistent } => {
                        seen.push(format!("{status} {retry_after:?} {persistent}"));
                    }
                    Part::Body(bytes) => seen.push(String::from_utf8_lossy(bytes).into()),
                    Part::End => seen.push("end".into()),
                };
                reader.push(part, note).unwrap();
            }
            let text = seen.join(",").replace("a,b", "ab").replace("b,c", "bc");
            let wait = Some(Span::from_secs(2));
            assert_eq!(text, format!("503 {wait:?} true,abc,end,204 None false,end"), "{size}");
            assert!(reader.is_idle() && !reader.ends_with_connection());
        }
    }

    #[test]
    fn what_is_no_answer_or_too_long_is_refused() {
        assert!(ResponseReader::new(10).push(b"SSH-2.0-x\r\n\r\n", |_| ()).is_err());
        let long = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n";
        assert!(ResponseReader::new(10).push(long, |_| ()).is_err());
    }

    #[test]
    fn a_request_says_how_long_its_body_is() {
        let mut out = Vec::new();
        put_head(&mut out, "POST", "/p/send?n=1", "h:1");
        put_body(&mut out, Some(b"hi"));
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("POST /p/send?n=1 HTTP/1.1\r\nHost: h:1\r\n"));
        assert!(text.ends_with("Content-Length: 2\r\n\r\nhi"));
        let mut out = Vec::new();
        put_body(&mut out, None);
        assert_eq!(out, b"\r\n");
    }
}
