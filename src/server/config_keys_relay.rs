//! The keys of `[relay]`.

use crate::base::time::Span;
use crate::server::config::Config;
use crate::server::config_check::check_path;
use crate::server::config_key::{Key, Place};
use crate::server::config_keys::{DAY, GIB, HOUR, MINUTE, MS};
use crate::server::relay::{check_host_rule, check_network, check_rule, check_upgrade};
use crate::server::relay_server::{check_server, check_server_name};

/// The keys of `[relay]`.
pub(crate) static RELAY: [Key<Config>; 17] = [
    Key {
        path: "relay.to",
        place: Place::Texts(|c| &mut c.relay.to, check_server),
        meaning: "Web servers that get what is no command: http[s]://HOST:PORT, unix:/PATH",
    },
    Key {
        path: "relay.server_name",
        place: Place::Text(|c| &mut c.relay.server_name, check_server_name),
        meaning: "The name in the certificates of https web servers; empty: as in relay.to",
    },
    Key {
        path: "relay.authorities",
        place: Place::Text(|c| &mut c.relay.authorities, check_path),
        meaning: "File (PEM) with who certifies https web servers; empty: the system's",
    },
    Key {
        path: "relay.host",
        place: Place::Text(|c| &mut c.relay.host, check_host_rule),
        meaning: "What web servers see as Host: 'keep' for what the client sent, or this",
    },
    Key {
        path: "relay.connect_timeout",
        place: Place::Span(|c| &mut c.relay.connect_timeout, MS.times(10), MINUTE),
        meaning: "How long a connect may take, or the wait for a free connection",
    },
    Key {
        path: "relay.answer_timeout",
        place: Place::Span(|c| &mut c.relay.answer_timeout, MS.times(10), HOUR),
        meaning: "The answer begins within this after the request was sent; beyond: 504",
    },
    Key {
        path: "relay.idle_timeout",
        place: Place::Span(|c| &mut c.relay.idle_timeout, MS.times(10), DAY),
        meaning: "How long an answer, an upload or a WebSocket may stand still",
    },
    Key {
        path: "relay.keep",
        place: Place::Span(|c| &mut c.relay.keep, Span::ZERO, HOUR),
        meaning: "How long an unused connection is kept; shorter than web servers keep it",
    },
    Key {
        path: "relay.body_bytes_max",
        place: Place::Size(|c| &mut c.relay.body_bytes_max, 0, 1024 * GIB),
        meaning: "Bytes of a relayed request's body; beyond: 413",
    },
    Key {
        path: "relay.connections_max",
        place: Place::Count(|c| &mut c.relay.connections_max, 1, 1 << 16),
        meaning: "Connections to each web server, per shard",
    },
    Key {
        path: "relay.waiting_max",
        place: Place::Count(|c| &mut c.relay.waiting_max, 0, 1 << 16),
        meaning: "Requests that may wait for one, per shard; beyond: 503",
    },
    Key {
        path: "relay.trust",
        place: Place::Texts(|c| &mut c.relay.trust, check_network),
        meaning: "Networks of proxies before us whose X-Forwarded-For is believed",
    },
    Key {
        path: "relay.upgrade",
        place: Place::Texts(|c| &mut c.relay.upgrade, check_upgrade),
        meaning: "What a client's connection may be upgraded to",
    },
    Key {
        path: "relay.log",
        place: Place::Access(|c| &mut c.relay.log),
        meaning: "The access log of relayed requests, among the messages",
    },
    Key {
        path: "relay.root",
        place: Place::Text(|c| &mut c.relay.root, check_path),
        meaning: "A directory whose files are served instead of a web server's; empty: none",
    },
    Key {
        path: "relay.map",
        place: Place::Texts(|c| &mut c.relay.map, check_rule),
        meaning: "URLs of clients => of web servers: /shop/ => /, a.example/ => b.example/app/",
    },
    Key {
        path: "relay.map_pages",
        place: Place::Flag(|c| &mut c.relay.map_pages),
        meaning: "Whether links in pages that come by such a URL are mapped too",
    },
];
