//! Where a server is: `http://HOST[:PORT][/PREFIX]`, `tcp://HOST:PORT`, the same in TLS with
//! `https://` and `tls://`, or `unix:/PATH`.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

/// Why an URL was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// It does not begin with `http://` or `https://`.
    Scheme,
    /// It begins with none of these, nor with `tcp://` or `tls://`, which are taken here too.
    StreamScheme,
    /// The host is missing, or has characters that no host has.
    Host,
    /// The port is not 1 to 65535.
    Port,
    /// The file of a socket is not named from the root on.
    Socket,
    /// A `tcp://` or `tls://` URL without a port.
    NoPort,
    /// A `tcp://` or `tls://` URL with a path.
    RawPath,
    /// The path has a query, a fragment, or characters that must be percent-encoded.
    Path,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "an URL begins with http:// or https:// here",
            Self::StreamScheme => "an URL begins with http://, https://, tcp:// or tls:// here",
            Self::Host => "the host is missing or not one; an IPv6 address stands in [ ]",
            Self::Port => "the port is not 1 to 65535",
            Self::Socket => "after unix: stands a path from the root, as in unix:/run/ahm/private",
            Self::NoPort => {
                "tcp:// and tls:// have no usual port: tcp://HOST:PORT or tls://HOST:PORT is wanted"
            }
            Self::RawPath => {
                "tcp:// and tls:// have no path: tcp://HOST:PORT or tls://HOST:PORT is wanted"
            }
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
/// let server = Server::parse_stream("tcp://example.org:9000", "/ahm/").unwrap();
/// assert!(server.is_raw() && !server.is_secure());
/// let server = Server::parse("https://example.org", "/ahm/").unwrap();
/// assert!(server.is_secure() && server.host() == "example.org");
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
    raw: bool,
    secure: bool,
}

/// What follows the scheme of `url`, if that is this one.
fn after<'a>(url: &'a str, scheme: &str) -> Option<&'a str> {
    let (own, rest) = url.split_at_checked(scheme.len())?;
    own.eq_ignore_ascii_case(scheme).then_some(rest)
}

impl Server {
    /// Reads `url` as where streams come from: over HTTP, or with `tcp://` or `tls://` without it.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn parse_stream(url: &str, path: &str) -> Result<Self, UrlError> {
        let (rest, secure) = match (after(url, "tcp://"), after(url, "tls://")) {
            (Some(rest), _) => (rest, false),
            (None, Some(rest)) => (rest, true),
            (None, None) => {
                return Self::parse(url, path).map_err(|error| match error {
                    UrlError::Scheme => UrlError::StreamScheme,
                    other => other,
                });
            }
        };
        let authority = match rest.find(['/', '?', '#']) {
            Some(at) if &rest[at..] != "/" => return Err(UrlError::RawPath),
            Some(at) => &rest[..at],
            None => rest,
        };
        let (host, port) = split_authority(authority)?;
        let port = port.ok_or(UrlError::NoPort)?;
        let (authority, host) = (authority.to_owned(), host.to_owned());
        Ok(Self { authority, host, port, path: path.to_owned(), socket: None, raw: true, secure })
    }

    /// Reads `url`; where it has no path, `path` is taken, which begins and ends with a slash.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn parse(url: &str, path: &str) -> Result<Self, UrlError> {
        if let Some(file) = url.strip_prefix("unix:") {
            return Self::at_socket(file, path);
        }
        let (rest, secure) = match (after(url, "http://"), after(url, "https://")) {
            (Some(rest), _) => (rest, false),
            (None, Some(rest)) => (rest, true),
            (None, None) => return Err(UrlError::Scheme),
        };
        let (authority, own) = match rest.find(['/', '?', '#']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let (host, port) = split_authority(authority)?;
        let port = port.unwrap_or(if secure { 443 } else { 80 });
        if own.bytes().any(|byte| !byte.is_ascii_graphic() || b"?#\"<>".contains(&byte)) {
            return Err(UrlError::Path);
        }
        let path = match own {
            "" | "/" => path.to_owned(),
            _ if own.ends_with('/') => own.to_owned(),
            _ => format!("{own}/"),
        };
        let (authority, host) = (authority.to_owned(), host.to_owned());
        Ok(Self { authority, host, port, path, socket: None, raw: false, secure })
    }

    /// A server at a socket in the file system, which has no other name.
    fn at_socket(file: &str, path: &str) -> Result<Self, UrlError> {
        if !file.starts_with('/') || file.contains('\0') {
            return Err(UrlError::Socket);
        }
        let (authority, host) = ("localhost".to_owned(), "localhost".to_owned());
        let (path, socket) = (path.to_owned(), Some(file.into()));
        Ok(Self { authority, host, port: 80, path, socket, raw: false, secure: false })
    }

    /// The file of its socket, where it has no address.
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// Whether it is spoken to in lines, without HTTP.
    pub fn is_raw(&self) -> bool {
        self.raw
    }

    /// Whether it is spoken to by TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether nobody between it and us sees what is said: by TLS, or within this machine.
    pub fn is_confidential(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        let here = address.map_or(self.host == "localhost", |address| address.is_loopback());
        self.secure || self.socket.is_some() || here
    }

    /// The host, which by TLS the server's certificate must name; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
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
            None if self.raw => {
                write!(f, "{}://{}", if self.secure { "tls" } else { "tcp" }, self.authority)
            }
            None => {
                let scheme = if self.secure { "https" } else { "http" };
                write!(f, "{scheme}://{}{}", self.authority, self.path)
            }
        }
    }
}

