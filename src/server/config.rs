//! Configuration: everything an operator decides, fully typed once it exists.
//!
//! `config_load` reads it from a TOML file, the environment and flags; `config_keys` describes
//! every key once, for the parser, the help and the printed defaults alike.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use crate::auth::access::Lists;
use crate::base::time::Span;
use crate::proto::settings::{History, Settings};
pub use crate::proto::token::Token;
pub use crate::server::auth::AuthConfig;
pub use crate::server::config_listen::Listen;
pub use crate::server::registry::RegistryConfig;
pub use crate::server::relay::RelayConfig;
pub use crate::server::tls::TlsConfig;

/// Everything that an operator decides.
///
/// ```
/// use ahm::server::config::{Config, ResourceConfig, ResourceKind};
///
/// let mut config = Config::default();
/// config.listen = vec!["127.0.0.1:0".parse().unwrap()];
/// config.resources.push(ResourceConfig::new("quotes", ResourceKind::Feed));
/// assert_eq!(config.shards, 0); // one per core
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where clients connect.
    pub listen: Vec<Listen>,
    /// Where publishers and tools connect; of the options of a listener only TLS.
    pub private_listen: Vec<Listen>,
    /// The same through sockets in the file system: the files.
    pub private_sockets: Vec<PathBuf>,
    /// Who may open these files, as in `chmod`: `0600`. Whoever may does everything without a
    /// token, unless everybody may.
    pub private_mode: String,
    /// Names that the `Host` of a private request may have beside the addresses themselves.
    pub private_hosts: Vec<String>,
    /// What a private request must show as `Authorization: Bearer`; `None` asks for nothing.
    pub token: Option<Token>,
    /// Authorities that may certify who comes to private listeners, a file of PEM; empty: those of
    /// [`TlsConfig::client_authorities`].
    pub private_authorities: String,
    /// What those have revoked, a file of PEM; empty for none.
    pub private_revoked: String,
    /// A file of tokens and certificates with the rights of each, as
    /// [`Passes::parse`](crate::auth::passes::Passes::parse) reads it; empty for none.
    pub token_file: String,
    /// Whom the process becomes once it listens; empty: it stays who it is.
    pub user: String,
    /// The group that it has then; empty: that of the user.
    pub group: String,
    /// Whether `ahm serve` may leave a core file when it crashes.
    pub core_files: bool,
    /// Reactor threads; 0 for one per core.
    pub shards: usize,
    /// Whether each shard stays on a core of its own.
    pub pin: bool,
    /// How long clients have to go elsewhere when the server is asked to stop; zero: no time.
    pub drain: Span,
    /// The registry in which resources are found, and how they are.
    pub registry: RegistryConfig,
    /// How TLS protects the listeners that say so.
    pub tls: TlsConfig,
    /// The web servers that get what is no command.
    pub relay: RelayConfig,
    /// How clients prove who they are.
    pub auth: AuthConfig,
    /// Who may read what, a rule of `manual::access` each; empty for everybody everything.
    pub access: Vec<String>,
    /// The protocol core.
    pub protocol: Settings,
    /// The resources that this server serves, each name once.
    pub resources: Vec<ResourceConfig>,
    /// What is told to the operator, and how.
    pub log: Log,
}

impl Config {
    /// The access lists, ready to be asked.
    ///
    /// # Errors
    ///
    /// What is wrong with them; a configuration that was read has none such.
    ///
    /// ```
    /// use ahm::server::config::Config;
    /// let config = Config { access: vec!["allow fx".into()], ..Config::default() };
    /// let wanted = "access.rules: rule 1, column 7: \"fx\" is no RESOURCE/SUBJECT";
    /// assert!(config.access_lists().unwrap_err().starts_with(wanted));
    /// ```
    pub fn access_lists(&self) -> Result<Lists, String> {
        let own = self.resources.iter().map(|one| (one.name.as_str(), one.access.as_slice()));
        Lists::parse(&self.access, own).map_err(|(resource, error)| match resource {
            Some(resource) => format!("access of the resource {resource}: {error}"),
            None => format!("access.rules: {error}"),
        })
    }
}

