//! Decoding of the frames of the resource side, from a stream of bytes in any split.

use crate::base::id::{Cid, Epoch, Mid, Offset};
use crate::base::reason::{ChannelEnd, ErrorCode};
use crate::base::time::Span;
use crate::wire::fields::{BinaryError, Fields, peek_number};
use crate::wire::resource::{Alias, Frame, Grant, Handle, InstanceId, PARTS_MAX, Role, Terms, Who};

/// Reads frames from a stream.
///
/// ```
/// use ahm::wire::resource::Frame;
/// use ahm::wire::resource_decode::Decoder;
/// let mut decoder = Decoder::new(1_024);
/// let mut seen = Vec::new();
/// for part in [&[2, 3][..], &[7, 2, 36], &[1]] {
///     decoder.push(part, |frame| seen.push(format!("{frame:?}"))).unwrap();
/// }
/// assert_eq!(seen, ["Pong { stamp: 7 }", "List { ask: 1 }"]);
/// assert!(decoder.push(&[0x81, 8], |_| ()).is_err(), "1,025 bytes");
/// ```
#[derive(Debug)]
pub struct Decoder {
    frame_bytes_max: u64,
    /// The beginning of a frame that is not whole.
    partial: Vec<u8>,
    failed: Option<BinaryError>,
}

impl Decoder {
    /// A decoder for frames of at most so many bytes, their length not counted.
    pub const fn new(frame_bytes_max: usize) -> Self {
        Self { frame_bytes_max: frame_bytes_max as u64, partial: Vec::new(), failed: None }
    }

    /// Takes bytes, and gives out each frame that is whole.
    ///
    /// # Errors
    ///
    /// At the first frame that is none; what comes later is not read.
    pub fn push(
        &mut self,
        bytes: &[u8],
        mut give: impl FnMut(Frame<'_>),
    ) -> Result<(), BinaryError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let result = if self.partial.is_empty() {
            let taken = drain(bytes, self.frame_bytes_max, &mut give);
            taken.map(|taken| self.partial.extend_from_slice(&bytes[taken..]))
        } else {
            self.partial.extend_from_slice(bytes);
            let taken = drain(&self.partial, self.frame_bytes_max, &mut give);
            taken.map(|taken| drop(self.partial.drain(..taken)))
        };
        self.failed = result.err();
        result
    }
}

/// Gives out the whole frames at the beginning of `bytes`; returns how many bytes they take.
fn drain(
    bytes: &[u8],
    frame_bytes_max: u64,
    give: &mut impl FnMut(Frame<'_>),
) -> Result<usize, BinaryError> {
    let mut taken = 0;
    while let Some((size, head)) = peek_number(&bytes[taken..])? {
        if size > frame_bytes_max {
            return Err(BinaryError::Large(size));
        }
        let start = taken + head;
        let Some(body) = bytes.get(start..start + size as usize) else { break };
        give(take_frame(body)?);
        taken = start + body.len();
    }
    Ok(taken)
}

/// Reads a frame without its length.
///
/// # Errors
///
/// What is wrong with it.
pub fn take_frame(body: &[u8]) -> Result<Frame<'_>, BinaryError> {
    let mut fields = Fields(body);
    let kind = fields.byte()?;
    let frame = match kind {
        1..=9 => take_link(kind, &mut fields)?,
        16..=21 => take_subject(kind, &mut fields)?,
        22..=25 => take_consumer(kind, &mut fields)?,
        32..=38 => take_registry(kind, &mut fields)?,
        _ => return Err(BinaryError::Kind(kind)),
    };
    fields.end()?;
    Ok(frame)
}

