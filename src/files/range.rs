//! Which part of a file is wanted: RFC 9110, section 14.

use std::ops::Range;

/// What a `Range` field asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All of it.
    Whole,
    /// These bytes of it: never none.
    Part(Range<u64>),
    /// Bytes that it does not have.
    Unsatisfiable,
}

/// What the value of `Range` asks of a file of `length` bytes. Several ranges, other units and what
/// is not of the grammar are passed over, as every server may: then it is the whole.
///
/// ```
/// use ahm::files::range::{Wanted, wanted};
/// assert_eq!(wanted("bytes=2-", 10), Wanted::Part(2..10));
/// assert_eq!(wanted("bytes=-3", 10), Wanted::Part(7..10));
/// assert_eq!(wanted("bytes=10-12", 10), Wanted::Unsatisfiable);
/// ```
pub fn wanted(value: &str, length: u64) -> Wanted {
    let Some((unit, set)) = value.split_once('=') else { return Wanted::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    let Some((first, last)) = set.trim().split_once('-') else { return Wanted::Whole };
    match (first, last) {
        ("", last) => match number(last) {
            None => Wanted::Whole,
            Some(count) if count == 0 || length == 0 => Wanted::Unsatisfiable,
            Some(count) => Wanted::Part(length.saturating_sub(count)..length),
        },
        (first, last) => {
            let end = match (last, number(last)) {
                ("", _) => length,
                (_, Some(last)) => last.saturating_add(1).min(length),
                (_, None) => return Wanted::Whole,
            };
            match number(first) {
                None => Wanted::Whole,
                // Backwards: not of the grammar.
                Some(first) if number(last).is_some_and(|last| last < first) => Wanted::Whole,
                Some(first) if first >= length => Wanted::Unsatisfiable,
                Some(first) => Wanted::Part(first..end),
            }
        }
    }
}

/// Digits alone; what is beyond 64 bits is beyond every file.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_ten_bytes() {
        use Wanted::{Part, Unsatisfiable, Whole};
        for (value, expected) in [
            ("bytes=0-0", Part(0..1)),
            ("bytes=0-9", Part(0..10)),
            ("bytes=3-99", Part(3..10)),
            ("Bytes= 3-4 ", Part(3..5)),
            ("bytes=9-", Part(9..10)),
            ("bytes=-1", Part(9..10)),
            ("bytes=-99", Part(0..10)),
            ("bytes=0-99999999999999999999999", Part(0..10)),
            ("bytes=-99999999999999999999999", Part(0..10)),
            ("bytes=10-", Unsatisfiable),
            ("bytes=99999999999999999999999-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=4-3", Whole),
            ("bytes=0-1,3-4", Whole),
            ("bytes=", Whole),
            ("bytes=-", Whole),
            ("bytes=a-b", Whole),
            ("bytes=+1-2", Whole),
            ("lines=0-1", Whole),
            ("bytes", Whole),
            ("", Whole),
        ] {
            assert_eq!(wanted(value, 10), expected, "{value:?}");
        }
        assert_eq!(wanted("bytes=0-", 0), Unsatisfiable);
        assert_eq!(wanted("bytes=-5", 0), Unsatisfiable);
    }
}
