//! What an operator may change about the protocol core, already validated.

use std::sync::Arc;

use crate::auth::access::Lists;
use crate::auth::passes::Passes;
use crate::base::limits;
use crate::base::time::Span;
use crate::proto::limits::Bounds;
use crate::proto::token::Token;

/// How much of a topic's past is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Messages at most.
    pub messages_max: u32,
    /// Bytes of frames at most; the newest message always stays.
    pub bytes_max: u32,
    /// Age at most; the newest message always stays.
    pub age_max: Span,
}

impl Default for History {
    fn default() -> Self {
        Self { messages_max: 128, bytes_max: 64 * 1024, age_max: Span::from_secs(60) }
    }
}

/// The settings of the protocol core; the same on every shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// This communication server's id: 1 to 32 of `[A-Za-z0-9_-]`.
    pub scs: String,
    /// What tells a command from any other request; begins and ends with a slash.
    pub prefix: String,
    /// Origins (`https://example.org`) that browsers may come from; `*` stands for all. A request
    /// whose `Origin` is the server's own host needs no entry.
    pub origins: Vec<String>,
    /// Whether `k=` in the target is accepted beside the `AHM-Key` field.
    pub key_in_target: bool,
    /// Whether `login` hands out the secret of a sealed session over a connection that TLS does not
    /// protect, where whoever listens has it too: for tests on one machine, and behind a proxy that
    /// ends TLS.
    pub seal_without_tls: bool,
    /// Heartbeat interval unless the client asks for another.
    pub heartbeat: Span,
    /// The shortest heartbeat interval that a client may ask for.
    pub heartbeat_min: Span,
    /// The longest heartbeat interval that a client may ask for.
    pub heartbeat_max: Span,
    /// How long messages wait for more, so that one write carries them all, unless the client or
    /// its listener says otherwise; zero: not at all. Whole milliseconds count.
    pub flush: Span,
    /// The longest such wait, whoever asks for it.
    pub flush_max: Span,
    /// How long a document may live before its client should refresh it.
    pub refresh: Span,
    /// How long a session without a document is kept.
    pub linger: Span,
    /// A document whose socket made no progress for this many intervals is dropped.
    pub drop_intervals: u32,
    /// Whether clients must be heard once in every heartbeat interval.
    pub client_heartbeat: bool,
    /// A client that was not heard for this many intervals, where it must be, is counted as quiet.
    pub warn_intervals: u32,
    /// A request's head must arrive within this span after its first byte.
    pub head_timeout: Span,
    /// A request's body must make progress within this span, and from then on come as fast as
    /// [`Bounds::body_bytes`] says.
    pub body_timeout: Span,
    /// A kept connection may wait this long for its next request.
    pub idle_timeout: Span,
    /// Bytes of one message's payload at most.
    pub payload_bytes_max: usize,
    /// Bytes of the body of a batch at most.
    pub batch_bytes_max: usize,
    /// History kept for a topic whose resource says nothing else.
    pub history: History,
    /// All histories together, in bytes, shared out among the shards; the oldest goes first.
    pub history_bytes_max: usize,
    /// What all stalled documents together may hold of what their sockets do not take, in bytes,
    /// shared out among the shards; who has made no progress for longest goes first.
    pub stalled_bytes_max: usize,
    /// Numbered sends that may wait for their turn, per session.
    pub send_window: u32,
    /// Bytes of numbered sends that may wait for their turn, per session.
    pub send_window_bytes: usize,
    /// A gap in the numbers that does not fill within this span is given up.
    pub skip: Span,
    /// Connections per shard at most.
    pub connections_max: usize,
    /// Sessions per shard at most.
    pub sessions_max: usize,
    /// Topics per shard at most.
    pub topics_max: usize,
    /// Channels per session at most.
    pub channels_max: usize,
    /// Names that the private listener may be called by, beside addresses and `localhost`.
    pub private_hosts: Vec<String>,
    /// A token that may do everything there; `None` where there is none, or the listener's address
    /// is protection enough.
    pub private_token: Option<Token>,
    /// Who may read what; [`Hub::set_access`](crate::proto::hub::Hub::set_access) changes it later.
    pub access: Arc<Lists>,
    /// Tokens and certificates that may do something there.
    pub private_passes: Arc<Passes>,
    /// What clients may have and do at most.
    pub limits: Bounds,
    /// How long a topic without a subscriber or a history is kept.
    pub topic_grace: Span,
    /// At shutdown clients are asked to come back after a random wait up to this.
    pub return_spread: Span,
}

impl Settings {
    /// Bytes of a line with a payload or positions at most: what HTTP lets stand in a body is
    /// percent-encoded there.
    pub fn line_bytes_max(&self) -> usize {
        let encoded = self.payload_bytes_max.saturating_mul(3).max(self.batch_bytes_max);
        limits::TARGET_BYTES_MAX.saturating_add(encoded)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            scs: "ahm".into(),
            prefix: "/ahm/".into(),
            origins: Vec::new(),
            key_in_target: true,
            seal_without_tls: false,
            heartbeat: Span::from_secs(15),
            heartbeat_min: Span::from_millis(500),
            heartbeat_max: Span::from_secs(120),
            flush: Span::ZERO,
            flush_max: Span::from_secs(1),
            refresh: Span::from_secs(240),
            linger: Span::from_secs(60),
            drop_intervals: 4,
            client_heartbeat: false,
            warn_intervals: 2,
            head_timeout: Span::from_secs(10),
            body_timeout: Span::from_secs(30),
            idle_timeout: Span::from_secs(75),
            payload_bytes_max: limits::PAYLOAD_BYTES_MAX,
            batch_bytes_max: limits::BATCH_BYTES_MAX,
            history: History::default(),
            history_bytes_max: 256 * 1024 * 1024,
            stalled_bytes_max: 256 * 1024 * 1024,
            send_window: 64,
            send_window_bytes: 256 * 1024,
            skip: Span::from_secs(5),
            connections_max: 20_000,
            sessions_max: 100_000,
            topics_max: 100_000,
            channels_max: 1_000,
            private_hosts: Vec::new(),
            private_token: None,
            access: Arc::default(),
            private_passes: Arc::default(),
            limits: Bounds::default(),
            topic_grace: Span::from_secs(60),
            return_spread: Span::from_secs(3),
        }
    }
}
