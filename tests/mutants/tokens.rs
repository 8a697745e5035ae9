//! Signed tokens, and the files with keys that prove them.

use std::sync::OnceLock;

use ahm::auth::token::{TokenFault, Tokens};
use ahm::auth::token_key::TokenKey;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use proptest::prelude::*;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use serde_json::json;

use crate::edits::{at_least, edited, edited_text, edits, verdicts};

const NOW: u64 = 1_900_000_000;
const SECRET: &[u8] = b"a secret of thirty-two bytes, or more";
const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/";

/// A token, the file with the key that proves it, and the same key as one of a set.
struct Kind {
    token: String,
    file: Vec<u8>,
    set: String,
}

fn kind(algorithm: Algorithm, signer: &EncodingKey, file: &[u8], key: &serde_json::Value) -> Kind {
    let claims = json!({"sub": "anna", "exp": NOW + 5, "groups": ["one", "two"]});
    let token = jsonwebtoken::encode(&Header::new(algorithm), &claims, signer).unwrap();
    Kind { token, file: file.to_vec(), set: json!({"keys": [key]}).to_string() }
}

fn kinds() -> &'static [Kind] {
    static MADE: OnceLock<Vec<Kind>> = OnceLock::new();
    MADE.get_or_init(|| {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let ec = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let ed = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let (x, y) = ec.public_key_raw()[1..].split_at(32);
        let point = json!({"kty": "EC", "crv": "P-256", "x": text(x), "y": text(y), "kid": "e"});
        let other = json!({"kty": "OKP", "crv": "Ed25519", "x": text(ed.public_key_raw())});
        let secret = json!({"kty": "oct", "k": text(SECRET), "alg": "HS256"});
        let rsa = text(&[0xd5; 256]);
        let rsa = json!({"kty": "RSA", "n": rsa, "e": "AQAB", "use": "sig"});
        let (ec_signer, ed_signer) = (
            EncodingKey::from_ec_der(ec.serialized_der()),
            EncodingKey::from_ed_der(ed.serialized_der()),
        );
        let (ec_file, ed_file) = (ec.public_key_pem(), ed.public_key_pem());
        let hs_signer = EncodingKey::from_secret(SECRET);
        vec![
            kind(Algorithm::HS256, &hs_signer, SECRET, &secret),
            kind(Algorithm::ES256, &ec_signer, ec_file.as_bytes(), &point),
            kind(Algorithm::EdDSA, &ed_signer, ed_file.as_bytes(), &other),
            kind(Algorithm::HS256, &hs_signer, SECRET, &rsa),
        ]
    })
}

fn proved_by(keys: Vec<TokenKey>) -> Tokens {
    let (user_claim, groups_claim) = ("sub".into(), "groups".into());
    Tokens { keys, issuer: None, audience: vec![], leeway: 0, user_claim, groups_claim }
}

#[test]
fn each_is_proved_by_its_file_and_by_its_set() {
    for kind in &kinds()[..3] {
        let file = TokenKey::parse_file(&kind.file).unwrap();
        for keys in [vec![file], TokenKey::parse_set(&kind.set).unwrap()] {
            let anna = proved_by(keys).check(&kind.token.as_str().into(), NOW).unwrap();
            assert_eq!((anna.user.as_str(), anna.groups.len()), ("anna", 2));
        }
    }
    assert_eq!(TokenKey::parse_set(&kinds()[3].set).unwrap()[0].algorithm(), "RS256");
}

const PEM_AND_JSON: &[u8] = b"\n-{}[]\":, ABEGINPUBLICKEYabcdefRSkty=+/ECOKP0129_";

#[test]
fn changed_ones_come_to_each_check() {
    let keys = kinds().iter().flat_map(|kind| TokenKey::parse_set(&kind.set).unwrap());
    let tokens = proved_by(keys.collect());
    let counts = verdicts((0..3usize, edits(BASE64)), |(which, edits)| {
        match tokens.check(&edited_text(&kinds()[which].token, &edits).into(), NOW) {
            Ok(_) => "same",
            Err(TokenFault::Broken) => "broken",
            Err(TokenFault::Unsigned) => "unsigned",
            Err(_) => "other",
        }
    });
    assert!(["broken", "unsigned"].iter().all(|what| counts[what] > 20), "{counts:?}");
    let counts = verdicts((0..4usize, edits(PEM_AND_JSON)), |(which, edits)| {
        match TokenKey::parse_set(&edited_text(&kinds()[which].set, &edits)) {
            Ok(_) => "read",
            Err(what) if what.starts_with("no JSON") => "no JSON",
            Err(_) => "no key",
        }
    });
    assert!(["read", "no JSON", "no key"].iter().all(|what| counts[what] > 20), "{counts:?}");
}

proptest! {
    #![proptest_config(at_least(1_000))]

    #[test]
    fn a_changed_token_proves_nothing(which in 0..3usize, edits in edits(BASE64)) {
        let keys = kinds().iter().flat_map(|kind| TokenKey::parse_set(&kind.set).unwrap());
        let tokens = proved_by(keys.collect());
        let token = &kinds()[which].token;
        let changed = edited_text(token, &edits);
        let is_same = changed == *token;
        prop_assert_eq!(tokens.check(&changed.into(), NOW).is_ok(), is_same);
    }

    #[test]
    fn parts_of_several_tokens_are_none(parts in prop::collection::vec((0..3usize, 0..3usize), 3)) {
        let keys = kinds().iter().flat_map(|kind| TokenKey::parse_set(&kind.set).unwrap());
        let tokens = proved_by(keys.collect());
        let part = |(which, part): &(usize, usize)| {
            kinds()[*which].token.split('.').nth(*part).unwrap().to_string()
        };
        let mixed = parts.iter().map(part).collect::<Vec<_>>().join(".");
        let is_one = kinds().iter().any(|kind| kind.token == mixed);
        prop_assert_eq!(tokens.check(&mixed.into(), NOW).is_ok(), is_one);
    }

    #[test]
    fn a_changed_key_is_read_or_refused(
        which in 0..4usize,
        edits in edits(PEM_AND_JSON),
    ) {
        let kind = &kinds()[which];
        let token = kind.token.as_str().into();
        let file = edited(&kind.file, &edits);
        match TokenKey::parse_file(&file) {
            // Keys that differ in their clothes only are one key; other secrets are others.
            Ok(key) => {
                let is_proved = proved_by(vec![key]).check(&token, NOW).is_ok();
                prop_assert!(!is_proved || file.trim_ascii_end().len() >= 32);
                if which == 0 {
                    let secret = file.strip_suffix(b"\n").unwrap_or(&file);
                    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
                    prop_assert_eq!(is_proved, secret == SECRET);
                }
            }
            Err(what) => prop_assert!(!what.contains("thirty"), "{}", what),
        }
        let set = edited_text(&kind.set, &edits);
        match TokenKey::parse_set(&set) {
            Ok(keys) => {
                prop_assert!(!keys.is_empty());
                let _ = proved_by(keys).check(&token, NOW);
            }
            Err(what) => {
                let secret = URL_SAFE_NO_PAD.encode(SECRET);
                prop_assert!(!what.contains(&secret[4..16]), "{}", what);
            }
        }
    }
}
