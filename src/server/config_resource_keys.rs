//! Every key of a resource in the configuration, once.

use crate::base::time::Span;
use crate::proto::settings::History;
use crate::server::config::ResourceConfig;
use crate::server::config_check::{check_name, check_own_rules};
use crate::server::config_key::{Key, Place};

/// A resource while its keys are read.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The resource so far.
    pub resource: ResourceConfig,
    /// Its history so far.
    pub history: History,
}

/// The longest age of a message that can be asked for.
const MAX_AGE: Span = Span::from_secs(30 * 24 * 3600);

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
        place: Place::Span(|d| &mut d.history.age_max, Span::ZERO, MAX_AGE),
        meaning: "How long a message is kept, instead of protocol.history.age",
    },
];
