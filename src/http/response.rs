//! Answers: written by the server, read by our own clients.

use std::fmt;
use std::mem::MaybeUninit;

use crate::base::limits;
use crate::http::head::{self, Control, Fault, Field, Fields, Framing, Undelimited, Version};
use crate::http::status::reason_phrase;

/// The interim answer to `Expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Writes the head of an answer to the end of a buffer.
///
/// It cannot be made to write what is no field: control characters in a value become spaces, and a
/// status that has no body (1xx, 204) gets neither `Content-Length` nor `Transfer-Encoding`.
///
/// ```
/// use ahm::http::request::Version;
/// use ahm::http::response::ResponseHead;
/// let mut out = Vec::new();
/// ResponseHead::new(&mut out, Version::Http11, 200)
///     .field("Content-Type", "text/plain")
///     .number("Content-Length", 2)
///     .end();
/// assert_eq!(out, b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n");
/// ```
#[derive(Debug)]
#[must_use = "a head is whole only after end()"]
pub struct ResponseHead<'o> {
    out: &'o mut Vec<u8>,
    version: Version,
    status: u16,
}

impl<'o> ResponseHead<'o> {
    /// Writes the status line. `version` is the request's; the line always says HTTP/1.1, which is
    /// what the server speaks. `status` is 100 to 599.
    pub fn new(out: &'o mut Vec<u8>, version: Version, status: u16) -> Self {
        debug_assert!((100..600).contains(&status), "not a status: {status}");
        out.extend_from_slice(b"HTTP/1.1 ");
        put_decimal(u64::from(status), out);
        out.push(b' ');
        out.extend_from_slice(reason_phrase(status).as_bytes());
        out.extend_from_slice(b"\r\n");
        Self { out, version, status }
    }

    /// Writes a field.
    pub fn field(self, name: &str, value: &str) -> Self {
        self.raw_field(name, value.as_bytes())
    }

    /// Writes a field whose value is a decimal number.
    pub fn number(mut self, name: &str, value: u64) -> Self {
        if self.begin_field(name) {
            put_decimal(value, self.out);
            self.out.extend_from_slice(b"\r\n");
        }
        self
    }

    /// Writes the `Date` field, as [`http_date`](crate::http::date::http_date) gives it.
    pub fn date(self, date: &[u8; 29]) -> Self {
        self.raw_field("Date", date)
    }

    /// Says what becomes of the connection, where its version does not say so by itself: `close`,
    /// or `keep-alive` to a client that asked for it in HTTP/1.0.
    pub fn persistent(self, persistent: bool) -> Self {
        match (persistent, self.version) {
            (false, _) => self.field("Connection", "close"),
            (true, Version::Http10) => self.field("Connection", "keep-alive"),
            (true, Version::Http11) => self,
        }
    }

    /// Ends the head. The body is the caller's to append.
    pub fn end(self) {
        self.out.extend_from_slice(b"\r\n");
    }

    fn raw_field(mut self, name: &str, value: &[u8]) -> Self {
        if self.begin_field(name) {
            let start = self.out.len();
            self.out.extend_from_slice(value);
            for byte in &mut self.out[start..] {
                // Values may echo what a peer sent: a line break would let it write fields.
                if byte.is_ascii_control() && *byte != b'\t' {
                    *byte = b' ';
                }
            }
            self.out.extend_from_slice(b"\r\n");
        }
        self
    }

    /// Whether the field may be written; if so its name has been.
    fn begin_field(&mut self, name: &str) -> bool {
        debug_assert!(!name.is_empty() && name.bytes().all(head::is_token), "bad name: {name}");
        let bodiless = self.status < 200 || self.status == 204;
        if bodiless
            && (name.eq_ignore_ascii_case("content-length")
                || name.eq_ignore_ascii_case("transfer-encoding"))
        {
            return false;
        }
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        true
    }
}

/// Appends a number in decimal.
pub fn put_decimal(value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Where the body of an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResponseFraming {
    /// There is no body, whatever the fields say: 1xx, 204, 304.
    None,
    /// After this many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// Why an answer cannot be understood. The connection it came on must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResponseError {
    /// It breaks the grammar or is ambiguous; says what was wrong.
    Malformed(&'static str),
    /// Its head is larger, or has more fields, than is read here.
    TooLarge,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(detail) => write!(f, "malformed answer: {detail}"),
            Self::TooLarge => f.write_str("the head of the answer is too large"),
        }
    }
}

impl std::error::Error for ResponseError {}

impl From<Fault> for ResponseError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::TooLarge => Self::TooLarge,
            _ => Self::Malformed(fault.detail()),
        }
    }
}

/// The head of an answer. It borrows from the bytes it was read from and holds nothing on the heap.
#[derive(Clone, Debug)]
pub struct ResponseParts<'b> {
    /// The status: 100 to 599.
    pub status: u16,
    /// The words behind the status, as they were sent; empty where there are none, or not in ASCII.
    pub reason: &'b str,
    /// The version that the answer is written in.
    pub version: Version,
    /// Where the body ends. An answer to HEAD has no body even if this says otherwise: only who
    /// asked knows.
    pub framing: ResponseFraming,
    /// Whether the server keeps the connection after this exchange.
    pub persistent: bool,
    fields: Fields<'b>,
}

