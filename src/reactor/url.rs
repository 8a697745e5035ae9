//! Where a server is: `http://HOST[:PORT][/PREFIX]`, or `unix:/PATH` of a socket.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

/// Why an URL was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// It does not begin with `http://`.
    Scheme,
    /// The host is missing, or has characters that no host has.
    Host,
    /// The port is not 1 to 65535.
    Port,
    /// The file of a socket is not named from the root on.
    Socket,
    /// The path has a query, a fragment, or characters that must be percent-encoded.
    Path,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "an URL begins with http:// (https is not spoken here yet)",
            Self::Host => "the host is missing or not one; an IPv6 address stands in [ ]",
            Self::Port => "the port is not 1 to 65535",
            Self::Socket => "after unix: stands a path from the root, as in unix:/run/ahm/private",
            Self::Path => "the path holds ?, #, spaces or other characters it cannot have",
        })
    }
}

impl std::error::Error for UrlError {}

/// A server's place.
///
/// ```
/// use ahm::reactor::url::Server;
/// let server = Server::parse("http://[::1]:8080", "/ahm/").unwrap();
/// assert_eq!((server.authority(), server.path()), ("[::1]:8080", "/ahm/"));
/// let server = Server::parse("http://example.org/live/ahm", "/ahm/").unwrap();
/// assert_eq!((server.authority(), server.path()), ("example.org", "/live/ahm/"));
/// assert!(Server::parse("example.org", "/").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    authority: String,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    path: String,
    /// The file of its socket, where it is in the file system.
    socket: Option<PathBuf>,
}

impl Server {
    /// Reads `url`; where it has no path, `path` is taken, which begins and ends with a slash.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn parse(url: &str, path: &str) -> Result<Self, UrlError> {
        if let Some(file) = url.strip_prefix("unix:") {
            return Self::at_socket(file, path);
        }
        let scheme = url.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://"));
        let rest = scheme.and_then(|_| url.get(7..)).ok_or(UrlError::Scheme)?;
        let (authority, own) = match rest.find(['/', '?', '#']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (host, port) = split_authority(authority)?;
        if own.bytes().any(|byte| !byte.is_ascii_graphic() || b"?#\"<>".contains(&byte)) {
            return Err(UrlError::Path);
        }
        let path = match own {
            "" | "/" => path.to_owned(),
            _ if own.ends_with('/') => own.to_owned(),
            _ => format!("{own}/"),
        };
        let (authority, host) = (authority.to_owned(), host.to_owned());
        Ok(Self { authority, host, port, path, socket: None })
    }

    /// A server at a socket in the file system, which has no other name.
    fn at_socket(file: &str, path: &str) -> Result<Self, UrlError> {
        if !file.starts_with('/') || file.contains('\0') {
            return Err(UrlError::Socket);
        }
        let host = "localhost".to_owned();
        let socket = Some(file.into());
        Ok(Self { authority: host.clone(), host, port: 80, path: path.to_owned(), socket })
    }

    /// The file of its socket, where it has no address.
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// Host and port as they stand in the URL: the `Host` field.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The path, with a slash at both ends.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Looks the host up. Blocks as long as the system's resolver does, unless it is an address.
    ///
    /// # Errors
    /// What the resolver says; there is at least one address otherwise.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        if self.socket.is_some() {
            return Err(io::Error::other("a socket in the file system has no address"));
        }
        let addresses: Vec<_> = (self.host.as_str(), self.port).to_socket_addrs()?.collect();
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the host has no address"));
        }
        Ok(addresses)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Some(file) => write!(f, "unix:{}", file.display()),
            None => write!(f, "http://{}{}", self.authority, self.path),
        }
    }
}

fn split_authority(authority: &str) -> Result<(&str, u16), UrlError> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(UrlError::Host)?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| UrlError::Host)?;
        (host, port)
    } else {
        let at = authority.find(':').unwrap_or(authority.len());
        let (host, port) = authority.split_at(at);
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if host.is_empty() || !host.bytes().all(legal) {
            return Err(UrlError::Host);
        }
        (host, port)
    };
    let port = match port {
        "" => 80,
        _ => {
            let digits = port.strip_prefix(':').ok_or(UrlError::Host)?;
            let digits = Some(digits).filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
            let port = digits.and_then(|text| text.parse().ok());
            port.filter(|port| *port > 0).ok_or(UrlError::Port)?
        }
    };
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_as_people_type_them() {
        for (url, host, port, path) in [
            ("http://127.0.0.1:8080", "127.0.0.1", 8080, "/ahm/"),
            ("HTTP://localhost/", "localhost", 80, "/ahm/"),
            ("http://[2001:db8::1]", "2001:db8::1", 80, "/ahm/"),
            ("http://a.b:1/c/d", "a.b", 1, "/c/d/"),
        ] {
            let server = Server::parse(url, "/ahm/").unwrap();
            assert_eq!((&server.host[..], server.port, server.path()), (host, port, path), "{url}");
        }
    }

    #[test]
    fn a_socket_in_the_file_system_is_a_server_too() {
        let server = Server::parse("unix:/run/ahm/private", "/").unwrap();
        assert_eq!(server.socket(), Some(Path::new("/run/ahm/private")));
        assert_eq!((server.authority(), server.path()), ("localhost", "/"));
        assert_eq!(server.to_string(), "unix:/run/ahm/private");
        assert!(server.resolve().is_err());
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for (url, error) in [
            ("https://a", UrlError::Scheme),
            ("a:8080", UrlError::Scheme),
            ("http://", UrlError::Host),
            ("http://a b", UrlError::Host),
            ("http://u@a", UrlError::Host),
            ("http://::1:80", UrlError::Host),
            ("http://[::1", UrlError::Host),
            ("http://[::1]x", UrlError::Host),
            ("http://a:0", UrlError::Port),
            ("http://a:", UrlError::Port),
            ("http://a:+1", UrlError::Port),
            ("http://a:65536", UrlError::Port),
            ("http://a/?x", UrlError::Path),
            ("http://a/b c", UrlError::Path),
            ("http://ä", UrlError::Host),
            ("unix:run/ahm", UrlError::Socket),
            ("unix:", UrlError::Socket),
        ] {
            assert_eq!(Server::parse(url, "/"), Err(error), "{url}");
        }
    }
}
