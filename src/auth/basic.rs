//! What stands in `Authorization`: a name with a password (RFC 7617), or a bearer token (RFC 6750).

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::auth::secret::Secret;
use crate::base::limits::USER_BYTES_MAX;

/// Bytes of a password at most.
pub const PASSWORD_BYTES_MAX: usize = 256;
/// Bytes of a token at most.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Some clients leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A name and its password, as a client shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basic {
    /// The name, without a colon.
    pub user: String,
    /// The password; may be empty.
    pub password: Secret,
}

/// What an `Authorization` field holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// A name and a password.
    Basic(Basic),
    /// A token.
    Bearer(Secret),
    /// It begins like one of these and is none.
    Broken(Scheme),
    /// Another scheme, which is not ours to judge.
    Other,
}

/// A scheme of `Authorization`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `Basic`.
    Basic,
    /// `Bearer`.
    Bearer,
}

/// Reads the value of an `Authorization` field.
///
/// ```
/// use ahm::auth::basic::{Scheme, Shown, read};
/// let Shown::Basic(basic) = read("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==") else { panic!() };
/// assert_eq!((basic.user.as_str(), basic.password.expose()), ("Aladdin", "open sesame"));
/// assert!(matches!(read("bearer abc.def"), Shown::Bearer(_)));
/// assert_eq!(read("Basic ***"), Shown::Broken(Scheme::Basic));
/// assert_eq!(read("Digest username=x"), Shown::Other);
/// ```
pub fn read(value: &str) -> Shown {
    let value = value.trim_matches([' ', '\t']);
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    let rest = rest.trim_start_matches(' ');
    if scheme.eq_ignore_ascii_case("basic") {
        basic(rest).map_or(Shown::Broken(Scheme::Basic), Shown::Basic)
    } else if scheme.eq_ignore_ascii_case("bearer") {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        let fits = !rest.is_empty() && rest.len() <= TOKEN_BYTES_MAX && rest.bytes().all(legal);
        if fits { Shown::Bearer(rest.into()) } else { Shown::Broken(Scheme::Bearer) }
    } else {
        Shown::Other
    }
}

fn basic(text: &str) -> Option<Basic> {
    if text.len() > 2 * (USER_BYTES_MAX + PASSWORD_BYTES_MAX) {
        return None;
    }
    let decoded = Zeroizing::new(BASE64.decode(text).ok()?);
    // RFC 7617, section 2: the name ends at the first colon, and neither has control characters.
    let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    let fits = !user.is_empty()
        && user.len() <= USER_BYTES_MAX
        && password.len() <= PASSWORD_BYTES_MAX
        && !decoded.iter().any(u8::is_ascii_control);
    fits.then(|| Basic { user: user.into(), password: password.into() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(text: &[u8]) -> String {
        format!("Basic {}", BASE64.encode(text))
    }

    #[test]
    fn what_rfc_7617_allows_is_read() {
        for (text, user, password) in [
            ("test:123\u{a3}", "test", "123\u{a3}"),
            ("a:b:c", "a", "b:c"),
            ("a:", "a", ""),
            ("a b: c ", "a b", " c "),
        ] {
            let Shown::Basic(basic) = read(&encoded(text.as_bytes())) else { panic!("{text}") };
            assert_eq!((basic.user.as_str(), basic.password.expose()), (user, password));
        }
        let field = encoded(b"anna:x");
        let unpadded = field.trim_end_matches('=').replace("Basic ", "bAsIc   ");
        assert!(matches!(read(&unpadded), Shown::Basic(basic) if basic.user == "anna"));
    }

    #[test]
    fn what_is_broken_is_neither_believed_nor_passed_over() {
        let long = vec![b'x'; 3_000];
        for bad in [&b"nocolon"[..], b":x", b"a\n:x", b"a:x\0", b"\xff:x", &long] {
            assert_eq!(read(&encoded(bad)), Shown::Broken(Scheme::Basic), "{bad:?}");
        }
        for bad in ["Basic", "Basic ", "Basic a:b", "basic YTpi YTpi"] {
            assert_eq!(read(bad), Shown::Broken(Scheme::Basic), "{bad:?}");
        }
        for bad in ["Bearer", "Bearer a b", "Bearer \u{e4}", "bearer a,b"] {
            assert_eq!(read(bad), Shown::Broken(Scheme::Bearer), "{bad:?}");
        }
        for other in ["", "Basically YTpi", "Negotiate abc"] {
            assert_eq!(read(other), Shown::Other, "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn any_field_is_read(
            value in "\\PC*",
            bytes in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            read(&value);
            read(&format!("Bearer {value}"));
            if let Shown::Basic(basic) = read(&encoded(&bytes)) {
                let joined = format!("{}:{}", basic.user, basic.password.expose());
                prop_assert_eq!(joined.as_bytes(), &bytes[..]);
            }
        }
    }
}
