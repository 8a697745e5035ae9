//! Keys that prove tokens: files with a public key or a secret, and sets of JSON web keys
//! (RFC 7517).
//!
//! A key knows the one algorithm that it is for, and a token never chooses: so a public key is
//! never taken for a secret, whatever a token says.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

/// RFC 7518, section 3.2: a secret is no shorter than the hash.
const SECRET_BYTES_MIN: usize = 32;
/// RFC 7518, section 3.3.
const RSA_BITS_MIN: usize = 2048;
/// What the library that proves signatures takes.
const RSA_BITS_MAX: usize = 8192;
/// An uncompressed point on P-256.
const P256_POINT_BYTES: usize = 65;
const ED25519_BYTES: usize = 32;

/// A key with its algorithm.
#[derive(Clone)]
pub struct TokenKey {
    /// Its name, which tokens may give.
    pub kid: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("TokenKey");
        shown.field("kid", &self.kid).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl TokenKey {
    /// Reads a file: a public key in PEM (RSA, P-256 or Ed25519), or else the secret of HS256.
    ///
    /// # Errors
    ///
    /// What is wrong with it, without what stands in it.
    ///
    /// ```
    /// use ahm::auth::token_key::TokenKey;
    /// let key = TokenKey::parse_file(b"a secret of thirty-two bytes, or more\n").unwrap();
    /// assert_eq!(key.algorithm(), "HS256");
    /// assert!(TokenKey::parse_file(b"too short").is_err());
    /// ```
    pub fn parse_file(bytes: &[u8]) -> Result<Self, String> {
        let text = bytes.trim_ascii_start();
        if text.starts_with(b"-----BEGIN") {
            return pem(text);
        }
        if text.starts_with(b"{") {
            return Err("this looks like a set of JSON web keys: name it as auth.jwks".into());
        }
        // Editors end a file with a line break that belongs to nobody's secret.
        let secret = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        secret_key(secret.strip_suffix(b"\r").unwrap_or(secret), None)
    }

    /// Reads a set of JSON web keys. Keys for other uses and other algorithms are passed over, as
    /// RFC 7517 has it, but one must be left.
    ///
    /// # Errors
    ///
    /// What is wrong with it, without what stands in it.
    pub fn parse_set(text: &str) -> Result<Vec<Self>, String> {
        let set: Value = serde_json::from_str(text)
            .map_err(|error| format!("no JSON at line {}", error.line()))?;
        let keys = set.get("keys").and_then(Value::as_array);
        let keys = keys.ok_or("a set of JSON web keys is an object with a list \"keys\"")?;
        let mut read = Vec::new();
        for (number, key) in (1..).zip(keys) {
            match web_key(key) {
                Ok(Some(key)) => {
                    let same = |other: &Self| {
                        other.kid.is_some()
                            && other.kid == key.kid
                            && other.algorithm == key.algorithm
                    };
                    if read.iter().any(same) {
                        return Err(format!("key {number}: its kid is another's too"));
                    }
                    read.push(key);
                }
                Ok(None) => {}
                Err(what) => return Err(format!("key {number}: {what}")),
            }
        }
        if read.is_empty() {
            return Err("no key is for HS256, RS256, ES256 or EdDSA (Ed25519)".into());
        }
        Ok(read)
    }

    /// The name of its algorithm, as tokens spell it.
    pub fn algorithm(&self) -> &'static str {
        match self.algorithm {
            Algorithm::HS256 => "HS256",
            Algorithm::RS256 => "RS256",
            Algorithm::ES256 => "ES256",
            _ => "EdDSA",
        }
    }

    /// Whether it has made the signature, which is still encoded, over those bytes.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &str) -> bool {
        let found = jsonwebtoken::crypto::verify(signature, message, &self.key, self.algorithm);
        found.unwrap_or(false)
    }
}

fn secret_key(secret: &[u8], kid: Option<String>) -> Result<TokenKey, String> {
    if secret.len() < SECRET_BYTES_MIN {
        return Err(format!("the secret of HS256 has at least {SECRET_BYTES_MIN} bytes"));
    }
    Ok(TokenKey { kid, algorithm: Algorithm::HS256, key: DecodingKey::from_secret(secret) })
}

