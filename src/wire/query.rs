//! Query strings: pairs, strict percent-decoding, and encoding for clients.
//!
//! `+` is a plus sign, never a space: one rule for every carriage. A space is `%20`.

use std::borrow::Cow;
use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::wire::error::CommandError;

/// What is percent-encoded in a parameter's value: all but letters, digits and `-._~:,/`.
pub(crate) const VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b',')
    .remove(b'/');

/// The same for the value of `open`, which is encoded part by part before it comes here: what it
/// is divided by and its own escapes stay.
const OPEN: &AsciiSet = &VALUE.remove(b';').remove(b'=').remove(b'%');

/// Parameters a command may have, beside those that all may have.
const PARAMS_MAX: usize = 10;

/// Parameters that every command may have.
const COMMON: [&str; 6] = ["scs", "mid", "k", "id", "q", "mac"];

/// Makes a query string of `pairs`, without `?`. Names must be plain ASCII; values may be any text.
///
/// The value of `open` is taken to be encoded already, as [`OpenRequest`] displays itself: its
/// slashes, semicolons and escapes mean something.
///
/// [`OpenRequest`]: crate::wire::open::OpenRequest
///
/// ```
/// use ahm::wire::query::encode_query;
/// assert_eq!(encode_query(&[("t", "a&b c"), ("mid", "7")]), "t=a%26b%20c&mid=7");
/// assert_eq!(encode_query(&[("open", "fx/EUR%3B;rate=5")]), "open=fx/EUR%3B;rate=5");
/// ```
pub fn encode_query(pairs: &[(&str, &str)]) -> String {
    let mut query = String::new();
    for (name, value) in pairs {
        if !query.is_empty() {
            query.push('&');
        }
        let set = if *name == "open" { OPEN } else { VALUE };
        // Writing to a String cannot fail.
        let _ = write!(query, "{name}={}", utf8_percent_encode(value, set));
    }
    query
}

/// The pairs of a query string, raw; a parameter without `=` has the empty value.
pub(crate) fn pairs(query: &str, separator: char) -> impl Iterator<Item = (&str, &str)> {
    let items = query.split(separator).filter(|item| !item.is_empty());
    items.map(|item| item.split_once('=').unwrap_or((item, "")))
}

/// The bytes that the value of `name` stands for.
pub(crate) fn bytes<'q>(name: &str, value: &'q str) -> Result<Cow<'q, [u8]>, CommandError> {
    let mut parts = value.as_bytes().split(|byte| *byte == b'%');
    let Some(clean) = parts.next().filter(|clean| clean.len() < value.len()) else {
        return Ok(Cow::Borrowed(value.as_bytes()));
    };
    let mut decoded = Vec::with_capacity(value.len());
    decoded.extend_from_slice(clean);
    for part in parts {
        let digit = |at: usize| part.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return Err(CommandError::bad(format!(
                "in `{name}` a `%` is not followed by two hexadecimal digits"
            )));
        };
        decoded.push((high * 16 + low) as u8);
        decoded.extend_from_slice(&part[2..]);
    }
    Ok(Cow::Owned(decoded))
}

/// The text that the value of `name` stands for.
pub(crate) fn text<'q>(name: &str, value: &'q str) -> Result<Cow<'q, str>, CommandError> {
    match bytes(name, value)? {
        Cow::Borrowed(_) => Ok(Cow::Borrowed(value)),
        Cow::Owned(decoded) => String::from_utf8(decoded)
            .map(Cow::Owned)
            .map_err(|_| CommandError::bad(format!("`{name}` is not UTF-8"))),
    }
}

/// The parameters of one command that are known to it, collected in one pass.
#[derive(Debug)]
pub(crate) struct Params<'q> {
    own: &'static [&'static str],
    values: [Option<&'q str>; COMMON.len() + PARAMS_MAX],
}

impl<'q> Params<'q> {
    /// Collects [`COMMON`] and `own`; refuses one of them given twice and passes over all others.
    pub(crate) fn read(
        query: &'q str,
        separator: char,
        own: &'static [&'static str],
    ) -> Result<Self, CommandError> {
        debug_assert!(own.len() <= PARAMS_MAX);
        let mut params = Self { own, values: [None; COMMON.len() + PARAMS_MAX] };
        for (name, value) in pairs(query, separator) {
            let Some(place) = params.place(name).and_then(|at| params.values.get_mut(at)) else {
                continue;
            };
            if place.replace(value).is_some() {
                return Err(CommandError::bad(format!("`{name}` is given twice")));
            }
        }
        Ok(params)
    }

    fn place(&self, name: &str) -> Option<usize> {
        COMMON.iter().chain(self.own).position(|known| *known == name)
    }

    /// The value of `name` as it was sent.
    pub(crate) fn raw(&self, name: &'static str) -> Option<&'q str> {
        debug_assert!(self.place(name).is_some(), "`{name}` is not among those collected");
        self.place(name).and_then(|at| self.values.get(at).copied().flatten())
    }

    /// The value of `name`, decoded.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<Cow<'q, str>>, CommandError> {
        self.raw(name).map(|raw| text(name, raw)).transpose()
    }

    /// The value of `name`, decoded, as `parse` reads it; `expected` says what it should be.
    pub(crate) fn optional<T>(
        &self,
        name: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, CommandError> {
        let Some(value) = self.text(name)? else { return Ok(None) };
        parse(&value).map(Some).ok_or_else(|| CommandError::value(name, expected))
    }

    /// The same, where absence is a fault too.
    pub(crate) fn required<T>(
        &self,
        name: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, CommandError> {
        self.optional(name, expected, parse)?
            .ok_or_else(|| CommandError::bad(format!("`{name}` is missing")))
    }

    /// A switch: `1`, `0`, or absent, which is `0`.
    pub(crate) fn switch(&self, name: &'static str) -> Result<bool, CommandError> {
        let value = self.optional(name, "0 or 1", |text| match text {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        })?;
        Ok(value.unwrap_or(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_is_strict() {
        for bad in ["%", "%4", "a%zz", "%%41", "%+1", "%4\u{e9}"] {
            assert!(bytes("t", bad).is_err(), "{bad:?}");
        }
        assert!(text("t", "%ff").is_err());
        assert_eq!(bytes("t", "%ff%00").unwrap(), &b"\xff\0"[..]);
        assert_eq!(text("t", "a+b%2b%C3%a9").unwrap(), "a+b+\u{e9}");
        assert!(matches!(text("t", "plain"), Ok(Cow::Borrowed("plain"))));
    }

    #[test]
    fn what_is_encoded_comes_back() {
        let value = "a&b=c%d+e f#g?\u{e9}\n;/";
        let query = encode_query(&[("x", "1"), ("t", value)]);
        assert!(query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'));
        let params = Params::read(&query, '&', &["t"]).unwrap();
        assert_eq!(params.text("t").unwrap().as_deref(), Some(value));
    }

    #[test]
    fn twice_is_refused_only_where_it_means_something() {
        assert!(Params::read("mid=1&mid=1", '&', &[]).is_err());
        assert!(Params::read("t=&t", '&', &["t"]).is_err());
        assert!(Params::read("t=1&t=2&&=&%zz=%", '&', &[]).is_ok());
    }
}
