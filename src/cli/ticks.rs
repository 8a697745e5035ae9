//! Recorded ticks read from files: the raw exchange format and quote CSV, plain or gzip, one line
//! in memory at a time.
//!
//! | format | line | resource | subject | payload |
//! | --- | --- | --- | --- | --- |
//! | raw exchange feed | `<ns since 1970> <JSON>` | `crypto` | `usdm.BTCUSDT` | the JSON as it is |
//! | quote CSV | `<ms since midnight>,<bid>,<ask>` | `fx` | `EURUSD` | `<bid> <ask>` |
//!
//! The first line tells the format, the first two bytes whether it is gzip. Instruments are named
//! by their files: `usdm_btcusdt_20240808.txt.gz` is `usdm.BTCUSDT`, `fxcm_eurusd.csv.gz` is
//! `EURUSD` of the venue `fxcm`. Lines keep their order: a time that goes backwards is taken as
//! the time of the line before.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;

/// Bytes of one line at most: a payload of the largest size with its time fits well.
const LINE_BYTES_MAX: usize = 256 * 1024;

/// FXCM's files count from midnight at UTC-05: this brings them to UTC.
const FXCM_TO_UTC_NS: u64 = 5 * 3_600 * 1_000_000_000;

/// Venues that the raw exchange files are named after.
const CRYPTO_VENUES: [&str; 3] = ["usdm", "cm", "spot"];

/// Why recorded ticks could not be read; every variant names the file.
#[derive(Debug)]
pub enum TickError {
    /// The file could not be opened or read.
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system or the decompressor said.
        source: io::Error,
    },
    /// A line is not of the format that the first line showed.
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What was expected.
        expected: &'static str,
    },
    /// The file holds no line at all.
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// No instrument can be named after the file.
    Name {
        /// The file.
        path: PathBuf,
    },
}

impl fmt::Display for TickError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Line { path, line, expected } => {
                write!(f, "{} line {line}: expected {expected}", path.display())
            }
            Self::Empty { path } => write!(f, "{}: no ticks in it", path.display()),
            Self::Name { path } => {
                write!(f, "{}: no instrument can be named after this file", path.display())
            }
        }
    }
}

impl std::error::Error for TickError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// What the lines of a file look like, and from when its times are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// `<ns since 1970> <JSON>`.
    Raw,
    /// `<ms since midnight>,<bid>,<ask>`.
    Quotes,
}

impl Format {
    /// The resource that files of this format belong to.
    pub const fn resource(self) -> &'static str {
        match self {
            Self::Raw => "crypto",
            Self::Quotes => "fx",
        }
    }

    fn of_line(line: &[u8]) -> Option<Self> {
        let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
        match line.get(digits) {
            Some(b' ') if digits > 0 => Some(Self::Raw),
            Some(b',' | b'.') if digits > 0 => Some(Self::Quotes),
            _ => None,
        }
    }

    fn parse(self, line: &[u8]) -> Result<Reading, &'static str> {
        match self {
            Self::Raw => parse_raw(line),
            Self::Quotes => parse_quote(line),
        }
    }
}

/// The instrument that a file is named after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instrument {
    /// Where it was recorded, in lower case: `usdm`, `fxcm`; empty if the name does not tell.
    pub venue: String,
    /// Its symbol in upper case: `BTCUSDT`.
    pub symbol: String,
}

impl Instrument {
    /// Reads a file name such as `cm_btcusd_perp_20240808.txt.gz`; the date may be missing.
    ///
    /// ```
    /// use ahm::cli::ticks::{Format, Instrument};
    /// use std::path::Path;
    /// let file = Path::new("feeds/cm_btcusd_perp_20240808.txt.gz");
    /// let instrument = Instrument::of_file(file, Format::Raw).unwrap();
    /// assert_eq!(instrument.with_venue(), "cm.BTCUSD_PERP");
    /// ```
    pub fn of_file(path: &Path, format: Format) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let stem = name.split('.').next()?.to_ascii_lowercase();
        let stem = match stem.rsplit_once('_') {
            Some((front, date)) if date.bytes().all(|byte| byte.is_ascii_digit()) => front,
            _ => &stem,
        };
        let (venue, symbol) = match stem.split_once('_') {
            Some((venue, symbol)) if format == Format::Quotes || CRYPTO_VENUES.contains(&venue) => {
                (venue, symbol)
            }
            _ => ("", stem),
        };
        let legal = !symbol.is_empty() && !symbol.contains(char::is_control);
        legal.then(|| Self { venue: venue.into(), symbol: symbol.to_ascii_uppercase() })
    }

    /// `usdm.BTCUSDT`, or the symbol alone where the venue is not known.
    pub fn with_venue(&self) -> String {
        if self.venue.is_empty() {
            self.symbol.clone()
        } else {
            format!("{}.{}", self.venue, self.symbol)
        }
    }
}

