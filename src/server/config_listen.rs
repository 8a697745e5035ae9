//! A public listener: its address, and what it lays down for the documents that begin there.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::base::time::Span;
use crate::server::config_value::{Value, show_span};

/// The option of a listener that a load balancer stands before.
const PROXY: &str = ":proxy";

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
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address; port 0 takes a free one.
    pub address: SocketAddr,
    /// How long messages wait for more on documents that begin here and say nothing else; `None`:
    /// as long as `protocol.flush` says.
    pub flush: Option<Span>,
    /// Whether a load balancer stands before it that says by the PROXY protocol who the client is,
    /// at the beginning of each connection.
    pub proxy: bool,
}

impl From<SocketAddr> for Listen {
    /// A listener with nothing of its own.
    fn from(address: SocketAddr) -> Self {
        Self { address, flush: None, proxy: false }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (rest, proxy) = match text.strip_suffix(PROXY) {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let (address, option) = match rest.find('=').and_then(|at| rest[..at].rfind(':')) {
            Some(colon) => (&rest[..colon], Some(&rest[colon + 1..])),
            None => (rest, None),
        };
        let address = parse_address(address)?;
        let Some(option) = option else { return Ok(Self { proxy, ..address.into() }) };
        let Some(span) = option.strip_prefix("flush=") else {
            return Err(format!("{text:?}: a listener knows flush=SPAN and proxy, nothing else"));
        };
        let span = Value::Loose(span.into()).span(Span::ZERO, Span::from_secs(60));
        let flush = span.map_err(|what| format!("{text:?}: flush: {what}"))?;
        Ok(Self { address, flush: Some(flush), proxy })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if let Some(flush) = self.flush {
            write!(f, ":flush={}", show_span(flush))?;
        }
        f.write_str(if self.proxy { PROXY } else { "" })
    }
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
        for text in
            ["127.0.0.1:0", "[::1]:80:flush=0s", "0.0.0.0:80:flush=250ms:proxy", "[::]:1:proxy"]
        {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_listener_is_told_why() {
        let cases = [
            ("localhost:80", "\"localhost:80\" is not an address with a port"),
            ("127.0.0.1:flush=1s", "\"127.0.0.1\" is not an address with a port"),
            ("127.0.0.1:80:flush", "\"127.0.0.1:80:flush\" is not an address with a port"),
            ("127.0.0.1:80:flsh=1s", "\"127.0.0.1:80:flsh=1s\": a listener knows flush=SPAN"),
            ("127.0.0.1:80:proxy:flush=1s", "\"127.0.0.1:80:proxy\" is not an address"),
            ("127.0.0.1:80:flush=20", "\"127.0.0.1:80:flush=20\": flush: \"20\" is not a length"),
            ("127.0.0.1:80:flush=2m", "\"127.0.0.1:80:flush=2m\": flush: 2m is not between"),
            ("127.0.0.1:80:flush=1s:flush=2s", "\"127.0.0.1:80:flush=1s:flush=2s\": flush: \"1s:"),
        ];
        for (text, wanted) in cases {
            let said = text.parse::<Listen>().unwrap_err();
            assert!(said.starts_with(wanted), "{text}: {said}");
        }
    }
}
