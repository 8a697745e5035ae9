//! The site: what an operator lays down for all relayed requests.

use std::sync::Arc;

use crate::base::time::Span;
use crate::link::address::Address;
use crate::relay::mapping::Rule;
use crate::relay::network::Network;

/// Web servers of a site at most, those included that connections are passed on to: which of them a
/// request has tried is kept in 64 bits.
pub const SERVERS_MAX: usize = 64;

/// What the web server sees as `Host`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostRule {
    /// What the client asked for.
    #[default]
    Keep,
    /// Always this.
    Set(String),
}

/// Whether relayed requests are told to the operator, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AccessLog {
    /// Not at all.
    #[default]
    Off,
    /// One line of text each.
    Text,
    /// One JSON object a line.
    Json,
}

impl AccessLog {
    /// Every form.
    pub const ALL: [Self; 3] = [Self::Off, Self::Text, Self::Json];

    /// The word in the configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// What is laid down for all relayed requests; the same on every shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The web servers; with none nothing is relayed.
    pub servers: Vec<Address>,
    /// Whether they are spoken to by TLS; whoever dials knows how.
    pub secure: bool,
    /// Where connections go that are passed on as they came.
    pub passes: Vec<Address>,
    /// What they see as `Host`.
    pub host: HostRule,
    /// A connection to a web server is there within this span, or the next one is tried.
    pub connect_timeout: Span,
    /// The answer begins within this span after the request was sent.
    pub answer_timeout: Span,
    /// An answer or a tunnel may stand still for so long.
    pub idle_timeout: Span,
    /// The client's body may stand still for so long.
    pub body_timeout: Span,
    /// A connection that nobody uses is kept for so long.
    pub keep: Span,
    /// Bytes of a request's body at most.
    pub body_bytes_max: u64,
    /// Connections to one web server at most, on each shard.
    pub connections_max: usize,
    /// Requests that may wait for a connection, on each shard.
    pub waiting_max: usize,
    /// Whose word on where a request came from is believed.
    pub trust: Vec<Network>,
    /// What a connection may be upgraded to, in lower case.
    pub upgrades: Vec<String>,
    /// Whether relayed requests are told, and how.
    pub log: AccessLog,
    /// URLs that clients know, and what web servers know them as.
    pub map: Arc<[Rule]>,
    /// Whether links in pages are mapped too.
    pub map_pages: bool,
}

impl Default for Site {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            secure: false,
            passes: Vec::new(),
            host: HostRule::Keep,
            connect_timeout: Span::from_secs(3),
            answer_timeout: Span::from_secs(60),
            idle_timeout: Span::from_secs(60),
            body_timeout: Span::from_secs(30),
            keep: Span::from_secs(30),
            body_bytes_max: 1 << 30,
            connections_max: 256,
            waiting_max: 1_024,
            trust: Vec::new(),
            upgrades: vec!["websocket".into()],
            log: AccessLog::Off,
            map: Arc::default(),
            map_pages: false,
        }
    }
}
