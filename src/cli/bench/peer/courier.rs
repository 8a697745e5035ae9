//! The words of the publisher: what surrounds each message, and what the server says to it.

use std::io::Write as _;

use crate::base::id::Epoch;
use crate::cli::bench::address::Server;
use crate::cli::bench::peer::feed::Heard;
use crate::cli::bench::peer::{Peer, mqtt, nats, topic};
use crate::cli::bench::plan::Plan;
use crate::cli::bench::stamp::{ADDRESSED_BYTES, Stamp, address};
use crate::http::response::{ResponseFraming, parse_response};

/// Bytes of an answer; more is not one.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What a server says to a publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The oldest message without an answer has been taken.
    Taken,
    /// It has been refused, for this reason.
    Refused(String),
    /// All messages have been taken.
    AllTaken,
    /// The server wants a sign of life, which is this.
    Ping(&'static [u8]),
    /// Nothing that matters here.
    Nothing,
}

/// Writes messages the way a server takes them.
#[derive(Debug)]
pub struct Courier {
    peer: Peer,
    /// Of each topic: what comes before the number or size of a message.
    heads: Vec<Vec<u8>>,
    /// What stands between the number of a message and its size.
    middle: Vec<u8>,
    /// Messages say their numbers.
    numbered: bool,
}

impl Courier {
    /// To `server`. With two servers messages are numbered in `epoch`: both give the same numbers
    /// only if they are told them.
    pub fn new(plan: &Plan, server: &Server, epoch: Epoch) -> Self {
        let Server { path, authority, .. } = server;
        let (peer, numbered) = (plan.peer, plan.twin.is_some());
        let number = if numbered { format!("?epoch={epoch}&n=") } else { String::new() };
        let head = |at: usize| match peer {
            Peer::Ahm => format!("POST {path}/publish/{}/t{at}{number}", plan.resource),
            Peer::Floor | Peer::Nchan => format!("POST {path}/pub/{}", topic(plan, at)),
            Peer::Nats | Peer::NatsWs => format!("PUB {} ", topic(plan, at)),
            Peer::Mqtt | Peer::MqttWs => topic(plan, at),
        };
        let middle =
            format!(" HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: ahm-bench\r\nContent-Length: ");
        Self {
            peer,
            heads: (0..plan.topics).map(|at| head(at).into_bytes()).collect(),
            middle: middle.into_bytes(),
            numbered,
        }
    }