impl<'b> ResponseParts<'b> {
    /// The value of the first field of this name, letters in either case; `None` also if it is not
    /// UTF-8.
    pub fn field(&self, name: &str) -> Option<&'b str> {
        self.fields.first(name)
    }

    /// Every field, in its order, with the sender's spelling.
    pub fn fields(&self) -> impl Iterator<Item = Field<'b>> + '_ {
        self.fields.iter()
    }

    /// Whether another answer to the same request follows (1xx, but for 101).
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }
}

/// Reads the head of an answer at the beginning of `bytes`, as strictly as the server reads
/// requests.
///
/// `Ok(None)`: more bytes are needed. `Ok(Some((parts, n)))`: the head took `n` bytes. An interim
/// answer (1xx) is read like any other and has no body; the final one follows it.
///
/// # Errors
/// A [`ResponseError`]; nothing more on the connection can be trusted.
///
/// ```
/// use ahm::http::response::{ResponseFraming, parse_response};
/// let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
/// let (parts, n) = parse_response(bytes).unwrap().unwrap();
/// assert_eq!((parts.status, parts.framing), (200, ResponseFraming::Length(2)));
/// assert_eq!(&bytes[n..], b"hi");
/// ```
pub fn parse_response(bytes: &[u8]) -> Result<Option<(ResponseParts<'_>, usize)>, ResponseError> {
    let measured = head::measure(bytes, limits::HEAD_BYTES_MAX, 0, check_line)?;
    let Some(extent) = measured else { return Ok(None) };
    let text = &bytes[..extent.end];

    let mut headers = [const { MaybeUninit::uninit() }; limits::FIELDS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut response, text, &mut headers) {
        Ok(httparse::Status::Complete(n)) if n == text.len() => {}
        Ok(_) => return Err(ResponseError::Malformed("the end of the head is ambiguous")),
        Err(error) => return Err(ResponseError::Malformed(head::httparse_detail(error))),
    }
    let (Some(minor), Some(status)) = (response.version, response.code) else {
        return Err(ResponseError::Malformed("the status line is incomplete"));
    };
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let mut control = Control::default();
    for header in response.headers.iter() {
        control.read(header.name, header.value).map_err(ResponseError::Malformed)?;
    }
    let framing = match control.framing(version) {
        _ if status < 200 || status == 204 || status == 304 => ResponseFraming::None,
        Ok(Framing::None) => ResponseFraming::UntilClose,
        Ok(Framing::Length(length)) => ResponseFraming::Length(length),
        Ok(Framing::Chunked) => ResponseFraming::Chunked,
        Err(Undelimited::Ambiguous(detail)) => return Err(ResponseError::Malformed(detail)),
        Err(Undelimited::UnknownCoding) => {
            return Err(ResponseError::Malformed("a transfer coding other than chunked"));
        }
    };
    let persistent = control.persistent(version) && framing != ResponseFraming::UntilClose;
    let reason = response.reason.unwrap_or_default();
    let fields = Fields::new(text, response.headers);
    Ok(Some((ResponseParts { status, reason, version, framing, persistent, fields }, extent.end)))
}

/// Judges the status line; see [`head::measure`] for `complete`.
fn check_line(line: &[u8], complete: bool) -> Result<(), ResponseError> {
    const START: &[u8] = b"HTTP/1.";
    let seen = line.len().min(START.len());
    if line[..seen] != START[..seen] {
        return Err(ResponseError::Malformed("this is not an HTTP/1 answer"));
    }
    if !complete {
        return Ok(());
    }
    match line[seen..] {
        [b'0' | b'1', b' ', b'1'..=b'5', tens, ones, ref rest @ ..]
            if tens.is_ascii_digit()
                && ones.is_ascii_digit()
                && matches!(rest, [] | [b' ', ..]) =>
        {
            Ok(())
        }
        _ => Err(ResponseError::Malformed("the status line is malformed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(version: Version, status: u16, persistent: bool) -> String {
        let mut out = Vec::new();
        ResponseHead::new(&mut out, version, status)
            .persistent(persistent)
            .number("Content-Length", u64::MAX)
            .end();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn connection_is_named_where_the_version_does_not_say_it() {
        assert!(!write(Version::Http11, 200, true).contains("Connection"));
        assert!(write(Version::Http11, 200, false).contains("\r\nConnection: close\r\n"));
        assert!(write(Version::Http10, 200, true).contains("\r\nConnection: keep-alive\r\n"));
        assert!(write(Version::Http10, 200, false).contains("\r\nConnection: close\r\n"));
    }

    #[test]
    fn pitfall_15_no_length_with_204() {
        assert_eq!(write(Version::Http11, 204, true), "HTTP/1.1 204 No Content\r\n\r\n");
        assert!(write(Version::Http11, 304, true).contains("Content-Length: 18446744073709551615"));
    }

    #[test]
    fn pitfall_6_a_value_cannot_break_out_of_its_line() {
        let mut out = Vec::new();
        let evil = "x\r\nSet-Cookie: a=b\0\u{e9}";
        ResponseHead::new(&mut out, Version::Http11, 200).field("Vary", evil).end();
        let text = "HTTP/1.1 200 OK\r\nVary: x  Set-Cookie: a=b \u{e9}\r\n\r\n";
        assert_eq!(out, text.as_bytes());
        let (parts, n) = parse_response(&out).unwrap().unwrap();
        assert_eq!((n, parts.fields().count()), (out.len(), 1));
    }
}
