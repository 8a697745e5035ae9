//! What a server sends on one connection, in HTTP or without it, in the same pieces.

use std::borrow::Cow;

use crate::base::time::Span;
use crate::client::raw::{LineReader, Piece, head_of};
use crate::http::exchange::{Part, ResponseReader};

/// Bytes of an answer beside a document.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// A piece of what the server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got<'a> {
    /// Of an answer, or of the document. Without HTTP a document has a head of status 200 too.
    Part(Part<'a>),
    /// A whole answer beside the document that has begun on the same connection.
    Beside {
        /// The status that it has in HTTP.
        status: u16,
        /// How long the server asks to stay away.
        retry_after: Option<Span>,
        /// The answer.
        body: &'a [u8],
    },
}

/// Reads one connection.
///
/// ```
/// use ahm::client::reader::{Got, Reader};
/// use ahm::http::exchange::Part;
/// let mut seen = Vec::new();
/// let note = |got: Got<'_>| seen.push(match got {
///     Got::Part(Part::Head { status, .. }) => format!("document {status}"),
///     Got::Part(Part::Body(frames)) => format!("{} bytes", frames.len()),
///     Got::Part(Part::End) => "end".into(),
///     Got::Beside { status, .. } => format!("answer {status}"),
/// });
/// Reader::new(true, 0).push(b"<p i d=1>\n{\"ok\":true}\n<p c=1 n=2>\n", note)?;
/// assert_eq!(seen, ["document 200", "10 bytes", "answer 200", "12 bytes"]);
/// # Ok::<(), String>(())
/// ```
#[derive(Debug)]
pub struct Reader(Kind);

#[derive(Debug)]
enum Kind {
    Http(ResponseReader),
    /// Lines, and whether a document has begun.
    Raw(LineReader, bool),
}

impl Reader {
    /// A reader of lines if `raw`, else of HTTP whose answers have `body_bytes_max` bytes of body
    /// at most.
    pub fn new(raw: bool, body_bytes_max: u64) -> Self {
        Self(match raw {
            true => Kind::Raw(LineReader::new(ANSWER_BYTES_MAX), false),
            false => Kind::Http(ResponseReader::new(body_bytes_max)),
        })
    }

    /// Whether nothing has begun that is not whole.
    pub fn is_idle(&self) -> bool {
        match &self.0 {
            Kind::Http(reader) => reader.is_idle(),
            Kind::Raw(reader, _) => reader.is_idle(),
        }
    }

    /// Whether a document has begun without HTTP, beside which commands may go.
    pub const fn has_begun_raw(&self) -> bool {
        matches!(self.0, Kind::Raw(_, true))
    }

    /// The connection has ended: true if that is the regular end of what it carried.
    pub fn ends_with_connection(&self) -> bool {
        matches!(&self.0, Kind::Http(reader) if reader.ends_with_connection())
    }

    /// Takes `bytes`, and gives what they hold piece by piece.
    ///
    /// # Errors
    /// In words, when it cannot be understood; the connection is of no use any more.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Got<'_>)) -> Result<(), String> {
        let (lines, begun) = match &mut self.0 {
            Kind::Http(reader) => return reader.push(bytes, |part| each(Got::Part(part))),
            Kind::Raw(lines, begun) => (lines, begun),
        };
        lines.push(bytes, |piece| match piece {
            Piece::Frames(bytes) => {
                if !std::mem::replace(begun, true) {
                    each(head(200, None));
                }
                each(Got::Part(Part::Body(bytes)));
            }
            Piece::Answer(body) => {
                let lines = lines_of(body);
                let (status, retry_after) = head_of(&lines);
                let body = &*lines;
                if *begun {
                    return each(Got::Beside { status, retry_after, body });
                }
                each(head(status, retry_after));
                each(Got::Part(Part::Body(body)));
                each(Got::Part(Part::End));
            }
        })
    }
}

/// The answers to a sealed batch, which come as one line, divided by TABs, as in HTTP.
fn lines_of(body: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\t', body).is_none() {
        return Cow::Borrowed(body);
    }
    Cow::Owned(body.iter().map(|&byte| if byte == b'\t' { b'\n' } else { byte }).collect())
}

fn head(status: u16, retry_after: Option<Span>) -> Got<'static> {
    Got::Part(Part::Head { status, retry_after, persistent: true })
}
