//! What the heads of requests and responses have in common: where a head ends, its fields, and
//! those fields that say where the body ends and whether the connection is kept.
//!
//! A head is read in two passes. [`measure`] looks only at line breaks, the first byte of each
//! line and the first line's shape; it may run on every prefix of a head, costs little more than
//! one search for CR and LF, and finds early what would otherwise make us wait for more. Only when
//! it has found the end does httparse run, once, and then the checks of what httparse lets pass.
//! So a head that drips in byte by byte is never parsed again and again, and no prefix gets another
//! verdict than the whole.

use std::fmt;

use memchr::memchr2;

use crate::base::limits::FIELDS_MAX;
use crate::http::status::Refusal;

/// The bound of a head's size whatever the configured limit is: places in it are kept in 16 bits.
pub const BYTES_END: usize = u16::MAX as usize;

const _: () = assert!(crate::base::limits::HEAD_BYTES_MAX <= BYTES_END);
const _: () = assert!(FIELDS_MAX <= u8::MAX as usize);

/// The version that a message is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0: no chunked coding, and the connection is closed unless both ends want it kept.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// Where the body of a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// No field announces a body: there is none.
    None,
    /// After this many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
}

/// One field line of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'b> {
    /// The name as it was sent.
    pub name: &'b str,
    /// The value without the white space around it; may hold bytes from 0x80 on.
    pub value: &'b [u8],
}

/// Where one field lies in its head.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    name: u16,
    name_end: u16,
    value: u16,
    value_end: u16,
}

/// The fields of a head, in its order, as places in the bytes they came in: nothing is copied to
/// the heap.
#[derive(Clone)]
pub struct Fields<'b> {
    text: &'b [u8],
    places: [Place; FIELDS_MAX],
    count: u8,
}

impl<'b> Fields<'b> {
    /// Notes where `headers`, which httparse found in `text`, lie.
    pub(crate) fn new(text: &'b [u8], headers: &[httparse::Header<'b>]) -> Self {
        debug_assert!(text.len() <= BYTES_END && headers.len() <= FIELDS_MAX);
        let mut places = [Place::default(); FIELDS_MAX];
        for (place, header) in places.iter_mut().zip(headers) {
            let (name, name_end) = range_in(text, header.name.as_bytes());
            let (value, value_end) = range_in(text, header.value);
            *place = Place { name, name_end, value, value_end };
        }
        Self { text, places, count: headers.len() as u8 }
    }

    /// Every field.
    pub fn iter(&self) -> impl Iterator<Item = Field<'b>> + '_ {
        let text = self.text;
        self.places[..usize::from(self.count)].iter().map(move |place| Field {
            name: std::str::from_utf8(slice(text, place.name, place.name_end)).unwrap_or_default(),
            value: slice(text, place.value, place.value_end),
        })
    }

    /// The value of the first field of this name, letters in either case; `None` also if it is not
    /// UTF-8.
    pub fn first(&self, name: &str) -> Option<&'b str> {
        let same = |place: &&Place| {
            usize::from(place.name_end - place.name) == name.len()
                && slice(self.text, place.name, place.name_end)
                    .eq_ignore_ascii_case(name.as_bytes())
        };
        let place = self.places[..usize::from(self.count)].iter().find(same)?;
        std::str::from_utf8(slice(self.text, place.value, place.value_end)).ok()
    }
}

/// Shows names only: values may be secret.
impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|field| field.name)).finish()
    }
}

fn slice(text: &[u8], start: u16, end: u16) -> &[u8] {
    text.get(usize::from(start)..usize::from(end)).unwrap_or_default()
}

/// Where `part`, a slice of `text`, begins and ends in it.
fn range_in(text: &[u8], part: &[u8]) -> (u16, u16) {
    let start = part.as_ptr().addr().wrapping_sub(text.as_ptr().addr());
    debug_assert!(start + part.len() <= text.len(), "httparse gives slices of its input");
    (start as u16, (start + part.len()) as u16)
}

/// Where a head lies in the bytes that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Its first byte, after skipped empty lines.
    pub start: usize,
    /// The byte after the empty line that ends it.
    pub end: usize,
}

/// What [`measure`] refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A CR without LF or an LF without CR.
    LineBreak,
    /// A line that begins with white space: obs-fold, or white space before the first field.
    Folded,
    /// Too many empty lines before the first line.
    LeadingLines,
    /// The head is longer than allowed or has too many fields.
    TooLarge,
}

impl Fault {
    /// One sentence about it.
    pub const fn detail(self) -> &'static str {
        match self {
            Self::LineBreak => "lines end with CR LF, and neither stands alone",
            Self::Folded => "a field line begins with white space",
            Self::LeadingLines => "too many empty lines before the first line",
            Self::TooLarge => "the head is too large",
        }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::TooLarge => Self::HeadTooLarge,
            _ => Self::BadRequest(fault.detail()),
        }
    }
}

