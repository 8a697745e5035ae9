//! Fields of binary frames: numbers of one to ten bytes, texts and bytes with their length before
//! them.

use std::fmt;

/// Why bytes are no frame of the resource protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryError {
    /// A frame ends within a field.
    Short,
    /// A number of more than 64 bits, or with bytes that add nothing.
    Number,
    /// A text is not UTF-8.
    Text,
    /// A value is none of those that its field has.
    Value(&'static str),
    /// A frame is larger than agreed.
    Large(u64),
    /// There are bytes behind the last field.
    Trailing,
    /// No frame has this kind.
    Kind(u8),
}

impl fmt::Display for BinaryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("a frame ends within a field"),
            Self::Number => f.write_str("a number is longer than it needs to be, or than 64 bits"),
            Self::Text => f.write_str("a text is not UTF-8"),
            Self::Value(field) => write!(f, "no such {field}"),
            Self::Large(bytes) => write!(f, "a frame of {bytes} bytes is too large"),
            Self::Trailing => f.write_str("a frame goes on behind its last field"),
            Self::Kind(kind) => write!(f, "no frame has the kind {kind}"),
        }
    }
}

impl std::error::Error for BinaryError {}

/// Bytes of the longest number.
pub const NUMBER_BYTES_MAX: usize = 10;

/// Appends a number: seven bits a byte, the lowest first, the top bit set in all but the last
/// (LEB128, as in DWARF 5, section 7.6).
///
/// ```
/// use ahm::wire::fields::put_number;
/// let mut out = Vec::new();
/// put_number(&mut out, 300);
/// assert_eq!(out, [0xac, 0x02]);
/// ```
pub fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends bytes behind their count.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads a number at the beginning of `bytes`, and says how many bytes it takes; `None` while it is
/// not whole.
///
/// # Errors
///
/// [`BinaryError::Number`].
pub fn peek_number(bytes: &[u8]) -> Result<Option<(u64, usize)>, BinaryError> {
    let mut number = 0;
    for (index, byte) in bytes.iter().enumerate().take(NUMBER_BYTES_MAX) {
        let bits = u64::from(byte & 0x7f);
        if index == NUMBER_BYTES_MAX - 1 && bits > 1 {
            return Err(BinaryError::Number);
        }
        number |= bits << (7 * index);
        if byte & 0x80 == 0 {
            let canonical = index == 0 || *byte != 0;
            return canonical.then_some(Some((number, index + 1))).ok_or(BinaryError::Number);
        }
    }
    if bytes.len() >= NUMBER_BYTES_MAX { Err(BinaryError::Number) } else { Ok(None) }
}

/// The fields of one frame that were not taken yet.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    /// The next byte.
    ///
    /// # Errors
    ///
    /// [`BinaryError::Short`].
    pub fn byte(&mut self) -> Result<u8, BinaryError> {
        let (first, rest) = self.0.split_first().ok_or(BinaryError::Short)?;
        self.0 = rest;
        Ok(*first)
    }

    /// The next number.
    ///
    /// # Errors
    ///
    /// [`BinaryError::Short`], [`BinaryError::Number`].
    pub fn number(&mut self) -> Result<u64, BinaryError> {
        let (number, taken) = peek_number(self.0)?.ok_or(BinaryError::Short)?;
        self.0 = &self.0[taken..];
        Ok(number)
    }

    /// The next number, which has at most 32 bits.
    ///
    /// # Errors
    ///
    /// As [`Fields::number`], and [`BinaryError::Value`] with `what` for a larger one.
    pub fn small(&mut self, what: &'static str) -> Result<u32, BinaryError> {
        u32::try_from(self.number()?).map_err(|_| BinaryError::Value(what))
    }

    /// The next eight bytes as a number, the highest byte first.
    ///
    /// # Errors
    ///
    /// [`BinaryError::Short`].
    pub fn word(&mut self) -> Result<u64, BinaryError> {
        let (word, rest) = self.0.split_first_chunk().ok_or(BinaryError::Short)?;
        self.0 = rest;
        Ok(u64::from_be_bytes(*word))
    }

    /// The next bytes.
    ///
    /// # Errors
    ///
    /// [`BinaryError::Short`], [`BinaryError::Number`].
    pub fn bytes(&mut self) -> Result<&'a [u8], BinaryError> {
        let count = usize::try_from(self.number()?).map_err(|_| BinaryError::Short)?;
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(BinaryError::Short)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// The next text.
    ///
    /// # Errors
    ///
    /// As [`Fields::bytes`], and [`BinaryError::Text`].
    pub fn text(&mut self) -> Result<&'a str, BinaryError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| BinaryError::Text)
    }

    /// The next texts, behind their count.
    ///
    /// # Errors
    ///
    /// As [`Fields::text`].
    pub fn texts(&mut self) -> Result<Vec<&'a str>, BinaryError> {
        let count = self.number()?;
        // Each takes a byte at least: what is not there cannot be asked for.
        if count > self.0.len() as u64 {
            return Err(BinaryError::Short);
        }
        (0..count).map(|_| self.text()).collect()
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    ///
    /// [`BinaryError::Trailing`].
    pub fn end(self) -> Result<(), BinaryError> {
        if self.0.is_empty() { Ok(()) } else { Err(BinaryError::Trailing) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length_go_there_and_back() {
        for shift in 0..64 {
            for number in [1u64 << shift, (1u64 << shift) - 1, u64::MAX >> shift] {
                let mut bytes = Vec::new();
                put_number(&mut bytes, number);
                assert!(bytes.len() <= NUMBER_BYTES_MAX);
                assert_eq!(peek_number(&bytes), Ok(Some((number, bytes.len()))));
                for cut in 0..bytes.len() {
                    assert_eq!(peek_number(&bytes[..cut]), Ok(None), "{number} cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn numbers_have_one_form() {
        for bad in [&[0x80, 0x00][..], &[0xff, 0x80, 0x00], &[0xff; 10], &[0xff; 11]] {
            assert_eq!(peek_number(bad), Err(BinaryError::Number), "{bad:x?}");
        }
        let largest = [[0xff; 9].as_slice(), &[0x01]].concat();
        assert_eq!(peek_number(&largest), Ok(Some((u64::MAX, 10))));
        let larger = [[0xff; 9].as_slice(), &[0x02]].concat();
        assert_eq!(peek_number(&larger), Err(BinaryError::Number));
    }

    #[test]
    fn a_count_beyond_the_frame_allocates_nothing() {
        let mut bytes = Vec::new();
        put_number(&mut bytes, 1 << 40);
        assert_eq!(Fields(&bytes).texts(), Err(BinaryError::Short));
        assert_eq!(Fields(&bytes).bytes(), Err(BinaryError::Short));
        assert_eq!(Fields(&bytes).small("alias"), Err(BinaryError::Value("alias")));
        assert_eq!(Fields(&[1, 0xff]).text(), Err(BinaryError::Text));
        assert_eq!(Fields(&[1]).end(), Err(BinaryError::Trailing));
    }
}