    /// What is said first.
    pub fn greeting(&self) -> &'static [u8] {
        match self.peer {
            Peer::Ahm | Peer::Floor | Peer::Nchan => b"",
            Peer::Nats | Peer::NatsWs => nats::CONNECT,
            Peer::Mqtt | Peer::MqttWs => mqtt::CONNECT,
        }
    }

    /// What is said after the last message, so that the server tells when it has taken all: those
    /// that answer to each message need none.
    pub fn farewell(&self) -> &'static [u8] {
        match self.peer {
            Peer::Ahm | Peer::Floor | Peer::Nchan => b"",
            Peer::Nats | Peer::NatsWs => nats::PING,
            Peer::Mqtt | Peer::MqttWs => mqtt::PING,
        }
    }

    /// Appends the message `stamp` to `topic`, `size` bytes long.
    pub fn put(&self, topic: usize, stamp: Stamp, size: usize, out: &mut Vec<u8>) {
        let head = &self.heads[topic];
        // Recorded ticks may be shorter than what must stand in front of them.
        let size = if self.peer == Peer::Ahm { size } else { size.max(ADDRESSED_BYTES) };
        match self.peer {
            Peer::Ahm | Peer::Floor | Peer::Nchan => {
                out.extend_from_slice(head);
                if self.numbered {
                    // The message that makes the topic is number 0 to the driver, and 1 in the
                    // topic.
                    put_number(stamp.seq + 1, out);
                }
                out.extend_from_slice(&self.middle);
                put_number(size as u64, out);
                out.extend_from_slice(b"\r\n\r\n");
            }
            Peer::Nats | Peer::NatsWs => {
                out.extend_from_slice(head);
                put_number(size as u64, out);
                out.extend_from_slice(b"\r\n");
            }
            Peer::Mqtt | Peer::MqttWs => mqtt::publish(head, size, out),
        }
        let begin = out.len();
        stamp.put(size, out);
        if self.peer != Peer::Ahm {
            address(&mut out[begin..], topic);
        }
        if self.peer.is_lines()
            && let Some(last) = out.last_mut()
        {
            *last = b'\n';
        }
        if matches!(self.peer, Peer::Nats | Peer::NatsWs) {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// The answer at the front of `input` and its length, if it is complete.
    ///
    /// # Errors
    /// A sentence: it cannot be understood.
    pub fn answer(&self, input: &[u8]) -> Result<Option<(Answer, usize)>, String> {
        let heard = match self.peer {
            Peer::Ahm | Peer::Floor | Peer::Nchan => return http(input),
            Peer::Nats | Peer::NatsWs => nats::first(input),
            Peer::Mqtt | Peer::MqttWs => mqtt::first(input),
        };
        let heard = heard.map_err(|problem| format!("publisher: {problem}"))?;
        Ok(heard.map(|(heard, taken)| match heard {
            Heard::Done => (Answer::AllTaken, taken),
            Heard::Ping(pong) => (Answer::Ping(pong), taken),
            Heard::Nothing | Heard::Payload(_) => (Answer::Nothing, taken),
        }))
    }
}

fn put_number(number: u64, out: &mut Vec<u8>) {
    // Writing to memory cannot fail.
    let _ = write!(out, "{number}");
}

/// The answer of an HTTP server at the front of `input`.
fn http(input: &[u8]) -> Result<Option<(Answer, usize)>, String> {
    let parsed = parse_response(input).map_err(|error| format!("publisher: answer: {error:?}"))?;
    let Some((parts, head)) = parsed else {
        let fits = input.len() <= ANSWER_BYTES_MAX;
        return if fits { Ok(None) } else { Err("publisher: an answer without an end".into()) };
    };
    let body = match parts.framing {
        ResponseFraming::None => 0,
        ResponseFraming::Length(length) if length <= ANSWER_BYTES_MAX as u64 => length as usize,
        _ => return Err("publisher: answers need a Content-Length".into()),
    };
    let Some(body) = input.get(head..head + body) else { return Ok(None) };
    let answer = if (200..300).contains(&parts.status) {
        Answer::Taken
    } else {
        let text = String::from_utf8_lossy(body);
        Answer::Refused(format!("{} {}", parts.status, text.trim()))
    };
    Ok(Some((answer, head + body.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Instant;
    use crate::cli::bench::Args;

    fn said(peer: Peer, change: impl FnOnce(&mut Args)) -> String {
        let [subscribers, publisher] = peer.schemes();
        let url = format!("{subscribers}://127.0.0.1:9");
        let private = Some(format!("{publisher}://127.0.0.1:8"));
        let mut args = Args { peer, url, private, topics: 20, size: 40, ..Args::default() };
        change(&mut args);
        let plan = Plan::new(&args, 0xab).unwrap();
        let courier = Courier::new(&plan, plan.private.as_ref().unwrap(), Epoch(35));
        let stamp = Stamp { due: Instant::from_nanos(255), seq: 7, run: 0xab };
        let mut out = Vec::new();
        courier.put(18, stamp, args.size, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn each_server_is_told_a_message_in_its_own_words() {
        let head = " HTTP/1.1\r\nHost: 127.0.0.1:8\r\nUser-Agent: ahm-bench\r\n\
                    Content-Length: 40\r\n\r\n";
        let own = "00000000000000ff 0000000007 00ab........";
        assert_eq!(said(Peer::Ahm, |_| {}), format!("POST /publish/bench/t18{head}{own}"));
        let two = said(Peer::Ahm, |args| {
            args.dup = Some("http://127.0.0.1:7".into());
            args.dup_private = Some("http://127.0.0.1:6".into());
        });
        assert_eq!(two, format!("POST /publish/bench/t18?epoch=z&n=8{head}{own}"));
        let other = "00000000000000ff 0000000007 00ab 0012";
        assert_eq!(said(Peer::Nchan, |_| {}), format!("POST /pub/bench.t18{head}{other}..\n"));
        assert_eq!(said(Peer::NatsWs, |_| {}), format!("PUB bench.t18 40\r\n{other}...\r\n"));
        assert_eq!(said(Peer::Mqtt, |_| {}), format!("0\u{33}\0\u{9}bench.t18{other}..."));
    }

    #[test]
    fn answers_are_told_apart_byte_by_byte() {
        let ok = b"HTTP/1.1 201 Created\r\nContent-Length: 3\r\n\r\nabc";
        for end in 0..ok.len() {
            assert_eq!(http(&ok[..end]), Ok(None));
        }
        assert_eq!(http(ok), Ok(Some((Answer::Taken, ok.len()))));
        let no = b"HTTP/1.1 503 Busy\r\nContent-Length: 3\r\n\r\nno\nHTTP/1.1";
        let refused = Answer::Refused("503 no".into());
        assert_eq!(http(no), Ok(Some((refused, no.len() - 8))));
        assert!(http(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }
}
