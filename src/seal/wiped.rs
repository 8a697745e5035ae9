//! What the cryptographic library has made of a key, wiped when it is dropped: the library leaves
//! that out.

use std::mem::{MaybeUninit, needs_drop};

use zeroize::Zeroize as _;

/// A value that is overwritten with zeros where it lies at its end. Places that it was moved from
/// before are not.
pub(in crate::seal) struct Wiped<T>(MaybeUninit<T>);

impl<T> Wiped<T> {
    pub(in crate::seal) fn new(value: T) -> Self {
        const { assert!(!needs_drop::<T>(), "what owns more than itself is not wiped so") };
        Self(MaybeUninit::new(value))
    }

    pub(in crate::seal) fn get(&self) -> &T {
        // SAFETY: it was made of a value, and that is there until the drop.
        unsafe { self.0.assume_init_ref() }
    }
}

impl<T> Drop for Wiped<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use std::mem::ManuallyDrop;

    use super::*;

    #[test]
    fn nothing_is_left_of_it() {
        let mut wiped = ManuallyDrop::new(Wiped::new([7_u8; 64]));
        assert_eq!(wiped.get(), &[7; 64]);
        // What the drop does, without its end.
        wiped.0.zeroize();
        assert_eq!(wiped.get(), &[0; 64]);
    }
}
