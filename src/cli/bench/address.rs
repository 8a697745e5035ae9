//! Where a server is: a URL taken apart.

use std::net::{SocketAddr, ToSocketAddrs};

/// A server named by a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The first address that the host resolves to.
    pub address: SocketAddr,
    /// Host and port as the URL gives them, for the Host field.
    pub authority: String,
    /// The path without its last slash; may be empty.
    pub path: String,
    /// Whether it is spoken to by TLS.
    pub secure: bool,
}

impl Server {
    /// Takes `http://HOST[:PORT][/PATH]` apart and resolves the host.
    ///
    /// ```
    /// use ahm::cli::bench::address::Server;
    /// let server = Server::parse("http://127.0.0.1:8080/ahm/").unwrap();
    /// assert_eq!((server.authority.as_str(), server.path.as_str()), ("127.0.0.1:8080", "/ahm"));
    /// assert!(Server::parse("https://127.0.0.1").is_err());
    /// ```
    ///
    /// # Errors
    /// A sentence for the person at the terminal: not such a URL, or no such host.
    pub fn parse(url: &str) -> Result<Self, String> {
        Self::parse_as("http", url)
    }

    /// The same of a private listener, which may be protected by TLS.
    ///
    /// # Errors
    /// A sentence for the person at the terminal: not such a URL, or no such host.
    pub fn parse_private(scheme: &str, url: &str) -> Result<Self, String> {
        match scheme == "http" && url.starts_with("https://") {
            true => Ok(Self { secure: true, ..Self::parse_as("https", url)? }),
            false => Self::parse_as(scheme, url),
        }
    }

    /// The host, as the server's certificate must name it.
    pub fn host(&self) -> &str {
        let host =
            self.authority.rsplit_once(':').map_or(self.authority.as_str(), |(host, port)| {
                match port.bytes().all(|byte| byte.is_ascii_digit()) {
                    true => host,
                    false => &self.authority,
                }
            });
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The same of a URL with another scheme.
    ///
    /// # Errors
    /// A sentence for the person at the terminal: not such a URL, or no such host.
    pub fn parse_as(scheme: &str, url: &str) -> Result<Self, String> {
        let form = || format!("{url}: expected {scheme}://HOST[:PORT][/PATH]");
        let rest = url.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
        let rest = rest.ok_or_else(form)?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let strange = |c: char| c.is_whitespace() || c.is_control() || "?#@\"<>".contains(c);
        if authority.is_empty() || rest.contains(strange) {
            return Err(form());
        }
        let port = if scheme == "https" { 443 } else { 80 };
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
        let named = if has_port { authority.to_owned() } else { format!("{authority}:{port}") };

        let mut addresses = named.to_socket_addrs().map_err(|error| format!("{url}: {error}"))?;
        let address = addresses.next().ok_or_else(|| format!("{url}: no address"))?;
        let path = path.trim_end_matches('/').to_owned();
        Ok(Self { address, authority: authority.to_owned(), path, secure: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_every_accepted_form() {
        let server = |url| Server::parse(url).unwrap();
        assert_eq!(server("http://127.0.0.1").address.to_string(), "127.0.0.1:80");
        assert_eq!(server("http://[::1]").address.to_string(), "[::1]:80");
        assert_eq!(server("http://[::1]:81/x/y/").address.to_string(), "[::1]:81");
        assert_eq!(server("http://[::1]:81/x/y/").path, "/x/y");
        for url in ["127.0.0.1:80", "http://", "http:///x", "http://a b/", "http://h/?q"] {
            assert!(Server::parse(url).is_err(), "{url}");
        }
        let private = |url| Server::parse_private("http", url).unwrap();
        let secure = private("https://127.0.0.1");
        assert!(secure.secure && secure.address.port() == 443 && secure.host() == "127.0.0.1");
        assert!(!private("http://127.0.0.1:1").secure);
        assert_eq!(private("https://[::1]:8443").host(), "::1");
        assert_eq!(Server::parse_as("tcp", "tcp://127.0.0.1:1").unwrap().address.port(), 1);
        assert!(Server::parse_as("tcp", "http://127.0.0.1:1").unwrap_err().contains("tcp://HOST"));
    }
}
