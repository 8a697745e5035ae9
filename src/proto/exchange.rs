//! Exchanges of one connection: answers are given out in the order of their requests.

use std::collections::VecDeque;
use std::fmt;

use crate::base::hidden::HiddenBytes;
use crate::base::limits;
use crate::proto::answer::{Answer, Content, Meta};
use crate::proto::control::join_sessions;
use crate::proto::metrics::Counted;

/// Once so many bytes at the beginning of the buffer are sent, the rest moves up.
const SENT_MAX: usize = 64 * 1024;

/// How the parts of a gathered answer become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gather {
    /// One JSON object a line.
    Lines,
    /// One object with a list of outcomes, as `POST /publish` answers.
    Outcomes,
    /// The only outcome, as `POST /publish/RESOURCE/SUBJECT` answers.
    Single,
    /// The sum of what shards have counted, as `GET /metrics` answers.
    Metrics,
    /// The sessions of all shards, as `GET /control/sessions` answers.
    Sessions,
    /// The same of those that have just ended.
    Ended,
}

enum Slot {
    Waiting(Meta),
    Gathering { meta: Meta, gather: Gather, parts: Vec<Option<Answer>>, missing: usize },
    Ready { bytes: Vec<u8>, close: bool },
}

/// Answers that are waited for, and bytes that wait for the socket.
#[derive(Default)]
pub struct Exchanges {
    first: u32,
    slots: VecDeque<Slot>,
    out: Vec<u8>,
    sent: usize,
    /// Whether nothing comes after what is in `out`.
    closing: bool,
}

/// Without the answers, one of which may have made a session.
impl fmt::Debug for Exchanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchanges")
            .field("open", &self.slots.len())
            .field("unsent", &HiddenBytes(self.unsent().len()))
            .finish_non_exhaustive()
    }
}

impl Exchanges {
    /// Opens an exchange and returns its number.
    pub fn open(&mut self, meta: Meta) -> u32 {
        self.slots.push_back(Slot::Waiting(meta));
        self.first.wrapping_add(self.slots.len() as u32 - 1)
    }

    /// Makes an open exchange wait for `count` parts.
    pub fn gather(&mut self, exchange: u32, gather: Gather, count: usize) {
        let Some(slot) = self.slot(exchange) else { return };
        if let Slot::Waiting(meta) = slot {
            let meta = meta.clone();
            *slot = Slot::Gathering { meta, gather, parts: vec![None; count], missing: count };
        }
    }

    /// Gives the answer to an exchange, or one part of it.
    pub fn answer(&mut self, exchange: u32, part: Option<u32>, answer: Answer, unix_seconds: u64) {
        let Some(slot) = self.slot(exchange) else { return };
        let (meta, answer) = match (slot, part) {
            (Slot::Waiting(meta), _) => (meta, answer),
            (Slot::Gathering { meta, gather, parts, missing }, Some(part)) => {
                let Some(place) = parts.get_mut(part as usize) else { return };
                if place.replace(answer).is_none() {
                    *missing -= 1;
                }
                if *missing > 0 {
                    return;
                }
                (meta, join(*gather, std::mem::take(parts)))
            }
            // The whole batch was refused before its parts were.
            (Slot::Gathering { meta, .. }, None) => (meta, answer),
            (Slot::Ready { .. }, _) => return,
        };
        let close = meta.close;
        let mut bytes = Vec::with_capacity(512);
        answer.encode(meta, unix_seconds, &mut bytes);
        if let Some(slot) = self.slot(exchange) {
            *slot = Slot::Ready { bytes, close };
        }
        self.advance();
    }

    /// Whether the exchange waits for the only outcome of one publication.
    pub fn is_single(&self, exchange: u32) -> bool {
        let slot = self.slots.get(exchange.wrapping_sub(self.first) as usize);
        matches!(slot, Some(Slot::Gathering { gather: Gather::Single, .. }))
    }

    /// Puts bytes between the answers, in their turn: an interim answer.
    pub fn interject(&mut self, bytes: &[u8]) {
        self.slots.push_back(Slot::Ready { bytes: bytes.to_vec(), close: false });
        self.advance();
    }

    /// Appends bytes at once; only while no exchange is open.
    pub fn put(&mut self, bytes: &[u8]) {
        debug_assert!(self.slots.is_empty());
        self.out.extend_from_slice(bytes);
    }

