//! Where a configuration comes from.

use std::fmt;

use crate::base::hidden::Hidden;

/// Where a configuration comes from; all parts may be empty.
#[derive(Clone, Default)]
pub struct Sources {
    /// Name and text of the file.
    pub file: Option<(String, String)>,
    /// The environment; only what begins with `AHM_` is looked at.
    pub variables: Vec<(String, String)>,
    /// What the command line says.
    pub flags: Vec<Flag>,
}

/// A value from the command line.
#[derive(Clone, PartialEq, Eq)]
pub struct Flag {
    /// The flag as the operator knows it, as in `--listen`.
    pub flag: String,
    /// The key that it sets.
    pub key: String,
    /// The value as written.
    pub value: String,
}

/// Without the values: a token may be among them.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.variables.iter().map(|(name, _)| name).collect::<Vec<_>>();
        f.debug_struct("Sources")
            .field("file", &self.file.as_ref().map(|(name, _)| name))
            .field("variables", &names)
            .field("flags", &self.flags)
            .finish()
    }
}

impl fmt::Debug for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flag").field("key", &self.key).field("value", &Hidden).finish()
    }
}
