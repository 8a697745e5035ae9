//! Every key of the configuration, once: the parts of the file in order, and the longest of them.

use crate::base::id::Mid;
use crate::base::limits;
use crate::base::time::Span;
use crate::proto::settings::History;
use crate::server::config::{Config, ResourceConfig};
use crate::server::config_check::{
    check_account, check_name, check_origin, check_own_rules, check_prefix, check_rules, check_scs,
};
use crate::server::config_key::{Key, Place};
use crate::server::config_keys_auth::AUTH;
use crate::server::config_keys_private::{LIMITS, PRIVATE};
use crate::server::config_keys_registry::REGISTRY;
use crate::server::config_keys_relay::RELAY;
use crate::server::config_keys_tls::TLS;

/// A resource while its keys are read.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The resource so far.
    pub resource: ResourceConfig,
    /// Its history so far.
    pub history: History,
}

pub(crate) const MS: Span = Span::from_millis(1);
pub(crate) const SECOND: Span = Span::from_secs(1);
pub(crate) const MINUTE: Span = Span::from_secs(60);
pub(crate) const HOUR: Span = Span::from_secs(3600);
pub(crate) const DAY: Span = Span::from_secs(24 * 3600);
pub(crate) const KIB: usize = 1 << 10;
pub(crate) const MIB: usize = 1 << 20;
pub(crate) const GIB: usize = 1 << 30;

/// The keys of the configuration, in the order of the printed file, without `[[resource]]`. Those
/// of one table stand together.
///
/// ```
/// use ahm::server::config_keys::keys;
/// assert_eq!(keys().next().unwrap().path, "listen");
/// ```
pub fn keys() -> impl Iterator<Item = &'static Key<Config>> + Clone {
    let parts: [&[Key<Config>]; 10] =
        [&TOP, &PRIVATE, &AUTH, &ACCESS, &LOG, &PROTOCOL, &LIMITS, &TLS, &RELAY, &REGISTRY];
    parts.into_iter().flatten()
}

/// The keys of the server as a whole.
static TOP: [Key<Config>; 7] = [
    Key {
        path: "listen",
        place: Place::Listeners(|c| &mut c.listen),
        meaning: "Where clients connect: 0.0.0.0:443:tls, [::]:81:flush=9ms, [::]:82:raw:proxy",
    },
    Key {
        path: "shards",
        place: Place::Count(|c| &mut c.shards, 0, limits::SHARDS_MAX),
        meaning: "Reactor threads; 0 for one per core",
    },
    Key {
        path: "pin",
        place: Place::Flag(|c| &mut c.pin),
        meaning: "Whether each shard stays on a core of its own",
    },
    Key {
        path: "drain",
        place: Place::Span(|c| &mut c.drain, Span::ZERO, HOUR),
        meaning: "How long clients have to go elsewhere after SIGTERM; 0s: no time",
    },
    Key {
        path: "user",
        place: Place::Text(|c| &mut c.user, check_account),
        meaning: "Whom root becomes once it listens and has read its keys; empty: it stays root",
    },
    Key {
        path: "group",
        place: Place::Text(|c| &mut c.group, check_account),
        meaning: "The group that it has then; empty: that of the user",
    },
    Key {
        path: "core_files",
        place: Place::Flag(|c| &mut c.core_files),
        meaning: "Whether a crash may leave a core file, in which keys and tokens would lie",
    },
];

/// The key of `[access]`.
static ACCESS: [Key<Config>; 1] = [Key {
    path: "access.rules",
    place: Place::Rules(|c| &mut c.access, check_rules),
    meaning: "Who may read what, as in 'allow fx/* group:desk'; none: everybody everything",
}];

/// The keys of `[log]`.
static LOG: [Key<Config>; 2] = [
    Key {
        path: "log.level",
        place: Place::Level(|c| &mut c.log.level),
        meaning: "The least important message that is told",
    },
    Key {
        path: "log.format",
        place: Place::Format(|c| &mut c.log.format),
        meaning: "The form of messages: text for people, json for programs",
    },
];

