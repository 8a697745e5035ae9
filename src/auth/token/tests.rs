//! Tokens as they should be, and each way in which they should not.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use proptest::prelude::*;
use serde_json::json;

use super::*;

const SECRET: &[u8] = b"a secret of thirty-two bytes, or more";
const NOW: u64 = 1_900_000_000;

fn tokens() -> Tokens {
    Tokens {
        keys: vec![TokenKey::parse_file(SECRET).unwrap()],
        issuer: None,
        audience: vec![],
        leeway: 0,
        user_claim: "sub".into(),
        groups_claim: "groups".into(),
    }
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// Signed as the key demands, whatever the header says.
fn signed(header: &Value, claims: &Value) -> Secret {
    let message = format!("{}.{}", part(header), part(claims));
    let key = EncodingKey::from_secret(SECRET);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256);
    format!("{message}.{}", signature.unwrap()).into()
}

fn checked(tokens: &Tokens, claims: &Value) -> Result<Identity, TokenFault> {
    tokens.check(&signed(&json!({"alg": "HS256"}), claims), NOW)
}

#[test]
fn a_token_says_who_how_long_and_in_which_groups() {
    let claims = json!({"sub": "anna", "exp": NOW + 5, "groups": ["a", "b c"], "nbf": NOW});
    let anna = checked(&tokens(), &claims).unwrap();
    assert_eq!((anna.user.as_str(), anna.means), ("anna", Means::Token));
    assert_eq!((anna.expires, anna.groups.len()), (Some(NOW + 5), 2));
    let claims = json!({"sub": "x", "mail": "a@b", "exp": NOW + 5, "scope": " one  two "});
    let other = Tokens { user_claim: "mail".into(), groups_claim: "scope".into(), ..tokens() };
    let anna = checked(&other, &claims).unwrap();
    assert_eq!((anna.user.as_str(), anna.groups.join(",").as_str()), ("a@b", "one,two"));
}

#[test]
fn times_are_whole_numbers_and_end_on_the_second() {
    for (times, wanted) in [
        (json!({"exp": NOW + 1}), None),
        (json!({"exp": NOW}), Some(TokenFault::Expired)),
        (json!({"exp": NOW - 1}), Some(TokenFault::Expired)),
        (json!({"exp": 0}), Some(TokenFault::Expired)),
        (json!({}), Some(TokenFault::Times)),
        (json!({"exp": null}), Some(TokenFault::Times)),
        (json!({"exp": (NOW + 9).to_string()}), Some(TokenFault::Times)),
        (json!({"exp": NOW as f64 + 9.5}), Some(TokenFault::Times)),
        (json!({"exp": 1e300}), Some(TokenFault::Times)),
        (json!({"exp": -1}), Some(TokenFault::Times)),
        (json!({"exp": [NOW + 9]}), Some(TokenFault::Times)),
        (json!({"exp": true}), Some(TokenFault::Times)),
        (json!({"exp": NOW + 9, "nbf": NOW}), None),
        (json!({"exp": NOW + 9, "nbf": NOW + 1}), Some(TokenFault::Early)),
        (json!({"exp": NOW + 9, "nbf": "0"}), Some(TokenFault::Times)),
        (json!({"exp": NOW + 9, "nbf": {}}), Some(TokenFault::Times)),
        (json!({"exp": NOW + 9, "iat": NOW - 1}), None),
        (json!({"exp": NOW + 9, "iat": "now"}), Some(TokenFault::Times)),
        (json!({"exp": u64::MAX}), None),
    ] {
        let mut claims = times.clone();
        claims["sub"] = "anna".into();
        assert_eq!(checked(&tokens(), &claims).err(), wanted, "{times}");
    }
    let lenient = Tokens { leeway: 10, ..tokens() };
    let late = json!({"sub": "anna", "exp": NOW - 9, "nbf": NOW + 10});
    assert_eq!(checked(&lenient, &late).unwrap().expires, Some(NOW + 1));
    let later = json!({"sub": "anna", "exp": NOW - 10});
    assert_eq!(checked(&lenient, &later), Err(TokenFault::Expired));
}

