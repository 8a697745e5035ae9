//! Request heads. httparse splits them; what it lets pass and RFC 9110 and 9112 do not, and
//! whatever two readers could understand in two ways, is refused.

use std::fmt;
use std::mem::MaybeUninit;

use memchr::memchr;

use crate::base::limits;
use crate::http::head::{self, Control, Fields, Undelimited};
use crate::http::status::Refusal;
use crate::http::target::{Authority, Target};

pub use crate::http::head::{Field, Framing, Version};

/// Bytes of the longest method that is read; beyond: 501.
const METHOD_BYTES_MAX: usize = 32;
/// Empty lines that are skipped before a request; some old clients send one after a body.
const LEADING_LINES_MAX: usize = 4;

/// How large a head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the head, empty lines before it included; beyond: 431. At most 65,535 count.
    pub head_bytes_max: usize,
    /// Bytes of the target; beyond: 414.
    pub target_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head_bytes_max: limits::HEAD_BYTES_MAX, target_bytes_max: limits::TARGET_BYTES_MAX }
    }
}

/// What a request wants done. Methods are case-sensitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method<'b> {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `OPTIONS`
    Options,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `PATCH`
    Patch,
    /// `CONNECT`; [`parse_head`] refuses it.
    Connect,
    /// `TRACE`; [`parse_head`] refuses it.
    Trace,
    /// Any other token.
    Other(&'b str),
}

impl<'b> Method<'b> {
    /// The method of this name.
    pub fn new(name: &'b str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "OPTIONS" => Self::Options,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "PATCH" => Self::Patch,
            "CONNECT" => Self::Connect,
            "TRACE" => Self::Trace,
            _ => Self::Other(name),
        }
    }

    /// Its name.
    pub const fn as_str(self) -> &'b str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Options => "OPTIONS",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Patch => "PATCH",
            Self::Connect => "CONNECT",
            Self::Trace => "TRACE",
            Self::Other(name) => name,
        }
    }
}

/// The head of a request. It borrows from the bytes it was read from and holds nothing on the heap.
#[derive(Clone)]
pub struct Head<'b> {
    /// What is wanted.
    pub method: Method<'b>,
    /// Of what.
    pub target: Target<'b>,
    /// The version the request is written in.
    pub version: Version,
    /// Where its body ends.
    pub framing: Framing,
    /// Whether the client keeps the connection after this exchange.
    pub persistent: bool,
    /// Whether the client waits for `100 Continue` before it sends the body. Only true where a
    /// body is to come, and never in HTTP/1.0.
    pub expect_continue: bool,
    /// Host and perhaps port that the request is for: the target's authority in absolute form,
    /// else the Host field, which only HTTP/1.0 may leave out.
    pub host: Option<&'b str>,
    fields: Fields<'b>,
}

impl<'b> Head<'b> {
    /// The value of the first field of this name, letters in either case; `None` also if it is not
    /// UTF-8.
    pub fn field(&self, name: &str) -> Option<&'b str> {
        self.fields.first(name)
    }

    /// Every field, in its order, with the sender's spelling.
    pub fn fields(&self) -> impl Iterator<Item = Field<'b>> + '_ {
        self.fields.iter()
    }
}

/// Leaves out the query and the values of fields: they may hold keys.
impl fmt::Debug for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head")
            .field("method", &self.method)
            .field("target", &self.target)
            .field("version", &self.version)
            .field("framing", &self.framing)
            .field("persistent", &self.persistent)
            .field("expect_continue", &self.expect_continue)
            .field("host", &self.host)
            .field("fields", &self.fields)
            .finish()
    }
}

