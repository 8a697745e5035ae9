//! Bodies on their way: decoded as they came, framed as they go on, without waiting for more.

use lol_html::AsciiCompatibleEncoding;

use crate::base::limits::TRAILER_BYTES_MAX;
use crate::http::body::{BodyDecoder, Piece};
use crate::http::chunk;
use crate::http::head::is_token;
use crate::http::request::Framing;
use crate::http::response::ResponseFraming;
use crate::http::status::Refusal;
use crate::relay::fields::is_barred_from_trailers;
use crate::relay::links::{Journey, Links};

/// A page has a tag that is longer than any that is read.
const BROKEN: Refusal = Refusal::BadRequest("a tag of the page is too long");

/// One body on its way.
///
/// ```
/// use ahm::http::request::Framing;
/// use ahm::relay::transcode::Transcoder;
/// let mut body = Transcoder::of_request(Framing::Chunked, 100).unwrap();
/// let mut out = Vec::new();
/// let came = b"05;name=x\r\nhel\x00o\r\n0\r\nSum: 7\r\nHost: evil\r\n\r\nGET /next";
/// assert_eq!(body.push(came, &mut out), Ok(came.len() - 9));
/// assert_eq!(out, b"5\r\nhel\x00o\r\n0\r\nSum: 7\r\n\r\n");
/// ```
#[derive(Debug)]
pub struct Transcoder {
    decoder: BodyDecoder,
    /// Whether it goes on in chunks; else its bytes as they are.
    chunked: bool,
    /// The trailer section so far.
    trailers: Vec<u8>,
    /// Bytes of the body so far.
    pub bytes: u64,
    /// Of a page whose links are mapped.
    page: Option<Box<Page>>,
}

/// A page whose links are mapped.
#[derive(Debug)]
struct Page {
    /// `None` once it is over.
    links: Option<Links>,
    mapped: Vec<u8>,
}

impl Transcoder {
    /// The body of a request, which goes on framed as it came.
    ///
    /// # Errors
    /// [`Refusal::BodyTooLarge`] if the announced length is above `bytes_max`.
    pub fn of_request(framing: Framing, bytes_max: u64) -> Result<Self, Refusal> {
        let chunked = framing == Framing::Chunked;
        let decoder = BodyDecoder::new(framing, bytes_max)?;
        Ok(Self { decoder, chunked, trailers: Vec::new(), bytes: 0, page: None })
    }

    /// The body of an answer, of any size.
    ///
    /// # Errors
    /// None that can be: no length is above the largest number.
    pub fn of_answer(framing: ResponseFraming, chunked: bool) -> Result<Self, Refusal> {
        let decoder = BodyDecoder::of_response(framing, u64::MAX)?;
        Ok(Self { decoder, chunked, trailers: Vec::new(), bytes: 0, page: None })
    }

    /// It is a page whose links are mapped on their way.
    ///
    /// # Errors
    /// None in practice.
    pub fn map_links(
        &mut self,
        journey: Journey,
        encoding: AsciiCompatibleEncoding,
    ) -> Result<(), &'static str> {
        let links = Links::new(journey, encoding).map_err(|_| "its links cannot be mapped")?;
        self.page = Some(Box::new(Page { links: Some(links), mapped: Vec::new() }));
        Ok(())
    }

    /// Whether the body is whole.
    pub fn is_done(&self) -> bool {
        self.decoder.is_done()
    }

    /// Takes `input` up to the end of the body, and appends to `out` what goes on. Returns how many
    /// bytes were taken.
    ///
    /// # Errors
    /// As [`BodyDecoder::decode`].
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Refusal> {
        if self.decoder.is_done() {
            return Ok(0);
        }
        let Self { decoder, chunked, trailers, bytes, page } = self;
        let mut broken = false;
        let taken = decoder.pieces(input, |piece| match piece {
            Piece::Body(piece) => {
                *bytes += piece.len() as u64;
                match page {
                    Some(page) => broken |= !page.push(piece, *chunked, out),
                    None => put_piece(piece, *chunked, out),
                }
            }
            Piece::Trailer(piece) => trailers.extend_from_slice(piece),
        })?;
        if broken {
            return Err(BROKEN);
        }
        if decoder.is_done() {
            self.end(out)?;
        }
        Ok(taken)
    }

    /// The connection has ended, and with it a body that ends so.
    ///
    /// # Errors
    /// The page cannot be told to its end.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Refusal> {
        self.end(out)
    }

    /// Writes what closes the body.
    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), Refusal> {
        if let Some(page) = &mut self.page
            && !page.end(self.chunked, out)
        {
            return Err(BROKEN);
        }
        if !self.chunked {
            return Ok(());
        }
        if self.trailers.is_empty() {
            out.extend_from_slice(chunk::LAST);
            return Ok(());
        }
        debug_assert!(self.trailers.len() <= TRAILER_BYTES_MAX);
        out.extend_from_slice(b"0\r\n");
        for line in self.trailers.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            let Ok(text) = std::str::from_utf8(name) else { continue };
            if name.iter().all(|byte| is_token(*byte)) && !is_barred_from_trailers(text) {
                out.extend_from_slice(name);
                out.extend_from_slice(b": ");
                out.extend_from_slice(value);
                out.extend_from_slice(b"\r\n");
            }
        }
        out.extend_from_slice(b"\r\n");
        self.trailers = Vec::new();
        Ok(())
    }
}

