//! Bytes that wait for a web server's socket.

/// Once so many bytes at the beginning are sent, the rest moves up.
const SENT_MAX: usize = 64 * 1024;

/// Bytes that were written, of which the first are sent.
#[derive(Debug, Default)]
pub struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outgoing {
    /// Takes over a buffer with what it holds.
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, sent: 0 }
    }

    /// The buffer, to append to.
    pub const fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// What is still to be sent.
    pub fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// How many bytes the buffer holds, sent ones included.
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it holds none.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether any byte was sent.
    pub const fn has_begun(&self) -> bool {
        self.sent > 0
    }

    /// The socket took `count` bytes. Unless they are `kept`, so that they can be sent again, room
    /// is made for more.
    pub fn advance(&mut self, count: usize, kept: bool) {
        self.sent += count;
        debug_assert!(self.sent <= self.bytes.len());
        if kept {
            return;
        }
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        } else if self.sent >= SENT_MAX {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// All is to be sent again: what was sent was kept.
    pub const fn rewind(&mut self) {
        self.sent = 0;
    }

    /// The buffer, for another use.
    pub fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sent_bytes_take_no_room_unless_they_are_kept() {
        let mut outgoing = Outgoing::new(b"head".to_vec());
        outgoing.advance(4, true);
        assert!(outgoing.unsent().is_empty() && outgoing.has_begun());
        outgoing.rewind();
        assert_eq!(outgoing.unsent(), b"head");
        outgoing.advance(4, false);
        assert!(outgoing.is_empty());
        for _ in 0..100 {
            outgoing.buffer().extend_from_slice(&[7; SENT_MAX]);
            outgoing.advance(SENT_MAX - 1, false);
            assert!(outgoing.len() <= 3 * SENT_MAX, "{}", outgoing.len());
        }
    }
}
