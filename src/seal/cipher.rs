//! One key that seals and opens: AES-256-GCM or ChaCha20-Poly1305, with a counter as the nonce.

use std::fmt;

use ring::aead::{Aad, LessSafeKey, Nonce, UnboundKey};

use crate::base::id::Mid;
use crate::seal::wiped::Wiped;

/// Bytes that sealing adds.
pub const TAG_BYTES: usize = 16;

/// One key. Whoever seals with it never uses a counter for two texts.
pub struct Cipher {
    key: Wiped<LessSafeKey>,
    associated: [u8; 12],
}

impl Cipher {
    /// The associated data are `mid` in 8 bytes and `d` in 4, most significant first.
    pub(in crate::seal) fn new(key: UnboundKey, mid: Mid, d: u32) -> Self {
        let mut associated = [0; 12];
        associated[..8].copy_from_slice(&mid.get().to_be_bytes());
        associated[8..].copy_from_slice(&d.to_be_bytes());
        Self { key: Wiped::new(LessSafeKey::new(key)), associated }
    }

    /// Seals `text` as number `counter`: as many bytes, and a tag behind them.
    pub fn seal(&self, counter: u64, text: &mut Vec<u8>) {
        let sealed = self.key.get().seal_in_place_append_tag(
            nonce(counter),
            Aad::from(self.associated),
            text,
        );
        // It fails for texts of 64 GiB and more.
        assert!(sealed.is_ok(), "a text is shorter than a line may be");
    }

    /// Opens what was sealed as number `counter`; `None` for anything else.
    pub fn open<'a>(&self, counter: u64, sealed: &'a mut [u8]) -> Option<&'a [u8]> {
        let associated = Aad::from(self.associated);
        let text = self.key.get().open_in_place(nonce(counter), associated, sealed).ok()?;
        Some(text)
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher(..)")
    }
}

/// Four zeros and the counter, most significant byte first.
fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use crate::base::id::Mid;
    use crate::seal::key::{Algorithm, Keys, Secret};

    #[test]
    fn only_what_was_sealed_is_opened() {
        for algorithm in Algorithm::ALL {
            let mid = Mid::parse("5").unwrap();
            let cipher = Keys::new(algorithm, Secret::new([1; 32]), mid).payload();
            let mut sealed = b"hello".to_vec();
            cipher.seal(3, &mut sealed);
            assert_eq!(sealed.len(), 5 + super::TAG_BYTES);
            assert_eq!(cipher.open(3, &mut sealed.clone()), Some(&b"hello"[..]));
            assert_eq!(cipher.open(4, &mut sealed.clone()), None);
            assert_eq!(cipher.open(3, &mut sealed.clone()[..20]), None);
            assert_eq!(cipher.open(3, &mut []), None);
            for at in 0..sealed.len() {
                let mut changed = sealed.clone();
                changed[at] ^= 1;
                assert_eq!(cipher.open(3, &mut changed), None);
            }
        }
    }
}
