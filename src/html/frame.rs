//! Frames: each function appends one whole line to `out`, LF included, and allocates nothing else.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::base::id::{Cid, Epoch, Mid, Offset};
use crate::base::name::TopicName;
use crate::base::reason::{ChannelEnd, DocumentEnd, SendOutcome};
use crate::base::time::Span;
use crate::html::escape::{escape, is_text, put_attribute};

/// What every document begins with, before its first frame.
pub const PREAMBLE: &[u8] = b"<!doctype html><meta charset=utf-8><title>mux</title><body>\n";

/// The version of the protocol that the identity frame announces.
pub const VERSION: u32 = 1;

/// What a message frame begins with, up to the digits of its channel.
const MESSAGE_START: &[u8] = b"<p c=";

/// Who speaks on a document, and at what pace: the content of the identity frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Identity<'a> {
    /// The communication server: 1 to 32 of `[A-Za-z0-9_-]`.
    pub scs: &'a str,
    /// The session.
    pub mid: Mid,
    /// The document's number in its session, from 1.
    pub d: u32,
    /// The session key, only where this very request made the session.
    pub key: Option<&'a str>,
    /// The heartbeat interval; whole milliseconds travel.
    pub heartbeat: Span,
    /// The client should refresh the document after this span; whole milliseconds travel.
    pub refresh: Span,
    /// How long a message may wait for more; whole milliseconds travel, none where it is zero.
    pub flush: Span,
    /// Whether the client must be heard once in every heartbeat interval.
    pub client_heartbeat: bool,
}

impl fmt::Debug for Identity<'_> {
    /// Without the key, which must never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("scs", &self.scs)
            .field("mid", &self.mid)
            .field("d", &self.d)
            .field("key", &self.key.map(|_| "(secret)"))
            .field("heartbeat", &self.heartbeat)
            .field("refresh", &self.refresh)
            .field("flush", &self.flush)
            .field("client_heartbeat", &self.client_heartbeat)
            .finish()
    }
}

/// A message of channel `c` at offset `n`, from 1. Text travels escaped, anything else as base64
/// with the flag `b`; `snapshot` sets the flag `s`.
///
/// ```
/// use ahm::base::id::{Cid, Offset};
/// use ahm::html::frame::message;
/// let mut out = Vec::new();
/// message(&mut out, Cid(7), Offset(1042), false, b"1.09214 < 1.09217");
/// message(&mut out, Cid(7), Offset(1043), true, b"\x00\xff");
/// assert_eq!(out, b"<p c=7 n=1042>1.09214 &lt; 1.09217\n<p c=7 n=1043 b s>AP8=\n");
/// ```
pub fn message(out: &mut Vec<u8>, c: Cid, n: Offset, snapshot: bool, payload: &[u8]) {
    debug_assert!(n.0 > 0 && n.0 < Offset::END, "offset {n}");
    out.reserve(payload.len() + 32);
    out.extend_from_slice(MESSAGE_START);
    put_decimal(u64::from(c.0), out);
    number(out, " n=", n.0);
    let text = is_text(payload);
    out.extend_from_slice(match (text, snapshot) {
        (true, false) => b">",
        (true, true) => b" s>",
        (false, false) => b" b>",
        (false, true) => b" b s>",
    });
    if text {
        escape(payload, out);
    } else {
        put_base64(payload, out);
    }
    out.push(b'\n');
}

/// The index just after the digits of `c` in a frame made by [`message`], so that `<p c=`, another
/// `cid`, and the frame from there on is the same message for another channel.
///
/// ```
/// use ahm::html::frame::message_tail_start;
/// let frame = b"<p c=1048633 n=7>x\n";
/// assert_eq!(&frame[message_tail_start(frame)..], b" n=7>x\n");
/// ```
pub fn message_tail_start(frame: &[u8]) -> usize {
    debug_assert!(frame.starts_with(MESSAGE_START));
    let digits = frame.iter().skip(MESSAGE_START.len()).take_while(|byte| byte.is_ascii_digit());
    (MESSAGE_START.len() + digits.count()).min(frame.len())
}