/// One tick as its file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Nanoseconds since 1970 or since midnight UTC, as the format has it.
    pub at_ns: u64,
    /// What is published.
    pub payload: Arc<[u8]>,
}

/// One file of recorded ticks, read line by line.
pub struct TickFile {
    path: PathBuf,
    reader: Box<dyn BufRead + Send>,
    format: Format,
    instrument: Instrument,
    shift_ns: u64,
    /// The line in `text`, counted from 1.
    line: u64,
    text: Vec<u8>,
    /// `text` was read to learn the format and has not been given out yet.
    peeked: bool,
    newest_ns: u64,
}

impl fmt::Debug for TickFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, format, line, .. } = self;
        f.debug_struct("TickFile")
            .field("path", path)
            .field("format", format)
            .field("line", line)
            .finish_non_exhaustive()
    }
}

impl TickFile {
    /// Opens `path` and looks at its first line.
    ///
    /// # Errors
    /// If it cannot be read, is empty, is of neither format, or names no instrument.
    pub fn open(path: &Path) -> Result<Self, TickError> {
        let failed = |source| TickError::Io { path: path.to_path_buf(), source };
        let reader = unpacked(File::open(path).map_err(failed)?).map_err(failed)?;
        let mut file = Self {
            path: path.to_path_buf(),
            reader,
            format: Format::Raw,
            instrument: Instrument { venue: String::new(), symbol: String::new() },
            shift_ns: 0,
            line: 0,
            text: Vec::new(),
            peeked: true,
            newest_ns: 0,
        };
        if !file.read_line()? {
            return Err(TickError::Empty { path: file.path });
        }
        file.format = Format::of_line(&file.text)
            .ok_or_else(|| file.bad_line("`<ns> <JSON>` or `<ms>,<bid>,<ask>`"))?;
        file.instrument = Instrument::of_file(path, file.format)
            .ok_or_else(|| TickError::Name { path: path.to_path_buf() })?;
        if file.format == Format::Quotes && file.instrument.venue == "fxcm" {
            file.shift_ns = FXCM_TO_UTC_NS;
        }
        Ok(file)
    }

    /// The format that the first line showed.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The instrument that the file is named after.
    pub fn instrument(&self) -> &Instrument {
        &self.instrument
    }

    /// The next tick; `None` at the end of the file.
    ///
    /// # Errors
    /// If reading fails, or a line is malformed; the error names the line.
    pub fn read(&mut self) -> Result<Option<Reading>, TickError> {
        if !self.peeked && !self.read_line()? {
            return Ok(None);
        }
        self.peeked = false;
        let mut reading =
            self.format.parse(&self.text).map_err(|expected| self.bad_line(expected))?;
        self.newest_ns = self.newest_ns.max(reading.at_ns.saturating_add(self.shift_ns));
        reading.at_ns = self.newest_ns;
        Ok(Some(reading))
    }

    /// Reads the next line without its end into `text`; false at the end of the file.
    fn read_line(&mut self) -> Result<bool, TickError> {
        self.text.clear();
        self.line += 1;
        let mut bounded = (&mut self.reader).take(LINE_BYTES_MAX as u64);
        bounded
            .read_until(b'\n', &mut self.text)
            .map_err(|source| TickError::Io { path: self.path.clone(), source })?;
        if self.text.len() == LINE_BYTES_MAX {
            return Err(self.bad_line("a line of less than 256 KiB"));
        }
        if self.text.is_empty() {
            return Ok(false);
        }
        if self.text.last() == Some(&b'\n') {
            self.text.pop();
        }
        if self.text.last() == Some(&b'\r') {
            self.text.pop();
        }
        Ok(true)
    }

    fn bad_line(&self, expected: &'static str) -> TickError {
        TickError::Line { path: self.path.clone(), line: self.line, expected }
    }
}

/// The bytes of `file`, decompressed if its first two bytes say gzip.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn unpacked(file: File) -> io::Result<Box<dyn BufRead + Send>> {
    let mut plain = BufReader::with_capacity(64 * 1024, file);
    if plain.fill_buf()?.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(BufReader::with_capacity(64 * 1024, MultiGzDecoder::new(plain))));
    }
    Ok(Box::new(plain))
}

