//! The web servers behind a server, as the configuration has them.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::base::time::Span;
use crate::files::server::FileServer;
use crate::http::target::Authority;
use crate::link::address::Address;
use crate::proto::settings::Settings;
use crate::reactor::beyond::Beyond;
use crate::relay::mapping::Rule;
use crate::relay::network::Network;
use crate::relay::site::{HostRule, SERVERS_MAX, Site};
use crate::server::relay_server::{HTTPS, find_server, host_of};

pub use crate::relay::site::AccessLog;

/// The word for the client's own `Host`.
const KEEP: &str = "keep";

/// What becomes of requests that are no commands.
///
/// ```
/// use ahm::server::relay::RelayConfig;
/// let config = RelayConfig { to: vec!["http://127.0.0.1:3000".into()], ..RelayConfig::default() };
/// assert!(config.is_on());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// The web servers: `http://HOST:PORT`, `https://HOST:PORT`, `unix:/PATH`. None: nothing is
    /// relayed. A name is looked up once, at the start.
    pub to: Vec<String>,
    /// The name that those spoken to by TLS must prove; empty for the one in `to`.
    pub server_name: String,
    /// Who certifies them, a file of PEM; empty for whom this system believes.
    pub authorities: String,
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
            server_name: String::new(),
            authorities: String::new(),
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

    /// How web servers are spoken to by TLS, if they are.
    ///
    /// # Errors
    ///
    /// When the authorities cannot be read.
    pub(crate) fn beyond(&self) -> io::Result<Option<Arc<Beyond>>> {
        if !self.is_secure() {
            return Ok(None);
        }
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("relay.authorities: {error}"));
        let authorities = Path::new(&self.authorities);
        let authorities = (!self.authorities.is_empty()).then_some(authorities);
        Beyond::new(self.proven_name(), authorities).map(Arc::new).map(Some).map_err(named)
    }

    fn is_secure(&self) -> bool {
        self.to.iter().any(|text| text.starts_with(HTTPS))
    }

    /// What web servers that are spoken to by TLS must prove to be.
    fn proven_name(&self) -> &str {
        let of_first = || self.to.first().map_or("", |text| host_of(text));
        if self.server_name.is_empty() { of_first() } else { &self.server_name }
    }

    /// The addresses of the web servers.
    ///
    /// # Errors
    ///
    /// When the name of one is not known.
    pub(crate) fn addresses(&self) -> io::Result<Vec<Address>> {
        let mut servers = Vec::new();
        for text in &self.to {
            let found = find_server(text).map_err(|what| {
                io::Error::new(io::ErrorKind::NotFound, format!("relay.to: {what}"))
            })?;
            servers.extend(found);
        }
        Ok(servers)
    }

    /// What all web servers see as `Host`; `None`: what the client sent.
    pub(crate) fn host_for_all(&self) -> Option<&str> {
        Some(self.host.as_str()).filter(|host| *host != KEEP)
    }

    /// The site for the shards; `None` where nothing is relayed.
    ///
    /// # Errors
    ///
    /// When the name of a web server is not known.
    pub(crate) fn site(
        &self,
        protocol: &Settings,
        files: Option<&FileServer>,
        passes: Vec<Address>,
    ) -> io::Result<Option<Arc<Site>>> {
        let mut servers = self.addresses()?;
        servers.extend(files.map(|files| Address::Unix(files.path().into())));
        servers.dedup();
        if servers.is_empty() && passes.is_empty() {
            return Ok(None);
        }
        if servers.len() + passes.len() > SERVERS_MAX {
            let what = format!("relay.to, tls.pass: more than {SERVERS_MAX} addresses");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let host =
            if self.host == KEEP { HostRule::Keep } else { HostRule::Set(self.host.clone()) };
        Ok(Some(Arc::new(Site {
            servers,
            secure: self.is_secure(),
            passes,
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
        })))
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
        let secure = self.to.iter().filter(|text| text.starts_with(HTTPS)).count();
        if secure > 0 && secure < self.to.len() {
            return Err(("relay.to", "web servers are spoken to by https:// all, or none".into()));
        }
        let host = self.proven_name();
        let differ = self.to.iter().any(|text| host_of(text) != host);
        if secure > 0 && self.server_name.is_empty() && differ {
            let what = "the hosts differ: say by relay.server_name what their certificates name";
            return Err(("relay.to", what.into()));
        }
        let twice = self.to.iter().enumerate().find(|(at, one)| self.to[..*at].contains(one));
        match twice {
            Some((_, one)) => Err(("relay.to", format!("{one:?} is there twice"))),
            None => Ok(()),
        }
    }
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
    fn what_goes_through_unseen_cannot_be_chosen() {
        for good in ["websocket", "mqtt", "ssh-2.0"] {
            assert_eq!(check_upgrade(good), Ok(()));
        }
        for bad in ["h2c", "HTTP/2.0", "TLS/1.0", "a b", "", "web,socket"] {
            assert!(check_upgrade(bad).is_err(), "{bad}");
        }
    }
}
