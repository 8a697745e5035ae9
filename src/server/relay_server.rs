//! Web servers as the configuration names them.

use std::net::{SocketAddr, ToSocketAddrs};

use crate::link::address::Address;
use crate::reactor::beyond::check_name;

/// What the address of a web server begins with that is spoken to by TLS.
pub(crate) const HTTPS: &str = "https://";
/// The same without.
const HTTP: &str = "http://";

/// Where a web server is, before its name is looked up.
#[derive(Debug, PartialEq, Eq)]
enum Place<'t> {
    Unix(Address),
    Net(&'t str, u16),
}

fn parse(text: &str) -> Result<Place<'_>, String> {
    let wrong = || {
        format!("{text:?} is no web server: give http://HOST:PORT, https://HOST:PORT or unix:/PATH")
    };
    if text.starts_with("unix:") {
        return text.parse().map(Place::Unix).map_err(|_| wrong());
    }
    let rest = text.strip_prefix(HTTP).or_else(|| text.strip_prefix(HTTPS)).ok_or_else(wrong)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    if port == 0 {
        return Err(format!("{text:?}: port 0 is no port"));
    }
    let is_address = rest.parse::<SocketAddr>().is_ok();
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let is_name = !host.is_empty() && host.len() <= 253 && host.bytes().all(legal);
    if is_address || is_name { Ok(Place::Net(host, port)) } else { Err(wrong()) }
}

/// The host in the address of a web server, without the brackets of IPv6; empty if it has none.
pub(crate) fn host_of(text: &str) -> &str {
    match parse(text) {
        Ok(Place::Net(host, _)) => host.trim_start_matches('[').trim_end_matches(']'),
        _ => "",
    }
}

/// All addresses of a web server; asks for them where it is named.
pub(crate) fn find_server(text: &str) -> Result<Vec<Address>, String> {
    match parse(text)? {
        Place::Unix(address) => Ok(vec![address]),
        Place::Net(..) => {
            let host = host_of(text);
            let Place::Net(_, port) = parse(text)? else { return Ok(Vec::new()) };
            let found = (host, port).to_socket_addrs().map_err(|error| format!("{host}: {error}"));
            let found: Vec<_> = found?.map(Address::Tcp).collect();
            if found.is_empty() { Err(format!("{host}: it has no address")) } else { Ok(found) }
        }
    }
}

/// Whether a text is the address of a web server.
pub(crate) fn check_server(text: &str) -> Result<(), String> {
    parse(text).map(drop)
}

/// Whether a text can be in a server's certificate; empty is another matter.
pub(crate) fn check_server_name(text: &str) -> Result<(), String> {
    if text.is_empty() { Ok(()) } else { check_name(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn web_servers_are_given_by_address_or_name() {
        for good in [
            "http://127.0.0.1:80",
            "http://[::1]:3000/",
            "https://web.internal:443",
            "http://web:80",
            "unix:/run/web",
        ] {
            assert_eq!(check_server(good), Ok(()), "{good}");
        }
        for bad in [
            "127.0.0.1:80",
            "http://127.0.0.1",
            "http://127.0.0.1:0",
            "http://127.0.0.1:80/path",
            "http://a b:80",
            "http://user@web:80",
            "http://:80",
            "ftp://web:21",
            "unix:web",
            "",
        ] {
            assert!(check_server(bad).is_err(), "{bad}");
        }
        assert_eq!(host_of("https://[::1]:443"), "::1");
        assert_eq!(
            find_server("https://127.0.0.1:443"),
            Ok(vec!["127.0.0.1:443".parse().unwrap()])
        );
        assert!(find_server("http://localhost:80").unwrap().len() <= 2);
    }
}
