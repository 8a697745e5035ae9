//! The web servers behind a server, as the configuration has them.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::base::time::Span;
use crate::files::server::FileServer;
use crate::http::target::Authority;
use crate::link::address::Address;
use crate::proto::settings::Settings;
use crate::relay::mapping::Rule;
use crate::relay::network::Network;
use crate::relay::site::{HostRule, SERVERS_MAX, Site};

pub use crate::relay::site::AccessLog;

/// The word for the client's own `Host`.
const KEEP: &str = "keep";
/// What an address of a web server begins with, unless it is a Unix socket.
const SCHEME: &str = "http://";

/// What becomes of requests that are no commands.
///
/// ```
/// use ahm::server::relay::RelayConfig;
/// let config = RelayConfig { to: vec!["http://127.0.0.1:3000".into()], ..RelayConfig::default() };
/// assert!(config.is_on());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// The web servers: `http://IP:PORT`, `unix:/PATH`. None: nothing is relayed.
    pub to: Vec<String>,
    /// What they see as `Host`: `keep`, or always this.
    pub host: String,
    /// A connection to a web server is there within this span, or the next one is tried.
    pub connect_timeout: Span,
    /// The answer begins within this span after the request was sent.
    pub answer_timeout: Span,
    /// An answer or a tunnel may stand still for so long.
    pub idle_timeout: Span,
    /// How long a connection to a web server is kept that nobody uses.
    pub keep: Span,
    /// Bytes of a request's body at most.
    pub body_bytes_max: usize,
    /// Connections to one web server at most, on each shard.
    pub connections_max: usize,
    /// Requests that may wait for a connection, on each shard.
    pub waiting_max: usize,
    /// Networks whose word on where a request came from is believed.
    pub trust: Vec<String>,
    /// What a connection may be upgraded to.
    pub upgrade: Vec<String>,
    /// Whether relayed requests are told, and how.
    pub log: AccessLog,
    /// A directory whose files are served where there is no web server; empty for none.
    pub root: String,
    /// URLs that clients know, and what web servers know them as: `[HOST]/PATH/ => [HOST]/PATH/`.
    pub map: Vec<String>,
    /// Whether links in pages are mapped too.
    pub map_pages: bool,
}

impl Default for RelayConfig {
    fn default() -> Self {
        let site = Site::default();
        Self {
            to: Vec::new(),
            host: KEEP.into(),
            connect_timeout: site.connect_timeout,
            answer_timeout: site.answer_timeout,
            idle_timeout: site.idle_timeout,
            keep: site.keep,
            body_bytes_max: site.body_bytes_max as usize,
            connections_max: site.connections_max,
            waiting_max: site.waiting_max,
            trust: Vec::new(),
            upgrade: site.upgrades,
            log: site.log,
            root: String::new(),
            map: Vec::new(),
            map_pages: site.map_pages,
        }
    }
}

impl RelayConfig {
    /// Whether there is a web server, or a directory in its place.
    pub const fn is_on(&self) -> bool {
        !self.to.is_empty() || !self.root.is_empty()
    }

    /// Serves the directory, if there is one.
    ///
    /// # Errors
    ///
    /// When it cannot be served.
    pub(crate) fn serve_root(&self) -> io::Result<Option<FileServer>> {
        if self.root.is_empty() {
            return Ok(None);
        }
        let named = |error: io::Error| io::Error::new(error.kind(), format!("relay.root: {error}"));
        FileServer::start(Path::new(&self.root)).map(Some).map_err(named)
    }

