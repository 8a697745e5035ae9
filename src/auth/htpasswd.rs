//! A file of names and password hashes, one `NAME:HASH` a line, as `htpasswd -B` writes it.
//!
//! Only hashes that are slow by design are taken: bcrypt and argon2id. Whoever is not in the file
//! costs as much time as a wrong password, so that nobody learns names by a clock.

use std::collections::HashMap;
use std::fmt;

use argon2::password_hash::PasswordVerifier as _;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Params};

use crate::auth::identity::{Identity, Means};
use crate::auth::secret::Secret;

/// The most that a bcrypt hash may cost: some seconds of a core, as the logarithm of rounds.
const BCRYPT_COST_MAX: u32 = 16;
/// The same for the memory of argon2, in KiB, of which each thread at work takes so much.
const ARGON2_MEMORY_MAX: u32 = 256 * 1024;
/// The same for its passes, and for its lanes.
const ARGON2_PASSES_MAX: u32 = 32;
/// Names in a file at most.
const USERS_MAX: usize = 1_000_000;

/// What is wrong with a file, and on which of its lines, counted from 1; 0: with all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line.
    pub line: usize,
    /// What, without anything secret.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.what),
            line => write!(f, "line {line}: {}", self.what),
        }
    }
}

impl std::error::Error for Fault {}

/// The names and hashes of a file.
#[derive(Default)]
pub struct Htpasswd {
    users: HashMap<String, String>,
    /// Whose hash stands for those who are not in the file: the dearest.
    decoy: Option<String>,
}

impl fmt::Debug for Htpasswd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Htpasswd").field("users", &self.users.len()).finish_non_exhaustive()
    }
}

impl Htpasswd {
    /// Reads the text of a file. Empty lines are passed over, and lines that begin with `#`.
    ///
    /// # Errors
    ///
    /// The first line that is none, or whose hash is of no kind that is taken.
    ///
    /// ```
    /// use ahm::auth::htpasswd::Htpasswd;
    /// let line = "anna:$2y$04$abcdefghijklmnopqrstuuQ2wm9pAKLPJXCzqLLfGpVRSNdsHRCyi";
    /// assert!(Htpasswd::parse(line).is_ok());
    /// let fault = Htpasswd::parse("# plain\nanna:secret").unwrap_err();
    /// assert_eq!(fault.line, 2);
    /// assert!(!fault.to_string().contains("secret"));
    /// ```
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let mut users = HashMap::new();
        let mut decoy: Option<(u64, String)> = None;
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim_end_matches('\r');
            if text.trim().is_empty() || text.starts_with('#') {
                continue;
            }
            let fault = |what: &str| Fault { line, what: what.into() };
            let (user, hash) = text
                .split_once(':')
                .ok_or_else(|| fault("this is no NAME:HASH, as `htpasswd -B` writes it"))?;
            let hash = hash.trim_end();
            if Identity::new(user, Means::Basic).is_none() {
                return Err(fault("a name has 1 to 128 bytes without control characters"));
            }
            let cost = cost_of(hash).map_err(|what| Fault { line, what })?;
            if users.len() >= USERS_MAX {
                return Err(fault("there are too many names"));
            }
            if users.insert(user.to_owned(), hash.to_owned()).is_some() {
                return Err(Fault { line, what: format!("the name {user:?} is there twice") });
            }
            if decoy.as_ref().is_none_or(|(dearest, _)| cost > *dearest) {
                decoy = Some((cost, user.to_owned()));
            }
        }
        Ok(Self { users, decoy: decoy.map(|(_, user)| user) })
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Whether that is the user's password. Slow by design, and as slow for a name that is not
    /// there: not for a thread that others wait for.
    pub fn verify(&self, user: &str, password: &Secret) -> bool {
        let known = self.users.get(user);
        let decoy = || self.decoy.as_ref().and_then(|decoy| self.users.get(decoy));
        let Some(hash) = known.or_else(decoy) else { return false };
        let fits = matches(hash, password.expose());
        fits && known.is_some()
    }
}

/// Whether the password is the one of that hash.
fn matches(hash: &str, password: &str) -> bool {
    if hash.starts_with("$argon2id$") {
        let Ok(hash) = PasswordHash::new(hash) else { return false };
        return Argon2::default().verify_password(password.as_bytes(), &hash).is_ok();
    }
    bcrypt::verify(password, hash).unwrap_or(false)
}

