//! Tokens that OpenSSL has signed.

use std::io::Read as _;
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::support::{Place, counter, curl, json, output, server, session};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A key of OpenSSL: its private file, and the file of its public half.
fn key(place: &Place, name: &str, arguments: &[&str]) -> (String, String) {
    let (private, public) =
        (place.path(&format!("{name}.key")), place.path(&format!("{name}.pub")));
    output("openssl", &[&["genpkey", "-out", &private], arguments].concat());
    output("openssl", &["pkey", "-in", &private, "-pubout", "-out", &public]);
    (private, public)
}

/// A token, signed by OpenSSL with that key.
pub fn token(place: &Place, alg: &str, private: &str, claims: &serde_json::Value) -> String {
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(&json!({"typ": "JWT", "alg": alg})), part(claims));
    let file = place.write("message", &message);
    let signature = match alg {
        "HS256" => {
            let hex = std::fs::read(private)
                .unwrap()
                .iter()
                .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
            let key = format!("hexkey:{hex}");
            let mac = ["dgst", "-sha256", "-mac", "HMAC", "-macopt", &key, "-binary", &file];
            output("openssl", &mac)
        }
        "EdDSA" => {
            output("openssl", &["pkeyutl", "-sign", "-inkey", private, "-rawin", "-in", &file])
        }
        _ => output("openssl", &["dgst", "-sha256", "-sign", private, &file]),
    };
    let signature = if alg == "ES256" { joined(&signature) } else { signature };
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// OpenSSL writes a signature as two DER integers; RFC 7518 (section 3.4) wants them side by side,
/// 32 bytes each.
fn joined(der: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = &der[2..];
    for _ in 0..2 {
        let (number, after) = rest[2..].split_at(usize::from(rest[1]));
        let from = number.iter().position(|byte| *byte != 0).unwrap();
        let number = &number[from..];
        out.resize(out.len() + 32 - number.len(), 0);
        out.extend_from_slice(number);
        rest = after;
    }
    out
}

#[test]
fn tokens_of_openssl_are_proved_in_all_four_algorithms() {
    let place = Place::new();
    let rsa = key(&place, "rsa", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    let ec = key(&place, "ec", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let ed = key(&place, "ed", &["-algorithm", "ED25519"]);
    let secret = place.write("secret", "a secret of thirty-two bytes, or more");
    let keys = vec![rsa.1.clone(), ec.1.clone(), ed.1.clone(), secret.clone()];
    let server = server(|config| {
        config.auth.tokens = keys;
        config.auth.required = true;
        config.auth.issuer = "test".into();
        config.auth.audience = vec!["ahm".into()];
    });
    let claims = |user: &str, exp: u64| {
        let aud = ["ahm"];
        json!({"sub": user, "exp": exp, "iss": "test", "aud": aud, "groups": ["traders"]})
    };
    let login = |token: &str| {
        let field = format!("Authorization: Bearer {token}");
        curl(&server, "/ahm/login", &["-H", &field])
    };
    let all = [("RS256", &rsa.0), ("ES256", &ec.0), ("EdDSA", &ed.0), ("HS256", &secret)];
    for (alg, private) in all {
        let good = token(&place, alg, private, &claims("anna", now() + 100));
        let (status, text) = login(&good);
        assert_eq!((status, &json(&text)["user"]), (200, &"anna".into()), "{alg}: {text}");
        let late = token(&place, alg, private, &claims("anna", now() - 1));
        let (status, text) = login(&late);
        assert_eq!(status, 401, "{alg}: {text}");
        assert!(text.contains("the token has expired"), "{text}");
        // The claims of another token under this one's signature.
        let other = token(&place, alg, private, &claims("root", now() + 100));
        let (head, signature) =
            (other.rsplit_once('.').unwrap().0, good.rsplit_once('.').unwrap().1);
        let (status, text) = login(&format!("{head}.{signature}"));
        assert!(status == 401 && text.contains("no key that is known here"), "{alg}: {text}");
    }
    // A public key, which anybody has, taken for the secret of HS256.
    let forged = token(&place, "HS256", &rsa.1, &claims("root", now() + 100));
    assert_eq!(login(&forged).0, 401);
    assert_eq!(counter(&server, "ahm_auth_proved_token_total"), 4);
    assert_eq!(counter(&server, "ahm_auth_unproved_total"), 9);
}

#[test]
fn a_stream_ends_with_its_token_unless_that_is_renewed() {
    use std::io::Write as _;
    let place = Place::new();
    let (private, public) = key(&place, "ed", &["-algorithm", "ED25519"]);
    let server = server(|config| {
        config.auth.tokens = vec![public];
        config.auth.expiry_warning = ahm::base::time::Span::from_secs(60);
    });
    let field = |seconds: u64| {
        let claims = json!({"sub": "anna", "exp": now() + seconds});
        format!("Authorization: Bearer {}", token(&place, "EdDSA", &private, &claims))
    };
    let (_, text) = curl(&server, "/ahm/login?resource=fx", &["-H", &field(4)]);
    let me = session(&text);
    let mut stream = TcpStream::connect(server.public_addrs()[0]).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let request = format!("GET /ahm/mux.html?{me} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut seen = String::new();
    let mut read_until = |wanted: &str| {
        let mut buffer = [0; 4_096];
        while !seen.contains(wanted) {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "ended without {wanted}: {seen}");
            seen.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
        std::mem::take(&mut seen)
    };
    read_until("<p m e=expiry w=");
    let (status, text) = curl(&server, &format!("/ahm/renew?{me}"), &["-H", &field(6)]);
    assert_eq!(status, 200, "{text}");
    let expires = json(&text)["expires"].as_u64().unwrap();
    let (status, _) = curl(&server, &format!("/ahm/open?{me}&resource=fx&subject=A"), &[]);
    assert_eq!(status, 200);
    let rest = read_until("<p z ");
    assert!(now() >= expires, "not before");
    assert!(rest.contains("e=expired>") && rest.contains("<p z e=logout"), "{rest}");
    assert_eq!(curl(&server, &format!("/ahm/ping?{me}"), &[]).0, 404);
    assert_eq!(counter(&server, "ahm_auth_renewed_total"), 1);
    assert_eq!(counter(&server, "ahm_auth_expired_total"), 1);
}
