//! What every payload of the driver begins with: when it was due, its number, and whose it is.

use crate::base::time::Instant;

/// Bytes of a stamp at the front of a payload; also the smallest `--size`.
pub const STAMP_BYTES: usize = 32;

/// Bytes of a stamp and the topic behind it, for servers whose streams do not say the topic, and
/// of the LF that ends the message for some of them.
pub const ADDRESSED_BYTES: usize = STAMP_BYTES + 6;

/// Due time (16 hexadecimal digits, nanoseconds of the driver's clock), a space, sequence number
/// in its topic (10 digits), a space, tag of the run (4 digits).
///
/// ```
/// use ahm::base::time::Instant;
/// use ahm::cli::bench::stamp::Stamp;
/// let stamp = Stamp { due: Instant::from_nanos(255), seq: 7, run: 0xab };
/// let mut payload = Vec::new();
/// stamp.put(40, &mut payload);
/// assert_eq!(payload, b"00000000000000ff 0000000007 00ab........");
/// assert_eq!(Stamp::parse(&payload), Some(stamp));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When the message should have left the publisher, whether or not it could.
    pub due: Instant,
    /// The message's number in its topic: 0 for the one that creates the topic, then from 1.
    pub seq: u64,
    /// Tells this run's messages from those of another one on the same topics.
    pub run: u16,
}

impl Stamp {
    /// Appends the stamp and padding, `size` bytes together (never fewer than [`STAMP_BYTES`]).
    pub fn put(self, size: usize, out: &mut Vec<u8>) {
        let end = out.len() + size.max(STAMP_BYTES);
        put_hex(self.due.as_nanos(), 16, out);
        out.push(b' ');
        put_hex(self.seq, 10, out);
        out.push(b' ');
        put_hex(u64::from(self.run), 4, out);
        out.resize(end, b'.');
    }

    /// The stamp at the front of `payload`; `None` for a payload that is not the driver's.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let stamp = payload.first_chunk::<STAMP_BYTES>()?;
        if stamp[16] != b' ' || stamp[27] != b' ' {
            return None;
        }
        let due = hex(&stamp[..16])?;
        let seq = hex(&stamp[17..27])?;
        let run = u16::try_from(hex(&stamp[28..])?).ok()?;
        Some(Self { due: Instant::from_nanos(due), seq, run })
    }
}

/// Writes the number of a topic behind the stamp of `payload`: a space and 4 digits.
///
/// ```
/// use ahm::cli::bench::stamp::{address, addressee};
/// let mut payload = [b'.'; 40];
/// address(&mut payload, 255);
/// assert_eq!(&payload[32..], b" 00ff...");
/// assert_eq!(addressee(&payload), Some(255));
/// ```
pub fn address(payload: &mut [u8], topic: usize) {
    if let Some([space, digits @ ..]) = payload.get_mut(STAMP_BYTES..ADDRESSED_BYTES - 1) {
        *space = b' ';
        digits.iter_mut().rev().enumerate().for_each(|(at, digit)| *digit = nibble(topic, at));
    }
}

/// The topic behind the stamp of `payload`.
pub fn addressee(payload: &[u8]) -> Option<usize> {
    let digits = payload.get(STAMP_BYTES + 1..ADDRESSED_BYTES - 1)?;
    hex(digits).map(|topic| topic as usize)
}

fn nibble(value: usize, at: usize) -> u8 {
    b"0123456789abcdef"[(value >> (4 * at)) & 0xf]
}

fn put_hex(value: u64, digits: u32, out: &mut Vec<u8>) {
    out.extend((0..digits as usize).rev().map(|at| nibble(value as usize, at)));
}

/// The value of at most 16 lower-case hexadecimal digits.
fn hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(nibble))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_values_survive() {
        let stamp = Stamp { due: Instant::NEVER, seq: (1 << 40) - 1, run: u16::MAX };
        let mut payload = Vec::new();
        stamp.put(0, &mut payload);
        assert_eq!(payload.len(), STAMP_BYTES);
        assert_eq!(Stamp::parse(&payload), Some(stamp));
    }

    #[test]
    fn what_is_not_a_stamp_is_foreign() {
        let mut payload = Vec::new();
        Stamp { due: Instant::ZERO, seq: 1, run: 1 }.put(STAMP_BYTES, &mut payload);
        assert_eq!(Stamp::parse(&payload[..STAMP_BYTES - 1]), None);
        for at in 0..STAMP_BYTES {
            let mut other = payload.clone();
            other[at] = b'x';
            assert_eq!(Stamp::parse(&other), None, "at {at}");
        }
    }
}
