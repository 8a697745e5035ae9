//! Commands as lines: where one ends, and what is none, as early as that can be known.
//!
//! A line is `NAME?params` and LF, which CR may precede. Whoever speaks another protocol to a
//! listener for lines, be it that a web page makes a browser do it, must not get a single command
//! through: nothing that HTTP, TLS or STUN begins with is the beginning of a command's name, and
//! what follows something that is none is never looked at.

use zeroize::Zeroizing;

use crate::base::limits::TARGET_BYTES_MAX;
use crate::wire::error::CommandError;
use crate::wire::query::{pairs, text};

/// Bytes of a command's name at most; the longest that there is has 12.
const NAME_BYTES_MAX: usize = 32;

/// What stands at the beginning of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// Nothing whole yet; it may become a command.
    Part,
    /// An empty line of so many bytes, which means nothing.
    Empty(usize),
    /// A command, if there is one of that name.
    Command {
        /// Its name.
        name: &'a str,
        /// Its parameters, still encoded.
        query: &'a str,
        /// Bytes of the line.
        bytes: usize,
    },
    /// No command and never one: nobody can tell what comes behind it.
    Foreign(Foreign),
}

/// Why something is no command, whatever may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// It looks like the beginning of an HTTP request.
    Http,
    /// It does not begin with what could be a command's name.
    Name,
    /// The line is longer than one of that name may be.
    Long,
    /// The line is not UTF-8.
    Text,
}

impl Foreign {
    /// One sentence for the peer, without anything that the peer sent.
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Http => "this port takes commands as lines, `NAME?params`, and no HTTP",
            Self::Name => "a line is a command, `NAME?params`, ended by LF",
            Self::Long => "the line is longer than allowed",
            Self::Text => "the line is not UTF-8",
        }
    }
}

/// Looks at the beginning of `bytes`. A line with a payload or positions may have `long` bytes, any
/// other as many as an HTTP target.
///
/// ```
/// use ahm::wire::line::{Found, find};
/// let Found::Command { name, query, bytes } = find(b"ping?t=1\r\nlogout\n", 9_000) else {
///     panic!("a command")
/// };
/// assert_eq!((name, query, bytes), ("ping", "t=1", 10));
/// assert_eq!(find(b"ping?t=", 9_000), Found::Part);
/// assert!(matches!(find(b"GET / HTTP/1.1", 9_000), Found::Foreign(_)));
/// ```
pub fn find(bytes: &[u8], long: usize) -> Found<'_> {
    let name_end = bytes.iter().take(NAME_BYTES_MAX + 1).position(|&byte| !is_of_name(byte));
    let Some(name_end) = name_end else {
        // The bytes so far could all be a name.
        let part = bytes.len() <= NAME_BYTES_MAX;
        return if part { Found::Part } else { Found::Foreign(Foreign::Name) };
    };
    match &bytes[name_end..] {
        [b'?', ..] if name_end > 0 => {}
        [b'\n', ..] | [b'\r', b'\n', ..] => {}
        [b'\r'] => return Found::Part,
        // A method of small letters, with its space, or of capital ones.
        [b' ', ..] if name_end > 0 => return Found::Foreign(Foreign::Http),
        [b'A'..=b'Z', ..] if name_end == 0 => return Found::Foreign(Foreign::Http),
        _ => return Found::Foreign(Foreign::Name),
    }
    let bytes_max = match &bytes[..name_end] {
        b"send" | b"mux.html" | b"refresh.html" | b"batch" => long.max(TARGET_BYTES_MAX),
        _ => TARGET_BYTES_MAX,
    };
    let within = &bytes[..bytes.len().min(bytes_max)];
    let Some(end) = memchr::memchr(b'\n', within) else {
        let part = bytes.len() < bytes_max;
        return if part { Found::Part } else { Found::Foreign(Foreign::Long) };
    };
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    if line.is_empty() {
        return Found::Empty(end + 1);
    }
    let Ok(line) = std::str::from_utf8(line) else { return Found::Foreign(Foreign::Text) };
    let (name, query) = line.split_once('?').unwrap_or((line, ""));
    Found::Command { name, query, bytes: end + 1 }
}

