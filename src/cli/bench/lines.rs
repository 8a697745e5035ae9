//! The body of one document, undone in place: chunks to bytes, bytes to lines.
//!
//! A line that lies wholly inside one chunk and one read is handed on where it lies. Only the
//! beginning of a line whose end has not come is copied, into a buffer of the stream's own.

use memchr::memchr;

/// Bytes of one line; more is not a document.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// A carry buffer that has grown beyond this is given back once it is empty.
const CARRY_BYTES_KEPT: usize = 4 * 1024;

/// How the server delimits the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Bytes until the connection closes, or a length that is never reached.
    Plain,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the hexadecimal size; `true` once there was a digit.
    Size(bool),
    /// After the size: an extension or CR, up to LF.
    SizeEnd,
    Data,
    /// CR and LF after the data.
    DataCr,
    DataLf,
    Plain,
    /// After the chunk of size 0.
    Over,
}

/// Why a body is not a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken(pub &'static str);

/// Incremental decoder of one document's body.
///
/// ```
/// use ahm::cli::bench::lines::{Lines, Shape};
/// let mut lines = Lines::new(Shape::Chunked);
/// let mut seen = Vec::new();
/// for piece in [&b"7\r\n<p c=1 \r\n5\r"[..], b"\nn=2>x\r\n1\r\n\n\r\n0\r\n\r\n"] {
///     lines.push(piece, |line| seen.push(line.to_vec())).unwrap();
/// }
/// assert_eq!(seen, [b"<p c=1 n=2>x"]);
/// assert!(lines.is_over());
/// ```
#[derive(Debug)]
pub struct Lines {
    state: State,
    /// Bytes that the chunk still has, or the size read so far.
    left: u32,
    carry: Vec<u8>,
}

impl Lines {
    /// A decoder at the start of a body.
    pub fn new(shape: Shape) -> Self {
        let state = match shape {
            Shape::Chunked => State::Size(false),
            Shape::Plain => State::Plain,
        };
        Self { state, left: 0, carry: Vec::new() }
    }

    /// True once the body has ended as its framing says.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Decodes `bytes` and hands each complete line to `each`, without its LF.
    ///
    /// # Errors
    /// The chunks are malformed or a line has no end; the stream is of no more use.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), Broken> {
        while let Some(&byte) = bytes.first() {
            match self.state {
                State::Data => {
                    let (data, rest) = bytes.split_at(bytes.len().min(self.left as usize));
                    self.split(data, &mut each)?;
                    self.left -= data.len() as u32;
                    if self.left == 0 {
                        self.state = State::DataCr;
                    }
                    bytes = rest;
                    continue;
                }
                State::Plain => return self.split(bytes, &mut each),
                State::Over => return Ok(()),
                State::Size(some) => self.size_byte(byte, some)?,
                State::SizeEnd if byte == b'\n' => {
                    self.state = if self.left == 0 { State::Over } else { State::Data };
                }
                State::SizeEnd => {}
                State::DataCr if byte == b'\r' => self.state = State::DataLf,
                State::DataLf if byte == b'\n' => {
                    self.state = State::Size(false);
                    self.left = 0;
                }
                State::DataCr | State::DataLf => return Err(Broken("no CRLF after a chunk")),
            }
            bytes = &bytes[1..];
        }
        Ok(())
    }

    fn size_byte(&mut self, byte: u8, some: bool) -> Result<(), Broken> {
        match (byte as char).to_digit(16) {
            Some(_) if self.left >> 24 != 0 => Err(Broken("a chunk of more than 256 MiB")),
            Some(digit) => {
                self.left = self.left << 4 | digit;
                self.state = State::Size(true);
                Ok(())
            }
            None if some && matches!(byte, b'\r' | b';' | b' ' | b'\t') => {
                self.state = State::SizeEnd;
                Ok(())
            }
            None => Err(Broken("a chunk without a size")),
        }
    }

    fn split(&mut self, mut data: &[u8], each: &mut impl FnMut(&[u8])) -> Result<(), Broken> {
        if !self.carry.is_empty() {
            let Some(end) = memchr(b'\n', data) else {
                return self.keep(data);
            };
            self.carry.extend_from_slice(&data[..end]);
            each(&self.carry);
            self.carry.clear();
            self.carry.shrink_to(CARRY_BYTES_KEPT);
            data = &data[end + 1..];
        }
        while let Some(end) = memchr(b'\n', data) {
            each(&data[..end]);
            data = &data[end + 1..];
        }
        self.keep(data)
    }

    fn keep(&mut self, data: &[u8]) -> Result<(), Broken> {
        if self.carry.len() + data.len() > LINE_BYTES_MAX {
            return Err(Broken("a line of more than 1 MiB"));
        }
        self.carry.extend_from_slice(data);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(shape: Shape, pieces: &[&[u8]]) -> Result<(Vec<String>, bool), Broken> {
        let mut lines = Lines::new(shape);
        let mut seen = Vec::new();
        for piece in pieces {
            let each = |line: &[u8]| seen.push(String::from_utf8_lossy(line).into_owned());
            lines.push(piece, each)?;
        }
        Ok((seen, lines.is_over()))
    }

    #[test]
    fn every_split_of_a_chunked_body_gives_the_same_lines() {
        let body =
            b"4;x=1\r\none\n\r\nA\r\ntwo\nthree \r\n08\r\ndrei\n\nfo\r\n3\r\nur\n\r\n0\r\n\r\n";
        let expected = ["one", "two", "three drei", "", "four"];
        for at in 0..=body.len() {
            let (lines, over) = decode(Shape::Chunked, &[&body[..at], &body[at..]]).unwrap();
            assert_eq!(lines, expected, "split at {at}");
            assert!(over);
        }
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(decode(Shape::Chunked, &bytes).unwrap().0, expected);
    }

    #[test]
    fn a_plain_body_is_only_lines() {
        let (lines, over) = decode(Shape::Plain, &[b"4\r\no", b"ne\n"]).unwrap();
        assert_eq!(lines, ["4\r", "one"]);
        assert!(!over);
    }

    #[test]
    fn broken_chunks_are_refused() {
        for body in [&b"x\r\n"[..], b"\r\n", b"1\r\nabc", b"1\r\na\rb", b"fffffffff\r\n"] {
            assert!(decode(Shape::Chunked, &[body]).is_err(), "{body:?}");
        }
    }
}
