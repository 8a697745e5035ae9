//! How clients prove who they are, as the configuration has it.

use std::fs;
use std::io;
use std::sync::Arc;

use crate::auth::certificate::Naming;
use crate::auth::htpasswd::Htpasswd;
use crate::auth::office::{DIRECT, Guard, Helper, HelperKind, Office, Way};
use crate::auth::token::Tokens;
use crate::auth::token_key::TokenKey;
use crate::base::time::Span;
use crate::reactor::clock::Clock;
use crate::server::desk::{Desk, DeskSettings};
use crate::server::relay::RelayConfig;
use crate::shard::asking::Asking;
use crate::shard::mail::Mail;
use crate::shard::mailbox::Sender;

/// Bytes of a file of passwords or keys at most.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Words that no script or program can be called.
const RESERVED: [&str; 4] = ["basic", "token", "certificate", "any"];

/// How clients prove who they are.
///
/// ```
/// use ahm::server::auth::AuthConfig;
/// assert!(!AuthConfig::default().is_on());
/// let config = AuthConfig { htpasswd: "/etc/ahm/htpasswd".into(), ..AuthConfig::default() };
/// assert!(config.is_on());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// Whether nobody gets a session without being known.
    pub required: bool,
    /// What clients are told that they need a name for.
    pub realm: String,
    /// A file of names and passwords; empty for none.
    pub htpasswd: String,
    /// Files with keys of tokens.
    pub tokens: Vec<String>,
    /// A file with a set of JSON web keys; empty for none.
    pub jwks: String,
    /// Who must have issued a token; empty for anybody.
    pub issuer: String,
    /// Of whom a token must be for one.
    pub audience: Vec<String>,
    /// By how much the clocks of issuers may differ.
    pub leeway: Span,
    /// The claim that names the user.
    pub user_claim: String,
    /// The claim that lists groups.
    pub groups_claim: String,
    /// What of a certificate names its user.
    pub certificates: Naming,
    /// Scripts on the web server: `NAME=/PATH:post`.
    pub scripts: Vec<String>,
    /// Programs: `NAME=/FILE`.
    pub programs: Vec<String>,
    /// Guarded paths of the web site: `/PATH/=WAY`.
    pub guard: Vec<String>,
    /// Threads for what takes time.
    pub threads: usize,
    /// Who may wait for them.
    pub queue: usize,
    /// How long it may take to find out who somebody is.
    pub timeout: Span,
    /// How long before its end a client is told of it.
    pub expiry_warning: Span,
    /// How long a password is not hashed again.
    pub cache: Span,
    /// How many, on each shard.
    pub cache_max: usize,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            required: false,
            realm: "ahm".into(),
            htpasswd: String::new(),
            tokens: Vec::new(),
            jwks: String::new(),
            issuer: String::new(),
            audience: Vec::new(),
            leeway: Span::ZERO,
            user_claim: "sub".into(),
            groups_claim: "groups".into(),
            certificates: Naming::Off,
            scripts: Vec::new(),
            programs: Vec::new(),
            guard: Vec::new(),
            threads: 2,
            queue: 64,
            timeout: Span::from_secs(5),
            expiry_warning: Span::from_secs(60),
            cache: Span::from_secs(300),
            cache_max: 10_000,
        }
    }
}

impl AuthConfig {
    /// Whether anybody is asked who they are.
    pub fn is_on(&self) -> bool {
        self.required
            || !self.htpasswd.is_empty()
            || !self.tokens.is_empty()
            || !self.jwks.is_empty()
            || self.certificates != Naming::Off
            || !self.scripts.is_empty()
            || !self.programs.is_empty()
    }