/// What a line shows of who has sent it: the parameter `authorization`, whose value is that of the
/// field `Authorization` in HTTP.
///
/// ```
/// use ahm::wire::line::authorization;
/// let shown = authorization("resource=fx&authorization=Bearer%20abc").unwrap();
/// assert_eq!(shown.unwrap().as_str(), "Bearer abc");
/// assert_eq!(authorization("resource=fx"), Ok(None));
/// ```
///
/// # Errors
/// When it is no text, or stands there twice.
pub fn authorization(query: &str) -> Result<Option<Zeroizing<String>>, CommandError> {
    let mut values = pairs(query, '&').filter(|(name, _)| *name == "authorization");
    let Some((name, value)) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(CommandError::bad("`authorization` stands there twice".to_string()));
    }
    text(name, value).map(|text| Some(Zeroizing::new(text.into_owned())))
}

const fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte == b'.'
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: usize = 20_000;

    #[test]
    fn lines_byte_by_byte() {
        let cases: [(&[u8], (&str, &str)); 7] = [
            (b"ping\n", ("ping", "")),
            (b"ping\r\n", ("ping", "")),
            (b"ping?\n", ("ping", "")),
            (b"mux.html?open=a/b;rate=5&h=1\n", ("mux.html", "open=a/b;rate=5&h=1")),
            (b"send?data=a b HTTP/1.1\n", ("send", "data=a b HTTP/1.1")),
            (b"send?data=\r?x=\xc3\xa4\r\n", ("send", "data=\r?x=ä")),
            (b"nosuchcommand\n", ("nosuchcommand", "")),
        ];
        for (whole, (name, query)) in cases {
            for cut in 0..whole.len() {
                assert_eq!(find(&whole[..cut], LONG), Found::Part, "{whole:?} to {cut}");
            }
            let bytes = whole.len();
            assert_eq!(find(whole, LONG), Found::Command { name, query, bytes });
            let more = [whole, b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(find(&more, LONG), Found::Command { name, query, bytes });
        }
        assert_eq!(find(b"\nping\n", LONG), Found::Empty(1));
        assert_eq!(find(b"\r\nping\n", LONG), Found::Empty(2));
        assert_eq!(find(b"\r", LONG), Found::Part);
    }

    #[test]
    fn other_protocols_are_known_by_their_first_bytes() {
        let cases: [(&[u8], usize, Foreign); 13] = [
            (b"GET /ahm/ping HTTP/1.1\r\n", 1, Foreign::Http),
            (b"POST / HTTP/1.1\r\n", 1, Foreign::Http),
            (b"PRI * HTTP/2.0\r\n", 1, Foreign::Http),
            (b"ping /x?y HTTP/1.1\r\n", 5, Foreign::Http),
            (b"send . HTTP/1.1\r\n", 5, Foreign::Http),
            (b"\x16\x03\x01\x02\x00", 1, Foreign::Name),
            (b"\x00\x01\x00\x08!\x12\xa4\x42", 1, Foreign::Name),
            (b" ping\n", 1, Foreign::Name),
            (b"?t=1\n", 1, Foreign::Name),
            (b"<html>\n", 1, Foreign::Name),
            (b"ping\t?\n", 5, Foreign::Name),
            (b"ping\rx", 6, Foreign::Name),
            (b"/ahm/ping?\n", 1, Foreign::Name),
        ];
        for (bytes, at, foreign) in cases {
            for cut in 1..=bytes.len() {
                let expected = if cut < at { Found::Part } else { Found::Foreign(foreign) };
                assert_eq!(find(&bytes[..cut], LONG), expected, "{bytes:?} to {cut}");
            }
        }
        let endless = [b'a'; NAME_BYTES_MAX + 1];
        assert_eq!(find(&endless[1..], LONG), Found::Part);
        assert_eq!(find(&endless, LONG), Found::Foreign(Foreign::Name));
    }

    #[test]
    fn a_line_is_as_long_as_its_command_needs() {
        for (name, bytes_max) in
            [("ping?t=", TARGET_BYTES_MAX), ("send?data=", LONG), ("refresh.html?last=", LONG)]
        {
            let line = |bytes: usize, end: &str| {
                let mut line = name.as_bytes().to_vec();
                line.resize(bytes - end.len(), b'x');
                [line, end.as_bytes().to_vec()].concat()
            };
            let whole = line(bytes_max, "\n");
            assert!(matches!(find(&whole, LONG), Found::Command { .. }), "{name}");
            assert_eq!(find(&line(bytes_max - 1, ""), LONG), Found::Part, "{name}");
            for long in [line(bytes_max, ""), line(bytes_max + 1, "\n")] {
                assert_eq!(find(&long, LONG), Found::Foreign(Foreign::Long), "{name}");
            }
        }
        assert_eq!(find(b"send?data=\xff\n", LONG), Found::Foreign(Foreign::Text));
    }
}