/// The first frame of every document.
///
/// ```
/// use ahm::base::{id::Mid, time::Span};
/// use ahm::html::frame::{Identity, identity};
/// let mut out = Vec::new();
/// identity(&mut out, &Identity {
///     scs: "ldn1",
///     mid: Mid::parse("4398046511105").unwrap(),
///     d: 1,
///     key: None,
///     heartbeat: Span::from_secs(15),
///     refresh: Span::from_secs(240),
///     flush: Span::from_millis(20),
///     client_heartbeat: true,
/// });
/// let line = b"<p i scs=ldn1 mid=4398046511105 d=1 h=15000 r=240000 v=1 f=20 hc>\n";
/// assert_eq!(out, line);
/// ```
pub fn identity(out: &mut Vec<u8>, identity: &Identity<'_>) {
    out.extend_from_slice(b"<p i");
    text(out, " scs=", identity.scs);
    number(out, " mid=", identity.mid.get());
    number(out, " d=", u64::from(identity.d));
    if let Some(key) = identity.key {
        text(out, " k=", key);
    }
    number(out, " h=", identity.heartbeat.as_millis());
    number(out, " r=", identity.refresh.as_millis());
    number(out, " v=", u64::from(VERSION));
    if identity.flush.as_millis() > 0 {
        number(out, " f=", identity.flush.as_millis());
    }
    if identity.client_heartbeat {
        out.extend_from_slice(b" hc");
    }
    out.extend_from_slice(b">\n");
}

/// Channel `c` is on topic `name`, starting after `(ep, n)`; messages up to `head` are history.
/// `life` tells it from channels of the same number that have ended: 0, or `None` where a document
/// that carries it goes on, is not written.
pub fn opened(
    out: &mut Vec<u8>,
    (c, life): (Cid, Option<u32>),
    name: &TopicName,
    (ep, n): (Epoch, Offset),
    head: Offset,
) {
    out.extend_from_slice(b"<p o");
    number(out, " c=", u64::from(c.0));
    if let Some(life) = life.filter(|life| *life > 0) {
        number(out, " l=", u64::from(life));
    }
    text(out, " u=", name.as_str());
    epoch(out, ep);
    number(out, " n=", n.0);
    number(out, " head=", head.0);
    out.extend_from_slice(b">\n");
}

/// Channel `c` has ended: the one that the document carries or, of those that it does not carry,
/// all up to `life`.
pub fn closed(out: &mut Vec<u8>, c: Cid, life: Option<u32>, e: ChannelEnd) {
    out.extend_from_slice(b"<p x");
    number(out, " c=", u64::from(c.0));
    if let Some(life) = life {
        number(out, " l=", u64::from(life));
    }
    text(out, " e=", e.word());
    out.extend_from_slice(b">\n");
}

/// A channel that a document asked for with `open=` was not opened; `c` where the client chose it.
pub fn refused(out: &mut Vec<u8>, c: Option<Cid>, name: &TopicName, e: ChannelEnd) {
    out.extend_from_slice(b"<p x");
    if let Some(c) = c {
        number(out, " c=", u64::from(c.0));
    }
    text(out, " u=", name.as_str());
    text(out, " e=", e.word());
    out.extend_from_slice(b">\n");
}

/// The next message of channel `c` is after `n`; `missing` messages are lost to it, if that is
/// known.
pub fn gap(out: &mut Vec<u8>, c: Cid, ep: Epoch, n: Offset, missing: Option<u64>) {
    out.extend_from_slice(b"<p g");
    number(out, " c=", u64::from(c.0));
    epoch(out, ep);
    number(out, " n=", n.0);
    if let Some(missing) = missing {
        number(out, " m=", missing);
    }
    out.extend_from_slice(b">\n");
}

/// What became of the held send `n` of channel `c`.
pub fn outcome(out: &mut Vec<u8>, c: Cid, n: u64, e: SendOutcome) {
    out.extend_from_slice(b"<p a");
    number(out, " c=", u64::from(c.0));
    number(out, " n=", n);
    text(out, " e=", e.word());
    out.extend_from_slice(b">\n");
}

