//! The protocol without HTTP, as a client speaks it: commands go out as lines, frames and answers
//! come back as lines, in any pieces.

use std::fmt::Write as _;

use percent_encoding::percent_encode;
use serde_json::Value;
use zeroize::Zeroize as _;

use crate::base::reason::ErrorCode;
use crate::base::time::Span;
use crate::client::event::Request;
use crate::seal::mac;
use crate::wire::query::VALUE;

/// A piece of what a server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes of frames: whole lines or parts of them.
    Frames(&'a [u8]),
    /// A whole answer, without its line end.
    Answer(&'a [u8]),
}

/// Reads what comes on one connection.
///
/// ```
/// use ahm::client::raw::{LineReader, Piece};
/// let mut reader = LineReader::new(100);
/// let (mut frames, mut answers) = (Vec::new(), Vec::new());
/// for byte in b"<p c=7 n=1>a\n{\"ok\":true}\n<p c=7 n=2>b\n".chunks(1) {
///     reader.push(byte, |piece| match piece {
///         Piece::Frames(bytes) => frames.extend_from_slice(bytes),
///         Piece::Answer(json) => answers.push(json.to_vec()),
///     })?;
/// }
/// assert_eq!(frames, b"<p c=7 n=1>a\n<p c=7 n=2>b\n");
/// assert_eq!(answers, [b"{\"ok\":true}"]);
/// # Ok::<(), String>(())
/// ```
#[derive(Debug)]
pub struct LineReader {
    answer_bytes_max: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Before a line.
    Between,
    /// Within a frame.
    Frame,
    /// Within an answer, which began like this.
    Answer(Vec<u8>),
}

impl LineReader {
    /// A reader of answers with at most that many bytes.
    pub const fn new(answer_bytes_max: usize) -> Self {
        Self { answer_bytes_max, state: State::Between }
    }

    /// Whether the last line is whole.
    pub const fn is_idle(&self) -> bool {
        matches!(self.state, State::Between)
    }

    /// Takes `bytes`, and gives what they hold piece by piece.
    ///
    /// # Errors
    /// In words, when it is nothing that a server sends; the connection is of no use any more.
    pub fn push(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(Piece<'_>),
    ) -> Result<(), String> {
        // Frames that follow one another are given together.
        let mut frames = bytes;
        while let Some(&first) = bytes.first() {
            if let State::Between = self.state {
                self.state = match first {
                    b'<' | b'\n' => State::Frame,
                    b'{' => {
                        give(&mut each, frames, bytes);
                        State::Answer(Vec::new())
                    }
                    b'H' => return Err("the server speaks HTTP there".into()),
                    _ => return Err("what came is neither a frame nor an answer".into()),
                };
            }
            let end = memchr::memchr(b'\n', bytes);
            let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
            bytes = rest;
            if let State::Answer(answer) = &mut self.state {
                answer.extend_from_slice(line);
                if answer.len() > self.answer_bytes_max {
                    return Err("an answer is longer than allowed".into());
                }
                if end.is_some() {
                    each(Piece::Answer(answer.trim_ascii_end()));
                }
                frames = bytes;
            }
            if end.is_some() {
                self.state = State::Between;
            }
        }
        give(&mut each, frames, bytes);
        Ok(())
    }
}

/// Gives what `frames` holds before `rest`, which is its end.
fn give(each: &mut impl FnMut(Piece<'_>), frames: &[u8], rest: &[u8]) {
    let before = &frames[..frames.len().saturating_sub(rest.len())];
    if !before.is_empty() {
        each(Piece::Frames(before));
    }
}

/// Appends `request` as a line; returns how many answers it will have. What is the body in HTTP is
/// a parameter: the payload of a `send`, the positions of a document. Of a batch each command is a
/// line of its own, unless it is sealed: then it is one line, with one of answers.
pub fn put_line(out: &mut Vec<u8>, request: &Request) -> usize {
    if mac::divide(&request.target).is_some() {
        let line = match &request.body {
            Some(body) => mac::add_body(&request.target, body),
            None => request.target.clone(),
        };
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
        return 1;
    }
    if let (Some(session), Some(body)) = (request.target.strip_prefix("batch?"), &request.body) {
        let commands = body.split(|byte| *byte == b'\n').filter(|command| !command.is_empty());
        return commands
            .map(|command| {
                let command = String::from_utf8_lossy(command);
                let joint = if command.contains('?') { '&' } else { '?' };
                let target = format!("{command}{joint}{session}");
                put_line(out, &Request { target, key: request.key.clone(), ..Request::default() })
            })
            .sum();
    }
    let mut line = request.target.clone();
    // Writing to a String cannot fail.
    if let Some(shown) = &request.authorization {
        let joint = if line.contains('?') { '&' } else { '?' };
        let value = percent_encode(shown.expose().as_bytes(), VALUE);
        let _ = write!(line, "{joint}authorization={value}");
    }
    if let Some(key) = &request.key {
        let _ = write!(line, "&k={}", percent_encode(key.as_bytes(), VALUE));
    }
    if let Some(body) = &request.body {
        let name = if line.starts_with("send?") { "data" } else { "last" };
        let _ = write!(line, "&{name}={}", percent_encode(body, VALUE));
    }
    out.extend_from_slice(line.as_bytes());
    out.push(b'\n');
    line.zeroize();
    1
}

/// What the head of HTTP says of an answer: its status, and how long the server asks to stay away.
pub fn head_of(answer: &[u8]) -> (u16, Option<Span>) {
    if memchr::memchr(b'\n', answer).is_some() {
        return (200, None); // the answers to a batch
    }
    let value = serde_json::from_slice(answer).unwrap_or(Value::Null);
    if value.get("ok") == Some(&Value::Bool(true)) {
        return (200, None);
    }
    let word = value.get("error").and_then(Value::as_str).unwrap_or_default();
    let code = ErrorCode::from_word(word).unwrap_or(ErrorCode::BadRequest);
    let seconds = value.get("retry_after").and_then(Value::as_u64);
    (code.status(), seconds.map(Span::from_secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_in_any_pieces() {
        let bytes = b"{\"ok\":false}\r\n<p i d=1>\n<p c=1 n=1>{\n\n{\"ok\":true}\n{}\n<p c=1 n=2>";
        for size in 1..=bytes.len() {
            let mut reader = LineReader::new(20);
            let mut seen = Vec::new();
            for part in bytes.chunks(size) {
                let note = |piece: Piece<'_>| match piece {
                    Piece::Frames(bytes) => seen.extend_from_slice(bytes),
                    Piece::Answer(json) => seen.extend([b"[", json, b"]"].concat()),
                };
                reader.push(part, note).unwrap();
            }
            let seen = String::from_utf8(seen).unwrap();
            let expected =
                "[{\"ok\":false}]<p i d=1>\n<p c=1 n=1>{\n\n[{\"ok\":true}][{}]<p c=1 n=2>";
            assert_eq!(seen, expected, "{size}");
            assert!(!reader.is_idle());
        }
        let mut pieces = 0;
        LineReader::new(9).push(b"<p c=1 n=1>\n<p c=1 n=2>\n", |_| pieces += 1).unwrap();
        assert_eq!(pieces, 1, "frames that came together are given together");
    }

    #[test]
    fn what_no_server_sends_is_refused() {
        for (bytes, error) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], "the server speaks HTTP there"),
            (b"SSH-2.0-x\r\n", "what came is neither a frame nor an answer"),
            (b"<p>\nx", "what came is neither a frame nor an answer"),
            (b"{\"ok\":true,\"x\":1}", "an answer is longer than allowed"),
        ] {
            assert_eq!(LineReader::new(10).push(bytes, |_| ()), Err(error.into()));
        }
    }

    #[test]
    fn a_body_becomes_a_parameter() {
        let cases = [
            ("send?cid=1&n=1", None, Some(&b"a &\n\xff"[..]), "&data=a%20%26%0A%FF\n"),
            ("mux.html?mid=7", Some("s3-_"), Some(b"7:9f:1,8:a:2"), "&k=s3-_&last=7:9f:1,8:a:2\n"),
            ("logout?mid=7", Some("k"), None, "&k=k\n"),
            ("send?cid=1&n=1&q=2&mac=x", None, Some(b"a\n\xff"), "&body=YQr_\n"),
            ("batch?mid=7&q=2&mac=x", None, Some(b"a\nb\n"), "&body=YQpiCg\n"),
        ];
        for (target, key, body, end) in cases {
            let (target, key) = (target.to_owned(), key.map(str::to_owned));
            let body = body.map(<[u8]>::to_vec);
            let request = Request { target: target.clone(), key, body, ..Request::default() };
            let mut out = Vec::new();
            put_line(&mut out, &request);
            assert_eq!(String::from_utf8(out).unwrap(), target + end);
        }
    }

    #[test]
    fn a_batch_becomes_lines() {
        let (target, key) = ("batch?scs=a&mid=7".to_owned(), Some("k".to_owned()));
        let body = Some(b"open?resource=a\nlogout\n".to_vec());
        let mut out = Vec::new();
        assert_eq!(put_line(&mut out, &Request { target, key, body, ..Request::default() }), 2);
        let lines = "open?resource=a&scs=a&mid=7&k=k\nlogout?scs=a&mid=7&k=k\n";
        assert_eq!(String::from_utf8(out).unwrap(), lines);
    }

    #[test]
    fn an_answer_has_the_status_of_its_word() {
        for (answer, expected) in [
            (&b"{\"ok\":true,\"cid\":7}"[..], (200, None)),
            (b"{\"ok\":false,\"error\":\"no-session\"}", (404, None)),
            (
                b"{\"ok\":false,\"error\":\"draining\",\"retry_after\":2}",
                (503, Some(Span::from_secs(2))),
            ),
            (b"{\"ok\":false,\"error\":\"news\"}", (400, None)),
            (b"{", (400, None)),
        ] {
            assert_eq!(head_of(answer), expected);
        }
    }

    #[test]
    fn a_login_shows_who_asks() {
        let authorization = Some("Basic YTpi+/==".into());
        for target in ["login", "login?auth=x"] {
            let (target, authorization) = (target.to_owned(), authorization.clone());
            let mut out = Vec::new();
            put_line(&mut out, &Request { target, authorization, ..Request::default() });
            assert!(out.starts_with(b"login?") && out.ends_with(b"\n"));
            let written = String::from_utf8(out).unwrap();
            let written = written.trim_end().split_once('?').unwrap().1;
            let read = crate::wire::line::authorization(written).unwrap();
            assert_eq!(read.unwrap().as_str(), "Basic YTpi+/==");
        }
    }
}
