//! Signed bearer tokens (JWT, RFC 7519) in compact form: HS256, RS256, ES256 and EdDSA.
//!
//! The library proves signatures; what the token then claims is checked here, with the types that
//! RFC 7519 wants, and with a time that is passed in. `none` is no algorithm.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::auth::identity::{Identity, Means};
use crate::auth::secret::Secret;
use crate::auth::token_key::TokenKey;

/// Groups of one user at most.
pub const GROUPS_MAX: usize = 64;

/// Why a token proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// It is not three parts of which the first two are JSON.
    Broken,
    /// It asks for something that is not understood here, and says that this matters.
    Critical,
    /// There is no key of that name and algorithm, or none has signed it.
    Unsigned,
    /// It has no `exp`, or one of its times is no whole number.
    Times,
    /// Its time is over.
    Expired,
    /// Its time has not begun.
    Early,
    /// Another has issued it than it must be.
    Issuer,
    /// It is for others.
    Audience,
    /// It names no user, or names and groups are not of their form.
    Nobody,
}

impl TokenFault {
    /// In words, as clients are told.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Broken => "this is no signed token",
            Self::Critical => "the token demands what is not understood here",
            Self::Unsigned => "no key that is known here has signed the token",
            Self::Times => "exp is missing, or one of exp, nbf and iat is no whole number",
            Self::Expired => "the token has expired",
            Self::Early => "the token is not valid yet",
            Self::Issuer => "the token is another issuer's",
            Self::Audience => "the token is for another audience",
            Self::Nobody => "the token names no user, or its names are not of their form",
        }
    }
}

impl fmt::Display for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl std::error::Error for TokenFault {}

/// How tokens are proved, and what is read of them.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The keys.
    pub keys: Vec<TokenKey>,
    /// What `iss` must be; `None`: anything.
    pub issuer: Option<String>,
    /// Of which `aud` must name one. Without any, a token that is for somebody is refused, as
    /// RFC 7519 has it (section 4.1.3).
    pub audience: Vec<String>,
    /// Seconds by which clocks may differ.
    pub leeway: u64,
    /// The claim that names the user.
    pub user_claim: String,
    /// The claim that lists groups.
    pub groups_claim: String,
}

impl Tokens {
    /// Who shows the token, `unix_seconds` after 1970.
    ///
    /// # Errors
    ///
    /// Why it proves nothing.
    ///
    /// ```
    /// use ahm::auth::token::{TokenFault, Tokens};
    /// use ahm::auth::token_key::TokenKey;
    /// let tokens = Tokens {
    ///     keys: vec![TokenKey::parse_file(b"a secret of thirty-two bytes, or more").unwrap()],
    ///     issuer: None,
    ///     audience: vec![],
    ///     leeway: 0,
    ///     user_claim: "sub".into(),
    ///     groups_claim: "groups".into(),
    /// };
    /// // {"alg":"none"} and {"sub":"root"}
    /// let forged = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0.".into();
    /// assert_eq!(tokens.check(&forged, 0), Err(TokenFault::Unsigned));
    /// ```
    pub fn check(&self, token: &Secret, unix_seconds: u64) -> Result<Identity, TokenFault> {
        let token = token.expose();
        let (message, signature) = token.rsplit_once('.').ok_or(TokenFault::Broken)?;
        let (header, claims) = message.split_once('.').ok_or(TokenFault::Broken)?;
        if claims.contains('.') {
            return Err(TokenFault::Broken);
        }
        let header = object(header)?;
        // RFC 7515, section 4.1.11: whoever does not understand it refuses the token.
        if header.get("crit").is_some() {
            return Err(TokenFault::Critical);
        }
        let word = |name: &str| header.get(name).and_then(Value::as_str);
        let algorithm = word("alg").ok_or(TokenFault::Broken)?;
        let kid = match header.get("kid") {
            Some(Value::String(kid)) => Some(kid.as_str()),
            Some(_) => return Err(TokenFault::Broken),
            None => None,
        };
        // The key says how the token must be signed; the token's own word only finds the key.
        let mut keys = self.keys.iter().filter(|key| {
            let named = key.kid.is_none() || kid.is_none() || key.kid.as_deref() == kid;
            named && key.algorithm() == algorithm
        });
        if !keys.any(|key| key.has_signed(message.as_bytes(), signature)) {
            return Err(TokenFault::Unsigned);
        }
        self.check_claims(&object(claims)?, unix_seconds)
    }

    fn check_claims(&self, claims: &Value, now: u64) -> Result<Identity, TokenFault> {
        let whole = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or(TokenFault::Times),
        };
        let expires = whole("exp")?.ok_or(TokenFault::Times)?.saturating_add(self.leeway);
        let begins = whole("nbf")?.unwrap_or(0);
        whole("iat")?;
        if expires <= now {
            return Err(TokenFault::Expired);
        }
        if begins > now.saturating_add(self.leeway) {
            return Err(TokenFault::Early);
        }
        let issuer = claims.get("iss").and_then(Value::as_str);
        if self.issuer.is_some() && issuer != self.issuer.as_deref() {
            return Err(TokenFault::Issuer);
        }
        let named = |one: &Value| {
            one.as_str().is_some_and(|one| self.audience.iter().any(|wanted| wanted == one))
        };
        let is_ours = match claims.get("aud") {
            None => self.audience.is_empty(),
            Some(Value::Array(all)) => all.iter().any(named),
            Some(one) => named(one),
        };
        if !is_ours {
            return Err(TokenFault::Audience);
        }
        let user = claims.get(&self.user_claim).and_then(Value::as_str);
        let identity = user.and_then(|user| Identity::new(user, Means::Token));
        let identity = identity.ok_or(TokenFault::Nobody)?;
        let groups = claims.get(&self.groups_claim).map_or(Ok(Vec::new()), groups)?;
        Ok(Identity { groups, expires: Some(expires), ..identity })
    }
}

/// A list of names, or names with spaces between them.
fn groups(claim: &Value) -> Result<Vec<String>, TokenFault> {
    let names: Option<Vec<&str>> = match claim {
        Value::Null => Some(Vec::new()),
        Value::String(text) => Some(text.split(' ').filter(|name| !name.is_empty()).collect()),
        Value::Array(all) => all.iter().map(Value::as_str).collect(),
        _ => None,
    };
    let names = names.filter(|names| names.len() <= GROUPS_MAX).ok_or(TokenFault::Nobody)?;
    // What is no name of a user is none of a group.
    let named = |name: &&str| Identity::new(*name, Means::Token).is_some();
    if !names.iter().all(named) {
        return Err(TokenFault::Nobody);
    }
    Ok(names.into_iter().map(str::to_owned).collect())
}

/// A part of a token that is a JSON object.
fn object(part: &str) -> Result<Value, TokenFault> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Broken)?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| TokenFault::Broken)?;
    if value.is_object() { Ok(value) } else { Err(TokenFault::Broken) }
}

#[cfg(test)]
mod tests;
