//! Fields that do not travel: those between two ends of one connection, and those that only we may
//! set.

use crate::http::head::Field;

/// Names in `Connection` fields at most: each is looked for among all fields.
const NAMED_MAX: usize = 32;

/// Whether two names are the same, letters in either case. An underscore counts as a hyphen: many
/// web servers hand fields on to programs as variables, where both look alike.
pub fn is_same(name: &str, wanted: &str) -> bool {
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.len() == wanted.len() && name.bytes().zip(wanted.bytes()).all(|(a, b)| plain(a) == b)
}

/// Whether a field is between the two ends of one connection, whatever `Connection` says. How the
/// body is framed is such a thing too, and each side's `Upgrade` and `TE` are written anew.
pub fn is_hop_by_hop(name: &str) -> bool {
    match name.len() {
        2 => is_same(name, "te"),
        7 => is_same(name, "upgrade"),
        10 => is_same(name, "connection") || is_same(name, "keep-alive"),
        16 => is_same(name, "proxy-connection"),
        17 => is_same(name, "transfer-encoding"),
        _ => false,
    }
}

/// Whether a field in a trailer would change framing, routing or rights, or stands between two ends
/// of one connection.
pub fn is_barred_from_trailers(name: &str) -> bool {
    const BARRED: [&str; 19] = [
        "content-length",
        "content-encoding",
        "content-type",
        "content-range",
        "host",
        "authorization",
        "proxy-authorization",
        "proxy-authenticate",
        "www-authenticate",
        "cookie",
        "set-cookie",
        "trailer",
        "expect",
        "range",
        "cache-control",
        "max-forwards",
        "age",
        "location",
        "via",
    ];
    is_hop_by_hop(name) || is_ours(name) || BARRED.iter().any(|barred| is_same(name, barred))
}

/// Whether a field says where a request came from, so that a client's own is not believed.
pub fn is_ours(name: &str) -> bool {
    match name.len() {
        9 => is_same(name, "forwarded") || is_same(name, "x-real-ip"),
        12 => is_same(name, "x-request-id"),
        15 => is_same(name, "x-forwarded-for"),
        16 => {
            let ours = ["x-forwarded-host", "x-forwarded-port", "x-forwarded-user"];
            ours.iter().any(|ours| is_same(name, ours))
        }
        17 => is_same(name, "x-forwarded-proto"),
        18 => is_same(name, "x-forwarded-server") || is_same(name, "x-forwarded-prefix"),
        _ => false,
    }
}

/// What the `Connection` fields of a head name.
#[derive(Debug, Default)]
pub struct Named<'b> {
    names: Vec<&'b str>,
    /// Whether an upgrade is offered, or has been taken.
    pub upgrade: bool,
}

impl<'b> Named<'b> {
    /// Reads them; `None` if there are too many.
    pub fn read(fields: impl Iterator<Item = Field<'b>>) -> Option<Self> {
        let mut named = Self::default();
        for field in fields.filter(|field| field.name.eq_ignore_ascii_case("connection")) {
            for token in field.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                let token = std::str::from_utf8(token).unwrap_or_default();
                named.upgrade |= token.eq_ignore_ascii_case("upgrade");
                // These have no fields of their own that would not be known anyway.
                let known = ["", "close", "keep-alive", "upgrade", "te"];
                if known.iter().any(|known| token.eq_ignore_ascii_case(known)) {
                    continue;
                }
                if named.names.len() == NAMED_MAX {
                    return None;
                }
                named.names.push(token);
            }
        }
        Some(named)
    }

    /// Whether this field is named.
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|named| named.eq_ignore_ascii_case(name))
    }
}

/// Appends a field. The value is one that was parsed, or of our making: it holds no line break.
pub fn put(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    debug_assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_underscore_hides_nothing() {
        assert!(is_ours("X_Forwarded_For") && is_ours("x-Forwarded_Host") && is_ours("FORWARDED"));
        assert!(is_hop_by_hop("Transfer_Encoding") && is_hop_by_hop("proxy-connection"));
        assert!(!is_ours("x-forwarded") && !is_hop_by_hop("content-length"));
        assert!(is_barred_from_trailers("Content_Length") && !is_barred_from_trailers("Sum"));
    }

    #[test]
    fn what_connection_names_is_bounded() {
        let field = |value: &'static str| Field { name: "Connection", value: value.as_bytes() };
        let named = Named::read([field("close, X-A"), field(" Upgrade ,x-b,")].into_iter());
        let named = named.unwrap();
        assert!(named.has("x-a") && named.has("X-B") && !named.has("close") && named.upgrade);
        let many = "a,".repeat(NAMED_MAX + 1);
        let field = Field { name: "connection", value: many.as_bytes() };
        assert!(Named::read([field].into_iter()).is_none());
    }
}
