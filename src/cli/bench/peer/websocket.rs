//! WebSocket as far as a reader needs it: frames undone as they come, data of any length.

use crate::cli::bench::address::Server;

/// Longest head of a frame from a server, which masks nothing.
const HEAD_BYTES_MAX: usize = 10;
/// Longest payload of a control frame.
const CONTROL_BYTES_MAX: u64 = 125;

/// The request that turns a connection into a WebSocket, with the fields `more`. The key is always
/// the same and the answer to it is not looked at: this is a driver, which knows whom it calls.
pub fn upgrade(server: &Server, more: &str) -> Vec<u8> {
    let Server { path, authority, .. } = server;
    let path = if path.is_empty() { "/" } else { path };
    format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: ahm-bench\r\n\
         Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{more}\r\n"
    )
    .into_bytes()
}

/// Appends a frame of bytes. A client must mask; the mask 0 leaves the bytes as they are.
pub fn put(bytes: &[u8], out: &mut Vec<u8>) {
    put_frame(0x2, bytes, out);
}

/// Appends the answer to a ping.
pub fn put_pong(bytes: &[u8], out: &mut Vec<u8>) {
    put_frame(0xa, bytes, out);
}

fn put_frame(opcode: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match bytes.len() {
        length @ ..126 => out.push(0x80 | length as u8),
        length @ ..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(bytes);
}

/// A piece of what frames carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'b> {
    /// Bytes of data frames, wherever those begin and end.
    Data(&'b [u8]),
    /// The whole payload of a ping.
    Ping(&'b [u8]),
}

/// Decoder of a server's frames.
#[derive(Debug, Default)]
pub struct WebSocket {
    /// The head of a frame as far as it has come; empty once it is understood.
    head: Vec<u8>,
    opcode: u8,
    /// Bytes of payload that the frame still has.
    left: u64,
    /// The payload of a control frame as far as it has come.
    control: Vec<u8>,
}

impl WebSocket {
    /// Hands on what the frames in `bytes` carry.
    ///
    /// # Errors
    /// A sentence: the server ends the stream, or these are no frames.
    pub fn push(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(Part<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left == 0 {
                self.head.push(*first);
                bytes = rest;
                self.head_byte(&mut each)?;
                continue;
            }
            let count = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let (part, rest) = bytes.split_at(count);
            bytes = rest;
            self.left -= count as u64;
            if self.opcode < 8 {
                each(Part::Data(part))?;
                continue;
            }
            self.control.extend_from_slice(part);
            if self.left == 0 {
                self.control_frame(&mut each)?;
            }
        }
        Ok(())
    }

    /// A byte of the head has come, perhaps its last.
    fn head_byte(
        &mut self,
        each: &mut impl FnMut(Part<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let [first, second, rest @ ..] = &self.head[..] else { return Ok(()) };
        if second & 0x80 != 0 {
            return Err("websocket: a server's frame is masked".to_owned());
        }
        let number = |bytes: &[u8]| bytes.iter().fold(0, |value, b| value << 8 | u64::from(*b));
        let length = match second & 0x7f {
            126 if rest.len() < 2 => return Ok(()),
            127 if rest.len() < HEAD_BYTES_MAX - 2 => return Ok(()),
            126 | 127 => number(rest),
            length => u64::from(length),
        };
        (self.opcode, self.left) = (first & 0xf, length);
        self.head.clear();
        if self.opcode >= 8 && length > CONTROL_BYTES_MAX {
            return Err("websocket: a control frame that is too long".to_owned());
        }
        if self.opcode >= 8 && length == 0 { self.control_frame(each) } else { Ok(()) }
    }

    /// A control frame is complete.
    fn control_frame(
        &mut self,
        each: &mut impl FnMut(Part<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        match self.opcode {
            0x8 => {
                let reason = String::from_utf8_lossy(self.control.get(2..).unwrap_or_default());
                return Err(format!("websocket: closed by the server: {reason}"));
            }
            0x9 => each(Part::Ping(&self.control))?,
            _ => {}
        }
        self.control.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server's frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut masked = Vec::new();
        put_frame(first & 0xf, payload, &mut masked);
        masked[0] = first;
        masked[1] &= 0x7f;
        let head = masked.len() - payload.len() - 4;
        masked.drain(head..head + 4);
        masked
    }

    fn parts(pieces: &[&[u8]]) -> Result<(Vec<u8>, Vec<Vec<u8>>), String> {
        let (mut socket, mut data, mut pings) = (WebSocket::default(), Vec::new(), Vec::new());
        for piece in pieces {
            socket.push(piece, |part| {
                match part {
                    Part::Data(bytes) => data.extend_from_slice(bytes),
                    Part::Ping(bytes) => pings.push(bytes.to_vec()),
                }
                Ok(())
            })?;
        }
        Ok((data, pings))
    }

    #[test]
    fn byte_by_byte_is_as_good_as_whole() {
        let (long, longer) = (vec![b'x'; 300], vec![b'y'; 70_000]);
        let bytes = [
            frame(0x82, b"ab"),
            frame(0x89, b""),
            frame(0x02, b""),
            frame(0x80, &long),
            frame(0x89, b"you"),
            frame(0x8a, b"mine"),
            frame(0x82, &longer),
            frame(0x82, b"c"),
        ]
        .concat();
        let data = [&b"ab"[..], &long, &longer, b"c"].concat();
        let expected = (data, vec![b"".to_vec(), b"you".to_vec()]);
        assert_eq!(parts(&[&bytes]).unwrap(), expected);
        assert_eq!(parts(&bytes.chunks(1).collect::<Vec<_>>()).unwrap(), expected);
    }

    #[test]
    fn ends_and_nonsense_are_told() {
        let error = parts(&[&frame(0x88, b"\x03\xe8slow")]).unwrap_err();
        assert!(error.ends_with("slow"), "{error}");
        assert!(parts(&[&frame(0x88, b"")]).is_err());
        assert!(parts(&[b"\x82\x81"]).unwrap_err().contains("masked"));
        assert!(parts(&[b"\x89\x7e\x00\x7e"]).unwrap_err().contains("too long"));
    }
}
