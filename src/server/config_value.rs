//! Values as an operator writes them: `15s`, `64KiB`, `yes or no`, lists, and what is wrong with
//! them when something is.

use crate::base::time::Span;

/// A value before its key has said what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A string of the file.
    Text(String),
    /// A whole number of the file.
    Number(i64),
    /// `true` or `false` of the file.
    Flag(bool),
    /// A list of the file.
    List(Vec<Self>),
    /// Text of the environment or of a flag, which may stand for any of the above.
    Loose(String),
    /// Anything else the file may hold, by the name of its type.
    Other(&'static str),
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Loose(_) => "text",
            Self::Number(_) => "a number",
            Self::Flag(_) => "true or false",
            Self::List(_) => "a list",
            Self::Other(name) => name,
        }
    }

    fn wrong(&self, wanted: &str) -> String {
        match self {
            Self::Text(text) | Self::Loose(text) => format!("{text:?} is not {wanted}"),
            Self::Number(number) => format!("{number} is not {wanted}"),
            Self::Flag(flag) => format!("{flag} is not {wanted}"),
            Self::List(_) | Self::Other(_) => format!("{} stands where {wanted} must", self.kind()),
        }
    }

    /// The value as text.
    ///
    /// # Errors
    /// Says what it is instead.
    pub fn text(&self) -> Result<&str, String> {
        match self {
            Self::Text(text) | Self::Loose(text) => Ok(text),
            _ => Err(self.wrong("text in quotes")),
        }
    }

    /// The value as `true` or `false`.
    ///
    /// # Errors
    /// Says what it is instead.
    pub fn flag(&self) -> Result<bool, String> {
        match self {
            Self::Flag(flag) => Ok(*flag),
            Self::Loose(text) if text == "true" => Ok(true),
            Self::Loose(text) if text == "false" => Ok(false),
            _ => Err(self.wrong("true or false")),
        }
    }

    /// The value as a whole number from `min` to `max`.
    ///
    /// # Errors
    /// Says what it is instead, or the range.
    pub fn count(&self, min: u64, max: u64) -> Result<u64, String> {
        let number = match self {
            Self::Number(number) => u64::try_from(*number).ok(),
            Self::Loose(text) => digits(text),
            _ => None,
        };
        let number = number.ok_or_else(|| self.wrong("a whole number such as 4"))?;
        within(number, min, max, |number| number.to_string())
    }

    /// The value as a number of bytes from `min` to `max`: `64KiB`, `1MiB`, or a bare number.
    ///
    /// # Errors
    /// Says what it is instead, or the range.
    pub fn size(&self, min: u64, max: u64) -> Result<u64, String> {
        let bytes = match self {
            Self::Number(number) => u64::try_from(*number).ok(),
            Self::Text(text) | Self::Loose(text) => parse_size(text),
            _ => None,
        };
        let bytes = bytes
            .ok_or_else(|| self.wrong("a size such as \"64KiB\" (units: B, KiB, MiB, GiB)"))?;
        within(bytes, min, max, show_size)
    }

    /// The value as a length of time from `min` to `max`: `15s`, `250ms`.
    ///
    /// # Errors
    /// Says what it is instead, or the range.
    pub fn span(&self, min: Span, max: Span) -> Result<Span, String> {
        let span = match self {
            Self::Text(text) | Self::Loose(text) => parse_span(text),
            _ => None,
        };
        let span = span.ok_or_else(|| {
            self.wrong("a length of time such as \"15s\" (units: us, ms, s, m, h)")
        })?;
        within(span, min, max, show_span)
    }

    /// The value as a list of texts. Outside the file its parts are divided by commas or spaces.
    ///
    /// # Errors
    /// Says what it is instead.
    pub fn texts(&self) -> Result<Vec<&str>, String> {
        match self {
            Self::List(items) => items.iter().map(Self::text).collect(),
            Self::Loose(text) => {
                Ok(text.split([',', ' ']).filter(|part| !part.is_empty()).collect())
            }
            _ => Err(self.wrong("a list such as [\"one\", \"two\"]")),
        }
    }

    /// The value as a list of lines. Outside the file they are divided by semicolons.
    ///
    /// # Errors
    /// Says what it is instead.
    pub fn lines(&self) -> Result<Vec<&str>, String> {
        match self {
            Self::Loose(text) => {
                Ok(text.split(';').map(str::trim).filter(|line| !line.is_empty()).collect())
            }
            _ => self.texts(),
        }
    }
}

