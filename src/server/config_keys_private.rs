//! The keys of `[private]`, and of `[limits]`.

use crate::server::config::Config;
use crate::server::config_check::{check_host, check_mode, check_path};
use crate::server::config_key::{Key, Place};
use crate::server::relay::check_network;

/// The largest number or rate that a limit may be.
const LIMIT_MAX: u32 = 1 << 24;

/// The keys of `[private]`.
pub(crate) static PRIVATE: [Key<Config>; 7] = [
    Key {
        path: "private.listen",
        place: Place::Places(|c| (&mut c.private_listen, &mut c.private_sockets)),
        meaning: "Where publishers connect: 127.0.0.1:8081, /run/ahm, 10.0.0.5:443:tls=required",
    },
    Key {
        path: "private.mode",
        place: Place::Text(|c| &mut c.private_mode, check_mode),
        meaning: "Who may open the file of a socket: 0600 the user, 0660 the group too",
    },
    Key {
        path: "private.hosts",
        place: Place::Texts(|c| &mut c.private_hosts, check_host),
        meaning: "Names that Host may have on a private request, beside the addresses",
    },
    Key {
        path: "private.client_authorities",
        place: Place::Text(|c| &mut c.private_authorities, check_path),
        meaning: "File (PEM) with who certifies publishers; empty: as tls.client_authorities",
    },
    Key {
        path: "private.client_revoked",
        place: Place::Text(|c| &mut c.private_revoked, check_path),
        meaning: "File (PEM) with what those of private.client_authorities have revoked",
    },
    Key {
        path: "private.token",
        place: Place::Token(|c| &mut c.token),
        meaning: "What publishers show as 'Authorization: Bearer'; empty for nothing",
    },
    Key {
        path: "private.token_file",
        place: Place::Text(|c| &mut c.token_file, check_path),
        meaning: "A file of tokens and certificates: NAME, TOKEN or cert:NAME, RIGHTS a line",
    },
];

/// The keys of `[limits]`.
pub(crate) static LIMITS: [Key<Config>; 7] = [
    Key {
        path: "limits.connections",
        place: Place::SmallCount(|c| &mut c.protocol.limits.connections, 0, LIMIT_MAX),
        meaning: "Connections of one address (IPv6: of one /64); 0 for no bound, as for all here",
    },
    Key {
        path: "limits.handshakes",
        place: Place::SmallCount(|c| &mut c.protocol.limits.handshakes, 0, LIMIT_MAX),
        meaning: "TLS handshakes of one address a second; those of 5 s may come at once",
    },
    Key {
        path: "limits.logins",
        place: Place::SmallCount(|c| &mut c.protocol.limits.logins, 0, LIMIT_MAX),
        meaning: "New sessions of one address a second; those of 5 s may come at once",
    },
    Key {
        path: "limits.sessions",
        place: Place::SmallCount(|c| &mut c.protocol.limits.sessions, 0, LIMIT_MAX),
        meaning: "Sessions of one user",
    },
    Key {
        path: "limits.commands",
        place: Place::SmallCount(|c| &mut c.protocol.limits.commands, 0, LIMIT_MAX),
        meaning: "Commands of one session a second; those of 5 s may come at once",
    },
    Key {
        path: "limits.body_bytes",
        place: Place::SmallCount(|c| &mut c.protocol.limits.body_bytes, 0, LIMIT_MAX),
        meaning: "Bytes a second that a command's body must bring beyond its body_timeout",
    },
    Key {
        path: "limits.exempt",
        place: Place::Texts(|c| &mut c.protocol.limits.exempt, check_network),
        meaning: "Networks whose addresses are not bounded here, as those of load balancers",
    },
];
