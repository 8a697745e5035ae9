//! Decoding: one line, and a stream of bytes in any split.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memchr;

use crate::base::id::{Cid, Epoch, Mid, Offset, parse_decimal};
use crate::base::name::TopicName;
use crate::base::reason::{ChannelEnd, DocumentEnd, SendOutcome};
use crate::base::time::Span;
pub use crate::html::error::FrameError;
use crate::html::escape::unescaped;
use crate::html::frame::Identity;
use crate::html::tag::Tag;

/// One decoded frame, borrowing from its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A message.
    Message {
        /// The channel.
        c: Cid,
        /// Its place in its topic, from 1.
        n: Offset,
        /// Whether the publisher calls it a snapshot.
        snapshot: bool,
        /// The bytes that were published.
        payload: Cow<'a, [u8]>,
    },
    /// The first frame of a document.
    Identity {
        /// Who speaks; `identity.key` stands there where this request made the session.
        identity: Identity<'a>,
        /// The protocol version that the server speaks.
        version: u32,
    },
    /// A channel is on a topic.
    Opened {
        /// The channel.
        c: Cid,
        /// Which of the channels of this number in its session; absent: the one that the document
        /// carries, or 0.
        life: Option<u32>,
        /// The topic.
        name: TopicName,
        /// The topic's epoch from here on.
        ep: Epoch,
        /// The channel starts after this place.
        n: Offset,
        /// Messages up to this place are history.
        head: Offset,
    },
    /// A channel has ended.
    Closed {
        /// The channel.
        c: Cid,
        /// All channels of this number up to this one have ended; absent: the one that the
        /// document carries.
        life: Option<u32>,
        /// Why.
        e: ChannelEnd,
    },
    /// A channel that a document asked for with `open=` was not opened.
    Refused {
        /// The number that the client chose for it.
        c: Option<Cid>,
        /// The topic.
        name: TopicName,
        /// `denied` for good; `gone` where the resource is not there now.
        e: ChannelEnd,
    },
    /// Messages are missing.
    Gap {
        /// The channel.
        c: Cid,
        /// The epoch that `n` belongs to.
        ep: Epoch,
        /// The next message is after this place.
        n: Offset,
        /// How many are missing, if that is known.
        missing: Option<u64>,
    },
    /// What became of a send that was held.
    Outcome {
        /// The channel.
        c: Cid,
        /// The number of the send, from 1.
        n: u64,
        /// What became of it.
        e: SendOutcome,
    },
    /// The stream is alive.
    Heartbeat {
        /// The interval in force.
        interval: Span,
        /// The server's clock: microseconds since 1970.
        unix_micros: u64,
    },
    /// The document goes on, but its successor should be opened.
    Move {
        /// Why: `drain`, `route`, `expiry`, or a word of a later version.
        e: Cow<'a, str>,
        /// The time that is left for it.
        within: Option<Span>,
    },
    /// The last frame.
    End {
        /// Why.
        e: DocumentEnd,
        /// Come back after a random wait up to this.
        spread: Option<Span>,
    },
    /// The routes that lead to the server.
    Routes {
        /// A JSON list, not looked into here.
        json: Cow<'a, str>,
    },
    /// A frame of a later version; to be passed over.
    Unknown {
        /// The name of its first attribute.
        kind: &'a str,
    },
}

