//! Escaping: what may stand in a frame's payload and in an attribute's value.
//!
//! Both directions look for the few bytes that matter with `memchr` and copy the stretches between
//! them whole: most payloads hold none.

use std::borrow::Cow;

use memchr::{memchr2, memchr3};

use crate::html::error::FrameError;

/// The characters that a payload never holds, each with the reference that stands for it.
const REFERENCES: [(u8, &[u8]); 5] =
    [(b'&', b"&amp;"), (b'<', b"&lt;"), (b'>', b"&gt;"), (b'\n', b"&#10;"), (b'\r', b"&#13;")];

/// Whether a payload can travel as text: UTF-8 without control characters (below 0x20, or 0x7F)
/// other than TAB, LF and CR. All else travels as base64.
pub fn is_text(payload: &[u8]) -> bool {
    // No early exit: nearly every payload is text, and so the loop runs many bytes at a time.
    let control = |byte: u8| {
        (byte < 0x20) & (byte != b'\t') & (byte != b'\n') & (byte != b'\r') | (byte == 0x7f)
    };
    !payload.iter().fold(false, |found, &byte| found | control(byte))
        && std::str::from_utf8(payload).is_ok()
}

/// Appends `text` to `out` with `&`, `<`, `>`, LF and CR replaced by references.
///
/// ```
/// use ahm::html::escape::escape;
/// let mut out = Vec::new();
/// escape(b"a < b\n& c", &mut out);
/// assert_eq!(out, b"a &lt; b&#10;&amp; c");
/// ```
pub fn escape(text: &[u8], out: &mut Vec<u8>) {
    out.reserve(text.len());
    let mut done = 0;
    for at in Specials::new(text) {
        out.extend_from_slice(&text[done..at]);
        let reference = REFERENCES.iter().find(|(byte, _)| *byte == text[at]);
        out.extend_from_slice(reference.map_or(&[], |(_, reference)| reference));
        done = at + 1;
    }
    out.extend_from_slice(&text[done..]);
}

/// Appends `text` to `out` with the five references of [`escape`] replaced by what they stand for.
///
/// # Errors
///
/// [`FrameError::Payload`] for any other reference and for a bare `<`, `>`, LF or CR, which
/// [`escape`] never writes; `out` then holds the part before the fault.
pub fn unescape(text: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
    out.reserve(text.len());
    let mut done = 0;
    for at in Specials::new(text) {
        out.extend_from_slice(&text[done..at]);
        if text[at] != b'&' {
            return Err(FrameError::Payload("holds a bare `<`, `>` or line end"));
        }
        let found = REFERENCES.iter().find(|(_, reference)| text[at..].starts_with(reference));
        let Some((byte, reference)) = found else {
            return Err(FrameError::Payload("holds a `&` that begins no known reference"));
        };
        out.push(*byte);
        done = at + reference.len();
    }
    out.extend_from_slice(&text[done..]);
    Ok(())
}

/// The payload that `text` stands for: `text` itself where it holds no reference.
pub(crate) fn unescaped(text: &[u8]) -> Result<Cow<'_, [u8]>, FrameError> {
    if !is_text(text) {
        return Err(FrameError::Payload("is not UTF-8 text without control characters"));
    }
    if Specials::new(text).next().is_none() {
        return Ok(Cow::Borrowed(text));
    }
    let mut payload = Vec::new();
    unescape(text, &mut payload)?;
    Ok(Cow::Owned(payload))
}

/// Appends an attribute's value, percent-encoding every byte that is not of `[A-Za-z0-9_.:/~-]`.
pub fn put_attribute(value: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        if is_plain(byte) {
            out.push(byte);
        } else {
            let [high, low] = [byte >> 4, byte & 0xf].map(|digit| HEX[usize::from(digit)]);
            out.extend_from_slice(&[b'%', high, low]);
        }
    }
}