fn within<T: PartialOrd + Copy>(
    value: T,
    min: T,
    max: T,
    show: impl Fn(T) -> String,
) -> Result<T, String> {
    if value < min || value > max {
        return Err(format!("{} is not between {} and {}", show(value), show(min), show(max)));
    }
    Ok(value)
}

fn digits(text: &str) -> Option<u64> {
    let all_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| text.parse().ok()).flatten()
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    Some((digits(&text[..end])?, text[end..].trim_start_matches(' ')))
}

const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

const SPANS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Reads a size: digits and one of `B`, `KiB`, `MiB`, `GiB`, or digits alone for bytes.
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    if unit.is_empty() {
        return Some(number);
    }
    let (_, factor) = SIZES.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*factor)
}

/// Reads a length of time: digits and one of `us`, `ms`, `s`, `m`, `h`, or a bare `0`.
///
/// ```
/// use ahm::base::time::Span;
/// use ahm::server::config_value::parse_span;
/// assert_eq!(parse_span("250ms"), Some(Span::from_millis(250)));
/// assert_eq!(parse_span("250"), None); // of what?
/// ```
pub fn parse_span(text: &str) -> Option<Span> {
    let (number, unit) = split_unit(text)?;
    if number == 0 && unit.is_empty() {
        return Some(Span::ZERO);
    }
    let (_, factor) = SPANS.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*factor).map(Span::from_nanos)
}

/// Writes a size in the largest unit that divides it.
pub fn show_size(bytes: u64) -> String {
    show(bytes, &SIZES)
}

/// Writes a length of time in the largest unit that divides it.
pub fn show_span(span: Span) -> String {
    if span == Span::ZERO { "0s".into() } else { show(span.as_nanos(), &SPANS) }
}

fn show(number: u64, units: &[(&str, u64)]) -> String {
    let whole = |factor: u64| number >= factor && number.is_multiple_of(factor);
    let unit = units.iter().find(|(_, factor)| whole(*factor)).or_else(|| units.last());
    unit.map_or_else(String::new, |(name, factor)| format!("{}{name}", number / factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_come_back_as_they_were_written() {
        for text in ["15s", "250ms", "4m", "2h", "7us", "90s"] {
            assert_eq!(show_span(parse_span(text).unwrap()), text.replace("120s", "2m"));
        }
        for text in ["64KiB", "1MiB", "3GiB", "1000B", "0B"] {
            assert_eq!(show_size(parse_size(text).unwrap()), text);
        }
        assert_eq!(parse_size("64 KiB"), parse_size("65536"));
        assert_eq!(parse_span("0"), Some(Span::ZERO));
    }

    #[test]
    fn what_has_two_readings_has_none() {
        for bad in ["", "s", "15", "1.5s", "-1s", "15 seconds", "15S", "99999999999999999999s"] {
            assert_eq!(parse_span(bad), None, "{bad:?}");
        }
        for bad in ["", "KiB", "64KB", "64kib", "-1", "1.5MiB", "18446744073709551615GiB"] {
            assert_eq!(parse_size(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_environment_may_write_text_for_anything_but_the_file_may_not() {
        assert_eq!(Value::Loose("true".into()).flag(), Ok(true));
        assert!(Value::Text("true".into()).flag().is_err());
        assert_eq!(Value::Loose("4".into()).count(0, 9), Ok(4));
        assert!(Value::Text("4".into()).count(0, 9).is_err());
        assert_eq!(Value::Loose("a, b".into()).texts(), Ok(vec!["a", "b"]));
        assert!(Value::Text("a, b".into()).texts().is_err());
        assert_eq!(Value::Number(10).count(0, 9).unwrap_err(), "10 is not between 0 and 9");
    }
}