impl Page {
    /// Takes a piece, and gives out what of it is settled; false: nothing more can be told.
    fn push(&mut self, piece: &[u8], chunked: bool, out: &mut Vec<u8>) -> bool {
        let Some(links) = &mut self.links else { return false };
        let whole = links.push(piece, &mut self.mapped).is_ok();
        self.give(chunked, out);
        if !whole {
            self.links = None;
        }
        whole
    }

    fn end(&mut self, chunked: bool, out: &mut Vec<u8>) -> bool {
        let Some(links) = self.links.take() else { return false };
        let whole = links.end(&mut self.mapped).is_ok();
        self.give(chunked, out);
        whole
    }

    fn give(&mut self, chunked: bool, out: &mut Vec<u8>) {
        if !self.mapped.is_empty() {
            put_piece(&self.mapped, chunked, out);
            self.mapped.clear();
        }
    }
}

/// Appends a piece of a body, which is not empty.
fn put_piece(piece: &[u8], chunked: bool, out: &mut Vec<u8>) {
    if chunked {
        chunk::put_header(piece.len(), out);
        out.extend_from_slice(piece);
        out.extend_from_slice(chunk::TRAILING);
    } else {
        out.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What goes on when `input` comes in pieces of `size` bytes.
    fn run(mut body: Transcoder, input: &[u8], size: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in input.chunks(size) {
            assert_eq!(body.push(piece, &mut out), Ok(piece.len()));
        }
        assert!(body.is_done());
        out
    }

    fn decoded(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let taken = BodyDecoder::new(Framing::Chunked, 1000).unwrap().decode(bytes, &mut out);
        assert_eq!(taken, Ok(bytes.len()), "{:?}", String::from_utf8_lossy(bytes));
        out
    }

    #[test]
    fn chunks_in_any_pieces_are_the_same_body() {
        let input = b"5\r\nhello\r\n00A;x=\"y\"\r\n 0123\r\n\r\n8\r\n0\r\nSum: 8\r\n\r\n";
        for size in 1..=input.len() {
            let out = run(Transcoder::of_request(Framing::Chunked, 99).unwrap(), input, size);
            assert_eq!(decoded(&out), b"hello 0123\r\n\r\n8", "{size}");
            assert!(out.ends_with(b"\r\n0\r\nSum: 8\r\n\r\n"), "{size}");
        }
    }

    #[test]
    fn pitfall_5_trailers_change_nothing() {
        let input = b"0\r\nContent-Length: 9\r\nTRANSFER_ENCODING: chunked\r\nHost: b\r\n\
            Authorization: x\r\nX-Forwarded-For: 1.1.1.1\r\nX-Sum:  7 \r\n\
            Connection: X-Sum\r\n\r\n";
        let out = run(Transcoder::of_request(Framing::Chunked, 0).unwrap(), input, 1);
        assert_eq!(out, b"0\r\nX-Sum: 7\r\n\r\n");
    }

    #[test]
    fn an_answer_goes_on_as_its_reader_can_take_it() {
        let push = |framing, chunked, input: &[u8]| {
            let mut body = Transcoder::of_answer(framing, chunked).unwrap();
            let mut out = Vec::new();
            assert!(body.push(input, &mut out).is_ok());
            if framing == ResponseFraming::UntilClose {
                body.finish(&mut out).unwrap();
            }
            String::from_utf8(out).unwrap()
        };
        assert_eq!(push(ResponseFraming::Length(2), false, b"hi"), "hi");
        assert_eq!(push(ResponseFraming::UntilClose, true, b"hi"), "2\r\nhi\r\n0\r\n\r\n");
        assert_eq!(push(ResponseFraming::UntilClose, false, b"hi"), "hi");
        let chunked = b"2\r\nhi\r\n0\r\nSum: 1\r\n\r\n";
        assert_eq!(push(ResponseFraming::Chunked, false, chunked), "hi");
        assert_eq!(push(ResponseFraming::Chunked, true, chunked).as_bytes(), chunked);
    }
}
