//! A list that nearly always has one element, which then needs no memory of its own.

use std::ops::{Deref, DerefMut};

/// A list of values; the first one lives in the list itself, more of them on the heap.
///
/// ```
/// use ahm::mem::few::Few;
/// let mut few = Few::default();
/// few.push(1);
/// assert_eq!((&few[..], few.bytes()), (&[1][..], 0));
/// few.push(2);
/// assert_eq!(few[1], 2);
/// ```
#[derive(Debug, Default)]
pub enum Few<T> {
    /// None.
    #[default]
    None,
    /// One, here.
    One(T),
    /// More.
    Many(Vec<T>),
}

impl<T> Few<T> {
    /// Adds a value at the end.
    pub fn push(&mut self, value: T) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(value),
            Self::One(first) => Self::Many(vec![first, value]),
            Self::Many(mut all) => {
                if all.len() == all.capacity() {
                    // A few at a time: there may be as many lists as there are clients.
                    all.reserve_exact((all.len() / 2).max(2));
                }
                all.push(value);
                Self::Many(all)
            }
        };
    }

    /// Memory beside the list itself, in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::None | Self::One(_) => 0,
            Self::Many(all) => all.capacity() * size_of::<T>(),
        }
    }
}

impl<T: Copy> Few<T> {
    /// Makes the list at least so long, with copies of `value` where there was nothing.
    pub fn extend_to(&mut self, len: usize, value: T) {
        while self.len() < len {
            self.push(value);
        }
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::None => &[],
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(all) => all,
        }
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::None => &mut [],
            Self::One(value) => std::slice::from_mut(value),
            Self::Many(all) => all,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_list_at_any_length() {
        for len in 0..20 {
            let mut few = Few::default();
            (0..len).for_each(|value| few.push(value));
            assert_eq!(few.to_vec(), (0..len).collect::<Vec<_>>());
            few.iter_mut().for_each(|value| *value += 1);
            few.extend_to(12, 0);
            let expected = (0..len.max(12)).map(|at| if at < len { at + 1 } else { 0 });
            assert_eq!(few.to_vec(), expected.collect::<Vec<_>>());
        }
    }
}
