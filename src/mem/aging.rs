//! A table of a bounded size whose entries go by themselves when they say nothing any more.

use std::collections::HashMap;
use std::hash::Hash;

/// Entries that are kept before any is looked at.
const SWEEP_MIN: usize = 64;

/// What an entry is still good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// It is needed, however full the table is.
    Held,
    /// It says something, and goes where there is no room.
    Fresh,
    /// It says nothing that a new one would not say.
    Old,
}

/// A table by key. It holds at most so many entries beside those that are [`Age::Held`], whoever
/// fills it: old ones go when it has doubled, fresh ones where that is not enough. On average
/// that costs no more than another look at each entry.
///
/// ```
/// use ahm::mem::aging::{Age, Aging};
/// let mut table: Aging<u32, bool> = Aging::new(100);
/// let held = |held: &bool| if *held { Age::Held } else { Age::Fresh };
/// *table.entry(7, held) = true;
/// (1_000..9_000).for_each(|key| { table.entry(key, held); });
/// assert!(table.len() <= 101 && *table.entry(7, held));
/// ```
#[derive(Debug)]
pub struct Aging<K, V> {
    entries: HashMap<K, V>,
    entries_max: usize,
    /// So many entries are looked through before there is one more.
    sweep_at: usize,
}

impl<K: Copy + Eq + Hash, V: Default> Aging<K, V> {
    /// An empty table.
    pub fn new(entries_max: usize) -> Self {
        let sweep_at = SWEEP_MIN.min(entries_max);
        Self { entries: HashMap::new(), entries_max, sweep_at }
    }

    /// The entry of that key, made if there is none.
    pub fn entry(&mut self, key: K, age: impl Fn(&V) -> Age) -> &mut V {
        if self.entries.len() >= self.sweep_at && !self.entries.contains_key(&key) {
            self.sweep(age);
        }
        self.entries.entry(key).or_default()
    }

    /// The entry of that key.
    pub fn get(&mut self, key: K) -> Option<&mut V> {
        self.entries.get_mut(&key)
    }

    /// Takes the entry out, if it is old.
    pub fn settle(&mut self, key: K, age: impl Fn(&V) -> Age) {
        if self.entries.get(&key).is_some_and(|value| age(value) == Age::Old) {
            self.entries.remove(&key);
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn sweep(&mut self, age: impl Fn(&V) -> Age) {
        self.entries.retain(|_, value| age(value) != Age::Old);
        if self.entries.len() >= self.entries_max {
            self.entries.retain(|_, value| age(value) == Age::Held);
        }
        let len = self.entries.len();
        // Held ones alone may be more than the table is for.
        let most = if len < self.entries_max { self.entries_max } else { len + SWEEP_MIN };
        self.sweep_at = (len * 2).max(SWEEP_MIN).min(most);
        self.entries.shrink_to(self.sweep_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_entries_go_and_held_ones_stay() {
        let mut table: Aging<u32, u32> = Aging::new(1_000);
        // Even ones are held, and odd ones are old.
        let age = |value: &u32| if value.is_multiple_of(2) { Age::Held } else { Age::Old };
        for key in 0..4_000 {
            *table.entry(key, age) = key;
        }
        assert!((0..4_000).step_by(2).all(|key| table.get(key) == Some(&mut { key })));
        assert!(table.len() <= 4_000, "{}", table.len());
        for key in (0..4_000).step_by(2) {
            *table.entry(key, age) += 1;
            table.settle(key, age);
        }
        (5_000..5_100).for_each(|key| *table.entry(key, age) = 1);
        assert!(table.len() <= 300, "{}", table.len());
    }

    #[test]
    fn who_fills_the_table_fills_it_to_its_bound() {
        let mut table: Aging<u32, u8> = Aging::new(500);
        for key in 0..100_000 {
            table.entry(key, |_| Age::Fresh);
            assert!(table.len() <= 500);
        }
    }
}