#[test]
fn issuer_audience_and_names_must_fit() {
    let strict =
        Tokens { issuer: Some("us".into()), audience: vec!["ahm".into(), "b".into()], ..tokens() };
    for (tokens, claims, wanted) in [
        (&strict, json!({"iss": "us", "aud": "ahm"}), None),
        (&strict, json!({"iss": "us", "aud": ["x", "b"]}), None),
        (&strict, json!({"iss": "them", "aud": "ahm"}), Some(TokenFault::Issuer)),
        (&strict, json!({"aud": "ahm"}), Some(TokenFault::Issuer)),
        (&strict, json!({"iss": ["us"], "aud": "ahm"}), Some(TokenFault::Issuer)),
        (&strict, json!({"iss": "us", "aud": "x"}), Some(TokenFault::Audience)),
        (&strict, json!({"iss": "us", "aud": []}), Some(TokenFault::Audience)),
        (&strict, json!({"iss": "us"}), Some(TokenFault::Audience)),
        (&strict, json!({"iss": "us", "aud": {"ahm": 1}}), Some(TokenFault::Audience)),
        (&tokens(), json!({"aud": "others"}), Some(TokenFault::Audience)),
        (&tokens(), json!({"iss": "anybody"}), None),
        (&tokens(), json!({"sub": null}), Some(TokenFault::Nobody)),
        (&tokens(), json!({"sub": 7}), Some(TokenFault::Nobody)),
        (&tokens(), json!({"sub": ""}), Some(TokenFault::Nobody)),
        (&tokens(), json!({"sub": "a\nb"}), Some(TokenFault::Nobody)),
        (&tokens(), json!({"sub": "a".repeat(129)}), Some(TokenFault::Nobody)),
        (&tokens(), json!({"groups": [1]}), Some(TokenFault::Nobody)),
        (&tokens(), json!({"groups": {"a": 1}}), Some(TokenFault::Nobody)),
        (&tokens(), json!({"groups": [""]}), Some(TokenFault::Nobody)),
        (&tokens(), json!({"groups": vec!["a"; 65]}), Some(TokenFault::Nobody)),
        (&tokens(), json!({"groups": null}), None),
    ] {
        let mut all = json!({"sub": "anna", "exp": NOW + 5});
        for (name, value) in claims.as_object().unwrap() {
            all[name] = value.clone();
        }
        assert_eq!(checked(tokens, &all).err(), wanted, "{claims}");
    }
}

#[test]
fn the_key_decides_how_a_token_is_signed() {
    let claims = json!({"sub": "anna", "exp": NOW + 5});
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "None"}),
        json!({"alg": "HS512"}),
        json!({"alg": "RS256"}),
        json!({"alg": "hs256"}),
    ] {
        let token = signed(&header, &claims);
        assert_eq!(tokens().check(&token, NOW), Err(TokenFault::Unsigned), "{header}");
    }
    for header in [json!({}), json!({"alg": 1}), json!({"alg": "HS256", "kid": 7}), json!([])] {
        let token = signed(&header, &claims);
        assert_eq!(tokens().check(&token, NOW), Err(TokenFault::Broken), "{header}");
    }
    let critical = signed(&json!({"alg": "HS256", "crit": ["b64"], "b64": false}), &claims);
    assert_eq!(tokens().check(&critical, NOW), Err(TokenFault::Critical));
}

/// A token that is signed with the public key's own bytes as a secret: the oldest trick.
#[test]
fn a_public_key_is_no_secret() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let public = key.public_key_pem();
    let tokens =
        Tokens { keys: vec![TokenKey::parse_file(public.as_bytes()).unwrap()], ..tokens() };
    let claims = json!({"sub": "root", "exp": NOW + 5});
    let honest = jsonwebtoken::encode(
        &Header::new(Algorithm::ES256),
        &claims,
        &EncodingKey::from_ec_pem(key.serialize_pem().as_bytes()).unwrap(),
    );
    assert_eq!(tokens.check(&honest.unwrap().into(), NOW).unwrap().user, "root");
    for secret in [public.as_bytes(), public.trim().as_bytes(), key.public_key_raw()] {
        let forged = jsonwebtoken::encode(
            &Header::new(Algorithm::HS256),
            &claims,
            &EncodingKey::from_secret(secret),
        );
        assert_eq!(tokens.check(&forged.unwrap().into(), NOW), Err(TokenFault::Unsigned));
    }
}

#[test]
fn keys_are_found_by_name() {
    let secret = |byte: u8| URL_SAFE_NO_PAD.encode([byte; 40]);
    let set = json!({"keys": [
        {"kty": "oct", "kid": "one", "k": secret(1), "alg": "HS256"},
        {"kty": "oct", "kid": "two", "k": secret(2)},
        {"kty": "oct", "kid": "far", "k": secret(3), "alg": "HS512"},
        {"kty": "RSA", "kid": "enc", "use": "enc", "n": "AQAB", "e": "AQAB"},
        {"kty": "EC", "crv": "P-521", "x": "", "y": ""},
        {"kty": "later"},
    ]});
    let keys = TokenKey::parse_set(&set.to_string()).unwrap();
    assert_eq!(keys.len(), 2);
    let tokens = Tokens { keys, ..tokens() };
    let claims = json!({"sub": "anna", "exp": NOW + 5});
    for (kid, byte, fits) in [
        (Some("one"), 1, true),
        (Some("two"), 2, true),
        (Some("two"), 1, false),
        (Some("three"), 1, false),
        (Some("far"), 3, false),
        (None, 2, true),
        (None, 4, false),
    ] {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::HS256) };
        let key = EncodingKey::from_secret(&[byte; 40]);
        let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
        assert_eq!(tokens.check(&token.into(), NOW).is_ok(), fits, "{kid:?} {byte}");
    }
}