fn take_link<'a>(kind: u8, fields: &mut Fields<'a>) -> Result<Frame<'a>, BinaryError> {
    Ok(match kind {
        1 => {
            for letter in b"ahm" {
                if fields.byte()? != *letter {
                    return Err(BinaryError::Value("protocol"));
                }
            }
            Frame::Hello {
                version: fields.small("version")?,
                role: match fields.byte()? {
                    1 => Role::Resource,
                    2 => Role::Consumer,
                    3 => Role::Registry,
                    _ => return Err(BinaryError::Value("role")),
                },
                instance: InstanceId(fields.word()?),
                heartbeat: span(fields)?,
                name: fields.text()?,
                key: fields.text()?,
            }
        }
        2 => Frame::Ping { heartbeat: span(fields)?, stamp: fields.number()? },
        3 => Frame::Pong { stamp: fields.number()? },
        4 => Frame::Bye { reason: fields.text()? },
        5 => Frame::Register { resource: fields.text()?, handle: handle(fields)? },
        6 => Frame::Withdraw { resource: fields.text()? },
        7 => Frame::Load { resource: fields.text()?, consumers: fields.number()? },
        8 => Frame::Part { part: fields.small("part")? },
        9 => match fields.small("parts")? {
            parts @ 0..=PARTS_MAX => Frame::Parts { parts },
            _ => return Err(BinaryError::Value("parts")),
        },
        _ => return Err(BinaryError::Kind(kind)),
    })
}

fn take_subject<'a>(kind: u8, fields: &mut Fields<'a>) -> Result<Frame<'a>, BinaryError> {
    let alias = alias(fields)?;
    Ok(match kind {
        16 => Frame::Open {
            alias,
            resource: fields.text()?,
            subject: fields.text()?,
            last: match flag(fields, "mark of a place")? {
                true => Some((Epoch(fields.word()?), offset(fields)?)),
                false => None,
            },
            who: who(fields)?,
        },
        17 => Frame::Accept {
            alias,
            grant: match fields.byte()? {
                1 => Grant::Shared,
                2 => Grant::Private,
                3 => Grant::Other(fields.text()?),
                _ => return Err(BinaryError::Value("grant")),
            },
            ep: Epoch(fields.word()?),
            next: place(fields)?,
            terms: terms(fields)?,
        },
        18 => Frame::Deny { alias, code: code(fields)?, detail: fields.text()? },
        19 => Frame::Publish {
            alias,
            n: place(fields)?,
            snapshot: flag(fields, "mark of a snapshot")?,
            payload: fields.rest(),
        },
        20 => Frame::Begin { alias, ep: Epoch(fields.word()?), next: place(fields)? },
        21 => Frame::Close { alias, end: end(fields)? },
        _ => return Err(BinaryError::Kind(kind)),
    })
}

fn take_consumer<'a>(kind: u8, fields: &mut Fields<'a>) -> Result<Frame<'a>, BinaryError> {
    if kind == 24 {
        return Ok(Frame::Taken { count: fields.number()? });
    }
    let alias = alias(fields)?;
    Ok(match kind {
        22 => Frame::Send {
            alias,
            session: session(fields)?,
            cid: Cid(fields.small("channel")?),
            n: fields.number()?,
            id: match flag(fields, "mark of an id")? {
                true => Some(fields.text()?),
                false => None,
            },
            payload: fields.rest(),
        },
        23 => Frame::Skipped {
            alias,
            session: session(fields)?,
            cid: Cid(fields.small("channel")?),
            from: fields.number()?,
            to: fields.number()?,
        },
        25 => Frame::Metrics {
            alias,
            consumers: fields.number()?,
            round_trip: fields.number()?,
            behind: fields.number()?,
        },
        _ => return Err(BinaryError::Kind(kind)),
    })
}

fn take_registry<'a>(kind: u8, fields: &mut Fields<'a>) -> Result<Frame<'a>, BinaryError> {
    if kind == 35 {
        return Ok(Frame::Changed { resource: fields.text()? });
    }
    let ask = fields.number()?;
    Ok(match kind {
        32 => Frame::Resolve {
            ask,
            resource: fields.text()?,
            subject: fields.text()?,
            private: flag(fields, "mark of a private channel")?,
            without: {
                let count = fields.number()?;
                if count > fields.0.len() as u64 / 8 {
                    return Err(BinaryError::Short);
                }
                let words = (0..count).map(|_| fields.word().map(InstanceId));
                words.collect::<Result<_, _>>()?
            },
        },
        33 => {
            Frame::Resolved { ask, instance: InstanceId(fields.word()?), handle: handle(fields)? }
        }
        34 => Frame::Unresolved { ask, code: code(fields)? },
        36 => Frame::List { ask },
        37 => Frame::Entry {
            ask,
            resource: fields.text()?,
            instance: InstanceId(fields.word()?),
            name: fields.text()?,
            handle: handle(fields)?,
            consumers: fields.number()?,
            heard: span(fields)?,
            since: span(fields)?,
        },
        38 => Frame::ListEnd { ask },
        _ => return Err(BinaryError::Kind(kind)),
    })
}

