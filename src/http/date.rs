//! The `Date` field's format.

use std::io::Write;
use std::time::{Duration, SystemTime};

/// Seconds from 1970 to the last second of the year 9999, the last one the format can hold.
const SECONDS_MAX: u64 = 253_402_300_799;

/// The moment `unix_seconds` after 1970-01-01 00:00:00 UTC as HTTP writes it; what lies beyond the
/// year 9999 becomes its last second.
///
/// ```
/// use ahm::http::date::http_date;
/// assert_eq!(&http_date(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
/// ```
pub fn http_date(unix_seconds: u64) -> [u8; 29] {
    let seconds = Duration::from_secs(unix_seconds.min(SECONDS_MAX));
    let date = httpdate::HttpDate::from(SystemTime::UNIX_EPOCH + seconds);
    let mut text = [b' '; 29];
    // The text of a date up to the year 9999 is 29 bytes exactly, so the write cannot fall short.
    let written = write!(text.as_mut_slice(), "{date}");
    debug_assert!(written.is_ok());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_the_calendar() {
        assert_eq!(&http_date(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(&http_date(951_782_400), b"Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(&http_date(SECONDS_MAX), b"Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(http_date(u64::MAX), http_date(SECONDS_MAX));
    }
}
