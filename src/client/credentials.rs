//! What proves to a server who the client is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::auth::secret::Secret;

/// A user's name and password, a token, or nothing: then the certificate of the connection proves
/// it, or the server's script that the settings name. Never printed, and wiped when dropped.
///
/// ```
/// use ahm::client::credentials::Credentials;
/// let anna = Credentials::basic("anna", "open sesame").unwrap();
/// assert_eq!(anna.authorization().unwrap().expose(), "Basic YW5uYTpvcGVuIHNlc2FtZQ==");
/// assert!(!format!("{anna:?}").contains("YW5u"));
/// assert!(Credentials::basic("an:na", "x").is_err());
/// assert!(Credentials::bearer("two words").is_err());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials(Option<Secret>);

impl Credentials {
    /// Nothing is shown with a login.
    pub const fn none() -> Self {
        Self(None)
    }

    /// A user and a password (RFC 7617).
    ///
    /// # Errors
    /// In words: a name with a colon, or what no such field can carry.
    pub fn basic(user: &str, password: &str) -> Result<Self, String> {
        if user.contains(':') {
            return Err("a user's name cannot have a colon (RFC 7617 section 2)".into());
        }
        if user.chars().chain(password.chars()).any(char::is_control) {
            return Err("a user's name and password cannot have control characters".into());
        }
        let pair = Zeroizing::new(format!("{user}:{password}"));
        let mut field = Zeroizing::new(String::with_capacity(6 + pair.len().div_ceil(3) * 4));
        field.push_str("Basic ");
        STANDARD.encode_string(pair.as_bytes(), &mut field);
        Ok(Self(Some(Secret::from(field.as_str()))))
    }

    /// A token (RFC 6750).
    ///
    /// # Errors
    /// In words, when it is empty or has characters that no token has.
    pub fn bearer(token: &str) -> Result<Self, String> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
        let body = token.trim_end_matches('=');
        if body.is_empty() || !body.bytes().all(legal) {
            return Err("that is no token: it has characters that none has, or is empty".into());
        }
        Ok(Self(Some(Secret::from(format!("Bearer {token}")))))
    }

    /// The value of the `Authorization` field, if there is one.
    pub fn authorization(&self) -> Option<&Secret> {
        self.0.as_ref()
    }
}
