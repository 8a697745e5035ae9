//! The keys of `[auth]`.

use crate::base::time::Span;
use crate::server::auth::{check_claim, check_guard, check_program, check_realm, check_script};
use crate::server::config::Config;
use crate::server::config_check::check_path;
use crate::server::config_key::{Key, Place};
use crate::server::config_keys::{DAY, HOUR, MINUTE, MS};

/// The keys of `[auth]`.
pub(crate) static AUTH: [Key<Config>; 20] = [
    Key {
        path: "auth.required",
        place: Place::Flag(|c| &mut c.auth.required),
        meaning: "Whether nobody gets a session without having proved who they are",
    },
    Key {
        path: "auth.realm",
        place: Place::Text(|c| &mut c.auth.realm, check_realm),
        meaning: "What a browser says that a name and a password are for",
    },
    Key {
        path: "auth.htpasswd",
        place: Place::Text(|c| &mut c.auth.htpasswd, check_path),
        meaning: "A file of NAME:HASH for HTTP Basic, bcrypt or argon2id; empty: none",
    },
    Key {
        path: "auth.tokens",
        place: Place::Texts(|c| &mut c.auth.tokens, check_path),
        meaning: "Files that prove bearer tokens: a public key in PEM, or the secret of HS256",
    },
    Key {
        path: "auth.jwks",
        place: Place::Text(|c| &mut c.auth.jwks, check_path),
        meaning: "A file with a set of JSON web keys for the same; empty: none",
    },
    Key {
        path: "auth.issuer",
        place: Place::Text(|c| &mut c.auth.issuer, check_claim),
        meaning: "Who must have issued a token (iss); empty: anybody whose key is known",
    },
    Key {
        path: "auth.audience",
        place: Place::Texts(|c| &mut c.auth.audience, check_claim),
        meaning: "A token must be for one of these (aud); none: for nobody in particular",
    },
    Key {
        path: "auth.leeway",
        place: Place::Span(|c| &mut c.auth.leeway, Span::ZERO, HOUR),
        meaning: "By how much the clocks of issuers may differ from ours",
    },
    Key {
        path: "auth.user_claim",
        place: Place::Text(|c| &mut c.auth.user_claim, check_claim),
        meaning: "The claim of a token that names the user",
    },
    Key {
        path: "auth.groups_claim",
        place: Place::Text(|c| &mut c.auth.groups_claim, check_claim),
        meaning: "The claim that lists the user's groups",
    },
    Key {
        path: "auth.certificates",
        place: Place::Naming(|c| &mut c.auth.certificates),
        meaning: "What of a client's certificate names its user",
    },
    Key {
        path: "auth.scripts",
        place: Place::Texts(|c| &mut c.auth.scripts, check_script),
        meaning: "Scripts on the web server that know users: site=/auth.php:post (or :get)",
    },
    Key {
        path: "auth.programs",
        place: Place::Texts(|c| &mut c.auth.programs, check_program),
        meaning: "Programs of this machine that know them: ldap=/usr/local/bin/ask-ldap",
    },
    Key {
        path: "auth.guard",
        place: Place::Texts(|c| &mut c.auth.guard, check_guard),
        meaning: "Paths of the web site that only users see: /private/=basic, /shop/=any|site",
    },
    Key {
        path: "auth.threads",
        place: Place::Count(|c| &mut c.auth.threads, 1, 256),
        meaning: "Threads that hash passwords and ask scripts and programs",
    },
    Key {
        path: "auth.queue",
        place: Place::Count(|c| &mut c.auth.queue, 1, 1 << 16),
        meaning: "Clients that may wait for one of them; beyond: 503",
    },
    Key {
        path: "auth.timeout",
        place: Place::Span(|c| &mut c.auth.timeout, MS.times(10), MINUTE),
        meaning: "How long it may take to find out who a client is; beyond: 503",
    },
    Key {
        path: "auth.expiry_warning",
        place: Place::Span(|c| &mut c.auth.expiry_warning, Span::ZERO, DAY),
        meaning: "How long before its identity expires a client is told to renew it",
    },
    Key {
        path: "auth.cache",
        place: Place::Span(|c| &mut c.auth.cache, Span::ZERO, DAY),
        meaning: "How long a right password is not hashed again; 0s: always hashed",
    },
    Key {
        path: "auth.cache_max",
        place: Place::Count(|c| &mut c.auth.cache_max, 0, 1 << 20),
        meaning: "How many passwords that is, per shard",
    },
];
