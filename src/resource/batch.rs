//! A batch of messages on its way.

use crate::base::backoff::Backoff;
use crate::base::time::Instant;

/// Messages that travel in one request, one a line.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// The caller's number for each line.
    pub(crate) lines: Vec<u64>,
    /// The lines as they are sent.
    pub(crate) body: Vec<u8>,
    /// Where each line ends in the body.
    pub(crate) ends: Vec<usize>,
    /// Whether it was written to its end.
    pub(crate) written: bool,
    /// The waits between attempts.
    pub(crate) backoff: Backoff,
    /// When it is given up; set by the first failure.
    pub(crate) until: Option<Instant>,
}

impl Batch {
    /// Adds a line.
    pub(crate) fn add(&mut self, line: u64, name: &str, payload: &[u8]) {
        self.lines.push(line);
        self.body.extend_from_slice(name.as_bytes());
        self.body.push(b'\t');
        self.body.extend_from_slice(payload);
        self.body.push(b'\n');
        self.ends.push(self.body.len());
    }

    /// The first and the second half; there must be two lines at least.
    pub(crate) fn halves(self) -> (Self, Self) {
        let at = self.lines.len() / 2;
        let cut = self.ends[at - 1];
        let half = |lines: &[u64], body: &[u8], ends: Vec<usize>| Self {
            lines: lines.to_vec(),
            body: body.to_vec(),
            ends,
            written: false,
            backoff: self.backoff,
            until: self.until,
        };
        let ends = self.ends[at..].iter().map(|end| end - cut).collect();
        let first = half(&self.lines[..at], &self.body[..cut], self.ends[..at].to_vec());
        (first, half(&self.lines[at..], &self.body[cut..], ends))
    }
}
