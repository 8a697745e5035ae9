//! Generational keys over the `slab` crate: a key that outlives its owner finds nothing.

use crate::base::id::{Key, Mid};

/// A slab whose keys carry a generation.
///
/// One counter numbers all insertions (modulo 2^24, never zero) and starts where the owner says:
/// at random, so that keys of an earlier process do not come back to life.
///
/// ```
/// use ahm::mem::slab::Slots;
/// let mut slots = Slots::new(7);
/// let key = slots.insert("a");
/// assert_eq!(slots.remove(key), Some("a"));
/// let other = slots.insert("b");
/// assert_eq!(other.slot, key.slot);
/// assert_eq!(slots.get(key), None);
/// ```
#[derive(Debug)]
pub struct Slots<T> {
    entries: slab::Slab<Entry<T>>,
    generation: u32,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: T,
}

impl<T> Slots<T> {
    /// An empty slab whose first generation follows `generation`.
    pub fn new(generation: u32) -> Self {
        Self { entries: slab::Slab::new(), generation: generation % Mid::GENERATION_END }
    }

    /// Puts `value` in; the key is valid until it is removed.
    pub fn insert(&mut self, value: T) -> Key {
        self.generation = (self.generation + 1) % Mid::GENERATION_END;
        if self.generation == 0 {
            self.generation = 1;
        }
        let slot = self.entries.insert(Entry { generation: self.generation, value });
        let slot = u32::try_from(slot).expect("a slab holds fewer than 2^32 entries");
        Key { slot, generation: self.generation }
    }

    /// What lives at `key`.
    pub fn get(&self, key: Key) -> Option<&T> {
        let entry = self.entries.get(key.slot as usize)?;
        (entry.generation == key.generation).then_some(&entry.value)
    }

    /// What lives at `key`.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.slot as usize)?;
        (entry.generation == key.generation).then_some(&mut entry.value)
    }

    /// Whatever lives in `slot` now.
    pub fn at(&self, slot: u32) -> Option<&T> {
        self.entries.get(slot as usize).map(|entry| &entry.value)
    }

    /// Whatever lives in `slot` now.
    pub fn at_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.entries.get_mut(slot as usize).map(|entry| &mut entry.value)
    }

    /// The key of what lives in `slot` now.
    pub fn key_at(&self, slot: u32) -> Option<Key> {
        let entry = self.entries.get(slot as usize)?;
        Some(Key { slot, generation: entry.generation })
    }

    /// Takes out what lives at `key`.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        Some(self.entries.remove(key.slot as usize).value)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The end of the slots ever used: `at` finds nothing from here on.
    pub fn slot_end(&self) -> u32 {
        u32::try_from(self.entries.capacity()).unwrap_or(u32::MAX)
    }

    /// The keys of all.
    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.entries
            .iter()
            .map(|(slot, entry)| Key { slot: slot as u32, generation: entry.generation })
    }

    /// Bytes of memory that the slab itself holds.
    pub fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry<T>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_wrap_without_becoming_zero() {
        let mut slots = Slots::new(Mid::GENERATION_END - 2);
        let last = slots.insert(1);
        let wrapped = slots.insert(2);
        assert_eq!(last.generation, Mid::GENERATION_END - 1);
        assert_eq!(wrapped.generation, 1);
        assert_eq!(slots.get(Key { slot: 0, generation: 1 }), None);
        assert_eq!(slots.keys().count(), 2);
    }
}