/// What a hash costs, roughly in nanoseconds: good enough to find the dearest.
fn cost_of(hash: &str) -> Result<u64, String> {
    if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| hash.starts_with(prefix)) {
        let broken = |_| "this bcrypt hash is broken".to_owned();
        let parts: bcrypt::HashParts = hash.parse().map_err(broken)?;
        return match parts.get_cost() {
            cost @ 4..=BCRYPT_COST_MAX => Ok(60_000 << cost),
            cost => Err(format!("a bcrypt cost of {cost}: 4 to {BCRYPT_COST_MAX} are taken")),
        };
    }
    if hash.starts_with("$argon2id$") {
        let parsed = PasswordHash::new(hash).ok();
        let parsed = parsed.filter(|parsed| parsed.hash.is_some() && parsed.salt.is_some());
        let params = parsed.and_then(|parsed| Params::try_from(&parsed).ok());
        let params = params.ok_or("this argon2id hash is broken")?;
        let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
        if memory > ARGON2_MEMORY_MAX || passes > ARGON2_PASSES_MAX || lanes > ARGON2_PASSES_MAX {
            return Err(format!(
                "argon2id with m={memory},t={passes},p={lanes}: up to m={ARGON2_MEMORY_MAX},\
                 t={ARGON2_PASSES_MAX},p={ARGON2_PASSES_MAX} is taken"
            ));
        }
        return Ok(u64::from(memory) * u64::from(passes) * 500);
    }
    let kind = match hash {
        _ if hash.starts_with("$apr1$") || hash.starts_with("$1$") => "an MD5 hash",
        _ if hash.starts_with("{SHA}") || hash.starts_with("{SSHA}") => "a SHA-1 hash",
        _ if hash.starts_with("$5$") || hash.starts_with("$6$") => "a SHA-2 crypt hash",
        _ if hash.starts_with("$argon2") => "an argon2 hash that is not argon2id",
        _ if hash.len() == 13 => "a DES hash, or plain text",
        _ => "plain text, or a hash that is not known",
    };
    Err(format!("{kind}: only bcrypt ($2a$, $2b$, $2y$) and argon2id ($argon2id$) are taken"))
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::PasswordHasher as _;
    use proptest::prelude::*;

    use super::*;

    fn file() -> String {
        let argon = Argon2::from(Params::new(64, 1, 1, None).unwrap());
        let berta = argon.hash_password_with_salt(b"berta's", b"0123456789abcdef").unwrap();
        let anna = bcrypt::hash("anna's", 4).unwrap();
        format!("# people\n\nanna:{anna}\r\nberta:{berta}\nc\u{e4}sar:{anna}\n")
    }

    #[test]
    fn the_right_password_of_the_right_user_fits() {
        let users = Htpasswd::parse(&file()).unwrap();
        assert_eq!(users.len(), 3);
        for (user, password, fits) in [
            ("anna", "anna's", true),
            ("c\u{e4}sar", "anna's", true),
            ("berta", "berta's", true),
            ("anna", "berta's", false),
            ("berta", "anna's", false),
            ("anna", "", false),
            ("anna", "anna'", false),
            ("Anna", "anna's", false),
            ("nobody", "anna's", false),
            ("nobody", "berta's", false),
            ("", "", false),
        ] {
            assert_eq!(users.verify(user, &password.into()), fits, "{user} {password}");
        }
        assert!(!Htpasswd::parse("").unwrap().verify("anna", &"x".into()));
        assert!(!format!("{users:?}").contains("$2"));
    }

    /// Published vectors: of Openwall's crypt_blowfish, and of the reference code of argon2.
    #[test]
    fn hashes_of_other_tools_are_known() {
        let lines = "U:$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n\
            V:$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$\
            nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        let users = Htpasswd::parse(lines).unwrap();
        assert!(users.verify("U", &"U*U".into()));
        assert!(users.verify("V", &"password".into()));
    }

    #[test]
    fn what_is_weak_broken_or_too_dear_is_refused_with_its_line() {
        let good = bcrypt::hash("x", 4).unwrap();
        for (bad, words) in [
            ("a", "no NAME:HASH"),
            ("a:", "plain text"),
            ("a:hunter2", "plain text"),
            ("a:rqXexS6ZhobKA", "DES"),
            ("a:$apr1$c4bQR4CI$CxnpJLVnU6bFNyRhVtzrN0", "MD5"),
            ("a:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "SHA-1"),
            ("a:$6$salt$hash", "SHA-2"),
            ("a:$argon2i$v=19$m=16,t=2,p=1$c29tZXNhbHQ$aaaa", "not argon2id"),
            ("a:$argon2id$v=19$m=9999999,t=2,p=1$c29tZXNhbHQ$YWJjZGVmZ2hpamtsbW5vcA", "up to m="),
            ("a:$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ", "broken"),
            ("a:$2y$31$abcdefghijklmnopqrstuuQ2wm9pAKLPJXCzqLLfGpVRSNdsHRCyi", "cost of 31"),
            ("a:$2y$04$short", "broken"),
            (":$2y$04$short", "a name has"),
        ] {
            let fault = Htpasswd::parse(&format!("z:{good}\n\n{bad}\n")).unwrap_err();
            assert_eq!(fault.line, 3, "{bad}");
            assert!(fault.what.contains(words), "{bad}: {fault}");
            let secret = bad.split_once(':').map_or("", |(_, hash)| hash);
            assert!(secret.is_empty() || !fault.to_string().contains(secret), "{fault}");
        }
        let fault = Htpasswd::parse(&format!("z:{good}\nz:{good}")).unwrap_err();
        assert_eq!(fault.to_string(), "line 2: the name \"z\" is there twice");
    }

    proptest! {
        #[test]
        fn any_file_is_read_or_refused(
            text in "(\\PC|[\n\r:$]){0,200}",
            tail in "[$:a-z0-9=,]{0,60}",
        ) {
            let _ = Htpasswd::parse(&text);
            let _ = Htpasswd::parse(&format!("a:$2y$0{tail}"));
            let _ = Htpasswd::parse(&format!("a:$argon2id${tail}"));
        }
    }
}