    /// What the values do not say each for itself.
    ///
    /// # Errors
    /// The key that is wrong, and why.
    pub(crate) fn check(&self, relay: &RelayConfig) -> Result<(), (&'static str, String)> {
        if !self.scripts.is_empty() && relay.to.is_empty() {
            let what = "scripts are asked on a web server: name one as relay.to";
            return Err(("auth.scripts", what.into()));
        }
        if !self.guard.is_empty() && !relay.is_on() {
            let what = "there is no web site to guard: name a web server as relay.to";
            return Err(("auth.guard", what.into()));
        }
        let helpers = self.helpers();
        for (at, helper) in helpers.iter().enumerate() {
            if helpers[..at].iter().any(|other| other.name == helper.name) {
                let what = format!("the name {:?} is there twice", helper.name);
                return Err(("auth.programs", what));
            }
        }
        for text in &self.guard {
            let guard = self.guard(text, &helpers).map_err(|what| ("auth.guard", what))?;
            if let Some((_, name)) = guard.ways.iter().find_map(|way| self.lacks(*way)) {
                let what = format!("{text:?} lets nobody in: there is no {name}");
                return Err(("auth.guard", what));
            }
        }
        let nothing = self.tokens.is_empty() && self.jwks.is_empty();
        if nothing && !(self.issuer.is_empty() && self.audience.is_empty()) {
            let what = "without auth.tokens or auth.jwks no token is read";
            return Err(("auth.issuer", what.into()));
        }
        let by_any = Self { required: false, ..self.clone() }.is_on();
        if self.required && !by_any {
            let what = "there is no way to prove who one is: give auth.htpasswd, auth.tokens, \
                auth.jwks, auth.certificates, auth.scripts or auth.programs";
            return Err(("auth.required", what.into()));
        }
        Ok(())
    }

    /// The key without which a way leads nowhere.
    fn lacks(&self, way: Way) -> Option<(Way, &'static str)> {
        let lacks = match way {
            Way::Basic => self.htpasswd.is_empty().then_some("auth.htpasswd"),
            Way::Token => (self.tokens.is_empty() && self.jwks.is_empty()).then_some("auth.tokens"),
            Way::Certificate => (self.certificates == Naming::Off).then_some("auth.certificates"),
            Way::Helper(_) => None,
        };
        lacks.map(|key| (way, key))
    }

    fn helpers(&self) -> Vec<Helper> {
        let scripts = self.scripts.iter().filter_map(|text| script(text).ok());
        let programs = self.programs.iter().filter_map(|text| program(text).ok());
        scripts.chain(programs).collect()
    }

    fn guard(&self, text: &str, helpers: &[Helper]) -> Result<Guard, String> {
        let (prefix, ways) = split_guard(text)?;
        let mut all = Vec::new();
        for word in ways.split('|') {
            match word {
                "basic" => all.push(Way::Basic),
                "token" => all.push(Way::Token),
                "certificate" => all.push(Way::Certificate),
                "any" => all.extend(DIRECT.into_iter().filter(|way| self.lacks(*way).is_none())),
                name => {
                    let index = helpers.iter().position(|helper| helper.name == name);
                    let unknown =
                        || format!("{text:?}: {name:?} is no script of auth.scripts, or program");
                    let index = index.ok_or_else(unknown)?;
                    all.push(Way::Helper(index));
                }
            }
        }
        Ok(Guard { prefix: prefix.into(), ways: all })
    }

    /// Reads the files and makes what decides; `None` if nobody is asked.
    ///
    /// # Errors
    ///
    /// The key, the file, its line if it has one, and what is wrong.
    pub fn office(&self) -> io::Result<Option<Arc<Office>>> {
        if !self.is_on() {
            return Ok(None);
        }
        let users = match self.htpasswd.as_str() {
            "" => None,
            path => {
                let text = read_text("auth.htpasswd", path)?;
                let users = Htpasswd::parse(&text);
                Some(users.map_err(|fault| bad("auth.htpasswd", path, &fault))?)
            }
        };
        let mut keys = Vec::new();
        for path in &self.tokens {
            let key = TokenKey::parse_file(&read("auth.tokens", path)?);
            keys.push(key.map_err(|what| bad("auth.tokens", path, &what))?);
        }
        if !self.jwks.is_empty() {
            let set = TokenKey::parse_set(&read_text("auth.jwks", &self.jwks)?);
            keys.extend(set.map_err(|what| bad("auth.jwks", &self.jwks, &what))?);
        }
        let tokens = Tokens {
            keys,
            issuer: Some(self.issuer.clone()).filter(|issuer| !issuer.is_empty()),
            audience: self.audience.clone(),
            leeway: self.leeway.as_nanos() / 1_000_000_000,
            user_claim: self.user_claim.clone(),
            groups_claim: self.groups_claim.clone(),
        };
        let helpers = self.helpers();
        let guards = self.guard.iter().map(|text| self.guard(text, &helpers));
        Ok(Some(Arc::new(Office {
            required: self.required,
            realm: self.realm.clone(),
            users,
            tokens: Some(tokens).filter(|tokens| !tokens.keys.is_empty()),
            naming: self.certificates,
            guards: guards.collect::<Result<_, _>>().map_err(io::Error::other)?,
            helpers,
            patience: self.timeout,
            warning: self.expiry_warning,
            remember: self.cache,
            remember_max: self.cache_max,
        })))
    }

