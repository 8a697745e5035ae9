//! Packed recordings, such as those that are shipped inside the binary, played row by row.
//! `src/web/ticks/SOURCE.md` describes the form and where the ticks come from.

use std::fmt;
use std::io::{BufRead, BufReader};

use flate2::read::GzDecoder;

use crate::base::name::TopicName;
use crate::base::time::Span;

/// What a packed recording begins with.
pub const FIRST_LINE: &str = "ahm-ticks 1";

/// A packed recording that does not follow the form. In one of those inside the binary that is a
/// fault of the build, not of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedError {
    /// The line, counted from 1.
    pub line: u64,
    /// What was expected there.
    pub expected: &'static str,
}

impl fmt::Display for PackedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "packed ticks, line {}: expected {}", self.line, self.expected)
    }
}

impl std::error::Error for PackedError {}

/// What a row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A new best bid and ask; the payload is `BID ASK` or `BID ASK BID-QUANTITY ASK-QUANTITY`.
    Quote,
    /// A trade; the payload is `PRICE QUANTITY SIDE`, side `b` where a buyer took, else `s`.
    Trade,
}

/// An instrument of a recording, with the last quote seen.
#[derive(Debug)]
struct Instrument {
    quotes: TopicName,
    trades: TopicName,
    price_places: usize,
    size_places: usize,
    /// Quotes of this instrument carry quantities.
    sized: bool,
    bid: i64,
    ask: i64,
    sizes: [i64; 2],
}

/// One row, with its payload in the form that is published.
#[derive(Debug)]
pub struct Row<'a> {
    /// When it was recorded, counted from the start of the recording.
    pub at: Span,
    /// What it says.
    pub kind: Kind,
    /// Where it goes: `crypto/usdm.BTCUSDT` for quotes, `crypto/usdm.BTCUSDT.trades` for trades.
    pub name: &'a TopicName,
    /// What is published.
    pub payload: &'a [u8],
}

/// A packed recording, read from its beginning.
pub struct Recording {
    reader: Box<dyn BufRead + Send>,
    start_unix_ms: u64,
    span: Span,
    unit: Span,
    instruments: Vec<Instrument>,
    at: Span,
    line: u64,
    text: String,
    payload: Vec<u8>,
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording")
            .field("at", &self.at)
            .field("span", &self.span)
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

impl Recording {
    /// Reads the head of `packed`, a recording as it is shipped.
    ///
    /// # Errors
    /// If it is not of the form.
    pub fn open(packed: &'static [u8]) -> Result<Self, PackedError> {
        Self::of_lines(Box::new(BufReader::new(GzDecoder::new(packed))))
    }

    /// Reads the head of the recording whose text `reader` gives.
    ///
    /// # Errors
    /// If it is not of the form.
    pub fn of_lines(reader: Box<dyn BufRead + Send>) -> Result<Self, PackedError> {
        let mut recording = Self {
            reader,
            start_unix_ms: 0,
            span: Span::ZERO,
            unit: Span::from_micros(1),
            instruments: Vec::new(),
            at: Span::ZERO,
            line: 0,
            text: String::new(),
            payload: Vec::new(),
        };
        recording.read_line()?;
        if recording.text != FIRST_LINE {
            return Err(recording.bad("the line `ahm-ticks 1`"));
        }
        while recording.read_line()? && !recording.text.is_empty() {
            recording.head_line()?;
        }
        if recording.span == Span::ZERO || recording.instruments.is_empty() {
            return Err(recording.bad("a span and instruments before the empty line"));
        }
        Ok(recording)
    }

    /// When the recording begins, milliseconds since 1970.
    pub fn start_unix_ms(&self) -> u64 {
        self.start_unix_ms
    }

    /// How long it is.
    pub fn span(&self) -> Span {
        self.span
    }

    /// The topics of its quotes.
    pub fn quotes(&self) -> impl Iterator<Item = &TopicName> {
        self.instruments.iter().map(|instrument| &instrument.quotes)
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// If a line is not of the form.
    pub fn read(&mut self) -> Result<Option<Row<'_>>, PackedError> {
        if !self.read_line()? {
            return Ok(None);
        }
        const EXPECTED: &str = "`WAIT INSTRUMENT KIND FIELDS`";
        let line = self.line;
        let bad = || PackedError { line, expected: EXPECTED };
        let mut words = self.text.split(' ');
        let (Some(wait), Some(what), Some(fields), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(bad());
        };
        let wait = if wait.is_empty() { 0 } else { wait.parse().map_err(|_| bad())? };
        let (index, kind) = what.split_at(what.len().saturating_sub(1));
        let index: usize = index.parse().map_err(|_| bad())?;
        let instrument = self.instruments.get_mut(index).ok_or_else(bad)?;
        self.at = self.at + self.unit.times(wait);
        self.payload.clear();
        let kind = instrument.apply(kind, fields, &mut self.payload).ok_or_else(bad)?;
        let name = match kind {
            Kind::Quote => &instrument.quotes,
            Kind::Trade => &instrument.trades,
        };
        Ok(Some(Row { at: self.at, kind, name, payload: &self.payload }))
    }

