//! What happened, as lines of text: only where somebody wants to read it, and only the last of it.

use std::collections::VecDeque;

use crate::base::time::Instant;

/// Lines that are kept.
const LINES_MAX: usize = 3_000;
/// Characters of one line.
const COLUMNS_MAX: usize = 260;

/// The last lines, or nothing at all.
#[derive(Debug, Default)]
pub struct Trace {
    lines: Option<VecDeque<String>>,
}

impl Trace {
    /// Keeps lines from now on.
    pub fn keep(&mut self) {
        self.lines = Some(VecDeque::new());
    }

    /// Whether lines are kept.
    pub fn is_kept(&self) -> bool {
        self.lines.is_some()
    }

    /// Adds a line, if lines are kept.
    pub fn note(&mut self, now: Instant, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            if lines.len() == LINES_MAX {
                lines.pop_front();
            }
            let micros = now.as_nanos() / 1_000;
            let line: String = line().chars().take(COLUMNS_MAX).collect();
            lines.push_back(format!("{micros:>10}us {line}"));
        }
    }

    /// The lines that are kept, the newest last.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.lines.iter().flatten().map(String::as_str)
    }
}