/// The stream is alive: the interval in force (whole milliseconds travel) and the server's clock.
pub fn heartbeat(out: &mut Vec<u8>, interval: Span, unix_micros: u64) {
    out.extend_from_slice(b"<p");
    number(out, " h=", interval.as_millis());
    number(out, " t=", unix_micros);
    out.extend_from_slice(b">\n");
}

/// The document goes on, but the client should open its successor `within` that span: `e` says
/// why, one of `drain`, `route`, `expiry`.
pub fn moved(out: &mut Vec<u8>, e: &str, within: Option<Span>) {
    out.extend_from_slice(b"<p m");
    ended(out, e, within);
}

/// The last frame; the client comes back after a random wait up to `spread`.
pub fn end(out: &mut Vec<u8>, e: DocumentEnd, spread: Option<Span>) {
    out.extend_from_slice(b"<p z");
    ended(out, e.word(), spread);
}

/// The routes that lead here, as a JSON list.
pub fn routes(out: &mut Vec<u8>, json: &str) {
    out.extend_from_slice(b"<p y>");
    escape(json.as_bytes(), out);
    out.push(b'\n');
}

/// One line of `bytes` bytes (at least 8, LF included) that readers skip: for proxies that pass
/// nothing on before they have seen enough.
pub fn padding(out: &mut Vec<u8>, bytes: usize) {
    const START: &[u8] = b"<!--";
    const END: &[u8] = b"-->\n";
    out.extend_from_slice(START);
    out.resize(out.len() + bytes.saturating_sub(START.len() + END.len()), b' ');
    out.extend_from_slice(END);
}

fn ended(out: &mut Vec<u8>, e: &str, wait: Option<Span>) {
    text(out, " e=", e);
    if let Some(wait) = wait {
        number(out, " w=", wait.as_millis());
    }
    out.extend_from_slice(b">\n");
}

fn text(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    put_attribute(value, out);
}

fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    out.extend_from_slice(name.as_bytes());
    put_decimal(value, out);
}

fn epoch(out: &mut Vec<u8>, ep: Epoch) {
    out.extend_from_slice(b" ep=");
    out.extend_from_slice(ep.digits(&mut [0; 13]));
}

fn put_decimal(value: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

fn put_base64(payload: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + payload.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(payload, &mut out[start..]);
    debug_assert_eq!(written.ok(), Some(out.len() - start), "room was made for all of it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_reach_both_ends() {
        for value in [0, 9, 10, 4_398_046_511_105, u64::MAX] {
            let mut out = Vec::new();
            put_decimal(value, &mut out);
            assert_eq!(out, value.to_string().into_bytes());
        }
    }

    #[test]
    fn padding_has_the_length_that_was_asked_for() {
        for bytes in [0, 8, 9, 2048] {
            let mut out = Vec::new();
            padding(&mut out, bytes);
            assert_eq!(out.len(), bytes.max(8));
            assert!(out.starts_with(b"<!--") && out.ends_with(b"-->\n"));
        }
    }

    #[test]
    fn a_key_is_not_shown() {
        let identity = Identity {
            scs: "a",
            mid: Mid::parse("1").unwrap(),
            d: 1,
            key: Some("topsecret"),
            heartbeat: Span::ZERO,
            refresh: Span::ZERO,
            flush: Span::ZERO,
            client_heartbeat: false,
        };
        assert!(!format!("{identity:?}").contains("topsecret"));
    }

    #[test]
    fn a_message_can_be_addressed_anew() {
        let (mut frame, mut other) = (Vec::new(), Vec::new());
        message(&mut frame, Cid(1 << 20), Offset(5), true, b"a\nb");
        message(&mut other, Cid(3), Offset(5), true, b"a\nb");
        let mut anew = b"<p c=3".to_vec();
        anew.extend_from_slice(&frame[message_tail_start(&frame)..]);
        assert_eq!(anew, other);
    }
}
