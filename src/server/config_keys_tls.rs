//! The keys of TLS.

use crate::base::time::Span;
use crate::server::config::Config;
use crate::server::config_check::check_path;
use crate::server::config_key::{Key, Place};
use crate::server::config_keys::HOUR;
use crate::server::tls::{check_certificates, check_oldest, check_pass};

/// How TLS protects listeners that say so.
pub(crate) static TLS: [Key<Config>; 6] = [
    Key {
        path: "tls.certificates",
        place: Place::Rules(|c| &mut c.tls.certificates, check_certificates),
        meaning: "\"CHAIN.pem KEY.pem [OCSP.der]\" each; by the name asked for, else the first",
    },
    Key {
        path: "tls.client_authorities",
        place: Place::Text(|c| &mut c.tls.client_authorities, check_path),
        meaning: "File (PEM) with the authorities that may certify clients",
    },
    Key {
        path: "tls.client_revoked",
        place: Place::Text(|c| &mut c.tls.client_revoked, check_path),
        meaning: "File (PEM) with the certificates that they have revoked; empty: none",
    },
    Key {
        path: "tls.pass",
        place: Place::Texts(|c| &mut c.tls.pass, check_pass),
        meaning: "Names that are passed on encrypted: www.example.com=10.0.0.5:443",
    },
    Key {
        path: "tls.oldest",
        place: Place::Text(|c| &mut c.tls.oldest, check_oldest),
        meaning: "The oldest version of TLS that is spoken: 1.2 or 1.3",
    },
    Key {
        path: "tls.watch",
        place: Place::Span(|c| &mut c.tls.watch, Span::ZERO, HOUR),
        meaning: "How often changed files are looked for; 0s: only at SIGHUP",
    },
];
