//! Files of names and password hashes.

use ahm::auth::htpasswd::Htpasswd;
use proptest::prelude::*;

use crate::edits::{Edit, at_least, edited_text, edits, verdicts};

/// Of cheap hashes, made by other programs: the one of `U*U`, the other of `password`.
const BCRYPT: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
const ARGON: &str =
    "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

/// Whether each hash costs what it did; others would take seconds.
fn is_cheap(text: &str) -> bool {
    let hashes = text.lines().filter_map(|line| line.split_once(':'));
    hashes.filter(|(_, hash)| hash.starts_with('$')).all(|(_, hash)| {
        hash.get(3..7) == Some("$05$") || hash.starts_with("$argon2id$v=19$m=256,t=2,p=1$")
    })
}

const ALPHABET: &[u8] = b"$:\r\n#=,.abmtpvy0123456789+/ ";

fn changed(edits: &[Edit]) -> String {
    edited_text(&format!("# people\nanna:{BCRYPT}\nberta:{ARGON}\n"), edits)
}

#[test]
fn changed_files_are_read_and_refused() {
    let counts = verdicts(edits(ALPHABET), |edits| match Htpasswd::parse(&changed(&edits)) {
        Ok(_) if is_cheap(&changed(&edits)) => "read",
        Ok(_) => "dear",
        Err(_) => "refused",
    });
    assert!(["read", "refused"].iter().all(|what| counts[what] > 20), "{counts:?}");
}

proptest! {
    #![proptest_config(at_least(512))]

    #[test]
    fn a_changed_file_lets_in_nobody_else(
        edits in edits(ALPHABET),
        user in "[ab]|anna|berta",
    ) {
        let text = changed(&edits);
        match Htpasswd::parse(&text) {
            Ok(users) if is_cheap(&text) => {
                for wrong in ["U*V", "Password", ""] {
                    prop_assert!(!users.verify(&user, &wrong.into()), "{}", text);
                }
                let right = [("anna", "U*U", BCRYPT), ("berta", "password", ARGON)];
                for (name, password, hash) in right {
                    let line = format!("{name}:{hash}");
                    if text.lines().any(|other| other == line) {
                        prop_assert!(users.verify(name, &password.into()), "{}", text);
                    }
                }
                // One's password is nobody else's, be the other in the file or not.
                let others = [("anna", "password", ARGON), ("berta", "U*U", BCRYPT),
                    ("carla", "U*U", BCRYPT), ("carla", "password", ARGON)];
                for (name, password, hash) in others {
                    let named = format!("{name}:");
                    let hash = &hash[7..];
                    let is_there = |line: &str| line.starts_with(&named) && line.contains(hash);
                    let fits = users.verify(name, &password.into());
                    prop_assert!(!fits || text.lines().any(is_there), "{}", text);
                }
                // The hash is not the password.
                prop_assert!(!users.verify("anna", &BCRYPT.into()));
            }
            Ok(_) => {}
            Err(fault) => {
                prop_assert!((1..=text.lines().count()).contains(&fault.line), "{}", fault);
                let said = fault.to_string();
                for hash in [BCRYPT, ARGON] {
                    let parts = hash.as_bytes()[30..].windows(12);
                    for part in parts.map(|part| std::str::from_utf8(part).unwrap()) {
                        prop_assert!(!said.contains(part), "{}", said);
                    }
                }
            }
        }
    }
}
