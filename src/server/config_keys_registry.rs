//! The keys of `[registry]`.

use crate::base::time::Span;
use crate::server::config::Config;
use crate::server::config_check::{check_address, check_path};
use crate::server::config_key::{Key, Place};
use crate::server::config_keys::{HOUR, MS};
use crate::server::registry_tls::check_certificate;
use crate::server::relay_server::check_server_name;

/// The keys of `[registry]`.
pub(crate) static REGISTRY: [Key<Config>; 11] = [
    Key {
        path: "registry.listen",
        place: Place::Doors(|c| &mut c.registry.listen),
        meaning: "Where resources register and are found: IP:PORT[:tls], unix:/PATH; off for none",
    },
    Key {
        path: "registry.guests",
        place: Place::Doors(|c| &mut c.registry.guests),
        meaning: "Where resource servers dial in, without any registry; off for nowhere",
    },
    Key {
        path: "registry.key_file",
        place: Place::Text(|c| &mut c.registry.key_file, check_path),
        meaning: "The file with the key that all must show there; empty: loopback needs none",
    },
    Key {
        path: "registry.client_authorities",
        place: Place::Text(|c| &mut c.registry.client_authorities, check_path),
        meaning: "File (PEM) with who must certify whoever dials in by TLS; empty: nobody must",
    },
    Key {
        path: "registry.authorities",
        place: Place::Text(|c| &mut c.registry.authorities, check_path),
        meaning: "File (PEM) with who certifies those whom this server dials at IP:PORT:tls",
    },
    Key {
        path: "registry.server_name",
        place: Place::Text(|c| &mut c.registry.server_name, check_server_name),
        meaning: "The name in their certificates; empty: the address that is dialled",
    },
    Key {
        path: "registry.certificate",
        place: Place::Text(|c| &mut c.registry.certificate, check_certificate),
        meaning: "\"CHAIN.pem KEY.pem\" that is shown there if one is asked for; empty: none",
    },
    Key {
        path: "registry.ask",
        place: Place::Texts(|c| &mut c.registry.ask, check_address),
        meaning: "Registries that are asked for resources, IP:PORT[:tls], unix:PATH; none: the own",
    },
    Key {
        path: "registry.heartbeat",
        place: Place::Span(|c| &mut c.registry.heartbeat, MS.times(100), HOUR),
        meaning: "How often registry and server let themselves be heard; thrice that is silence",
    },
    Key {
        path: "registry.retry",
        place: Place::Span(|c| &mut c.registry.retry, MS.times(10), HOUR),
        meaning: "How long a lost registry, or a subject without an instance, is left alone",
    },
    Key {
        path: "registry.patience",
        place: Place::Span(|c| &mut c.registry.patience, Span::ZERO, HOUR),
        meaning: "How long a subject may be without an instance before its channels end",
    },
];