fn flag(fields: &mut Fields<'_>, what: &'static str) -> Result<bool, BinaryError> {
    match fields.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(BinaryError::Value(what)),
    }
}

fn alias(fields: &mut Fields<'_>) -> Result<Alias, BinaryError> {
    fields.small("alias").map(Alias)
}

/// A span in milliseconds; what is longer than can be counted is as long as can be.
fn span(fields: &mut Fields<'_>) -> Result<Span, BinaryError> {
    Ok(Span::from_millis(fields.number()?.min(u64::MAX / 1_000_000)))
}

/// An offset, 0 for none.
fn offset(fields: &mut Fields<'_>) -> Result<Offset, BinaryError> {
    let n = fields.number()?;
    if n < Offset::END { Ok(Offset(n)) } else { Err(BinaryError::Value("offset")) }
}

/// The offset of a message.
fn place(fields: &mut Fields<'_>) -> Result<Offset, BinaryError> {
    offset(fields).and_then(|n| if n.0 > 0 { Ok(n) } else { Err(BinaryError::Value("offset")) })
}

fn session(fields: &mut Fields<'_>) -> Result<Mid, BinaryError> {
    Mid::from_number(fields.number()?).ok_or(BinaryError::Value("session"))
}

fn code(fields: &mut Fields<'_>) -> Result<ErrorCode, BinaryError> {
    ErrorCode::from_word(fields.text()?).ok_or(BinaryError::Value("error code"))
}

fn end(fields: &mut Fields<'_>) -> Result<ChannelEnd, BinaryError> {
    ChannelEnd::from_word(fields.text()?).ok_or(BinaryError::Value("reason of an end"))
}

fn who<'a>(fields: &mut Fields<'a>) -> Result<Who<'a>, BinaryError> {
    Ok(Who {
        session: session(fields)?,
        cid: Cid(fields.small("channel")?),
        address: fields.text()?,
        user: fields.text()?,
        parameters: fields.texts()?,
    })
}

fn handle<'a>(fields: &mut Fields<'a>) -> Result<Handle<'a>, BinaryError> {
    let addresses = fields.texts()?;
    let capacity = fields.number()?;
    let weight = fields.small("weight")?;
    if !(1..=1_000).contains(&weight) {
        return Err(BinaryError::Value("weight"));
    }
    let flags = fields.byte()?;
    if flags > 0b111 {
        return Err(BinaryError::Value("mark of a handle"));
    }
    let (takes_messages, replicas) = (flags & 1 != 0, flags & 2 != 0);
    let conversations = flags & 4 != 0;
    let (access, labels) = (fields.texts()?, fields.texts()?);
    Ok(Handle {
        addresses,
        capacity,
        weight,
        takes_messages,
        replicas,
        conversations,
        access,
        labels,
    })
}

fn terms(fields: &mut Fields<'_>) -> Result<Terms, BinaryError> {
    let flags = fields.byte()?;
    if flags > 0b11_1111 {
        return Err(BinaryError::Value("mark of a subject"));
    }
    let has = |bit: u8| flags & (1 << bit) != 0;
    let history = match has(4) {
        true => Some((fields.small("history")?, fields.small("history")?, span(fields)?)),
        false => None,
    };
    let (state, latest, ask_each, changed) = (has(0), has(1), has(2), has(3));
    Ok(Terms { history, state, latest, ask_each, changed, reopen: has(5) })
}
