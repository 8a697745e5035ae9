//! Packets out of bytes that come in any pieces.

use crate::cli::bench::peer::feed::Heard;

/// Bytes of one packet; more is not one of ours.
const PACKET_BYTES_MAX: usize = 1024 * 1024;
/// So many bytes are added to the beginning of a packet before it is looked at again.
const STEP_BYTES: usize = 4 * 1024;

/// Keeps the beginning of a packet whose end has not come. A packet that lies wholly in one read
/// is handed on where it lies.
#[derive(Debug, Default)]
pub struct Packets {
    carry: Vec<u8>,
}

impl Packets {
    /// Hands `bytes` to `one`, which takes one packet from the front and says its length, or 0
    /// while it is not complete.
    ///
    /// # Errors
    /// A sentence: what `one` says, or a packet has no end. The stream is of no more use.
    pub fn push(
        &mut self,
        mut bytes: &[u8],
        mut one: impl FnMut(&[u8]) -> Result<usize, String>,
    ) -> Result<(), String> {
        while !self.carry.is_empty() {
            let before = self.carry.len();
            let (step, rest) = bytes.split_at(bytes.len().min(STEP_BYTES));
            self.carry.extend_from_slice(step);
            let taken = one(&self.carry)?;
            if taken > before {
                bytes = &bytes[taken - before..];
                self.carry.clear();
                self.carry.shrink_to(STEP_BYTES);
            } else if rest.is_empty() {
                return Ok(());
            } else if self.carry.len() > PACKET_BYTES_MAX {
                return Err("a packet of more than 1 MiB".to_owned());
            } else {
                bytes = rest;
            }
        }
        loop {
            match one(bytes)? {
                0 => break,
                taken => bytes = &bytes[taken..],
            }
        }
        self.carry.extend_from_slice(bytes);
        Ok(())
    }
}

/// What is at the front of some bytes, and its length, once it is complete.
pub type First = fn(&[u8]) -> Result<Option<(Heard<'_>, usize)>, String>;

/// Decoder of what a server says in packets.
#[derive(Debug)]
pub struct Decoder {
    packets: Packets,
    first: First,
}

impl Decoder {
    /// Of the packets that `first` knows.
    pub fn new(first: First) -> Self {
        Self { packets: Packets::default(), first }
    }

    /// Hands on what `bytes` complete.
    ///
    /// # Errors
    /// A sentence: the server refuses, or does not speak this.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Heard<'_>)) -> Result<(), String> {
        let Self { packets, first } = self;
        packets.push(bytes, |bytes| {
            let Some((heard, taken)) = first(bytes)? else { return Ok(0) };
            each(heard);
            Ok(taken)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets of one byte of length (in units of `unit`) and so many bytes.
    fn cut(pieces: &[&[u8]], unit: usize) -> Result<Vec<Vec<u8>>, String> {
        let (mut packets, mut seen) = (Packets::default(), Vec::new());
        for piece in pieces {
            packets.push(piece, |bytes| {
                let Some(length) = bytes.first().map(|units| usize::from(*units) * unit) else {
                    return Ok(0);
                };
                let Some(packet) = bytes.get(1..=length) else { return Ok(0) };
                seen.push(packet.to_vec());
                Ok(1 + length)
            })?;
        }
        Ok(seen)
    }

    #[test]
    fn every_split_gives_the_same_packets() {
        let bytes = b"\x03abc\x00\x01d\x05efghi";
        let expected = [&b"abc"[..], b"", b"d", b"efghi"];
        for at in 0..=bytes.len() {
            assert_eq!(cut(&[&bytes[..at], &bytes[at..]], 1).unwrap(), expected, "{at}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(cut(&single, 1).unwrap(), expected);
    }

    #[test]
    fn large_packets_cross_many_steps_and_endless_ones_are_refused() {
        let mut bytes = vec![7; 3 * 5000 + 1];
        bytes[0] = 3;
        let twice = [&bytes[..], &bytes[..]].concat();
        let (first, rest) = twice.split_at(10);
        assert_eq!(cut(&[first, rest], 5000).unwrap(), [&bytes[1..], &bytes[1..]]);
        let endless = vec![255; PACKET_BYTES_MAX + 3 * STEP_BYTES];
        assert!(cut(&[&[255], &endless], PACKET_BYTES_MAX).is_err());
    }
}