fn pem(text: &[u8]) -> Result<TokenKey, String> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(text).map_err(|_| "this PEM is broken")?;
    match pem.label.as_str() {
        "PUBLIC KEY" => {}
        label if label.contains("PRIVATE KEY") => {
            return Err("this is a private key, which stays with whoever signs: \
                give the public one (openssl pkey -pubout)"
                .into());
        }
        "CERTIFICATE" => {
            return Err("this is a certificate: give its public key \
                (openssl x509 -pubkey -noout)"
                .into());
        }
        _ => return Err("this PEM is no PUBLIC KEY".into()),
    }
    let (rest, key) = SubjectPublicKeyInfo::from_der(&pem.contents)
        .map_err(|_| "this is no public key".to_owned())?;
    if !rest.is_empty() {
        return Err("something stands behind the public key".into());
    }
    public_key(&key)
}

/// RFC 5480 and RFC 8410 say which kinds there are.
fn public_key(info: &SubjectPublicKeyInfo<'_>) -> Result<TokenKey, String> {
    const RSA: &str = "1.2.840.113549.1.1.1";
    const EC: &str = "1.2.840.10045.2.1";
    const P256: &str = "1.2.840.10045.3.1.7";
    const ED25519: &str = "1.3.101.112";
    let bytes = &*info.subject_public_key.data;
    let curve = || {
        let parameters = info.algorithm.parameters.as_ref()?;
        Some(parameters.as_oid().ok()?.to_id_string())
    };
    let (algorithm, key) = match info.algorithm.algorithm.to_id_string().as_str() {
        RSA => {
            let parsed = info.parsed().map_err(|_| "this RSA key is broken".to_owned())?;
            check_rsa_bits(parsed.key_size())?;
            (Algorithm::RS256, DecodingKey::from_rsa_der(bytes))
        }
        EC if curve().as_deref() == Some(P256) && bytes.len() == P256_POINT_BYTES => {
            (Algorithm::ES256, DecodingKey::from_ec_der(bytes))
        }
        EC => return Err("of elliptic curves only P-256 is taken, for ES256".into()),
        ED25519 if bytes.len() == ED25519_BYTES => {
            (Algorithm::EdDSA, DecodingKey::from_ed_der(bytes))
        }
        _ => return Err("the public key is none of RSA, P-256 and Ed25519".into()),
    };
    Ok(TokenKey { kid: None, algorithm, key })
}

fn check_rsa_bits(bits: usize) -> Result<(), String> {
    if (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
        return Ok(());
    }
    Err(format!("an RSA key of {bits} bits: {RSA_BITS_MIN} to {RSA_BITS_MAX} are taken"))
}

/// One key of a set; `None` if it is for something else.
fn web_key(key: &Value) -> Result<Option<TokenKey>, String> {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let kid = text("kid").map(str::to_owned);
    let other_use = text("use").is_some_and(|word| word != "sig");
    let operations = key.get("key_ops").and_then(Value::as_array);
    let other_operation =
        operations.is_some_and(|all| !all.iter().any(|one| one.as_str() == Some("verify")));
    if other_use || other_operation {
        return Ok(None);
    }
    let bytes = |name: &str| {
        let decoded = text(name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        decoded.ok_or_else(|| format!("{name} is missing, or is no base64url"))
    };
    let is_for = |word: &str| text("alg").is_none_or(|alg| alg == word);
    let (algorithm, key) = match (text("kty"), text("crv")) {
        (Some("oct"), _) if is_for("HS256") => return secret_key(&bytes("k")?, kid).map(Some),
        (Some("RSA"), _) if is_for("RS256") => {
            let (n, e) = (bytes("n")?, bytes("e")?);
            let first = n.iter().position(|byte| *byte != 0).unwrap_or(n.len());
            let zeros = n.get(first).map_or(0, |byte| byte.leading_zeros());
            check_rsa_bits((n.len() - first) * 8 - zeros as usize)?;
            (Algorithm::RS256, DecodingKey::from_rsa_raw_components(&n, &e))
        }
        (Some("EC"), Some("P-256")) if is_for("ES256") => {
            let point = [vec![4], bytes("x")?, bytes("y")?].concat();
            if point.len() != P256_POINT_BYTES {
                return Err("x and y have 32 bytes each".into());
            }
            (Algorithm::ES256, DecodingKey::from_ec_der(&point))
        }
        (Some("OKP"), Some("Ed25519")) if is_for("EdDSA") || is_for("Ed25519") => {
            let point = bytes("x")?;
            if point.len() != ED25519_BYTES {
                return Err(format!("x has {ED25519_BYTES} bytes"));
            }
            (Algorithm::EdDSA, DecodingKey::from_ed_der(&point))
        }
        (Some(_), _) => return Ok(None),
        (None, _) => return Err("kty is missing".into()),
    };
    Ok(Some(TokenKey { kid, algorithm, key }))
}
