//! The keys of `[private]`.

use crate::server::config::Config;
use crate::server::config_check::check_host;
use crate::server::config_key::{Key, Place};

/// The keys of `[private]`.
pub(crate) static PRIVATE: [Key<Config>; 3] = [
    Key {
        path: "private.listen",
        place: Place::Addresses(|c| &mut c.private_listen),
        meaning: "Where publishers connect; only a loopback address needs no token",
    },
    Key {
        path: "private.hosts",
        place: Place::Texts(|c| &mut c.private_hosts, check_host),
        meaning: "Names that Host may have on a private request, beside the addresses",
    },
    Key {
        path: "private.token",
        place: Place::Token(|c| &mut c.token),
        meaning: "What publishers show as 'Authorization: Bearer'; empty for nothing",
    },
];