/// Reads the head at the beginning of `bytes`.
///
/// `Ok(None)`: more bytes are needed; call again with these and more. `Ok(Some((head, n)))`: the
/// head took `n` bytes, up to four empty lines before it included. Each prefix of a head gets
/// either `Ok(None)` or the verdict of the whole, so it does not matter in which pieces it arrives,
/// and whoever keeps `head_bytes_max` bytes has always enough for a verdict.
///
/// # Errors
/// A [`Refusal`] to answer with; nothing after it on the connection may be read as a request.
/// A transfer coding other than `chunked` is 501 where it stands alone and 400 where it is anything
/// but one word.
///
/// ```
/// use ahm::http::request::{Framing, Limits, Method, parse_head};
/// let bytes = b"POST /ahm/send?cid=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
/// let (head, n) = parse_head(bytes, &Limits::default()).unwrap().unwrap();
/// assert_eq!((head.method, head.target.path, head.host), (Method::Post, "/ahm/send", Some("a")));
/// assert_eq!((head.framing, &bytes[n..]), (Framing::Length(2), &b"hi"[..]));
/// assert!(parse_head(&bytes[..n - 1], &Limits::default()).unwrap().is_none());
/// ```
pub fn parse_head<'b>(
    bytes: &'b [u8],
    limits: &Limits,
) -> Result<Option<(Head<'b>, usize)>, Refusal> {
    let judge = |line: &[u8], complete| check_line(line, complete, limits.target_bytes_max);
    let measured = head::measure(bytes, limits.head_bytes_max, LEADING_LINES_MAX, judge)?;
    let Some(extent) = measured else { return Ok(None) };
    let text = &bytes[extent.start..extent.end];

    let mut headers = [const { MaybeUninit::uninit() }; limits::FIELDS_MAX];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(text, &mut headers) {
        Ok(httparse::Status::Complete(n)) if n == text.len() => {}
        Ok(_) => return Err(Refusal::BadRequest("the end of the head is ambiguous")),
        Err(error) => return Err(Refusal::BadRequest(head::httparse_detail(error))),
    }
    let (Some(method), Some(path), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Err(Refusal::BadRequest("the request line is incomplete"));
    };
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let method = Method::new(method);
    let target = match method {
        Method::Connect => return Err(Refusal::NotImplemented("CONNECT is not served")),
        Method::Trace => return Err(Refusal::NotImplemented("TRACE is not served")),
        _ => Target::parse(path, method == Method::Options)?,
    };
    let meaning = Meaning::read(request.headers)?;
    let framing = meaning.framing(version)?;
    let body_follows = !matches!(framing, Framing::None | Framing::Length(0));
    let head = Head {
        method,
        target,
        version,
        framing,
        persistent: meaning.control.persistent(version),
        expect_continue: meaning.expect_continue && body_follows && version == Version::Http11,
        host: meaning.host(version, path, &target)?,
        fields: Fields::new(text, request.headers),
    };
    Ok(Some((head, extent.end)))
}

/// Judges the request line; see [`head::measure`] for `complete`.
fn check_line(line: &[u8], complete: bool, target_bytes_max: usize) -> Result<(), Refusal> {
    let method = &line[..line.len().min(METHOD_BYTES_MAX + 1)];
    let method_end = memchr(b' ', method);
    let seen = &method[..method_end.unwrap_or(METHOD_BYTES_MAX).min(method.len())];
    if !seen.iter().all(|byte| head::is_token(*byte)) || method_end == Some(0) {
        return Err(Refusal::BadRequest("the request does not begin with a method"));
    }
    let Some(method_end) = method_end else {
        return if method.len() > METHOD_BYTES_MAX {
            Err(Refusal::NotImplemented("the method is longer than any that is known"))
        } else if complete {
            Err(Refusal::BadRequest("the request line has no target"))
        } else {
            Ok(())
        };
    };

    let rest = &line[method_end + 1..];
    let target = &rest[..rest.len().min(target_bytes_max.saturating_add(1))];
    let Some(target_end) = memchr(b' ', target) else {
        return if target.len() > target_bytes_max {
            Err(Refusal::TargetTooLong)
        } else if complete {
            Err(Refusal::BadRequest("the request line has no version"))
        } else {
            Ok(())
        };
    };
    if target_end == 0 {
        return Err(Refusal::BadRequest("the request line has no target"));
    }
    match &rest[target_end + 1..] {
        _ if !complete => Ok(()),
        b"HTTP/1.1" | b"HTTP/1.0" => Ok(()),
        b"" => Err(Refusal::BadRequest("the request line has no version")),
        version if version.iter().all(u8::is_ascii_graphic) => Err(Refusal::Version),
        _ => Err(Refusal::BadRequest("the request line is not three words")),
    }
}