fn parse_raw(line: &[u8]) -> Result<Reading, &'static str> {
    const EXPECTED: &str = "`<ns since 1970> <JSON>`";
    let space = line.iter().position(|&byte| byte == b' ').ok_or(EXPECTED)?;
    let (digits, json) = (&line[..space], &line[space + 1..]);
    let at_ns = decimal(digits).ok_or(EXPECTED)?;
    serde_json::from_slice::<serde::de::IgnoredAny>(json)
        .map_err(|_| "JSON after the receive time")?;
    Ok(Reading { at_ns, payload: json.into() })
}

fn parse_quote(line: &[u8]) -> Result<Reading, &'static str> {
    const EXPECTED: &str = "`<ms since midnight>,<bid>,<ask>`";
    let mut fields = line.split(|&byte| byte == b',');
    let (Some(ms), Some(bid), Some(ask), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(EXPECTED);
    };
    let at_ns = millis_to_nanos(ms).ok_or("milliseconds since midnight in the first column")?;
    if !is_price(bid) || !is_price(ask) {
        return Err("decimal prices in the second and third column");
    }
    Ok(Reading { at_ns, payload: [bid, b" ", ask].concat().into() })
}

/// Digits only, no overflow.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// `42.4312` milliseconds in nanoseconds; further digits than that are dropped.
fn millis_to_nanos(text: &[u8]) -> Option<u64> {
    let dot = text.iter().position(|&byte| byte == b'.');
    let (whole, fraction) = dot.map_or((text, &b"0"[..]), |at| (&text[..at], &text[at + 1..]));
    decimal(fraction)?;
    let mut nanos = decimal(whole)?.checked_mul(1_000_000)?;
    let mut unit = 100_000;
    for digit in fraction.iter().take(6) {
        nanos = nanos.checked_add(u64::from(digit - b'0') * unit)?;
        unit /= 10;
    }
    Some(nanos)
}

fn is_price(text: &[u8]) -> bool {
    let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
    let dots = text.iter().filter(|&&byte| byte == b'.').count();
    digits > 0 && dots <= 1 && digits + dots == text.len() && text.last() != Some(&b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(parsed: Result<Reading, &'static str>) -> (u64, String) {
        let Reading { at_ns, payload } = parsed.unwrap();
        (at_ns, String::from_utf8(payload.to_vec()).unwrap())
    }

    #[test]
    fn raw_lines_keep_their_json_byte_for_byte() {
        let line = br#"1723161255088169167 {"stream":"x",  "data":{"b":"1.10"}}"#;
        let json = r#"{"stream":"x",  "data":{"b":"1.10"}}"#;
        assert_eq!(text(parse_raw(line)), (1_723_161_255_088_169_167, json.to_string()));
        for bad in [&b""[..], b"12", b"12 ", b" {}", b"x {}", b"1 {", b"1 {} x", b"-1 {}"] {
            assert!(parse_raw(bad).is_err(), "{bad:?}");
        }
        assert!(parse_raw(b"99999999999999999999 {}").is_err(), "overflow");
    }

    #[test]
    fn quotes_become_bid_space_ask() {
        assert_eq!(text(parse_quote(b"17007,1.39147,1.39148")).1, "1.39147 1.39148");
        assert_eq!(text(parse_quote(b"42.4312,1290.33,1290")), (42_431_200, "1290.33 1290".into()));
        for bad in [
            "",
            "1,2",
            "1,2,3,4",
            "x,1,2",
            "1.,1,2",
            ".5,1,2",
            "1,,2",
            "1,1.,2",
            "1,1.2.3,2",
            "1,-1,2",
        ] {
            assert!(parse_quote(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn files_name_their_instruments() {
        let named = |name: &str, format| {
            Instrument::of_file(Path::new(name), format).map(|found| found.with_venue())
        };
        let raw = |name| named(name, Format::Raw);
        assert_eq!(raw("a/usdm_btcusdt_20240808.txt.gz").as_deref(), Some("usdm.BTCUSDT"));
        assert_eq!(raw("cm_ethusd_perp_20240808.gz").as_deref(), Some("cm.ETHUSD_PERP"));
        assert_eq!(raw("btcusd_perp_20240808.gz").as_deref(), Some("BTCUSD_PERP"));
        assert_eq!(named("fxcm_eurusd.csv.gz", Format::Quotes).as_deref(), Some("fxcm.EURUSD"));
        assert_eq!(named("eurusd.csv", Format::Quotes).as_deref(), Some("EURUSD"));
        assert_eq!(raw(".gz"), None);
    }
}
