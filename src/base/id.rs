//! Identifiers: each a newtype, so that no two kinds are mixed up.

use std::fmt;
use std::num::NonZeroU64;

/// One reactor thread of the process, counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u8);

impl ShardId {
    /// The shard as an index into a table of shards.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A place in a slab together with the generation of what lives there: a key that outlives its
/// owner finds nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The index in the slab.
    pub slot: u32,
    /// How often the slab has filled a place, modulo the width of the generation.
    pub generation: u32,
}

/// A connection of one shard.
pub type ConnKey = Key;

/// A session: a non-zero integer below 2^53, opaque to clients. Inside it, from the highest bit:
/// 24 bits of generation, 21 bits of slab slot, 8 bits of shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mid(NonZeroU64);

impl Mid {
    const SHARD_BITS: u32 = 8;
    const SLOT_BITS: u32 = 21;
    /// Generations are kept modulo this; none is zero, so that no `mid` is zero.
    pub const GENERATION_END: u32 = 1 << 24;
    /// Sessions a shard can hold at once.
    pub const SLOT_END: u32 = 1 << Self::SLOT_BITS;

    /// The session in `key` of `shard`; `None` if a part is out of range.
    pub fn new(shard: ShardId, key: Key) -> Option<Self> {
        let fits = key.slot < Self::SLOT_END
            && key.generation > 0
            && key.generation < Self::GENERATION_END;
        let high = u64::from(key.generation) << (Self::SLOT_BITS + Self::SHARD_BITS);
        let number = high | u64::from(key.slot) << Self::SHARD_BITS | u64::from(shard.0);
        NonZeroU64::new(number).filter(|_| fits).map(Self)
    }

    /// Reads the decimal form; `None` for zero, 2^53 and above, or anything but digits.
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_number(parse_decimal(text)?)
    }

    /// The session of that number; `None` for zero, and for 2^53 and above.
    pub fn from_number(number: u64) -> Option<Self> {
        NonZeroU64::new(number).filter(|number| number.get() < 1 << 53).map(Self)
    }

    /// The shard that holds the session.
    pub const fn shard(self) -> ShardId {
        ShardId((self.get() & 0xff) as u8)
    }

    /// The session's place in its shard's slab.
    pub const fn key(self) -> Key {
        Key {
            slot: (self.get() >> Self::SHARD_BITS) as u32 & (Self::SLOT_END - 1),
            generation: (self.get() >> (Self::SLOT_BITS + Self::SHARD_BITS)) as u32,
        }
    }

    /// The number itself.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for Mid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A channel's number, unique within its session.
///
/// 1 to 2^20-1 are chosen by the client, 2^20 to 2^30-1 are numbers of shared topics, from 2^30
/// numbers of private topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cid(pub u32);

impl Cid {
    /// The first number of a shared topic.
    pub const SHARED_FIRST: u32 = 1 << 20;
    /// The first number of a private topic.
    pub const PRIVATE_FIRST: u32 = 1 << 30;

    /// Reads the decimal form; `None` for zero, overflow, or anything but digits.
    pub fn parse(text: &str) -> Option<Self> {
        let number = u32::try_from(parse_decimal(text)?).ok()?;
        (number > 0).then_some(Self(number))
    }

    /// Whether a client may choose this number.
    pub const fn is_clients_choice(self) -> bool {
        self.0 > 0 && self.0 < Self::SHARED_FIRST
    }

    /// Whether the server has given it to a private topic.
    pub const fn is_private(self) -> bool {
        self.0 >= Self::PRIVATE_FIRST
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A message's place in its topic: from 1, below 2^53. Zero stands before the first message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

impl Offset {
    /// The first number that is no offset.
    pub const END: u64 = 1 << 53;

    /// Reads the decimal form; `None` from 2^53 on or for anything but digits.
    pub fn parse(text: &str) -> Option<Self> {
        let number = parse_decimal(text)?;
        (number < Self::END).then_some(Self(number))
    }

    /// The offset after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One life of a topic's numbering: 64 random bits, written with `[0-9a-z]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Reads 1 to 13 of `[0-9a-z]` as a number of base 36; `None` for anything else.
    ///
    /// ```
    /// use ahm::base::id::Epoch;
    /// let epoch = Epoch::parse("9f3a71").unwrap();
    /// assert_eq!(epoch.to_string(), "9f3a71");
    /// assert_eq!(Epoch::parse("9F"), None);
    /// assert_eq!(Epoch::parse("01"), None); // one epoch has one spelling
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > 13 || (text.len() > 1 && text.starts_with('0')) {
            return None;
        }
        let mut number: u64 = 0;
        for byte in text.bytes() {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'z' => byte - b'a' + 10,
                _ => return None,
            };
            number = number.checked_mul(36)?.checked_add(u64::from(digit))?;
        }
        Some(Self(number))
    }
}

impl Epoch {
    /// Its digits, written at the end of `digits`.
    pub fn digits<'d>(&self, digits: &'d mut [u8; 13]) -> &'d [u8] {
        let mut at = digits.len();
        let mut rest = self.0;
        loop {
            at -= 1;
            let digit = (rest % 36) as u8;
            digits[at] = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
            rest /= 36;
            if rest == 0 {
                break;
            }
        }
        &digits[at..]
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut room = [0; 13];
        f.pad(std::str::from_utf8(self.digits(&mut room)).unwrap_or_default())
    }
}

/// Reads an unsigned decimal number: digits only, no sign, no leading zero, no overflow.
pub fn parse_decimal(text: &str) -> Option<u64> {
    if text.is_empty() || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.bytes().try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mid_keeps_its_parts_and_stays_below_2_53() {
        let key = Key { slot: Mid::SLOT_END - 1, generation: Mid::GENERATION_END - 1 };
        let mid = Mid::new(ShardId(255), key).unwrap();
        assert_eq!(mid.get(), (1 << 53) - 1);
        assert_eq!((mid.shard(), mid.key()), (ShardId(255), key));
        assert_eq!(Mid::parse(&mid.to_string()), Some(mid));
        assert_eq!(Mid::new(ShardId(0), Key { slot: 0, generation: 0 }), None);
    }

    #[test]
    fn numbers_are_strict() {
        for bad in ["", "0", "-1", "+1", "01", " 1", "9007199254740992", "99999999999999999999"] {
            assert_eq!(Mid::parse(bad), None, "{bad:?}");
        }
        assert_eq!(Cid::parse("4294967296"), None);
        assert_eq!(Offset::parse("0"), Some(Offset(0)));
    }

    #[test]
    fn epoch_of_all_bits_fits_13_digits() {
        let text = Epoch(u64::MAX).to_string();
        assert_eq!(text.len(), 13);
        assert_eq!(Epoch::parse(&text), Some(Epoch(u64::MAX)));
        assert_eq!(Epoch::parse("zzzzzzzzzzzzz"), None);
    }
}
