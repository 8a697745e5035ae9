//! Lines of a document: sealed one by one, opened in their order.

use std::fmt;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memchr;

use crate::base::id::parse_decimal;
use crate::seal::cipher::{Cipher, TAG_BYTES};

/// The last number that a document's line may have. Its key would do for more; a document ends long
/// before.
pub const COUNTER_MAX: u64 = 1 << 32;
/// Bytes that sealing adds to a line beside what base64 does, at most.
pub const FRAME_BYTES_MAX: usize = "<p q=4294967296>".len() + TAG_BYTES.div_ceil(3) * 4 + 4;

/// Seals the lines of one document.
///
/// ```
/// use ahm::base::id::Mid;
/// use ahm::seal::key::{Algorithm, Keys, Secret};
/// use ahm::seal::line::{Opener, Sealer};
/// let keys = Keys::new(
///     Algorithm::ChaCha20Poly1305,
///     Secret::new([7; 32]),
///     Mid::parse("4398046511105").unwrap(),
/// );
/// let identity = b"<p i scs=a mid=4398046511105 d=1 h=15000 r=240000 v=1>";
/// let mut sealer = Sealer::new(keys.document(1, 1, identity));
/// let mut sealed = Vec::new();
/// assert!(sealer.seal_lines(b"<p c=7 n=1>one\n<p c=7 n=2>two\n", &mut Vec::new(), &mut sealed));
///
/// let mut opener = Opener::new(keys.document(1, 1, identity));
/// let lines = sealed.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
/// let opened: Vec<_> = lines.map(|line| opener.open(line).unwrap().to_vec()).collect();
/// assert_eq!(opened, [&b"<p c=7 n=1>one"[..], b"<p c=7 n=2>two"]);
/// ```
#[derive(Debug)]
pub struct Sealer {
    cipher: Cipher,
    /// The number of the last line.
    last: u64,
}

impl Sealer {
    /// Seals with the document's key, from line 1 on.
    pub fn new(cipher: Cipher) -> Self {
        Self { cipher, last: 0 }
    }

    /// Seals each of `lines`, which end with LF, and appends them to `out`; `text` is scratch.
    /// False, with some of them missing, where the document has come to its last number and must
    /// end.
    #[must_use]
    pub fn seal_lines(&mut self, lines: &[u8], text: &mut Vec<u8>, out: &mut Vec<u8>) -> bool {
        let mut rest = lines;
        while let Some(end) = memchr(b'\n', rest) {
            if self.last >= COUNTER_MAX {
                return false;
            }
            self.last += 1;
            text.clear();
            text.extend_from_slice(&rest[..end]);
            self.cipher.seal(self.last, text);
            // Writing to a vector cannot fail.
            let _ = write!(out, "<p q={}>", self.last);
            let start = out.len();
            out.resize(start + text.len().div_ceil(3) * 4, 0);
            let written = STANDARD.encode_slice(&text[..], &mut out[start..]);
            debug_assert_eq!(written, Ok(out.len() - start));
            out.push(b'\n');
            rest = &rest[end + 1..];
        }
        debug_assert!(rest.is_empty(), "frames are whole lines");
        true
    }
}

/// Why a line is none of the document's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not sealed.
    Open,
    /// It has another number than the next: a line is missing, or came twice, or out of turn.
    Order,
    /// It was not sealed with the document's key, or was changed or cut.
    Forged,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 3] = [Self::Open, Self::Order, Self::Forged];

    /// In words.
    pub const fn detail(self) -> &'static str {
        match self {
            Self::Open => "a line is not sealed",
            Self::Order => "a sealed line is out of turn",
            Self::Forged => "a sealed line is not the server's, or was changed",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail())
    }
}

/// Opens the lines of one document. After a fault it opens nothing more.
#[derive(Debug)]
pub struct Opener {
    cipher: Cipher,
    /// The number of the next line.
    next: u64,
    text: Vec<u8>,
}

impl Opener {
    /// Opens with the document's key, from line 1 on.
    pub fn new(cipher: Cipher) -> Self {
        Self { cipher, next: 1, text: Vec::new() }
    }

    /// The line in the sealed `line`, both without LF.
    ///
    /// # Errors
    /// [`Fault`], after which the document must be given up.
    pub fn open(&mut self, line: &[u8]) -> Result<&[u8], Fault> {
        let next = std::mem::replace(&mut self.next, 0);
        let (counter, sealed) = divide(line).ok_or(Fault::Open)?;
        if next == 0 || counter != next {
            return Err(Fault::Order);
        }
        self.text.clear();
        STANDARD.decode_vec(sealed, &mut self.text).map_err(|_| Fault::Forged)?;
        let text = self.cipher.open(counter, &mut self.text).ok_or(Fault::Forged)?;
        self.next = next + 1;
        Ok(text)
    }
}