fn split_authority(authority: &str) -> Result<(&str, Option<u16>), UrlError> {
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
        "" => None,
        _ => {
            let digits = port.strip_prefix(':').ok_or(UrlError::Host)?;
            let digits = Some(digits).filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
            let port = digits.and_then(|text| text.parse().ok());
            Some(port.filter(|port| *port > 0).ok_or(UrlError::Port)?)
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
            ("HTTPS://a.b", "a.b", 443, "/ahm/"),
            ("https://[::1]:8443/c", "::1", 8443, "/c/"),
        ] {
            let server = Server::parse(url, "/ahm/").unwrap();
            assert_eq!((&server.host[..], server.port, server.path()), (host, port, path), "{url}");
            assert_eq!(Server::parse_stream(url, "/ahm/"), Ok(server));
        }
        for (url, host, shown) in [
            ("tcp://127.0.0.1:9000", "127.0.0.1", "tcp://127.0.0.1:9000"),
            ("TCP://[::1]:9000/", "::1", "tcp://[::1]:9000"),
            ("TLS://localhost:9000", "localhost", "tls://localhost:9000"),
        ] {
            let server = Server::parse_stream(url, "/ahm/").unwrap();
            assert!(server.is_raw());
            assert_eq!(server.is_secure(), shown.starts_with("tls"));
            assert_eq!((&server.host[..], server.port), (host, 9000));
            assert_eq!(server.to_string(), shown);
        }
    }

    #[test]
    fn what_is_said_within_the_machine_or_by_tls_is_seen_by_nobody_else() {
        for (url, confidential) in [
            ("http://example.org", false),
            ("http://192.0.2.1", false),
            ("tcp://[2001:db8::1]:9", false),
            ("http://localhost.example.org", false),
            ("http://127.0.0.1.example.org", false),
            ("https://example.org", true),
            ("tls://192.0.2.1:9", true),
            ("http://127.0.0.9:8080", true),
            ("tcp://[::1]:9", true),
            ("http://localhost", true),
            ("unix:/run/ahm", true),
        ] {
            let server = Server::parse_stream(url, "/").unwrap();
            assert_eq!(server.is_confidential(), confidential, "{url}");
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
            ("ftp://a", UrlError::Scheme),
            ("https:/a", UrlError::Scheme),
            ("https://", UrlError::Host),
            ("tls://a:1", UrlError::Scheme),
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
            ("tcp://a:1", UrlError::Scheme),
        ] {
            assert_eq!(Server::parse(url, "/"), Err(error), "{url}");
        }
        for (url, error) in [
            ("tcp:/a:1", UrlError::StreamScheme),
            ("tls://a", UrlError::NoPort),
            ("tls://a:1/ahm/", UrlError::RawPath),
            ("tcp://a", UrlError::NoPort),
            ("tcp://[::1]", UrlError::NoPort),
            ("tcp://a:0", UrlError::Port),
            ("tcp://:1", UrlError::Host),
            ("tcp://a:1/ahm/", UrlError::RawPath),
            ("tcp://a:1?x", UrlError::RawPath),
        ] {
            assert_eq!(Server::parse_stream(url, "/"), Err(error), "{url}");
        }
    }
}