impl Default for Config {
    fn default() -> Self {
        let v4 = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let v6 = |port| SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port);
        Self {
            listen: vec![v4(8080).into(), v6(8080).into()],
            private_listen: vec![v4(8081).into()],
            private_sockets: Vec::new(),
            private_mode: "0600".into(),
            private_hosts: vec!["localhost".into()],
            private_authorities: String::new(),
            private_revoked: String::new(),
            token: None,
            token_file: String::new(),
            user: String::new(),
            group: String::new(),
            core_files: false,
            shards: 0,
            pin: false,
            drain: Span::from_secs(5),
            registry: RegistryConfig::default(),
            tls: TlsConfig::default(),
            relay: RelayConfig::default(),
            auth: AuthConfig::default(),
            access: Vec::new(),
            // A server that nobody has named takes a random name at its start.
            protocol: Settings { scs: String::new(), ..Settings::default() },
            resources: vec![
                ResourceConfig::new("echo", ResourceKind::Echo),
                ResourceConfig::new("board", ResourceKind::Board),
            ],
            log: Log::default(),
        }
    }
}

/// What a resource does with what consumers send to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// Answers each consumer with its own messages, on a private topic.
    Echo,
    /// Publishes what anybody sends to all readers of the subject.
    Board,
    /// Is fed through the private listener; consumers only read.
    Feed,
}

impl ResourceKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Echo, Self::Board, Self::Feed];

    /// The word in the configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Board => "board",
            Self::Feed => "feed",
        }
    }

    /// The kind of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// One resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceConfig {
    /// Its name: 1 to 64 of `[A-Za-z0-9_.$-]`.
    pub name: String,
    /// What it does.
    pub kind: ResourceKind,
    /// How much of each topic's past is kept, where it differs from `protocol.history`.
    pub history: Option<History>,
    /// Whether readers may use `latest` and `rate`, which pass over messages.
    pub latest: bool,
    /// Whether each message is the whole present state (a quote, not a trade), so that a new
    /// channel begins with the newest one.
    pub state: bool,
    /// Who may read it, a rule of `manual::access` each whose patterns are of subjects; empty for
    /// everybody whom [`Config::access`] allows.
    pub access: Vec<String>,
}

impl ResourceConfig {
    /// A resource with the defaults of its kind: a feed may be read `latest`, the others not.
    pub fn new(name: impl Into<String>, kind: ResourceKind) -> Self {
        let latest = kind == ResourceKind::Feed;
        Self { name: name.into(), kind, history: None, latest, state: false, access: Vec::new() }
    }
}

/// What is told to the operator, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The least important message that is still told.
    pub level: Level,
    /// The form of a message.
    pub format: LogFormat,
}

/// How important a message to the operator is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing is told.
    Off,
    /// The server cannot do what it should.
    Error,
    /// Something needs a look.
    Warn,
    /// Start, stop, and what an operator did.
    #[default]
    Info,
    /// Each connection's fate.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// Every level, the quietest first.
    pub const ALL: [Self; 6] =
        [Self::Off, Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The word in the configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// The same for the `log` crate.
    pub const fn filter(self) -> log::LevelFilter {
        match self {
            Self::Off => log::LevelFilter::Off,
            Self::Error => log::LevelFilter::Error,
            Self::Warn => log::LevelFilter::Warn,
            Self::Info => log::LevelFilter::Info,
            Self::Debug => log::LevelFilter::Debug,
            Self::Trace => log::LevelFilter::Trace,
        }
    }
}

/// The form of a message to the operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LogFormat {
    /// For people: one line of text.
    #[default]
    Text,
    /// For programs: one JSON object a line.
    Json,
}

impl LogFormat {
    /// Every form.
    pub const ALL: [Self; 2] = [Self::Text, Self::Json];

    /// The word in the configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}
