//! A buffer that takes memory only while bytes are in it.

use crate::base::hidden::HiddenBytes;

use std::fmt;
use std::ops::Deref;

/// Bytes on the heap, or eight bytes of nothing.
///
/// ```
/// use ahm::mem::lent::Lent;
/// let mut buffer = Lent::default();
/// assert_eq!((buffer.len(), buffer.bytes()), (0, 0));
/// buffer.get_mut().extend_from_slice(b"abc");
/// assert_eq!(&buffer[..], b"abc");
/// assert_eq!(buffer.take(), b"abc");
/// assert_eq!(buffer.bytes(), 0);
/// ```
#[derive(Default)]
pub struct Lent {
    #[expect(clippy::box_collection, reason = "8 bytes, not 24: nearly all are empty")]
    bytes: Option<Box<Vec<u8>>>,
}

/// Without the bytes, which may be those of a request with its keys.
impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HiddenBytes(self.len()).fmt(f)
    }
}

impl Lent {
    /// The buffer, to write to.
    pub fn get_mut(&mut self) -> &mut Vec<u8> {
        self.bytes.get_or_insert_default()
    }

    /// Takes all out, and the memory with it.
    pub fn take(&mut self) -> Vec<u8> {
        self.bytes.take().map_or_else(Vec::new, |bytes| *bytes)
    }

    /// Memory beside the struct itself, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.as_ref().map_or(0, |bytes| size_of::<Vec<u8>>() + bytes.capacity())
    }
}

impl From<Vec<u8>> for Lent {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes: (!bytes.is_empty()).then(|| Box::new(bytes)) }
    }
}

impl Deref for Lent {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.as_ref().map_or(&[], |bytes| bytes)
    }
}
