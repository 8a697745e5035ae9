//! Words that every floor uses: identifiers, integer time, limits, reasons.

pub mod backoff;
pub mod hidden;
pub mod id;
pub mod limits;
pub mod name;
pub mod random;
pub mod reason;
pub mod time;