    /// Starts the threads for what takes time, if anything does.
    pub(crate) fn desk(
        &self,
        relay: &RelayConfig,
        clock: Clock,
        shards: &[Sender<Mail>],
    ) -> io::Result<(Option<Desk>, Option<Asking>)> {
        let slow = !self.htpasswd.is_empty() || !self.helpers().is_empty();
        if !slow {
            return Ok((None, None));
        }
        let settings = DeskSettings {
            threads: self.threads,
            queue: self.queue,
            servers: relay.addresses()?,
            beyond: relay.beyond()?,
            host: relay.host_for_all().map(str::to_owned),
            connect_timeout: relay.connect_timeout,
        };
        let (desk, asking) = Desk::start(settings, clock, shards.to_vec())?;
        Ok((Some(desk), Some(asking)))
    }
}

fn bad(key: &str, path: &str, what: &impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{key}: {path}: {what}"))
}

fn read(key: &str, path: &str) -> io::Result<Vec<u8>> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{key}: {path}: {error}"));
    let size = fs::metadata(path).map_err(named)?.len();
    if size > FILE_BYTES_MAX {
        return Err(bad(key, path, &"the file is larger than any of its kind"));
    }
    fs::read(path).map_err(named)
}

fn read_text(key: &str, path: &str) -> io::Result<String> {
    String::from_utf8(read(key, path)?).map_err(|_| bad(key, path, &"this is not UTF-8"))
}

fn named<'a>(text: &'a str, wanted: &str) -> Result<(&'a str, &'a str), String> {
    let (name, rest) = text.split_once('=').ok_or_else(|| format!("{text:?} is no {wanted}"))?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || name.len() > 32 || !name.bytes().all(legal) {
        return Err(format!("{text:?}: a name is 1 to 32 of A-Z a-z 0-9 _ -"));
    }
    if RESERVED.contains(&name) {
        return Err(format!("{text:?}: {name} means something else"));
    }
    Ok((name, rest))
}

fn script(text: &str) -> Result<Helper, String> {
    const WANTED: &str = "script such as site=/auth.php:post (or :get)";
    let (name, rest) = named(text, WANTED)?;
    let (target, post) = match rest.rsplit_once(':') {
        Some((target, "get")) => (target, false),
        Some((target, "post")) => (target, true),
        _ => (rest, true),
    };
    let legal = |byte: u8| byte.is_ascii_graphic() && !b"\"<>#\\^`{|}".contains(&byte);
    if !target.starts_with('/') || target.starts_with("//") || !target.bytes().all(legal) {
        return Err(format!("{text:?} is no {WANTED}: the path begins with one slash"));
    }
    let kind = HelperKind::Script { target: target.into(), post };
    Ok(Helper { name: name.into(), kind })
}

fn program(text: &str) -> Result<Helper, String> {
    const WANTED: &str = "program such as ldap=/usr/local/bin/ask-ldap";
    let (name, path) = named(text, WANTED)?;
    if !path.starts_with('/') || path.chars().any(char::is_control) {
        return Err(format!("{text:?} is no {WANTED}: the whole path of a file is wanted"));
    }
    Ok(Helper { name: name.into(), kind: HelperKind::Program { path: path.into() } })
}

fn split_guard(text: &str) -> Result<(&str, &str), String> {
    let (prefix, ways) = text.rsplit_once('=').ok_or_else(|| {
        format!("{text:?} is no guard such as /private/=basic, /members/=site, /api/=token|basic")
    })?;
    let legal = |byte: u8| byte.is_ascii_graphic() && !b"?#%;\\".contains(&byte);
    let shape = prefix.starts_with('/') && prefix.ends_with('/') && !prefix.contains("//");
    let walks = prefix.split('/').any(|part| part == "." || part == "..");
    if !shape || walks || !prefix.bytes().all(legal) {
        return Err(format!(
            "{text:?}: a guarded path begins and ends with a slash, as in /private/"
        ));
    }
    Ok((prefix, ways))
}

/// Whether a text names a script.
pub(crate) fn check_script(text: &str) -> Result<(), String> {
    script(text).map(drop)
}

/// Whether a text names a program.
pub(crate) fn check_program(text: &str) -> Result<(), String> {
    program(text).map(drop)
}