/// Decodes one line, with or without its LF. `None` for what is no frame and means nothing: an
/// empty line, and a line that begins with `<!` (the preamble, padding).
///
/// # Errors
///
/// [`FrameError`] for anything else that is not a well-formed frame. A kind that is not known is
/// [`Frame::Unknown`]; attributes that are not known are passed over.
///
/// ```
/// use ahm::base::id::{Cid, Offset};
/// use ahm::html::scan::{Frame, parse_line};
/// let Ok(Some(Frame::Message { c, n, payload, .. })) = parse_line(b"<p c=7 n=3>a &lt; b\n") else {
///     panic!("a message");
/// };
/// assert_eq!((c, n, &payload[..]), (Cid(7), Offset(3), &b"a < b"[..]));
/// assert_eq!(parse_line(b"<p later=1>"), Ok(Some(Frame::Unknown { kind: "later" })));
/// ```
pub fn parse_line(line: &[u8]) -> Result<Option<Frame<'_>>, FrameError> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    if line.is_empty() || line.starts_with(b"<!") {
        return Ok(None);
    }
    let rest = line.strip_prefix(b"<p ").ok_or(FrameError::NoParagraph)?;
    let close = memchr(b'>', rest).ok_or(FrameError::Unclosed)?;
    let tag = Tag::new(&rest[..close])?;
    let payload = &rest[close + 1..];
    let frame = match tag.kind {
        "c" => message(tag, payload)?,
        "h" => Frame::Heartbeat {
            interval: tag.value("h", millis)?,
            unix_micros: tag.value("t", parse_decimal)?,
        },
        "i" => identity(tag)?,
        "o" => opened(tag)?,
        "x" if tag.raw("u")?.is_some() => refused(tag)?,
        "x" => Frame::Closed {
            c: tag.value("c", Cid::parse)?,
            life: tag.optional("l", small)?,
            e: tag.value("e", ChannelEnd::from_word)?,
        },
        "g" => Frame::Gap {
            c: tag.value("c", Cid::parse)?,
            ep: tag.value("ep", Epoch::parse)?,
            n: tag.value("n", Offset::parse)?,
            missing: tag.optional("m", parse_decimal)?,
        },
        "a" => Frame::Outcome {
            c: tag.value("c", Cid::parse)?,
            n: tag.value("n", |text| message_offset(text).map(|n| n.0))?,
            e: tag.value("e", SendOutcome::from_word)?,
        },
        "m" => Frame::Move { e: tag.text("e")?, within: tag.optional("w", millis)? },
        "z" => Frame::End { e: tag.value("e", document_end)?, spread: tag.optional("w", millis)? },
        "y" => routes(payload)?,
        kind => Frame::Unknown { kind },
    };
    Ok(Some(frame))
}

fn message<'a>(tag: Tag<'a>, payload: &'a [u8]) -> Result<Frame<'a>, FrameError> {
    let payload = if tag.flag("b")? {
        let decoded = STANDARD.decode(payload);
        Cow::Owned(decoded.map_err(|_| FrameError::Payload("is not the base64 it is marked as"))?)
    } else {
        unescaped(payload)?
    };
    Ok(Frame::Message {
        c: tag.value("c", Cid::parse)?,
        n: tag.value("n", message_offset)?,
        snapshot: tag.flag("s")?,
        payload,
    })
}