    /// The buffer of what goes out, to append to; only while no exchange is open.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.slots.is_empty());
        &mut self.out
    }

    /// The connection closes behind what is in the buffer.
    pub fn close_behind(&mut self) {
        debug_assert!(self.slots.is_empty());
        self.closing = true;
    }

    /// The bytes that wait for the socket.
    pub fn unsent(&self) -> &[u8] {
        &self.out[self.sent..]
    }

    /// The socket took `count` bytes.
    pub fn advance_sent(&mut self, count: usize) {
        self.sent += count;
        debug_assert!(self.sent <= self.out.len());
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        } else if self.sent >= SENT_MAX {
            // A relayed answer may never be sent to its end.
            self.out.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Whether nothing is waited for and nothing unsent.
    pub fn is_idle(&self) -> bool {
        self.slots.is_empty() && self.unsent().is_empty()
    }

    /// Whether a further request must wait.
    pub fn is_full(&self) -> bool {
        self.slots.len() >= limits::PIPELINE_MAX || self.unsent().len() >= limits::ANSWER_BYTES_MAX
    }

    /// Whether the last answer was given, after which the connection closes.
    pub fn is_closing(&self) -> bool {
        self.closing
    }

    fn slot(&mut self, exchange: u32) -> Option<&mut Slot> {
        self.slots.get_mut(exchange.wrapping_sub(self.first) as usize)
    }

    fn advance(&mut self) {
        while let Some(Slot::Ready { .. }) = self.slots.front() {
            let Some(Slot::Ready { bytes, close }) = self.slots.pop_front() else { return };
            self.first = self.first.wrapping_add(1);
            if !self.closing {
                self.out.extend_from_slice(&bytes);
                self.closing = close;
            }
        }
    }
}

fn join(gather: Gather, parts: Vec<Option<Answer>>) -> Answer {
    let mut parts = parts.into_iter().flatten();
    match gather {
        Gather::Metrics => {
            let mut sum = Counted::default();
            for part in parts {
                if let Content::Counted(counted) = part.content {
                    sum.add(&counted);
                }
            }
            Answer::text(200, sum.to_string())
        }
        Gather::Sessions => join_sessions("sessions", parts),
        Gather::Ended => join_sessions("ended", parts),
        Gather::Single => parts.next().unwrap_or_else(|| Answer::ok("")),
        Gather::Lines => {
            let mut lines = String::new();
            for part in parts {
                lines.push_str(&part.into_line());
                lines.push('\n');
            }
            Answer { status: 200, content: Content::Text(lines), field: None }
        }
        Gather::Outcomes => {
            let mut list = String::new();
            let mut taken = 0;
            for part in parts {
                taken += usize::from(part.status == 200);
                if !list.is_empty() {
                    list.push(',');
                }
                list.push_str(&part.into_line());
            }
            Answer::ok(&format!(",\"taken\":{taken},\"lines\":[{list}]"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::Version;

    fn meta(close: bool) -> Meta {
        Meta { version: Version::Http11, head_only: false, close, origin: None }
    }

    fn body(exchanges: &Exchanges) -> Vec<String> {
        let text = String::from_utf8_lossy(exchanges.unsent()).into_owned();
        text.split("HTTP/1.1 ")
            .skip(1)
            .map(|one| one.split("\r\n\r\n").nth(1).unwrap_or_default().to_string())
            .collect()
    }

    #[test]
    fn answers_leave_in_the_order_of_their_requests() {
        let mut exchanges = Exchanges::default();
        let first = exchanges.open(meta(false));
        let second = exchanges.open(meta(true));
        let third = exchanges.open(meta(false));
        exchanges.answer(third, None, Answer::text(200, "three"), 0);
        exchanges.answer(second, None, Answer::text(200, "two"), 0);
        assert!(exchanges.unsent().is_empty());
        exchanges.answer(first, None, Answer::text(200, "one"), 0);
        assert_eq!(body(&exchanges), ["one", "two"]);
        assert!(exchanges.is_closing(), "nothing follows an answer that closes");
    }

    #[test]
    fn parts_are_gathered_in_their_own_order() {
        let mut exchanges = Exchanges::default();
        let exchange = exchanges.open(meta(false));
        exchanges.gather(exchange, Gather::Lines, 2);
        exchanges.answer(exchange, Some(1), Answer::ok(",\"b\":1"), 0);
        exchanges.answer(exchange, Some(1), Answer::ok(",\"b\":2"), 0);
        assert!(exchanges.unsent().is_empty());
        exchanges.answer(exchange, Some(0), Answer::ok(""), 0);
        assert_eq!(body(&exchanges), ["{\"ok\":true}\n{\"ok\":true,\"b\":2}\n"]);
        let count = exchanges.unsent().len();
        exchanges.advance_sent(count);
        assert!(exchanges.is_idle());
    }
}
