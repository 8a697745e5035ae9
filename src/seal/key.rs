//! The secret of a session, and the keys that are made of it: HKDF with SHA-256 (RFC 5869).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, CHACHA20_POLY1305, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::hkdf::{HKDF_SHA256, KeyType, Okm, Prk, Salt};
use ring::hmac::{self, HMAC_SHA256};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

use crate::base::id::Mid;
use crate::seal::cipher::Cipher;
use crate::seal::mac::Mac;

/// What every derivation begins with: the protocol and its version.
const CONTEXT: &str = "ahm seal 1";

/// How lines and payloads are sealed. Both have keys of 32 bytes, nonces of 12 and tags of 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// AES-256-GCM (NIST SP 800-38D): the faster one where the processor has instructions for it.
    Aes256Gcm,
    /// ChaCha20-Poly1305 (RFC 8439): the faster one elsewhere.
    ChaCha20Poly1305,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 2] = [Self::Aes256Gcm, Self::ChaCha20Poly1305];

    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Aes256Gcm => "aes-256-gcm",
            Self::ChaCha20Poly1305 => "chacha20-poly1305",
        }
    }

    /// The algorithm of that word.
    ///
    /// ```
    /// use ahm::seal::key::Algorithm;
    /// assert_eq!(Algorithm::from_word("aes-256-gcm"), Some(Algorithm::Aes256Gcm));
    /// assert_eq!(Algorithm::from_word("aes"), None);
    /// ```
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.word() == word)
    }
}

/// The secret of a session: 32 random bytes. Never printed, compared in constant time, wiped when
/// it is dropped.
///
/// ```
/// use ahm::seal::key::Secret;
/// let secret = Secret::new([7; 32]);
/// assert_eq!(Secret::parse(&secret.text()), Some(secret.clone()));
/// assert_eq!(format!("{secret:?}"), "Secret(..)");
/// assert_eq!(Secret::parse("short"), None);
/// ```
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    /// Takes 32 random bytes; whoever has a copy of them wipes it.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// As it stands in the answer to `login`: 43 characters of base64url.
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(self.0.as_slice()))
    }

    /// Reads what [`Secret::text`] gives.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok();
        let secret = (length == Some(bytes.len())).then(|| Self::new(bytes));
        bytes.zeroize();
        secret
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for Secret {}

/// All keys of one session. They are made when they are wanted: what is kept is the secret.
///
/// ```
/// use ahm::base::id::Mid;
/// use ahm::seal::key::{Algorithm, Keys, Secret};
/// let mid = Mid::parse("4398046511105").unwrap();
/// let keys = Keys::new(Algorithm::Aes256Gcm, Secret::new([7; 32]), mid);
/// let mut line = b"<p h=15000 t=1>".to_vec();
/// keys.document(1, 1, b"<p i ...>").seal(1, &mut line);
/// assert_eq!(keys.document(1, 1, b"<p i ...>").open(1, &mut line), Some(&b"<p h=15000 t=1>"[..]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    algorithm: Algorithm,
    secret: Secret,
    mid: Mid,
}

impl Keys {
    /// The keys of session `mid`.
    pub fn new(algorithm: Algorithm, secret: Secret, mid: Mid) -> Self {
        Self { algorithm, secret, mid }
    }

    /// How it seals.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whose they are.
    pub fn mid(&self) -> Mid {
        self.mid
    }

    /// What seals the lines of document `d`, which was asked for by the command with number `q`
    /// and begins with the line `identity`, without its LF. So whoever changes that line, or gives
    /// the client another document than the one it asked for, is found out by the next line.
    pub fn document(&self, d: u32, q: u64, identity: &[u8]) -> Cipher {
        let identity = digest(&SHA256, identity);
        let numbers = format!(" {d} {q} ");
        Cipher::new(self.aead("document", &[numbers.as_bytes(), identity.as_ref()]), self.mid, d)
    }

    /// What seals the payloads of commands.
    pub fn payload(&self) -> Cipher {
        Cipher::new(self.aead("payload", &[]), self.mid, 0)
    }

    /// What proves commands.
    pub fn command(&self) -> Mac {
        Mac::new(self.expand("command", &[], HMAC_SHA256, |okm| hmac::Key::from(okm)))
    }

    /// What proves answers.
    pub fn answer(&self) -> Mac {
        Mac::new(self.expand("answer", &[], HMAC_SHA256, |okm| hmac::Key::from(okm)))
    }

    fn aead(&self, purpose: &str, rest: &[&[u8]]) -> UnboundKey {
        let algorithm = match self.algorithm {
            Algorithm::Aes256Gcm => &AES_256_GCM,
            Algorithm::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        };
        self.expand(purpose, rest, algorithm, |okm| UnboundKey::from(okm))
    }

    fn expand<L: KeyType, K>(
        &self,
        purpose: &str,
        rest: &[&[u8]],
        length: L,
        make: impl FnOnce(Okm<'_, L>) -> K,
    ) -> K {
        let prk: Prk = Salt::new(HKDF_SHA256, &[]).extract(self.secret.0.as_slice());
        let common = format!("{CONTEXT} {} {purpose} {}", self.algorithm.word(), self.mid);
        let mut info = vec![common.as_bytes()];
        info.extend_from_slice(rest);
        match prk.expand(&info, length) {
            Ok(okm) => make(okm),
            Err(_) => unreachable!("a key is far below 255 blocks of SHA-256"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_purpose_session_document_and_algorithm_has_a_key_of_its_own() {
        let mid = |text| Mid::parse(text).unwrap();
        let mut sealed = Vec::new();
        for algorithm in Algorithm::ALL {
            for (secret, mid) in [(1, mid("77")), (2, mid("77")), (1, mid("78"))] {
                let keys = Keys::new(algorithm, Secret::new([secret; 32]), mid);
                let ciphers = [
                    keys.payload(),
                    keys.document(1, 1, b"<p i d=1>"),
                    keys.document(2, 1, b"<p i d=1>"),
                    keys.document(1, 2, b"<p i d=1>"),
                    keys.document(1, 1, b"<p i d=2>"),
                    keys.document(1, 11, b"<p i d=1>"),
                    keys.document(11, 1, b"<p i d=1>"),
                ];
                for cipher in ciphers {
                    let mut line = vec![0; 32];
                    cipher.seal(1, &mut line);
                    line.truncate(32); // the key stream itself
                    sealed.push(line);
                }
                sealed.push(keys.command().sign(&[b"x"]).to_vec());
                sealed.push(keys.answer().sign(&[b"x"]).to_vec());
            }
        }
        let count = sealed.len();
        sealed.sort();
        sealed.dedup();
        assert_eq!(sealed.len(), count);
    }

    #[test]
    fn a_secret_is_never_printed() {
        let keys = Keys::new(Algorithm::Aes256Gcm, Secret::new([9; 32]), Mid::parse("1").unwrap());
        let text = format!("{keys:?}");
        assert!(text.contains("Secret(..)") && !text.contains('9'), "{text}");
    }
}