/// Whether a text is a guard; that its ways exist is seen when all is read.
pub(crate) fn check_guard(text: &str) -> Result<(), String> {
    split_guard(text).map(drop)
}

/// Whether a text can stand in quotes in a field of an answer.
pub(crate) fn check_realm(text: &str) -> Result<(), String> {
    let legal =
        |byte: u8| (byte.is_ascii_graphic() || byte == b' ') && byte != b'"' && byte != b'\\';
    let fits = text.len() <= 64 && text.bytes().all(legal);
    fits.then_some(()).ok_or_else(|| format!("{text:?} is not up to 64 of plain ASCII"))
}

/// Whether a text can be a claim, an issuer or an audience.
pub(crate) fn check_claim(text: &str) -> Result<(), String> {
    let fits = text.len() <= 256 && !text.chars().any(char::is_control);
    fits.then_some(()).ok_or_else(|| format!("{text:?} is not up to 256 bytes of text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> AuthConfig {
        AuthConfig {
            htpasswd: "/f".into(),
            scripts: vec!["site=/who?x=1:get".into(), "post=/who".into()],
            programs: vec!["ldap=/bin/true".into()],
            ..AuthConfig::default()
        }
    }

    fn relay() -> RelayConfig {
        RelayConfig { to: vec!["http://127.0.0.1:1".into()], ..RelayConfig::default() }
    }

    #[test]
    fn scripts_programs_and_guards_are_read() {
        let config =
            AuthConfig { guard: vec!["/a=b/=basic|ldap".into(), "/any/=any".into()], ..config() };
        assert_eq!(config.check(&relay()), Ok(()));
        let helpers = config.helpers();
        let script = |target: &str, post| HelperKind::Script { target: target.into(), post };
        assert_eq!(helpers[0].kind, script("/who?x=1", false));
        assert_eq!(helpers[1].kind, script("/who", true));
        let guard = config.guard("/a=b/=basic|ldap", &helpers).unwrap();
        assert_eq!(
            (guard.prefix.as_str(), guard.ways),
            ("/a=b/", vec![Way::Basic, Way::Helper(2)])
        );
        let any = config.guard("/any/=any", &helpers).unwrap();
        assert_eq!(any.ways, [Way::Basic]);
    }

    #[test]
    fn what_is_no_script_program_or_guard_is_refused() {
        for bad in
            ["", "site", "site=who", "=/who", "a b=/who", "basic=/who", "x=//host/", "x=/a b"]
        {
            assert!(check_script(bad).is_err(), "{bad}");
        }
        for bad in ["x", "x=bin", "any=/bin/true", "x=/a\nb"] {
            assert!(check_program(bad).is_err(), "{bad}");
        }
        for bad in ["/a/", "a/=basic", "/a=basic", "/a//b/=basic", "/%61/=basic", "/a/../=basic"] {
            assert!(check_guard(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_leads_nowhere_is_refused() {
        let none = RelayConfig::default();
        let guard = |text: &str| AuthConfig { guard: vec![text.into()], ..config() };
        let twice = AuthConfig { programs: vec!["site=/bin/true".into()], ..config() };
        let alone = AuthConfig { required: true, ..AuthConfig::default() };
        let issuer = AuthConfig { issuer: "us".into(), ..config() };
        for (config, relay, key, words) in [
            (config(), &none, "auth.scripts", "relay.to"),
            (guard("/a/=token"), &relay(), "auth.guard", "there is no auth.tokens"),
            (guard("/a/=certificate"), &relay(), "auth.guard", "no auth.certificates"),
            (guard("/a/=sight"), &relay(), "auth.guard", "\"sight\" is no script"),
            (twice, &relay(), "auth.programs", "there twice"),
            (alone, &relay(), "auth.required", "auth.htpasswd"),
            (issuer, &relay(), "auth.issuer", "no token is read"),
        ] {
            let (found, what) = config.check(relay).unwrap_err();
            assert_eq!(found, key);
            assert!(what.contains(words), "{what}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_or_wrong_is_named() {
        let config = AuthConfig { htpasswd: "/no/such/file".into(), ..AuthConfig::default() };
        let error = config.office().unwrap_err().to_string();
        assert!(error.starts_with("auth.htpasswd: /no/such/file: "), "{error}");
        let config = AuthConfig { tokens: vec!["/dev/null".into()], ..AuthConfig::default() };
        let error = config.office().unwrap_err().to_string();
        assert!(error.contains("/dev/null: the secret of HS256 has at least"), "{error}");
    }
}