/// Finds the end of the head at the beginning of `bytes`; `None` if it has not arrived.
///
/// At most `bytes_max` bytes are looked at. Up to `leading_max` empty lines may come first.
/// `first_line(line, complete)` judges the first line: with `complete` false on as much of it as
/// there is, up to its break, and then, once the break is there, with `complete` true. So that each
/// prefix gets the same verdict, what it says about an incomplete line must hold for every longer
/// one.
///
/// # Errors
/// The first [`Fault`], or what `first_line` refuses, from left to right.
pub fn measure<E: From<Fault>>(
    bytes: &[u8],
    bytes_max: usize,
    leading_max: usize,
    mut first_line: impl FnMut(&[u8], bool) -> Result<(), E>,
) -> Result<Option<Extent>, E> {
    let bytes_max = bytes_max.min(BYTES_END);
    let window = &bytes[..bytes.len().min(bytes_max)];
    let more = || if bytes.len() < bytes_max { Ok(None) } else { Err(Fault::TooLarge.into()) };

    let mut start = 0;
    let mut leading = 0;
    while let Some(b'\r' | b'\n') = window.get(start) {
        let Some(next) = after_break(window, start)? else { return more() };
        start = next;
        leading += 1;
        if leading > leading_max {
            return Err(Fault::LeadingLines.into());
        }
    }

    let found = memchr2(b'\r', b'\n', &window[start..]).map(|at| start + at);
    first_line(&window[start..found.unwrap_or(window.len())], false)?;
    let Some(line_end) = found else { return more() };
    let Some(mut line) = after_break(window, line_end)? else { return more() };
    first_line(&window[start..line_end], true)?;

    for _ in 0..=FIELDS_MAX {
        if let Some(b' ' | b'\t') = window.get(line) {
            return Err(Fault::Folded.into());
        }
        let Some(at) = memchr2(b'\r', b'\n', &window[line..]) else { return more() };
        let Some(next) = after_break(window, line + at)? else { return more() };
        if at == 0 {
            return Ok(Some(Extent { start, end: next }));
        }
        line = next;
    }
    Err(Fault::TooLarge.into())
}

/// The place after the CR LF at `at`; `None` if its LF has not arrived.
fn after_break(window: &[u8], at: usize) -> Result<Option<usize>, Fault> {
    match (window[at], window.get(at + 1)) {
        (b'\r', Some(b'\n')) => Ok(Some(at + 2)),
        (b'\r', None) => Ok(None),
        _ => Err(Fault::LineBreak),
    }
}

/// What the fields say about the body and about keeping the connection.
#[derive(Debug, Default)]
pub(crate) struct Control {
    length: Option<u64>,
    coding: Option<Coding>,
    close: bool,
    keep_alive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Chunked,
    Unknown,
}

/// Why the body of a message cannot be delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undelimited {
    /// The fields contradict each other or the version.
    Ambiguous(&'static str),
    /// There is a transfer coding that is not known here.
    UnknownCoding,
}

impl Control {
    /// Takes one field into account; `Err` says what is wrong with it.
    pub(crate) fn read(&mut self, name: &str, value: &[u8]) -> Result<(), &'static str> {
        match name.len() {
            10 if name.eq_ignore_ascii_case("connection") => {
                for token in value.split(|byte| *byte == b',') {
                    let token = token.trim_ascii();
                    self.close |= token.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if name.eq_ignore_ascii_case("content-length") => {
                if self.length.is_some() {
                    return Err("more than one Content-Length");
                }
                self.length = Some(parse_length(value).ok_or("Content-Length is not a number")?);
            }
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                if self.coding.is_some() {
                    return Err("more than one Transfer-Encoding");
                }
                self.coding = Some(if value.eq_ignore_ascii_case(b"chunked") {
                    Coding::Chunked
                } else if !value.is_empty() && value.iter().all(|byte| is_token(*byte)) {
                    Coding::Unknown
                } else {
                    return Err("Transfer-Encoding is not exactly chunked");
                });
            }
            _ => {}
        }
        Ok(())
    }

    /// Where the body ends, as far as the fields say.
    pub(crate) fn framing(&self, version: Version) -> Result<Framing, Undelimited> {
        match (self.coding, self.length) {
            (None, None) => Ok(Framing::None),
            (None, Some(length)) => Ok(Framing::Length(length)),
            (Some(_), Some(_)) => {
                Err(Undelimited::Ambiguous("Content-Length together with Transfer-Encoding"))
            }
            (Some(_), None) if version == Version::Http10 => {
                Err(Undelimited::Ambiguous("Transfer-Encoding in HTTP/1.0"))
            }
            (Some(Coding::Unknown), None) => Err(Undelimited::UnknownCoding),
            (Some(Coding::Chunked), None) => Ok(Framing::Chunked),
        }
    }

    /// Whether the sender keeps the connection after this exchange.
    pub(crate) fn persistent(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}

/// Digits and nothing else; leading zeros are allowed by the grammar and mean nothing.
fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Whether a byte may stand in a method or a field name.
pub(crate) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// One sentence about what httparse refuses, for the peer.
pub(crate) const fn httparse_detail(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "a field name is malformed, or a field has no colon",
        httparse::Error::HeaderValue => "a control character in a field value",
        httparse::Error::TooManyHeaders => "too many fields",
        _ => "the first line is malformed",
    }
}
