//! What one stream carries, cut into messages and handed to its accounts.

use std::fmt;

use crate::cli::bench::lines::Lines;
use crate::cli::bench::peer::packets::{Decoder, First};
use crate::cli::bench::peer::straight;
use crate::cli::bench::peer::websocket::{Part, WebSocket, put, put_pong};
use crate::cli::bench::sink::Sink;

/// What other servers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<'b> {
    /// A message.
    Payload(&'b [u8]),
    /// Everything asked before has been done.
    Done,
    /// The server wants a sign of life, which is this.
    Ping(&'static [u8]),
    /// Nothing that matters here.
    Nothing,
}

impl fmt::Display for Heard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Payload(bytes) => write!(f, "payload {}", String::from_utf8_lossy(bytes)),
            Self::Done => f.write_str("done"),
            Self::Ping(bytes) => write!(f, "ping {}", String::from_utf8_lossy(bytes)),
            Self::Nothing => f.write_str("nothing"),
        }
    }
}

/// Incremental decoder of one stream.
#[derive(Debug)]
pub enum Feed {
    /// A document of our own server.
    Document(Lines),
    /// Frames of the resource protocol.
    Frames(crate::wire::resource_decode::Decoder),
    /// Messages that are lines.
    Payloads(Lines),
    /// Packets of another protocol.
    Packets(Decoder),
    /// The same inside a WebSocket.
    Framed(Box<(WebSocket, Self)>),
}

impl Feed {
    /// Packets that `first` knows.
    pub fn packets(first: First) -> Self {
        Self::Packets(Decoder::new(first))
    }

    /// The same by WebSocket.
    pub fn framed(first: First) -> Self {
        Self::Framed(Box::new((WebSocket::default(), Self::packets(first))))
    }

    /// The answer to its request has begun the stream: some servers say nothing more before the
    /// first message.
    pub fn begin(&self, sink: &mut Sink<'_>) {
        if matches!(self, Self::Payloads(_)) {
            sink.subscribed();
        }
    }

    /// Hands what `bytes` complete to `sink`; what must be answered goes to `replies`.
    ///
    /// # Errors
    /// A sentence: the stream is over or of no more use.
    pub fn push(
        &mut self,
        bytes: &[u8],
        sink: &mut Sink<'_>,
        replies: &mut Vec<u8>,
    ) -> Result<(), String> {
        match self {
            Self::Document(lines) => {
                lines.push(bytes, |line| sink.line(line)).map_err(|broken| broken.0.to_owned())?;
                over(lines, sink)
            }
            Self::Payloads(lines) => {
                let each = |line: &[u8]| sink.payload(line);
                lines.push(bytes, each).map_err(|broken| broken.0.to_owned())?;
                over(lines, sink)
            }
            Self::Frames(decoder) => straight::push(decoder, bytes, sink, replies),
            Self::Packets(packets) => packets.push(bytes, |heard| match heard {
                Heard::Payload(payload) => sink.payload(payload),
                Heard::Done => sink.subscribed(),
                Heard::Ping(pong) => replies.extend_from_slice(pong),
                Heard::Nothing => {}
            }),
            Self::Framed(framed) => {
                let (socket, inner) = &mut **framed;
                let mut answers = Vec::new();
                socket.push(bytes, |part| match part {
                    Part::Data(bytes) => inner.push(bytes, sink, &mut answers),
                    Part::Ping(bytes) => {
                        put_pong(bytes, replies);
                        Ok(())
                    }
                })?;
                if !answers.is_empty() {
                    put(&answers, replies);
                }
                Ok(())
            }
        }
    }
}

/// Whether the body is over, unless its last lines have said more about that.
fn over(lines: &Lines, sink: &Sink<'_>) -> Result<(), String> {
    let over = lines.is_over() && sink.problem.is_none();
    if over { Err("the server ended the document".to_owned()) } else { Ok(()) }
}
