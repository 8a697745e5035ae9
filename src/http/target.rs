//! Request targets and authorities.

use std::fmt;
use std::net::Ipv6Addr;

use crate::http::status::Refusal;

/// What a request is about: its target, split but not decoded.
///
/// ```
/// use ahm::http::target::Target;
/// let target = Target::parse("/ahm/ping?t=1", false).unwrap();
/// assert_eq!((target.path, target.query, target.authority), ("/ahm/ping", "t=1", None));
/// let target = Target::parse("http://example.org?q", false).unwrap();
/// assert_eq!((target.path, target.authority), ("/", Some("example.org")));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Target<'b> {
    /// The path as it was sent; begins with a slash, or is `*`.
    pub path: &'b str,
    /// The query as it was sent, without its question mark; empty if there is none.
    pub query: &'b str,
    /// Whether there is a question mark: `/a?` and `/a` are not the same to everybody.
    pub has_query: bool,
    /// The authority, where the target came in absolute form.
    pub authority: Option<&'b str>,
}

impl<'b> Target<'b> {
    /// Splits a target: origin form, absolute form (`http` or `https`), or, where `for_options`,
    /// the asterisk. Authority form belongs to CONNECT, which is not served.
    ///
    /// # Errors
    /// [`Refusal::BadRequest`] for any other form, a fragment, or what is not visible ASCII.
    pub fn parse(raw: &'b str, for_options: bool) -> Result<Self, Refusal> {
        if !raw.bytes().fold(true, |good, byte| good & byte.is_ascii_graphic()) {
            return Err(Refusal::BadRequest("percent-encode what is not visible ASCII"));
        }
        if raw.contains('#') {
            return Err(Refusal::BadRequest("a request target has no fragment"));
        }
        if raw.starts_with('/') {
            return Ok(Self::split(raw, None));
        }
        if raw == "*" {
            return if for_options {
                Ok(Self { path: raw, query: "", has_query: false, authority: None })
            } else {
                Err(Refusal::BadRequest("the asterisk is a target for OPTIONS only"))
            };
        }
        Self::absolute(raw, for_options)
    }

    fn absolute(raw: &'b str, for_options: bool) -> Result<Self, Refusal> {
        const WRONG: Refusal = Refusal::BadRequest("the target has neither path nor http scheme");
        let (scheme, rest) = raw.split_once("://").ok_or(WRONG)?;
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(WRONG);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, after) = rest.split_at(end);
        if Authority::parse(authority).is_none() {
            return Err(Refusal::BadRequest("the authority of the target is malformed"));
        }
        if after.is_empty() && for_options {
            // RFC 9112, 3.2.4: OPTIONS with neither path nor query is about the server as a whole.
            let authority = Some(authority);
            return Ok(Self { path: "*", query: "", has_query: false, authority });
        }
        Ok(Self::split(after, Some(authority)))
    }

    fn split(raw: &'b str, authority: Option<&'b str>) -> Self {
        let (path, query, has_query) = match raw.split_once('?') {
            Some((path, query)) => (path, query, true),
            None => (raw, "", false),
        };
        Self { path: if path.is_empty() { "/" } else { path }, query, has_query, authority }
    }
}

/// Leaves the query out: it may hold a session key.
impl fmt::Debug for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("path", &self.path)
            .field("query_bytes", &self.query.len())
            .field("authority", &self.authority)
            .finish()
    }
}

/// A host and perhaps a port, as in a Host field.
///
/// ```
/// use ahm::http::target::Authority;
/// assert_eq!(Authority::parse("[::1]:80").unwrap().port, Some(80));
/// assert!(Authority::parse("user@example.org").is_none());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Authority<'b> {
    /// The name or address; an IPv6 address with its brackets. Never empty.
    pub host: &'b str,
    /// The port, if one is written.
    pub port: Option<u16>,
}

impl<'b> Authority<'b> {
    /// Bytes of the longest host name.
    const HOST_BYTES_MAX: usize = 255;

    /// Reads `HOST[:PORT]`; `None` for an empty host, user information, a path, a comma, or
    /// anything else that RFC 3986 does not know. (It knows the comma; a list of hosts is how a
    /// Host field that two relays understand differently looks, so it is refused.)
    pub fn parse(text: &'b str) -> Option<Self> {
        let host_end = if text.starts_with('[') {
            let end = text.find(']')? + 1;
            text[1..end - 1].parse::<Ipv6Addr>().ok()?;
            end
        } else {
            let end = text.find(':').unwrap_or(text.len());
            if !is_name(&text.as_bytes()[..end]) {
                return None;
            }
            end
        };
        let (host, rest) = text.split_at(host_end);
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => None,
            None => return None,
            Some("") => None,
            Some(digits) if digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            Some(_) => return None,
        };
        Some(Self { host, port })
    }

    /// Whether both name the same place: letters in either case, `default_port` written or not.
    pub fn agrees_with(&self, other: &Authority<'_>, default_port: u16) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
            && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

fn is_name(host: &[u8]) -> bool {
    if host.is_empty() || host.len() > Authority::HOST_BYTES_MAX {
        return false;
    }
    let mut at = 0;
    while let Some(byte) = host.get(at) {
        at += match byte {
            b'%' => match host.get(at + 1..at + 3) {
                Some(hex) if hex.iter().all(u8::is_ascii_hexdigit) => 3,
                _ => return false,
            },
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+'
            | b';' | b'=' => 1,
            byte if byte.is_ascii_alphanumeric() => 1,
            _ => return false,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities() {
        for good in [
            "a",
            "a.b-c_d:1",
            "127.0.0.1:65535",
            "[::1]",
            "[::ffff:1.2.3.4]:8080",
            "a:",
            "%41b",
            "A!$&'()*+;=~",
        ] {
            assert!(Authority::parse(good).is_some(), "{good:?}");
        }
        for bad in [
            "",
            ":80",
            "a:65536",
            "a:+1",
            "a:000080",
            "a b",
            "a,b",
            "a/b",
            "u@a",
            "a:b:c",
            "[::1",
            "::1",
            "[]",
            "[::1]x",
            "[::1%25eth0]",
            "[v1.x]",
            "a\\b",
            "a?b",
            "%4",
            "%4x",
            "ä",
            "a\"b",
            "<a>",
        ] {
            assert!(Authority::parse(bad).is_none(), "{bad:?}");
        }
        assert!(Authority::parse(&"a".repeat(256)).is_none());
    }

    #[test]
    fn agreement_knows_the_default_port_and_case() {
        let ours = Authority::parse("Example.org:80").unwrap();
        let agrees = |other, port| ours.agrees_with(&Authority::parse(other).unwrap(), port);
        assert!(agrees("example.ORG", 80) && agrees("example.org:80", 443));
        assert!(!agrees("example.org", 443) && !agrees("example.com", 80));
    }

    #[test]
    fn debug_output_does_not_show_the_query() {
        let target = Target::parse("/ahm/ping?k=secret", false).unwrap();
        assert!(!format!("{target:?}").contains("secret"));
    }
}