fn identity(tag: Tag<'_>) -> Result<Frame<'_>, FrameError> {
    let id_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let is_id = |text: &str| text.bytes().all(id_byte);
    let identity = Identity {
        scs: tag.value("scs", |text| (text.len() <= 32 && is_id(text)).then_some(text))?,
        mid: tag.value("mid", Mid::parse)?,
        d: tag.value("d", |text| small(text).filter(|d| *d > 0))?,
        key: tag.optional("k", |text| is_id(text).then_some(text))?,
        heartbeat: tag.value("h", millis)?,
        refresh: tag.value("r", millis)?,
        flush: tag.optional("f", millis)?.unwrap_or(Span::ZERO),
        client_heartbeat: tag.flag("hc")?,
    };
    Ok(Frame::Identity { identity, version: tag.value("v", small)? })
}

fn opened(tag: Tag<'_>) -> Result<Frame<'_>, FrameError> {
    Ok(Frame::Opened {
        c: tag.value("c", Cid::parse)?,
        life: tag.optional("l", small)?,
        name: topic_name(&tag)?,
        ep: tag.value("ep", Epoch::parse)?,
        n: tag.value("n", Offset::parse)?,
        head: tag.value("head", Offset::parse)?,
    })
}

fn refused(tag: Tag<'_>) -> Result<Frame<'_>, FrameError> {
    Ok(Frame::Refused {
        c: tag.optional("c", Cid::parse)?,
        name: topic_name(&tag)?,
        e: tag.value("e", ChannelEnd::from_word)?,
    })
}

fn topic_name(tag: &Tag<'_>) -> Result<TopicName, FrameError> {
    let name = tag.text("u")?;
    let (resource, subject) = name.split_once('/').ok_or(FrameError::Value("u"))?;
    TopicName::new(resource, subject).map_err(|_| FrameError::Value("u"))
}

fn routes(payload: &[u8]) -> Result<Frame<'_>, FrameError> {
    const NOT_TEXT: FrameError = FrameError::Payload("is not UTF-8");
    let json = match unescaped(payload)? {
        Cow::Borrowed(json) => Cow::Borrowed(std::str::from_utf8(json).map_err(|_| NOT_TEXT)?),
        Cow::Owned(json) => Cow::Owned(String::from_utf8(json).map_err(|_| NOT_TEXT)?),
    };
    Ok(Frame::Routes { json })
}

fn millis(text: &str) -> Option<Span> {
    parse_decimal(text).map(Span::from_millis)
}

fn small(text: &str) -> Option<u32> {
    parse_decimal(text).and_then(|number| u32::try_from(number).ok())
}

fn message_offset(text: &str) -> Option<Offset> {
    Offset::parse(text).filter(|n| n.0 > 0)
}

fn document_end(word: &str) -> Option<DocumentEnd> {
    use DocumentEnd::{Logout, Refreshed, Shutdown, Stale};
    [Refreshed, Stale, Logout, Shutdown].into_iter().find(|end| end.word() == word)
}

/// Decodes a document that arrives in pieces cut at any byte. Lines that lie wholly inside a piece
/// are decoded where they lie; only the unfinished rest of a piece is kept.
///
/// ```
/// use ahm::html::scan::Scanner;
/// let mut scanner = Scanner::new(64 * 1024);
/// let mut frames = 0;
/// for piece in [&b"<!doctype html>\n<p h=150"[..], b"00 t=1>\n<p h=1", b"5000 t=2>\n"] {
///     scanner.push(piece, |_frame| frames += 1).unwrap();
/// }
/// assert_eq!(frames, 2);
/// ```
#[derive(Debug)]
pub struct Scanner {
    line_bytes_max: usize,
    residue: Vec<u8>,
    failed: Option<FrameError>,
}

impl Scanner {
    /// A scanner for a document of which nothing was read yet. A line may have `line_bytes_max`
    /// bytes, its LF not counted; that bounds what is kept.
    pub fn new(line_bytes_max: usize) -> Self {
        Self { line_bytes_max, residue: Vec::new(), failed: None }
    }

    /// Bytes kept of a line whose end has not come: at the end of a document other than zero means
    /// that it was cut inside a frame.
    pub fn residue_len(&self) -> usize {
        self.residue.len()
    }

    /// Takes the next piece of the document and calls `each` for every frame that it completes.
    ///
    /// # Errors
    ///
    /// The fault in the first malformed line. Frames before it were given to `each`; none after
    /// it ever is, and every later call answers the same error.
    pub fn push(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(Frame<'_>),
    ) -> Result<(), FrameError> {
        let result = match self.failed {
            Some(error) => Err(error),
            None => self.lines(bytes, &mut each),
        };
        if let Err(error) = result {
            self.failed = Some(error);
            self.residue = Vec::new();
        }
        result
    }

    fn lines(&mut self, bytes: &[u8], each: &mut impl FnMut(Frame<'_>)) -> Result<(), FrameError> {
        let mut rest = bytes;
        while let Some(end) = memchr(b'\n', rest) {
            let line = &rest[..end];
            rest = &rest[end + 1..];
            self.check(self.residue.len() + line.len())?;
            let frame = if self.residue.is_empty() {
                parse_line(line)?
            } else {
                self.residue.extend_from_slice(line);
                parse_line(&self.residue)?
            };
            if let Some(frame) = frame {
                each(frame);
            }
            self.residue.clear();
        }
        self.check(self.residue.len() + rest.len())?;
        self.residue.extend_from_slice(rest);
        Ok(())
    }

    fn check(&self, line_bytes: usize) -> Result<(), FrameError> {
        if line_bytes > self.line_bytes_max {
            return Err(FrameError::TooLong { line_bytes_max: self.line_bytes_max });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_never_ends_is_refused_and_forgotten() {
        let mut scanner = Scanner::new(16);
        let mut frames = 0;
        scanner.push(b"<p h=1 t=1>\n<p h=1 t=1", |_| frames += 1).unwrap();
        assert_eq!(scanner.residue_len(), 10);
        let error = FrameError::TooLong { line_bytes_max: 16 };
        assert_eq!(scanner.push(b"1234567", |_| frames += 1), Err(error));
        assert_eq!(scanner.residue_len(), 0);
        assert_eq!(scanner.push(b"\n<p h=1 t=1>\n", |_| frames += 1), Err(error));
        assert_eq!(frames, 1);
    }

    #[test]
    fn the_limit_counts_a_line_without_its_end() {
        for (line, fits) in [(&b"<p h=1 t=1>\n"[..], true), (b"<p h=1 t=11>\n", false)] {
            for cut in 0..line.len() {
                let mut scanner = Scanner::new(11);
                let pushed = scanner
                    .push(&line[..cut], |_| ())
                    .and_then(|()| scanner.push(&line[cut..], |_| ()));
                assert_eq!(pushed.is_ok(), fits, "cut at {cut}");
            }
        }
    }

    #[test]
    fn frames_before_a_fault_are_given() {
        let mut seen = 0;
        let mut scanner = Scanner::new(100);
        let error = scanner.push(b"<p h=1 t=1>\n<p c=0 n=1>\n<p h=1 t=1>\n", |_| seen += 1);
        assert_eq!((seen, error), (1, Err(FrameError::Value("c"))));
    }
}
