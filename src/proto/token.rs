//! The token that publishers show where the private listener is open to more than this machine.

use std::fmt;

use subtle::ConstantTimeEq as _;

/// A secret that publishers show. Never printed, compared in constant time.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Shorter ones can be guessed.
    pub const BYTES_MIN: usize = 16;

    /// Takes a token of at least 16 visible ASCII characters.
    ///
    /// # Errors
    /// Says what is wrong, without the token.
    ///
    /// ```
    /// use ahm::proto::token::Token;
    /// let token = Token::new("correct-horse-battery").unwrap();
    /// assert!(token.matches(b"correct-horse-battery"));
    /// assert_eq!(format!("{token:?}"), "Token(..)");
    /// assert!(Token::new("short").is_err());
    /// ```
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() < Self::BYTES_MIN {
            return Err(format!("a token has at least {} characters", Self::BYTES_MIN));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a token is of visible ASCII characters without spaces".into());
        }
        Ok(Self(text.into()))
    }

    /// Whether `shown` is the token.
    pub fn matches(&self, shown: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(shown).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.0.as_bytes())
    }
}

impl Eq for Token {}
