//! What is told of a relayed request: its id, and the line of the access log.

use std::fmt;
use std::io::Write as _;
use std::net::SocketAddr;

use crate::base::time::Span;
use crate::http::request::Head;
use crate::relay::site::AccessLog;

/// Whose messages are lines of the access log.
pub const TARGET: &str = "ahm::access";
/// Bytes of the longest id that is taken from a peer.
const THEIRS_MAX: usize = 64;

/// The id of a request: 16 hexadecimal digits of our own, or what a trusted peer has called it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId {
    number: u64,
    theirs: Option<Box<str>>,
}

impl RequestId {
    /// One of our own.
    pub const fn new(number: u64) -> Self {
        Self { number, theirs: None }
    }

    /// The peer's, if it has given one that can be told anywhere; else our own.
    pub fn of(number: u64, theirs: Option<&str>) -> Self {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:=+/".contains(&byte);
        let fits = |text: &&str| {
            !text.is_empty() && text.len() <= THEIRS_MAX && text.bytes().all(is_plain)
        };
        Self { number, theirs: theirs.filter(fits).map(Into::into) }
    }

    /// Appends it as a field.
    pub fn put(&self, out: &mut Vec<u8>) {
        let _ = write!(out, "X-Request-Id: {self}\r\n");
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.theirs {
            Some(theirs) => f.write_str(theirs),
            None => write!(f, "{:016x}", self.number),
        }
    }
}

/// What the access log will say of a request, as far as its head tells.
#[derive(Debug)]
pub struct Entry {
    peer: SocketAddr,
    method: String,
    host: String,
    target: String,
}

/// The rest.
#[derive(Clone, Debug)]
pub struct Outcome<'o> {
    /// The request's id.
    pub id: &'o RequestId,
    /// The status of the answer; 0 where there was none.
    pub status: u16,
    /// What became of it, in a word.
    pub word: &'static str,
    /// Bytes of the request's body.
    pub bytes_up: u64,
    /// Bytes of the answer's body, or of the tunnel.
    pub bytes_down: u64,
    /// From the head of the request to the end.
    pub took: Span,
    /// The web server, if one was asked.
    pub server: String,
    /// Microseconds since 1970.
    pub unix_micros: u64,
}

impl Entry {
    /// What the head tells. No field's value but Host is kept, and of the query no key.
    pub fn new(head: &Head<'_>, peer: SocketAddr) -> Self {
        let mut target = head.target.path.to_owned();
        if head.target.has_query {
            target.push('?');
            target.push_str(&without_keys(head.target.query));
        }
        let host = head.host.unwrap_or("-").to_owned();
        Self { peer, method: head.method.as_str().into(), host, target }
    }

    /// The same for a connection that is passed on to whoever has that name.
    pub fn passed(name: String, peer: SocketAddr) -> Self {
        Self { peer, method: "TLS".into(), host: name, target: "-".into() }
    }

    /// Writes the line.
    pub fn tell(&self, form: AccessLog, outcome: &Outcome<'_>) {
        if let Some(line) = self.line(form, outcome) {
            log::info!(target: TARGET, "{line}");
        }
    }

    fn line(&self, form: AccessLog, outcome: &Outcome<'_>) -> Option<String> {
        let Self { peer, method, host, target } = self;
        let Outcome { id, status, word, bytes_up, bytes_down, took, server, unix_micros } = outcome;
        let micros = took.as_micros();
        let seconds = format!("{}.{:06}", unix_micros / 1_000_000, unix_micros % 1_000_000);
        match form {
            AccessLog::Off => None,
            AccessLog::Text => Some(format!(
                "{seconds} {id} {peer} {method} {host} {target} {status} {word} up={bytes_up} \
                 down={bytes_down} us={micros} server={server}"
            )),
            AccessLog::Json => Some(
                serde_json::json!({
                    "time": seconds,
                    "id": id.to_string(),
                    "peer": peer.to_string(),
                    "method": method,
                    "host": host,
                    "target": target,
                    "status": status,
                    "outcome": word,
                    "bytes_up": bytes_up,
                    "bytes_down": bytes_down,
                    "us": micros,
                    "server": server,
                })
                .to_string(),
            ),
        }
    }
}

/// The query with a star for the value of each `k`, however that name is written.
fn without_keys(query: &str) -> String {
    let mut out = String::with_capacity(query.len());
    for (at, pair) in query.split('&').enumerate() {
        if at > 0 {
            out.push('&');
        }
        let name = pair.split('=').next().unwrap_or_default();
        if is_key(name) && name.len() < pair.len() {
            out.push_str(name);
            out.push_str("=*");
        } else {
            out.push_str(pair);
        }
    }
    out
}

fn is_key(name: &str) -> bool {
    ["k", "K", "%6b", "%6B", "%4b", "%4B"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::{Limits, parse_head};

    #[test]
    fn a_line_shows_no_key_and_no_secret_field() {
        let bytes = b"GET /a?x=1&k=sesame&%6B=sesame&k HTTP/1.1\r\nHost: h:1\r\n\
            Cookie: sesame\r\nAuthorization: sesame\r\nAHM-Key: sesame\r\n\r\n";
        let (head, _) = parse_head(bytes, &Limits::default()).unwrap().unwrap();
        let entry = Entry::new(&head, "127.0.0.1:5".parse().unwrap());
        let id = RequestId::new(1);
        let outcome = Outcome {
            id: &id,
            status: 200,
            word: "whole",
            bytes_up: 0,
            bytes_down: 7,
            took: Span::from_millis(2),
            server: "unix:/a".into(),
            unix_micros: 1_000_002,
        };
        let text = entry.line(AccessLog::Text, &outcome).unwrap();
        let wanted = "1.000002 0000000000000001 127.0.0.1:5 GET h:1 /a?x=1&k=*&%6B=*&k 200 whole \
            up=0 down=7 us=2000 server=unix:/a";
        assert_eq!(text, wanted);
        let json = entry.line(AccessLog::Json, &outcome).unwrap();
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&read["target"], &read["status"]), (&"/a?x=1&k=*&%6B=*&k".into(), &200.into()));
        assert!(!json.contains("sesame") && entry.line(AccessLog::Off, &outcome).is_none());
    }

    #[test]
    fn an_id_of_a_peer_is_one_that_can_be_told() {
        assert_eq!(RequestId::of(1, Some("ab-C_9")).to_string(), "ab-C_9");
        let long = "a".repeat(THEIRS_MAX + 1);
        for bad in ["", "a b", "<a>", "a\"", &long] {
            assert_eq!(RequestId::of(0xf, Some(bad)).to_string(), "000000000000000f", "{bad}");
        }
    }
}