/// The keys of `[protocol]`.
static PROTOCOL: [Key<Config>; 34] = [
    Key {
        path: "protocol.scs",
        place: Place::Text(|c| &mut c.protocol.scs, check_scs),
        meaning: "This server's id, 1 to 32 of A-Z a-z 0-9 _ -; empty: random at each start",
    },
    Key {
        path: "protocol.prefix",
        place: Place::Text(|c| &mut c.protocol.prefix, check_prefix),
        meaning: "What tells a command from any other request",
    },
    Key {
        path: "protocol.origins",
        place: Place::Texts(|c| &mut c.protocol.origins, check_origin),
        meaning: "Origins that browsers may come from beside our own host; '*' for all",
    },
    Key {
        path: "protocol.key_in_target",
        place: Place::Flag(|c| &mut c.protocol.key_in_target),
        meaning: "Whether k= in the target is taken beside the AHM-Key field",
    },
    Key {
        path: "protocol.seal_without_tls",
        place: Place::Flag(|c| &mut c.protocol.seal_without_tls),
        meaning: "Whether login hands out secrets of sealed sessions without TLS: only for tests",
    },
    Key {
        path: "protocol.heartbeat",
        place: Place::Span(|c| &mut c.protocol.heartbeat, MS.times(100), HOUR),
        meaning: "Heartbeat interval unless the client asks for another",
    },
    Key {
        path: "protocol.heartbeat_min",
        place: Place::Span(|c| &mut c.protocol.heartbeat_min, MS.times(100), HOUR),
        meaning: "The shortest heartbeat interval a client may ask for",
    },
    Key {
        path: "protocol.heartbeat_max",
        place: Place::Span(|c| &mut c.protocol.heartbeat_max, MS.times(100), HOUR),
        meaning: "The longest heartbeat interval a client may ask for",
    },
    Key {
        path: "protocol.flush",
        place: Place::Span(|c| &mut c.protocol.flush, Span::ZERO, MINUTE),
        meaning: "How long messages wait for more unless client or listener say otherwise",
    },
    Key {
        path: "protocol.flush_max",
        place: Place::Span(|c| &mut c.protocol.flush_max, Span::ZERO, MINUTE),
        meaning: "The longest such wait, whatever a client asks for; 0s: nothing waits",
    },
    Key {
        path: "protocol.refresh",
        place: Place::Span(|c| &mut c.protocol.refresh, SECOND, DAY),
        meaning: "How long a document lives before its client should refresh it",
    },
    Key {
        path: "protocol.linger",
        place: Place::Span(|c| &mut c.protocol.linger, Span::ZERO, DAY),
        meaning: "How long a session without a document is kept",
    },
    Key {
        path: "protocol.drop_intervals",
        place: Place::SmallCount(|c| &mut c.protocol.drop_intervals, 1, 100),
        meaning: "Heartbeats without progress after which a document is dropped",
    },
    Key {
        path: "protocol.client_heartbeat",
        place: Place::Flag(|c| &mut c.protocol.client_heartbeat),
        meaning: "Whether clients must be heard once in every heartbeat interval",
    },
    Key {
        path: "protocol.warn_intervals",
        place: Place::SmallCount(|c| &mut c.protocol.warn_intervals, 1, 100),
        meaning: "Heartbeats that did not come from a client after which it is counted",
    },
    Key {
        path: "protocol.head_timeout",
        place: Place::Span(|c| &mut c.protocol.head_timeout, MS.times(100), HOUR),
        meaning: "A request's head must arrive within this after its first byte",
    },
    Key {
        path: "protocol.body_timeout",
        place: Place::Span(|c| &mut c.protocol.body_timeout, MS.times(100), HOUR),
        meaning: "A request's body must make progress within this; see limits.body_bytes",
    },
    Key {
        path: "protocol.idle_timeout",
        place: Place::Span(|c| &mut c.protocol.idle_timeout, MS.times(100), DAY),
        meaning: "How long a kept connection may wait for its next request",
    },
    Key {
        path: "protocol.payload_bytes_max",
        place: Place::Size(|c| &mut c.protocol.payload_bytes_max, 1, limits::PAYLOAD_BYTES_MAX),
        meaning: "Bytes of one message",
    },
    Key {
        path: "protocol.batch_bytes_max",
        place: Place::Size(|c| &mut c.protocol.batch_bytes_max, KIB, limits::BATCH_BYTES_MAX),
        meaning: "Bytes of the body of a batch",
    },
    Key {
        path: "protocol.history_bytes_max",
        place: Place::Size(|c| &mut c.protocol.history_bytes_max, 64 * KIB, 1024 * GIB),
        meaning: "Bytes of all histories together; the oldest goes first",
    },
    Key {
        path: "protocol.stalled_bytes_max",
        place: Place::Size(|c| &mut c.protocol.stalled_bytes_max, 64 * KIB, 1024 * GIB),
        meaning: "Bytes that all stalled streams hold; who stalls longest is dropped first",
    },
    Key {
        path: "protocol.send_window",
        place: Place::SmallCount(|c| &mut c.protocol.send_window, 1, 10_000),
        meaning: "Numbered sends of a session that may wait for their turn",
    },
    Key {
        path: "protocol.send_window_bytes",
        place: Place::Size(|c| &mut c.protocol.send_window_bytes, KIB, 64 * MIB),
        meaning: "Bytes of such sends",
    },
    Key {
        path: "protocol.skip",
        place: Place::Span(|c| &mut c.protocol.skip, MS, HOUR),
        meaning: "A gap in numbered sends that does not fill within this is given up",
    },
    Key {
        path: "protocol.connections_max",
        place: Place::Count(|c| &mut c.protocol.connections_max, 1, 1 << 21),
        meaning: "Connections per shard, of all addresses; see limits.connections for each",
    },
    Key {
        path: "protocol.sessions_max",
        place: Place::Count(|c| &mut c.protocol.sessions_max, 1, Mid::SLOT_END as usize),
        meaning: "Sessions per shard",
    },
    Key {
        path: "protocol.topics_max",
        place: Place::Count(|c| &mut c.protocol.topics_max, 1, 1 << 22),
        meaning: "Topics per shard",
    },
    Key {
        path: "protocol.channels_max",
        place: Place::Count(|c| &mut c.protocol.channels_max, 1, limits::CHANNELS_MAX),
        meaning: "Channels per session",
    },
    Key {
        path: "protocol.topic_grace",
        place: Place::Span(|c| &mut c.protocol.topic_grace, Span::ZERO, DAY),
        meaning: "How long a topic without subscriber or history is kept",
    },
    Key {
        path: "protocol.return_spread",
        place: Place::Span(|c| &mut c.protocol.return_spread, Span::ZERO, HOUR),
        meaning: "At shutdown clients come back after a random wait up to this",
    },
    Key {
        path: "protocol.history.messages",
        place: Place::SmallCount(|c| &mut c.protocol.history.messages_max, 1, 1 << 24),
        meaning: "Messages kept per topic",
    },
    Key {
        path: "protocol.history.bytes",
        place: Place::SmallSize(|c| &mut c.protocol.history.bytes_max, 0, 1 << 30),
        meaning: "Bytes of frames kept per topic; the newest message always stays",
    },
    Key {
        path: "protocol.history.age",
        place: Place::Span(|c| &mut c.protocol.history.age_max, Span::ZERO, DAY.times(30)),
        meaning: "How long a message is kept; the newest always stays",
    },
];

