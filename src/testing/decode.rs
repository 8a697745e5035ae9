//! Answers of HTTP, decoded from bytes in any split.

use crate::http::body::BodyDecoder;
use crate::http::response::{ResponseFraming, parse_response};

/// A part of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// The head of a final answer.
    Head {
        /// The status.
        status: u16,
        /// Whether the connection is kept.
        persistent: bool,
    },
    /// Bytes of the body.
    Body(&'a [u8]),
    /// The answer is whole.
    End,
}

/// Decodes the answers of one connection.
#[derive(Debug, Default)]
pub struct Decoder {
    held: Vec<u8>,
    body: Option<BodyDecoder>,
}

impl Decoder {
    /// Takes the next bytes and calls `each` with what they complete.
    ///
    /// # Panics
    ///
    /// If the bytes are no answer.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Part<'_>)) {
        self.held.extend_from_slice(bytes);
        let mut used = 0;
        loop {
            let rest = &self.held[used..];
            if let Some(body) = &mut self.body {
                let mut content = Vec::new();
                let count = body.decode(rest, &mut content).expect("a body that can be decoded");
                used += count;
                if !content.is_empty() {
                    each(Part::Body(&content));
                }
                if !body.is_done() {
                    break;
                }
                self.body = None;
                each(Part::End);
                continue;
            }
            let parsed = parse_response(rest).unwrap_or_else(|error| {
                panic!("{error}: {:?}", String::from_utf8_lossy(rest));
            });
            let Some((parts, count)) = parsed else { break };
            used += count;
            if parts.is_interim() {
                continue;
            }
            assert_ne!(parts.framing, ResponseFraming::UntilClose, "an answer without an end");
            each(Part::Head { status: parts.status, persistent: parts.persistent });
            let body = BodyDecoder::of_response(parts.framing, u64::MAX);
            self.body = Some(body.expect("a body of any size"));
        }
        self.held.drain(..used);
    }

    /// Whether an answer has begun and is not whole.
    pub fn is_inside(&self) -> bool {
        self.body.is_some() || !self.held.is_empty()
    }
}