#[test]
fn a_bad_set_is_refused_with_its_reason() {
    let long = URL_SAFE_NO_PAD.encode([1; 40]);
    for (set, words) in [
        ("{", "no JSON at line 1"),
        ("[]", "an object with a list"),
        ("{\"keys\":{}}", "an object with a list"),
        ("{\"keys\":[]}", "no key is for"),
        ("{\"keys\":[{\"kty\":\"oct\",\"k\":\"AQAB\"}]}", "key 1: the secret of HS256 has"),
        ("{\"keys\":[{\"kty\":\"oct\"}]}", "key 1: k is missing"),
        ("{\"keys\":[{\"kty\":\"oct\",\"k\":\"++\"}]}", "key 1: k is missing"),
        ("{\"keys\":[{}]}", "key 1: kty is missing"),
        ("{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}", "of 17 bits"),
        ("{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AQAB\"}]}", "x has 32"),
        (
            "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"a\",\"k\":\"LONG\"},\
             {\"kty\":\"oct\",\"kid\":\"a\",\"k\":\"LONG\"}]}",
            "key 2: its kid is another's too",
        ),
    ] {
        let what = TokenKey::parse_set(&set.replace("LONG", &long)).unwrap_err();
        assert!(what.contains(words), "{set}: {what}");
    }
}

#[test]
fn a_bad_key_file_is_refused_with_its_reason() {
    let key = rcgen::KeyPair::generate().unwrap();
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    for (file, words) in [
        ("short".to_owned(), "at least 32 bytes"),
        (format!("{}\n", "x".repeat(31)), "at least 32 bytes"),
        ("{\"keys\":[]}".into(), "auth.jwks"),
        (key.serialize_pem(), "this is a private key"),
        (p384.public_key_pem(), "only P-256"),
        ("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".into(), "openssl x509"),
        ("-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n".into(), "no public key"),
        ("-----BEGIN PUBLIC KEY-----\nAA".into(), "PEM is broken"),
    ] {
        let what = TokenKey::parse_file(file.as_bytes()).unwrap_err();
        assert!(what.contains(words), "{what}");
    }
    let shown = format!("{:?}", TokenKey::parse_file(SECRET).unwrap());
    assert!(shown.contains("HS256") && !shown.contains("secret"), "{shown}");
}

proptest! {
    #[test]
    fn no_text_is_a_token(
        text in "\\PC{0,200}",
        dotted in "[A-Za-z0-9_-]{0,40}(\\.[A-Za-z0-9_-]{0,60}){0,4}",
    ) {
        prop_assert!(tokens().check(&text.into(), NOW).is_err());
        prop_assert!(tokens().check(&dotted.into(), NOW).is_err());
    }

    #[test]
    fn one_other_byte_is_another_token(at in any::<prop::sample::Index>(), by in 1u8..64) {
        let token = signed(&json!({"alg": "HS256"}), &json!({"sub": "anna", "exp": NOW + 5}));
        let mut bytes = token.expose().as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = (bytes[at] ^ by) & 0x7f;
        let changed = String::from_utf8(bytes).unwrap();
        if changed != token.expose() {
            prop_assert!(tokens().check(&changed.into(), NOW).is_err());
        }
    }

    #[test]
    fn any_claims_are_read_or_refused(claims in any_json(), header in any_json()) {
        let _ = checked(&tokens(), &claims);
        let _ = tokens().check(&signed(&header, &claims), NOW);
        let _ = TokenKey::parse_set(&json!({"keys": [claims, header]}).to_string());
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zA-Z0-9]{0,8}".prop_map(Value::from),
        prop_oneof![Just("RSA"), Just("EC"), Just("OKP"), Just("HS256"), Just("verify")]
            .prop_map(Value::from),
    ];
    let name = prop_oneof![
        Just("sub"),
        Just("exp"),
        Just("nbf"),
        Just("iat"),
        Just("aud"),
        Just("groups"),
        Just("alg"),
        Just("kid"),
        Just("kty"),
        Just("n"),
        Just("e"),
        Just("x"),
        Just("k"),
        Just("crv"),
        Just("use"),
    ];
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..6).prop_map(|all| {
                let pairs = all.into_iter().map(|(name, value)| (name.to_owned(), value));
                Value::Object(pairs.collect())
            }),
        ]
    })
}
