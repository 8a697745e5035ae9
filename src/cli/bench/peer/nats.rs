//! The client protocol of nats-server: lines, and payloads whose length the line says.

use memchr::memchr;

use crate::cli::bench::peer::feed::Heard;

/// What a client says first. Without `verbose` nothing is answered that needs no answer.
pub const CONNECT: &[u8] =
    b"CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"bench\",\"version\":\"1\"}\r\n";
/// Asks for a sign that everything before has been taken.
pub const PING: &[u8] = b"PING\r\n";
/// The answer to the server's own.
pub const PONG: &[u8] = b"PONG\r\n";
/// Bytes of a line; more is not one.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// What a subscriber says: the answer to its PING comes once it is subscribed to all `topics`.
pub fn subscribe(topics: &[String]) -> Vec<u8> {
    let mut out = CONNECT.to_vec();
    for (number, topic) in (1..).zip(topics) {
        out.extend_from_slice(format!("SUB {topic} {number}\r\n").as_bytes());
    }
    out.extend_from_slice(PING);
    out
}

/// What is at the front of `bytes`, and its length, once it is complete.
///
/// # Errors
/// A sentence: the server reports an error, or does not speak this.
pub fn first(bytes: &[u8]) -> Result<Option<(Heard<'_>, usize)>, String> {
    let Some(end) = memchr(b'\n', bytes) else {
        let fits = bytes.len() <= LINE_BYTES_MAX;
        return if fits { Ok(None) } else { Err("nats: a line without an end".to_owned()) };
    };
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    if line.starts_with(b"MSG ") {
        let size = size(line).ok_or_else(|| "nats: a message without a size".to_owned())?;
        let begin = end + 1;
        let payload = bytes.get(begin..begin + size + 2).map(|rest| &rest[..size]);
        return Ok(payload.map(|payload| (Heard::Payload(payload), begin + size + 2)));
    }
    let heard = match line {
        b"PING" => Heard::Ping(PONG),
        b"PONG" => Heard::Done,
        b"+OK" => Heard::Nothing,
        _ if line.starts_with(b"INFO ") => Heard::Nothing,
        _ => return Err(format!("nats: {}", String::from_utf8_lossy(line))),
    };
    Ok(Some((heard, end + 1)))
}

/// The number at the end of a line.
fn size(line: &[u8]) -> Option<usize> {
    let at = line.iter().rposition(|byte| *byte == b' ')?;
    let digits = &line[at + 1..];
    let fits = !digits.is_empty() && digits.len() <= 8 && digits.iter().all(u8::is_ascii_digit);
    fits.then(|| digits.iter().fold(0, |value, digit| value * 10 + usize::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::peer::packets::Decoder;

    fn heard(pieces: &[&[u8]]) -> Result<Vec<String>, String> {
        let (mut nats, mut seen) = (Decoder::new(first), Vec::new());
        for piece in pieces {
            nats.push(piece, |heard| seen.push(heard.to_string()))?;
        }
        Ok(seen)
    }

    #[test]
    fn byte_by_byte_is_as_good_as_whole() {
        let bytes = b"INFO {\"a\":1}\r\nPONG\r\nMSG bench.t0 1 5\r\na\r\nbc\r\n+OK\r\n\
                      MSG x 2 reply.to 0\r\n\r\nPING\r\n";
        let expected =
            ["nothing", "done", "payload a\r\nbc", "nothing", "payload ", "ping PONG\r\n"];
        assert_eq!(heard(&[bytes]).unwrap(), expected);
        assert_eq!(heard(&bytes.chunks(1).collect::<Vec<_>>()).unwrap(), expected);
    }

    #[test]
    fn errors_and_nonsense_are_told() {
        let error = heard(&[b"-ERR 'Slow Consumer'\r\n"]).unwrap_err();
        assert!(error.contains("Slow Consumer"), "{error}");
        for bytes in [&b"HTTP/1.1 200 OK\r\n"[..], b"MSG a 1 x\r\n", b"MSG a 1 \r\n"] {
            assert!(heard(&[bytes]).is_err(), "{bytes:?}");
        }
    }
}
