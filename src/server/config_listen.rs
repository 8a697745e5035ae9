//! A public listener: its address, and what it lays down for the documents that begin there.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::base::time::Span;
use crate::server::config_value::{Value, show_span};

/// Where clients connect.
///
/// ```
/// use ahm::base::time::Span;
/// use ahm::server::config_listen::Listen;
/// let plain: Listen = "127.0.0.1:8080".parse().unwrap();
/// assert_eq!((plain.address.port(), plain.flush), (8080, None));
/// let bulk: Listen = "[::1]:8082:flush=20ms".parse().unwrap();
/// assert_eq!((bulk.address.port(), bulk.flush), (8082, Some(Span::from_millis(20))));
/// assert_eq!(bulk.to_string(), "[::1]:8082:flush=20ms");
/// assert!("127.0.0.1:9000:raw".parse::<Listen>().unwrap().raw);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address; port 0 takes a free one.
    pub address: SocketAddr,
    /// How long messages wait for more on documents that begin here and say nothing else; `None`:
    /// as long as `protocol.flush` says.
    pub flush: Option<Span>,
    /// Whether commands are lines there and frames travel without HTTP: raw TCP.
    pub raw: bool,
    /// Whether a load balancer stands before it that says by the PROXY protocol who the client is,
    /// at the beginning of each connection.
    pub proxy: bool,
}

impl From<SocketAddr> for Listen {
    /// A listener with nothing of its own.
    fn from(address: SocketAddr) -> Self {
        Self { address, flush: None, raw: false, proxy: false }
    }
}

impl FromStr for Listen {
    type Err = String;

    /// Reads the address and whatever options follow it, in any order.
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, options) = divide(text);
        let mut listen = Self::from(parse_address(address)?);
        let mut seen = Vec::new();
        for option in options.split(':').skip(1) {
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (option, None),
            };
            if seen.contains(&name) {
                return Err(format!("{text:?}: {name} is given twice"));
            }
            seen.push(name);
            match (name, value) {
                ("flush", Some(span)) => {
                    let span = Value::Loose(span.into()).span(Span::ZERO, Span::from_secs(60));
                    let span = span.map_err(|what| format!("{text:?}: flush: {what}"))?;
                    listen.flush = Some(span);
                }
                ("raw", None) => listen.raw = true,
                ("proxy", None) => listen.proxy = true,
                _ => {
                    let known = "a listener knows flush=SPAN, raw and proxy, nothing else";
                    return Err(format!("{text:?}: {known}"));
                }
            }
        }
        Ok(listen)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if let Some(flush) = self.flush {
            write!(f, ":flush={}", show_span(flush))?;
        }
        for (given, option) in [(self.raw, ":raw"), (self.proxy, ":proxy")] {
            f.write_str(if given { option } else { "" })?;
        }
        Ok(())
    }
}

/// Divides a listener behind its port: before the second colon, of which those within the brackets
/// of an IPv6 address are none.
fn divide(text: &str) -> (&str, &str) {
    let host = text.find(']').unwrap_or(0);
    let colons = text.match_indices(':').map(|(at, _)| at).filter(|&at| at > host);
    let end = colons.take(2).nth(1).unwrap_or(text.len());
    text.split_at(end)
}

/// Reads an address with its port.
///
/// # Errors
/// Says how one looks.
pub fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("{text:?} is not an address with a port, as \"127.0.0.1:8080\" or \"[::1]:0\"")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        for text in [
            "127.0.0.1:0",
            "[::1]:80:flush=0s",
            "0.0.0.0:80:flush=250ms:proxy",
            "[::]:1:proxy",
            "127.0.0.1:9000:raw",
            "[2001:db8::1]:9000:flush=1s:raw:proxy",
        ] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        let turned: Listen = "[::1]:1:proxy:raw:flush=1s".parse().unwrap();
        assert_eq!(turned.to_string(), "[::1]:1:flush=1s:raw:proxy");
    }

    #[test]
    fn what_is_no_listener_is_told_why() {
        let cases = [
            ("localhost:80", "\"localhost:80\" is not an address with a port"),
            ("127.0.0.1", "\"127.0.0.1\" is not an address with a port"),
            ("::1", "\"::1\" is not an address with a port"),
            ("[::1]", "\"[::1]\" is not an address with a port"),
            ("127.0.0.1:flush=1s", "\"127.0.0.1:flush=1s\" is not an address with a port"),
            ("127.0.0.1:80:flush", "\"127.0.0.1:80:flush\": a listener knows flush=SPAN, raw and"),
            ("127.0.0.1:80:flsh=1s", "\"127.0.0.1:80:flsh=1s\": a listener knows flush=SPAN"),
            ("127.0.0.1:80:raw=1", "\"127.0.0.1:80:raw=1\": a listener knows flush=SPAN"),
            ("127.0.0.1:80:", "\"127.0.0.1:80:\": a listener knows flush=SPAN"),
            ("127.0.0.1:80:raw:raw", "\"127.0.0.1:80:raw:raw\": raw is given twice"),
            ("127.0.0.1:80:flush=20", "\"127.0.0.1:80:flush=20\": flush: \"20\" is not a length"),
            ("127.0.0.1:80:flush=2m", "\"127.0.0.1:80:flush=2m\": flush: 2m is not between"),
            (
                "127.0.0.1:80:flush=1s:flush=2s",
                "\"127.0.0.1:80:flush=1s:flush=2s\": flush is given",
            ),
        ];
        for (text, wanted) in cases {
            let said = text.parse::<Listen>().unwrap_err();
            assert!(said.starts_with(wanted), "{text}: {said}");
        }
    }
}