/// The text that an attribute's value stands for: the reverse of [`put_attribute`]. `None` for a
/// character that must be encoded, a `%` without two hexadecimal digits, or bytes that are not
/// UTF-8.
pub fn attribute(value: &str) -> Option<Cow<'_, str>> {
    let bytes = value.as_bytes();
    let mut decoded = None;
    let mut at = 0;
    while at < bytes.len() {
        if is_plain(bytes[at]) {
            if let Some(text) = &mut decoded {
                Vec::push(text, bytes[at]);
            }
            at += 1;
            continue;
        }
        let high = char::from(*bytes.get(at + 1)?).to_digit(16)?;
        let low = char::from(*bytes.get(at + 2)?).to_digit(16)?;
        if bytes[at] != b'%' {
            return None;
        }
        decoded.get_or_insert_with(|| bytes[..at].to_vec()).push((high * 16 + low) as u8);
        at += 3;
    }
    match decoded {
        None => Some(Cow::Borrowed(value)),
        Some(text) => String::from_utf8(text).ok().map(Cow::Owned),
    }
}

/// Whether a byte of an attribute's value stands for itself.
pub(crate) const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'/' | b'~' | b'-')
}

/// The places in a text of the five bytes that must be escaped, in order. Two searches run side by
/// side, because one `memchr` looks for three bytes at most; each covers the text once.
struct Specials<'t> {
    text: &'t [u8],
    markup: Option<usize>,
    line_end: Option<usize>,
}

impl<'t> Specials<'t> {
    fn new(text: &'t [u8]) -> Self {
        Self {
            text,
            markup: memchr3(b'&', b'<', b'>', text),
            line_end: memchr2(b'\n', b'\r', text),
        }
    }
}

impl Iterator for Specials<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let end = self.text.len();
        let at = self.markup.unwrap_or(end).min(self.line_end.unwrap_or(end));
        let rest = self.text.get(at + 1..).unwrap_or_default();
        if self.markup == Some(at) {
            self.markup = memchr3(b'&', b'<', b'>', rest).map(|found| at + 1 + found);
        } else if self.line_end == Some(at) {
            self.line_end = memchr2(b'\n', b'\r', rest).map(|found| at + 1 + found);
        }
        (at < end).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        escape(text, &mut out);
        out
    }

    #[test]
    fn text_is_utf8_without_controls() {
        for good in [&b""[..], b"plain", b"tab\tlf\ncr\r", "\u{e4}\u{85}\u{feff}".as_bytes()] {
            assert!(is_text(good), "{good:?}");
        }
        for bad in [&b"\0"[..], b"bell\x07", b"\x1f", b"del\x7f", b"\xff", b"\xc3", b"\xed\xa0\x80"]
        {
            assert!(!is_text(bad), "{bad:?}");
        }
    }

    #[test]
    fn only_five_bytes_are_escaped() {
        assert_eq!(escaped(b"&<>\n\r"), b"&amp;&lt;&gt;&#10;&#13;");
        assert_eq!(escaped(b"\"quotes' and = stay"), b"\"quotes' and = stay");
        assert_eq!(escaped(b"\n a & b"), b"&#10; a &amp; b");
        assert_eq!(escaped(b""), b"");
    }

    #[test]
    fn unescape_refuses_what_escape_never_writes() {
        for bad in ["&", "&am", "&AMP;", "&quot;", "&#x0a;", "&#010;", "a<b", "a>b", "a\nb", "\r"] {
            assert!(unescape(bad.as_bytes(), &mut Vec::new()).is_err(), "{bad:?}");
        }
        let mut out = Vec::new();
        unescape(b"&amp;lt; &#10;&gt;", &mut out).unwrap();
        assert_eq!(out, b"&lt; \n>");
    }

    #[test]
    fn attributes_take_any_text() {
        for (value, line) in [
            ("quotes/EURUSD", "quotes/EURUSD"),
            ("a b", "a%20b"),
            ("100%", "100%25"),
            ("$x=\"1\"", "%24x%3D%221%22"),
            ("\u{e9}", "%C3%A9"),
        ] {
            let mut out = Vec::new();
            put_attribute(value, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), line);
            assert_eq!(attribute(line).as_deref(), Some(value));
        }
        for bad in ["%", "%2", "%zz", "%+1", "a b", "%ff", "\u{e9}", "x=y"] {
            assert_eq!(attribute(bad), None, "{bad:?}");
        }
    }
}
