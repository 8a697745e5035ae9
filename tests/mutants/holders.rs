//! Who may use the private listener; and certificates, which name their holders.

use ahm::auth::certificate::{Certificate, Naming};
use ahm::auth::passes::{Passes, Right};
use proptest::prelude::*;
use rcgen::{CertificateParams, DnType, KeyPair, SanType};

use crate::edits::{at_least, edited, edited_text, edits, verdicts};

const FILE: &str = "# who may what\n\
    rates   correct-horse-battery  publish:fx/* publish:quotes/EUR* # the first\n\
    website sha256:d4b5b4d4bb1c0c0c3cd8f1e3b5fbb4a5b0b8fb3c1e0a4a1c2a4b0c8a1fb4e1b2 control\n\
    watch   cert:monitor%20example metrics\n";

fn certificate() -> &'static [u8] {
    static MADE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    MADE.get_or_init(|| {
        let mut params = CertificateParams::new(vec!["a.example".into()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "monitor example");
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        let email = "anna@example.org".try_into().unwrap();
        params.subject_alt_names.push(SanType::Rfc822Name(email));
        params.subject_alt_names.push(SanType::URI("urn:x:anna".try_into().unwrap()));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    })
}

const WORDS: &[u8] = b" \n#:*/%2abcdef0 sha56publishcontrolmetricscert";
const TAGS: &[u8] = b"\x00\x01\x03\x04\x05\x06\x0c\x13\x30\x31\x55\x80\x81\x82\xa0\xa3\xff";

#[test]
fn changed_ones_are_read_and_refused() {
    let counts = verdicts(edits(WORDS), |edits| match Passes::parse(&edited_text(FILE, &edits)) {
        Ok(passes) if passes.by_token(b"correct-horse-battery").is_some() => "known",
        Ok(_) => "unknown",
        Err(_) => "refused",
    });
    assert!(["known", "unknown", "refused"].iter().all(|what| counts[what] > 20), "{counts:?}");
    let counts = verdicts(edits(TAGS), |edits| {
        let shown = Certificate { der: edited(certificate(), &edits).into() };
        if shown.facts().is_some() { "read" } else { "refused" }
    });
    assert!(["read", "refused"].iter().all(|what| counts[what] > 20), "{counts:?}");
}

proptest! {
    #![proptest_config(at_least(2_000))]

    #[test]
    fn a_changed_file_knows_only_who_stands_in_it(
        edits in edits(WORDS),
        guess in "[a-z-]{16,24}",
    ) {
        let text = edited_text(FILE, &edits);
        let Ok(passes) = Passes::parse(&text) else { return Ok(()) };
        prop_assert!(!passes.is_empty());
        let tokens = ["correct-horse-battery", "correct-horse-cattery", &guess];
        for token in tokens {
            let holder = passes.by_token(token.as_bytes());
            prop_assert!(holder.is_none() || text.contains(token), "{}", text);
            if let Some(holder) = holder {
                prop_assert!(text.contains(passes.name(holder)));
                let publishes = passes.has(holder, Right::Publish("fx/EURUSD"));
                prop_assert!(!publishes || text.contains("publish"), "{}", text);
            }
        }
        // The digest of a token is none.
        prop_assert!(passes.by_token(b"sha256:").is_none());
        let shown = Certificate { der: certificate().into() };
        let holder = passes.by_certificate(&shown);
        let is_there = text.contains("cert:");
        prop_assert!(holder.is_none() || is_there, "{}", text);
    }

    #[test]
    fn a_changed_certificate_is_read_or_refused(
        edits in edits(TAGS),
    ) {
        let passes = Passes::parse(FILE).unwrap();
        let shown = Certificate { der: edited(certificate(), &edits).into() };
        prop_assert_eq!(shown.fingerprint().len(), 64);
        for naming in Naming::ALL {
            let Some(identity) = shown.identity(naming) else { continue };
            prop_assert!((1..=128).contains(&identity.user.len()), "{:?}", identity);
            prop_assert!(!identity.user.chars().any(char::is_control), "{:?}", identity);
        }
        if let Some(holder) = passes.by_certificate(&shown) {
            prop_assert_eq!(passes.name(holder), "watch");
            let facts = shown.facts().unwrap();
            prop_assert_eq!(facts.common_name.as_deref(), Some("monitor example"));
        }
    }
}