/// What the fields of a request mean to the codec.
#[derive(Default)]
struct Meaning<'b> {
    control: Control,
    host: Option<&'b str>,
    expect_continue: bool,
}

impl<'b> Meaning<'b> {
    fn read(headers: &[httparse::Header<'b>]) -> Result<Self, Refusal> {
        let mut meaning = Self::default();
        for header in headers {
            match header.name.len() {
                4 if header.name.eq_ignore_ascii_case("host") => meaning.read_host(header.value)?,
                6 if header.name.eq_ignore_ascii_case("expect") => {
                    if !header.value.eq_ignore_ascii_case(b"100-continue") {
                        return Err(Refusal::ExpectationFailed);
                    }
                    meaning.expect_continue = true;
                }
                _ => {
                    meaning.control.read(header.name, header.value).map_err(Refusal::BadRequest)?
                }
            }
        }
        Ok(meaning)
    }

    fn read_host(&mut self, value: &'b [u8]) -> Result<(), Refusal> {
        if self.host.is_some() {
            return Err(Refusal::BadRequest("more than one Host"));
        }
        let host = std::str::from_utf8(value).unwrap_or_default();
        if Authority::parse(host).is_none() {
            return Err(Refusal::BadRequest("Host is empty or malformed"));
        }
        self.host = Some(host);
        Ok(())
    }

    fn framing(&self, version: Version) -> Result<Framing, Refusal> {
        self.control.framing(version).map_err(|fault| match fault {
            Undelimited::Ambiguous(detail) => Refusal::BadRequest(detail),
            Undelimited::UnknownCoding => {
                Refusal::NotImplemented("the only transfer coding known here is chunked")
            }
        })
    }

    fn host(
        &self,
        version: Version,
        raw: &str,
        target: &Target<'b>,
    ) -> Result<Option<&'b str>, Refusal> {
        let Some(host) = self.host else {
            return match version {
                Version::Http10 => Ok(target.authority),
                Version::Http11 => Err(Refusal::BadRequest("no Host")),
            };
        };
        let Some(authority) = target.authority else { return Ok(Some(host)) };
        let https = raw.as_bytes().get(..6).is_some_and(|s| s.eq_ignore_ascii_case(b"https:"));
        match (Authority::parse(authority), Authority::parse(host)) {
            (Some(ours), Some(theirs))
                if ours.agrees_with(&theirs, if https { 443 } else { 80 }) =>
            {
                Ok(Some(authority))
            }
            _ => Err(Refusal::BadRequest("Host and the target's authority disagree")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_no_secrets() {
        let bytes = b"GET /x?k=sesame HTTP/1.1\r\nHost: a\r\nAHM-Key: sesame\r\n\r\n";
        let (head, _) = parse_head(bytes, &Limits::default()).unwrap().unwrap();
        let shown = format!("{head:?}");
        assert!(shown.contains("AHM-Key") && !shown.contains("sesame"), "{shown}");
        assert_eq!(head.field("ahm-key"), Some("sesame"));
    }

    #[test]
    fn methods_have_one_spelling() {
        for name in ["GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH", "CONNECT", "TRACE"]
        {
            assert!(!matches!(Method::new(name), Method::Other(_)));
            assert_eq!(Method::new(name).as_str(), name);
        }
        assert_eq!(Method::new("get"), Method::Other("get"));
    }

    #[test]
    fn a_head_is_small_enough_to_pass_by_value() {
        assert!(size_of::<Head<'_>>() <= 1024, "{}", size_of::<Head<'_>>());
    }
}
