//! A public listener: its address, and what it lays down for the documents that begin there.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::base::time::Span;
use crate::server::config_value::{Value, show_span};

/// What a listener does with the certificates of its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientCertificates {
    /// None is asked for.
    Ignored,
    /// One is asked for; who has none is let in all the same.
    Optional,
    /// Nobody is let in without one.
    Required,
}

/// Where clients connect.
///
/// ```
/// use ahm::base::time::Span;
/// use ahm::server::config_listen::{ClientCertificates, Listen};
/// let plain: Listen = "127.0.0.1:8080".parse().unwrap();
/// assert_eq!((plain.address.port(), plain.flush, plain.tls), (8080, None, None));
/// let bulk: Listen = "[::1]:8082:flush=20ms".parse().unwrap();
/// assert_eq!((bulk.address.port(), bulk.flush), (8082, Some(Span::from_millis(20))));
/// let secure: Listen = "[::1]:443:flush=0s:tls=optional".parse().unwrap();
/// assert_eq!(secure.tls, Some(ClientCertificates::Optional));
/// assert_eq!(secure.to_string(), "[::1]:443:flush=0s:tls=optional");
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
    /// Whether TLS protects its connections, and what becomes of clients' certificates then.
    pub tls: Option<ClientCertificates>,
}

impl From<SocketAddr> for Listen {
    /// A listener with nothing of its own.
    fn from(address: SocketAddr) -> Self {
        Self { address, flush: None, raw: false, proxy: false, tls: None }
    }
}

impl FromStr for Listen {
    type Err = String;

    /// Reads the address and whatever options follow it, in any order.
    fn from_str(text: &str) -> Result<Self, String> {
        // The address has colons too: options are taken off the end as long as they look like some.
        let mut rest = text;
        let mut options = Vec::new();
        while let Some((before, option)) = rest.rsplit_once(':')
            && option.starts_with(|first: char| first.is_ascii_alphabetic())
            && rest.parse::<SocketAddr>().is_err()
        {
            options.push(option);
            rest = before;
        }
        let mut listen = Self::from(parse_address(rest)?);
        for option in options.into_iter().rev() {
            listen.set(option).map_err(|what| format!("{text:?}: {what}"))?;
        }
        Ok(listen)
    }
}

impl Listen {
    /// Whether other machines can reach it.
    pub(crate) fn is_exposed(&self) -> bool {
        !self.address.ip().to_canonical().is_loopback()
    }

    /// What URLs begin with that lead here.
    pub(crate) const fn scheme(&self) -> &'static str {
        match (self.raw, self.tls.is_some()) {
            (false, false) => "http",
            (false, true) => "https",
            (true, false) => "tcp",
            (true, true) => "tls",
        }
    }

    fn set(&mut self, option: &str) -> Result<(), String> {
        let name = option.split('=').next().unwrap_or_default();
        let twice = match name {
            "flush" => self.flush.is_some(),
            "raw" => self.raw,
            "proxy" => self.proxy,
            "tls" => self.tls.is_some(),
            _ => false,
        };
        if twice {
            return Err(format!("{name} is there twice"));
        }
        match option.split_once('=').unwrap_or((option, "")) {
            ("flush", span) => {
                let span = Value::Loose(span.into()).span(Span::ZERO, Span::from_secs(60));
                self.flush = Some(span.map_err(|what| format!("flush: {what}"))?);
            }
            ("raw", "") => self.raw = true,
            ("proxy", "") => self.proxy = true,
            ("tls", "") => self.tls = Some(ClientCertificates::Ignored),
            ("tls", "optional") => self.tls = Some(ClientCertificates::Optional),
            ("tls", "required") => self.tls = Some(ClientCertificates::Required),
            _ => {
                return Err("a listener knows flush=SPAN, raw, proxy, tls, tls=optional and \
                    tls=required (of client certificates), nothing else"
                    .into());
            }
        }
        Ok(())
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
        f.write_str(match self.tls {
            None => "",
            Some(ClientCertificates::Ignored) => ":tls",
            Some(ClientCertificates::Optional) => ":tls=optional",
            Some(ClientCertificates::Required) => ":tls=required",
        })
    }
}

/// Reads a private listener.
///
/// # Errors
/// Says how one looks.
pub(crate) fn parse_private(text: &str) -> Result<Listen, String> {
    let listen: Listen = text.parse().map_err(|what: String| match what.contains("listener") {
        true => what,
        false => format!("{what}, or a socket's file as \"/run/ahm/private\""),
    })?;
    if listen.flush.is_some() || listen.raw || listen.proxy {
        let what = "a private listener knows tls, tls=optional and tls=required, nothing else";
        return Err(format!("{text:?}: {what}"));
    }
    Ok(listen)
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
            "[::]:443:tls",
            "[::1]:443:flush=1s:proxy:tls=required",
            "[fe80::1%3]:443:tls=optional",
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
        let any_order: Listen = "[::]:1:tls=required:proxy:flush=1s".parse().unwrap();
        assert_eq!(any_order.to_string(), "[::]:1:flush=1s:proxy:tls=required");
        let cases = [
            ("localhost:80", "\"localhost:80\" is not an address with a port"),
            ("127.0.0.1", "\"127.0.0.1\" is not an address with a port"),
            ("::1", "\"::1\" is not an address with a port"),
            ("[::1]", "\"[::1]\" is not an address with a port"),
            ("127.0.0.1:flush=1s", "\"127.0.0.1\" is not an address with a port"),
            ("127.0.0.1:80:flush", "\"127.0.0.1:80:flush\": flush: \"\" is not a length"),
            ("127.0.0.1:80:flsh=1s", "\"127.0.0.1:80:flsh=1s\": a listener knows flush=SPAN"),
            ("127.0.0.1:80:tls=yes", "\"127.0.0.1:80:tls=yes\": a listener knows flush=SPAN"),
            ("127.0.0.1:80:raw=1", "\"127.0.0.1:80:raw=1\": a listener knows flush=SPAN"),
            ("127.0.0.1:80:raw:raw", "\"127.0.0.1:80:raw:raw\": raw is there twice"),
            ("127.0.0.1:80:flush=20", "\"127.0.0.1:80:flush=20\": flush: \"20\" is not a length"),
            ("127.0.0.1:80:flush=2m", "\"127.0.0.1:80:flush=2m\": flush: 2m is not between"),
            (
                "127.0.0.1:80:flush=1s:flush=2s",
                "\"127.0.0.1:80:flush=1s:flush=2s\": flush is there",
            ),
        ];
        for (text, wanted) in cases {
            let said = text.parse::<Listen>().unwrap_err();
            assert!(said.starts_with(wanted), "{text}: {said}");
        }
    }
}
