//! Bodies: by length and in chunks, decoded from bytes that arrive in any pieces.

use crate::base::limits::{CHUNK_EXTENSION_BYTES_MAX, TRAILER_BYTES_MAX};
use crate::http::head::is_token;
use crate::http::request::Framing;
use crate::http::response::ResponseFraming;
use crate::http::status::Refusal;

/// Hex digits of the longest chunk size that is read; more, even zeros, are refused.
const SIZE_DIGITS_MAX: u32 = 16;

const _: () = assert!(CHUNK_EXTENSION_BYTES_MAX <= u32::MAX as usize);
const _: () = assert!(TRAILER_BYTES_MAX <= u32::MAX as usize);

/// What a decoder finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'p> {
    /// Bytes of the body.
    Body(&'p [u8]),
    /// Bytes of the trailer section, without the empty line that ends it: whole lines once the body
    /// is done. They are of the grammar; what they say must still be looked at.
    Trailer(&'p [u8]),
}

/// Decodes one body. Trailer fields are checked and bounded: whatever they say, it changes neither
/// framing nor routing nor rights.
///
/// ```
/// use ahm::http::body::BodyDecoder;
/// use ahm::http::request::Framing;
/// let mut decoder = BodyDecoder::new(Framing::Chunked, 1000).unwrap();
/// let mut body = Vec::new();
/// let input = b"5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n";
/// let consumed = decoder.decode(input, &mut body).unwrap();
/// assert!(decoder.is_done());
/// assert_eq!((&body[..], &input[consumed..]), (&b"hello"[..], &b"GET / HTTP/1.1\r\n"[..]));
/// ```
#[derive(Clone, Debug)]
pub struct BodyDecoder {
    /// Bytes left of the body (by length) or of the chunk; the size while it is being read.
    left: u64,
    /// Bytes that further chunks may have.
    allowance: u64,
    /// Digits, extension bytes or trailer bytes so far, by state.
    counter: u32,
    state: State,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A body delimited by its length.
    Length,
    /// A body that ends with the connection.
    UntilClose,
    /// The size of a chunk.
    Size,
    /// White space between a size and the semicolon of its extension.
    SizeSpace,
    /// The extensions of a chunk.
    Extension,
    /// The LF after size and extensions.
    SizeEnd,
    /// The bytes of a chunk.
    Data,
    /// The CR after the bytes of a chunk.
    DataReturn,
    /// The LF after the bytes of a chunk.
    DataEnd,
    /// The beginning of a trailer line, or of the empty line that ends the body.
    TrailerStart,
    /// The name of a trailer field.
    TrailerName,
    /// The value of a trailer field.
    TrailerValue,
    /// The LF after a trailer field.
    TrailerEnd,
    /// The LF of the empty line.
    LastEnd,
    /// The body is whole.
    Done,
    /// The body was refused.
    Refused,
}

impl BodyDecoder {
    /// A decoder of a request's body of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// [`Refusal::BodyTooLarge`] at once if the announced length is larger.
    pub fn new(framing: Framing, bytes_max: u64) -> Result<Self, Refusal> {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) if length > bytes_max => return Err(Refusal::BodyTooLarge),
            Framing::Length(_) => State::Length,
            Framing::Chunked => State::Size,
        };
        let left = if let Framing::Length(length) = framing { length } else { 0 };
        Ok(Self { left, allowance: bytes_max, counter: 0, state })
    }

    /// A decoder of an answer's body of at most `bytes_max` bytes. One that ends with the
    /// connection is never [done](Self::is_done) by itself.
    ///
    /// # Errors
    /// [`Refusal::BodyTooLarge`] at once if the announced length is larger.
    pub fn of_response(framing: ResponseFraming, bytes_max: u64) -> Result<Self, Refusal> {
        match framing {
            ResponseFraming::None => Self::new(Framing::None, bytes_max),
            ResponseFraming::Length(length) => Self::new(Framing::Length(length), bytes_max),
            ResponseFraming::Chunked => Self::new(Framing::Chunked, bytes_max),
            ResponseFraming::UntilClose => {
                Ok(Self { left: 0, allowance: bytes_max, counter: 0, state: State::UntilClose })
            }
        }
    }

    /// Whether the body is whole. If the connection ends before that, the body was cut off.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Consumes `input` up to the end of the body at most, and appends the bytes of the body to
    /// `out`. Returns how many bytes were consumed: all, unless the body ended.
    ///
    /// # Errors
    /// [`Refusal::BadRequest`] for broken chunked coding, [`Refusal::BodyTooLarge`] as soon as a
    /// chunk's size exceeds what is allowed, [`Refusal::HeadTooLarge`] for too long trailers. The
    /// decoder is of no use afterwards, and the connection must be closed.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Refusal> {
        self.pieces(input, |piece| {
            if let Piece::Body(bytes) = piece {
                out.extend_from_slice(bytes);
            }
        })
    }

    /// The same without copying: calls `each` with every piece as it lies in `input`. A chunk that
    /// came in several pieces comes out in as many.
    ///
    /// # Errors
    /// As [`BodyDecoder::decode`].
    ///
    /// ```
    /// use ahm::http::body::{BodyDecoder, Piece};
    /// use ahm::http::request::Framing;
    /// let mut decoder = BodyDecoder::new(Framing::Chunked, 1000).unwrap();
    /// let mut trailers = Vec::new();
    /// let input = b"2\r\nhi\r\n0\r\nSum: 7\r\n\r\n";
    /// let taken = decoder.pieces(input, |piece| match piece {
    ///     Piece::Body(bytes) => assert_eq!(bytes, b"hi"),
    ///     Piece::Trailer(bytes) => trailers.extend_from_slice(bytes),
    /// });
    /// assert_eq!((taken, &trailers[..]), (Ok(input.len()), &b"Sum: 7\r\n"[..]));
    /// ```
    pub fn pieces(
        &mut self,
        input: &[u8],
        mut each: impl FnMut(Piece<'_>),
    ) -> Result<usize, Refusal> {
        let mut at = 0;
        while let Some(byte) = input.get(at) {
            let before = self.state;
            let taken = match before {
                State::Done => break,
                State::Length | State::Data | State::UntilClose => self.take(&input[at..]),
                _ => self.step(*byte).map(|()| 1),
            };
            let taken = match taken {
                Ok(taken) => taken,
                Err(refusal) => {
                    self.state = State::Refused;
                    return Err(refusal);
                }
            };
            let piece = &input[at..at + taken];
            at += taken;
            match before {
                State::Length | State::Data | State::UntilClose => each(Piece::Body(piece)),
                State::TrailerStart
                | State::TrailerName
                | State::TrailerValue
                | State::TrailerEnd
                    if self.state != State::LastEnd =>
                {
                    each(Piece::Trailer(piece));
                }
                _ => {}
            }
        }
        Ok(at)
    }

    /// How many bytes of the input are bytes of the body.
    fn take(&mut self, input: &[u8]) -> Result<usize, Refusal> {
        if self.state == State::UntilClose {
            let len = input.len() as u64;
            self.allowance = self.allowance.checked_sub(len).ok_or(Refusal::BodyTooLarge)?;
            return Ok(input.len());
        }
        let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
        self.left -= len as u64;
        if self.left == 0 {
            self.state = if self.state == State::Length { State::Done } else { State::DataReturn };
        }
        Ok(len)
    }

    /// Takes one byte of what surrounds the bytes of the body.
    fn step(&mut self, byte: u8) -> Result<(), Refusal> {
        self.state = match (self.state, byte) {
            (State::Size, _) => self.size(byte)?,
            (State::SizeSpace, b' ' | b'\t') => {
                self.count(CHUNK_EXTENSION_BYTES_MAX, EXTENSION_TOO_LONG)?;
                State::SizeSpace
            }
            (State::SizeSpace, b';') => State::Extension,
            (State::SizeSpace, _) => return bad("white space after a chunk size"),
            (State::Extension, b'\r') => State::SizeEnd,
            (State::Extension, _) if is_value(byte) => {
                self.count(CHUNK_EXTENSION_BYTES_MAX, EXTENSION_TOO_LONG)?;
                State::Extension
            }
            (State::Extension, _) => return bad("a control character in a chunk extension"),
            (State::SizeEnd, b'\n') => self.begin_chunk()?,
            (State::SizeEnd, _) => return bad("a chunk size does not end with CR LF"),
            (State::DataReturn, b'\r') => State::DataEnd,
            (State::DataEnd, b'\n') => State::Size,
            (State::DataReturn | State::DataEnd, _) => {
                return bad("a chunk is not as long as it says");
            }
            (State::LastEnd, b'\n') => State::Done,
            (State::Refused, _) => return bad("the body was refused before"),
            _ => self.trailer(byte)?,
        };
        Ok(())
    }

    /// The size of a chunk: hex digits and nothing else.
    fn size(&mut self, byte: u8) -> Result<State, Refusal> {
        const NO_SIZE: Refusal = Refusal::BadRequest("a chunk size is not a hexadecimal number");
        if let Some(digit) = char::from(byte).to_digit(16) {
            if self.counter == SIZE_DIGITS_MAX {
                return bad("a chunk size has too many digits");
            }
            self.counter += 1;
            // Sixteen digits are 64 bits: nothing is lost.
            self.left = self.left << 4 | u64::from(digit);
            return Ok(State::Size);
        }
        if self.counter == 0 {
            return Err(NO_SIZE);
        }
        self.counter = 0;
        match byte {
            b'\r' => Ok(State::SizeEnd),
            b';' => Ok(State::Extension),
            b' ' | b'\t' => Ok(State::SizeSpace),
            _ => Err(NO_SIZE),
        }
    }

    fn begin_chunk(&mut self) -> Result<State, Refusal> {
        self.counter = 0;
        if self.left == 0 {
            return Ok(State::TrailerStart);
        }
        self.allowance = self.allowance.checked_sub(self.left).ok_or(Refusal::BodyTooLarge)?;
        Ok(State::Data)
    }

    /// One byte of the trailer section.
    fn trailer(&mut self, byte: u8) -> Result<State, Refusal> {
        self.count(TRAILER_BYTES_MAX, Refusal::HeadTooLarge)?;
        match (self.state, byte) {
            (State::TrailerStart, b'\r') => Ok(State::LastEnd),
            (State::TrailerStart | State::TrailerName, _) if is_token(byte) => {
                Ok(State::TrailerName)
            }
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerEnd),
            (State::TrailerValue, _) if is_value(byte) => Ok(State::TrailerValue),
            (State::TrailerEnd, b'\n') => Ok(State::TrailerStart),
            _ => bad("a malformed trailer field"),
        }
    }

    fn count(&mut self, max: usize, refusal: Refusal) -> Result<(), Refusal> {
        self.counter += 1;
        if self.counter as usize > max { Err(refusal) } else { Ok(()) }
    }
}

const EXTENSION_TOO_LONG: Refusal = Refusal::BadRequest("a chunk extension is too long");

const fn bad<T>(detail: &'static str) -> Result<T, Refusal> {
    Err(Refusal::BadRequest(detail))
}

/// Whether a byte may stand in a field value or a chunk extension.
const fn is_value(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_is_small() {
        assert!(size_of::<BodyDecoder>() <= 32);
    }

    #[test]
    fn a_refused_body_stays_refused() {
        let mut decoder = BodyDecoder::new(Framing::Chunked, 100).unwrap();
        let mut out = Vec::new();
        assert!(decoder.decode(b"x", &mut out).is_err());
        assert!(decoder.decode(b"0\r\n\r\n", &mut out).is_err());
        assert!(!decoder.is_done());
    }

    #[test]
    fn a_body_until_close_takes_everything_up_to_its_bound() {
        let mut decoder = BodyDecoder::of_response(ResponseFraming::UntilClose, 5).unwrap();
        let mut out = Vec::new();
        assert_eq!(decoder.decode(b"abc", &mut out), Ok(3));
        assert_eq!(decoder.decode(b"def", &mut out), Err(Refusal::BodyTooLarge));
    }
}