/// The number and the base64 of a sealed line.
fn divide(line: &[u8]) -> Option<(u64, &[u8])> {
    let rest = line.strip_prefix(b"<p q=")?;
    let end = memchr(b'>', rest)?;
    let counter = std::str::from_utf8(&rest[..end]).ok()?;
    Some((parse_decimal(counter)?, &rest[end + 1..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::id::Mid;
    use crate::seal::key::{Algorithm, Keys, Secret};

    fn keys(algorithm: Algorithm) -> Keys {
        Keys::new(algorithm, Secret::new([3; 32]), Mid::parse("99").unwrap())
    }

    fn sealed(algorithm: Algorithm, d: u32, lines: &[&str]) -> Vec<Vec<u8>> {
        let mut sealer = Sealer::new(keys(algorithm).document(d, 1, b"<p i>"));
        let mut out = Vec::new();
        for line in lines {
            assert!(sealer.seal_lines(format!("{line}\n").as_bytes(), &mut Vec::new(), &mut out));
        }
        out.split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(<[u8]>::to_vec)
            .collect()
    }

    fn opener(algorithm: Algorithm, d: u32) -> Opener {
        Opener::new(keys(algorithm).document(d, 1, b"<p i>"))
    }

    #[test]
    fn whatever_is_not_the_next_line_ends_the_document() {
        for algorithm in Algorithm::ALL {
            let lines = sealed(algorithm, 1, &["<p h=1 t=1>", "<p h=1 t=2>", "<p h=1 t=3>"]);
            let other = sealed(algorithm, 2, &["<p h=1 t=1>"]);
            let mut cut = lines[0].clone();
            cut.truncate(lines[0].len() - 4);
            let renumbered = [b"<p q=1>", &lines[1][7..]].concat();
            for (bad, fault) in [
                (&lines[1], Fault::Order),
                (&other[0], Fault::Forged),
                (&cut, Fault::Forged),
                (&renumbered, Fault::Forged),
                (&b"<p h=1 t=1>".to_vec(), Fault::Open),
                (&b"<p q=>".to_vec(), Fault::Open),
                (&b"<p q=01>".to_vec(), Fault::Open),
                (&b"<p q=1>".to_vec(), Fault::Forged),
            ] {
                let mut opener = opener(algorithm, 1);
                assert_eq!(opener.open(bad), Err(fault), "{}", String::from_utf8_lossy(bad));
                assert_eq!(opener.open(&lines[0]), Err(Fault::Order), "it is given up");
            }
            let mut opener = opener(algorithm, 1);
            for (line, text) in lines.iter().zip(["<p h=1 t=1>", "<p h=1 t=2>", "<p h=1 t=3>"]) {
                assert_eq!(opener.open(line), Ok(text.as_bytes()));
            }
            assert_eq!(opener.open(&lines[2]), Err(Fault::Order), "a replay");
        }
    }

    #[test]
    fn a_key_seals_no_more_lines_than_it_may() {
        let mut sealer = Sealer::new(keys(Algorithm::Aes256Gcm).document(1, 1, b""));
        sealer.last = COUNTER_MAX - 1;
        let mut out = Vec::new();
        assert!(sealer.seal_lines(b"<p h=1 t=1>\n", &mut Vec::new(), &mut out));
        let length = out.len();
        assert_eq!(length, "<p q=4294967296>".len() + 36 + 1);
        assert!(length <= 11usize.div_ceil(3) * 4 + FRAME_BYTES_MAX + 1);
        assert!(!sealer.seal_lines(b"<p h=1 t=1>\n", &mut Vec::new(), &mut out));
        assert_eq!(out.len(), length);
    }

    proptest! {
        #[test]
        fn any_line_comes_back(lines in prop::collection::vec("[^\n]{0,200}", 0..20)) {
            for algorithm in Algorithm::ALL {
                let mut opener = opener(algorithm, 1);
                let texts: Vec<&str> = lines.iter().map(String::as_str).collect();
                for (sealed, text) in sealed(algorithm, 1, &texts).iter().zip(&lines) {
                    prop_assert_eq!(opener.open(sealed), Ok(text.as_bytes()));
                }
            }
        }

        #[test]
        fn no_bytes_are_taken_for_a_line(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            counter in 0u64..4,
        ) {
            let mut whole = format!("<p q={counter}>").into_bytes();
            whole.extend_from_slice(&bytes);
            prop_assert!(opener(Algorithm::Aes256Gcm, 1).open(&bytes).is_err());
            prop_assert!(opener(Algorithm::ChaCha20Poly1305, 1).open(&whole).is_err());
            let mut encoded = format!("<p q={counter}>").into_bytes();
            encoded.extend_from_slice(STANDARD.encode(&bytes).as_bytes());
            prop_assert!(opener(Algorithm::Aes256Gcm, 1).open(&encoded).is_err());
        }

        #[test]
        fn no_change_of_a_byte_goes_unseen(at in any::<prop::sample::Index>(), flip in 1u8..=255) {
            for algorithm in Algorithm::ALL {
                let mut line = sealed(algorithm, 1, &["<p c=7 n=1>1.09214 1.09217"]).remove(0);
                let at = at.index(line.len());
                line[at] ^= flip;
                prop_assert!(opener(algorithm, 1).open(&line).is_err());
            }
        }
    }
}