    /// The addresses of the web servers.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        self.to.iter().filter_map(|text| server(text).ok()).collect()
    }

    /// What all web servers see as `Host`; `None`: what the client sent.
    pub(crate) fn host_for_all(&self) -> Option<&str> {
        Some(self.host.as_str()).filter(|host| *host != KEEP)
    }

    /// The site for the shards; `None` where nothing is relayed. What is no address was refused
    /// when the configuration was checked.
    pub(crate) fn site(
        &self,
        protocol: &Settings,
        files: Option<&FileServer>,
    ) -> Option<Arc<Site>> {
        let named = self.to.iter().filter_map(|text| server(text).ok());
        let own = files.map(|files| Address::Unix(files.path().into()));
        let servers: Vec<_> = named.chain(own).collect();
        if servers.is_empty() {
            return None;
        }
        let host =
            if self.host == KEEP { HostRule::Keep } else { HostRule::Set(self.host.clone()) };
        Some(Arc::new(Site {
            servers,
            host,
            connect_timeout: self.connect_timeout,
            answer_timeout: self.answer_timeout,
            idle_timeout: self.idle_timeout,
            body_timeout: protocol.body_timeout,
            keep: self.keep,
            body_bytes_max: self.body_bytes_max as u64,
            connections_max: self.connections_max,
            waiting_max: self.waiting_max,
            trust: self.trust.iter().filter_map(|text| text.parse().ok()).collect(),
            upgrades: self.upgrade.iter().map(|word| word.to_ascii_lowercase()).collect(),
            log: self.log,
            map: self.map.iter().filter_map(|text| text.parse().ok()).collect(),
            map_pages: self.map_pages,
        }))
    }

    /// What the values do not say each for itself.
    ///
    /// # Errors
    /// The key that is wrong, and why.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        if !self.to.is_empty() && !self.root.is_empty() {
            let what = "files are served where there is no web server: leave out this or relay.to";
            return Err(("relay.root", what.into()));
        }
        if self.to.len() > SERVERS_MAX {
            let count = self.to.len();
            return Err(("relay.to", format!("{count} web servers, at most {SERVERS_MAX}")));
        }
        let twice = self.to.iter().enumerate().find(|(at, one)| self.to[..*at].contains(one));
        match twice {
            Some((_, one)) => Err(("relay.to", format!("{one:?} is there twice"))),
            None => Ok(()),
        }
    }
}

/// Reads the address of a web server.
fn server(text: &str) -> Result<Address, String> {
    let wrong = || {
        format!(
            "{text:?} is no web server: give http://IP:PORT or unix:/PATH (an address, no name)"
        )
    };
    if text.starts_with("https://") {
        return Err(format!(
            "{text:?}: web servers are spoken to without encryption: give http://"
        ));
    }
    let address = match text.strip_prefix(SCHEME) {
        Some(rest) => rest.strip_suffix('/').unwrap_or(rest),
        None if text.starts_with("unix:") => text,
        None => return Err(wrong()),
    };
    match address.parse() {
        Ok(Address::Tcp(tcp)) if tcp.port() == 0 => Err(format!("{text:?}: port 0 is no port")),
        Ok(address) => Ok(address),
        Err(_) => Err(wrong()),
    }
}

/// Whether a text is the address of a web server.
pub(crate) fn check_server(text: &str) -> Result<(), String> {
    server(text).map(drop)
}

/// Whether a text says what web servers see as `Host`.
pub(crate) fn check_host_rule(text: &str) -> Result<(), String> {
    let fits = text == KEEP || Authority::parse(text).is_some();
    fits.then_some(()).ok_or_else(|| format!("{text:?} is neither \"keep\" nor a host name"))
}

/// Whether a text is a rule of the mapping of URLs.
pub(crate) fn check_rule(text: &str) -> Result<(), String> {
    text.parse::<Rule>().map(drop).map_err(|error| error.to_string())
}

/// Whether a text is a network.
pub(crate) fn check_network(text: &str) -> Result<(), String> {
    text.parse::<Network>().map(drop)
}

/// Whether a text is what a connection can be upgraded to. Not another version of HTTP: requests
/// that nobody reads would travel through that.
pub(crate) fn check_upgrade(text: &str) -> Result<(), String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte);
    let fits = !text.is_empty() && text.len() <= 64 && text.bytes().all(legal);
    let lower = text.to_ascii_lowercase();
    let is_http =
        ["h2c", "h2", "http", "tls"].iter().any(|one| lower.split('/').next() == Some(one));
    match (fits, is_http) {
        (true, false) => Ok(()),
        (true, true) => Err(format!("{text:?}: through that would travel what nobody has checked")),
        (false, _) => Err(format!("{text:?} is no protocol such as \"websocket\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn web_servers_are_given_by_address() {
        for good in ["http://127.0.0.1:80", "http://[::1]:3000/", "unix:/run/web"] {
            assert_eq!(check_server(good), Ok(()), "{good}");
        }
        for bad in [
            "127.0.0.1:80",
            "http://web:80",
            "https://127.0.0.1:443",
            "http://127.0.0.1",
            "http://127.0.0.1:0",
            "http://127.0.0.1:80/path",
            "unix:web",
            "",
        ] {
            assert!(check_server(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_goes_through_unseen_cannot_be_chosen() {
        for good in ["websocket", "mqtt", "ssh-2.0"] {
            assert_eq!(check_upgrade(good), Ok(()));
        }
        for bad in ["h2c", "HTTP/2.0", "TLS/1.0", "a b", "", "web,socket"] {
            assert!(check_upgrade(bad).is_err(), "{bad}");
        }
    }
}