    fn read_line(&mut self) -> Result<bool, PackedError> {
        self.text.clear();
        self.line += 1;
        let read = self.reader.read_line(&mut self.text);
        let read = read.map_err(|_| self.bad("gzip of UTF-8 text"))?;
        if self.text.ends_with('\n') {
            self.text.pop();
        }
        Ok(read > 0)
    }

    fn head_line(&mut self) -> Result<(), PackedError> {
        const EXPECTED: &str = "`start`, `span`, `unit` or `name` with their values";
        let bad = PackedError { line: self.line, expected: EXPECTED };
        let words: Vec<&str> = self.text.split(' ').collect();
        let number = |text: &str| text.parse::<u64>().map_err(|_| bad.clone());
        match words[..] {
            ["start", ms] => self.start_unix_ms = number(ms)?,
            ["span", ms] => self.span = Span::from_millis(number(ms)?),
            ["unit", us] => self.unit = Span::from_micros(number(us)?),
            ["name", resource, subject, price_places, size_places] => {
                let topic =
                    |subject: &str| TopicName::new(resource, subject).map_err(|_| bad.clone());
                let instrument = Instrument {
                    quotes: topic(subject)?,
                    trades: topic(&format!("{subject}.trades"))?,
                    price_places: number(price_places)?.min(12) as usize,
                    size_places: number(size_places)?.min(12) as usize,
                    sized: false,
                    bid: 0,
                    ask: 0,
                    sizes: [0; 2],
                };
                self.instruments.push(instrument);
            }
            _ => return Err(bad),
        }
        Ok(())
    }

    fn bad(&self, expected: &'static str) -> PackedError {
        PackedError { line: self.line, expected }
    }
}

impl Instrument {
    /// Takes over a row and writes its payload to `out`; `None` if it is not of the form.
    fn apply(&mut self, kind: &str, fields: &str, out: &mut Vec<u8>) -> Option<Kind> {
        let mut fields = fields.split(',');
        let mut field = |otherwise: i64| match fields.next() {
            None | Some("") => Some(otherwise),
            Some(digits) => digits.parse::<i64>().ok(),
        };
        match kind {
            "q" => {
                let moved = field(0)?;
                let spread = field(0)?;
                self.bid = self.bid.checked_add(moved)?;
                self.ask = self.ask.checked_add(moved)?.checked_add(spread)?;
                self.sizes = [field(self.sizes[0])?, field(self.sizes[1])?];
                self.sized |= self.sizes != [0; 2];
                put_decimal(self.bid, self.price_places, out);
                out.push(b' ');
                put_decimal(self.ask, self.price_places, out);
                if self.sized {
                    for size in self.sizes {
                        out.push(b' ');
                        put_decimal(size, self.size_places, out);
                    }
                }
                Some(Kind::Quote)
            }
            "b" | "s" => {
                let beside = if kind == "b" { self.ask } else { self.bid };
                put_decimal(beside.checked_add(field(0)?)?, self.price_places, out);
                out.push(b' ');
                put_decimal(field(0)?, self.size_places, out);
                out.push(b' ');
                out.extend_from_slice(kind.as_bytes());
                Some(Kind::Trade)
            }
            _ => None,
        }
    }
}

/// Writes `scaled` / 10^`places` with exactly that many places.
fn put_decimal(scaled: i64, places: usize, out: &mut Vec<u8>) {
    let digits = format!("{:0>width$}", scaled.unsigned_abs(), width = places + 1);
    if scaled < 0 {
        out.push(b'-');
    }
    let (whole, fraction) = digits.split_at(digits.len() - places);
    out.extend_from_slice(whole.as_bytes());
    if places > 0 {
        out.push(b'.');
        out.extend_from_slice(fraction.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(scaled: i64, places: usize) -> String {
        let mut out = Vec::new();
        put_decimal(scaled, places, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn decimals_keep_their_places() {
        assert_eq!(decimal(139_147, 5), "1.39147");
        assert_eq!(decimal(5, 3), "0.005");
        assert_eq!(decimal(-5, 3), "-0.005");
        assert_eq!(decimal(12, 0), "12");
    }

    #[test]
    fn rows_are_changes_of_the_last_quote() {
        let mut instrument = Instrument {
            quotes: TopicName::new("x", "y").unwrap(),
            trades: TopicName::new("x", "y.trades").unwrap(),
            price_places: 1,
            size_places: 2,
            sized: false,
            bid: 0,
            ask: 0,
            sizes: [0; 2],
        };
        let mut applied = |kind: &str, fields: &str| {
            let mut out = Vec::new();
            instrument.apply(kind, fields, &mut out).map(|_| String::from_utf8(out).unwrap())
        };
        assert_eq!(applied("q", "100,2,7,8").as_deref(), Some("10.0 10.2 0.07 0.08"));
        assert_eq!(applied("q", "-1").as_deref(), Some("9.9 10.1 0.07 0.08"));
        assert_eq!(applied("q", ",-1,,9").as_deref(), Some("9.9 10.0 0.07 0.09"));
        assert_eq!(applied("b", ",150").as_deref(), Some("10.0 1.50 b"));
        assert_eq!(applied("s", "-3,1").as_deref(), Some("9.6 0.01 s"));
        assert_eq!(applied("q", "x"), None);
        assert_eq!(applied("z", "1"), None);
    }
}
