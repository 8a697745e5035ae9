//! Why a command was refused before anything was done.

use std::fmt;

use crate::base::reason::ErrorCode;

/// A command that is not of the grammar. The fault is the peer's; `detail` is for the answer and
/// repeats nothing that the peer sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError {
    /// What the answer says: `bad-request` or `no-command`.
    pub code: ErrorCode,
    /// What was wrong, in words.
    pub detail: String,
}

impl CommandError {
    /// A fault in the parameters.
    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self { code: ErrorCode::BadRequest, detail: detail.into() }
    }

    /// A value of the parameter `name` that is not `expected`.
    pub(crate) fn value(name: &str, expected: &str) -> Self {
        Self::bad(format!("`{name}` must be {expected}"))
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for CommandError {}