/// The keys of a `[[resource]]`. `kind` decides the default of `latest`.
pub static RESOURCE_KEYS: [Key<Draft>; 8] = [
    Key {
        path: "name",
        place: Place::Text(|d| &mut d.resource.name, check_name),
        meaning: "Its name, 1 to 64 of A-Z a-z 0-9 _ . $ -",
    },
    Key {
        path: "kind",
        place: Place::Kind(|d| &mut d.resource.kind),
        meaning: "echo answers, board passes on to all, feed is fed by publishers",
    },
    Key {
        path: "latest",
        place: Place::Flag(|d| &mut d.resource.latest),
        meaning: "Whether readers may skip messages, by latest and rate (default: feeds only)",
    },
    Key {
        path: "state",
        place: Place::Flag(|d| &mut d.resource.state),
        meaning: "Whether a message is the whole state: new channels begin with the newest",
    },
    Key {
        path: "access",
        place: Place::Rules(|d| &mut d.resource.access, check_own_rules),
        meaning: "Who may read it, as in 'allow EUR* user:*'; access.rules must allow too",
    },
    Key {
        path: "history.messages",
        place: Place::SmallCount(|d| &mut d.history.messages_max, 1, 1 << 24),
        meaning: "Messages kept per topic, instead of protocol.history.messages",
    },
    Key {
        path: "history.bytes",
        place: Place::SmallSize(|d| &mut d.history.bytes_max, 0, 1 << 30),
        meaning: "Bytes of frames kept per topic, instead of protocol.history.bytes",
    },
    Key {
        path: "history.age",
        place: Place::Span(|d| &mut d.history.age_max, Span::ZERO, DAY.times(30)),
        meaning: "How long a message is kept, instead of protocol.history.age",
    },
];
