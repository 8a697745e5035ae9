//! What stands in the place of something that must not be seen.

use std::fmt;

/// How something is shown that nobody may see: keys, tokens, passwords, cookies, and bytes that may
/// hold such things.
///
/// ```
/// use ahm::base::hidden::Hidden;
/// assert_eq!(format!("{Hidden:?}"), "(hidden)");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hidden;

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// So many bytes that nobody may see.
///
/// ```
/// use ahm::base::hidden::HiddenBytes;
/// assert_eq!(format!("{:?}", HiddenBytes(7)), "(7 bytes)");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HiddenBytes(
    /// How many.
    pub usize,
);

impl fmt::Debug for HiddenBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0)
    }
}
