//! Numbers of commands: each is good for one command, and its answer is remembered for a while.

use std::collections::BTreeMap;

use crate::seal::mac::Code;

/// How far below the highest number that has come another may still come.
pub const WINDOW: u64 = 1_024;
/// Words of the bit field.
const WORDS: usize = (WINDOW / 64) as usize;
/// Bytes of answers that are kept for repetitions.
pub const KEPT_BYTES_MAX: usize = 64 * 1024;

/// What a command with a number is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<T> {
    /// The first with its number: it is carried out.
    Fresh,
    /// The same once more, which was answered so.
    Again(T),
    /// The same once more, and its answer is on the way.
    Waits,
    /// The number was used, for another command or for one whose answer is not kept, or lies too
    /// far back for anybody to know.
    Used,
}

/// What became of one command.
#[derive(Debug)]
struct Entry<T> {
    code: Code,
    /// The answer and its bytes; `None` while there is none.
    answer: Option<(T, usize)>,
}

/// The numbers of one session's commands. Asked only once a command has proved itself.
///
/// ```
/// use ahm::seal::replay::{Replay, Verdict};
/// let mut replay = Replay::default();
/// assert_eq!(replay.offer(1, &[1; 32], true), Verdict::Fresh);
/// assert_eq!(replay.offer(1, &[1; 32], true), Verdict::Waits);
/// replay.remember(1, "answer", 6);
/// assert_eq!(replay.offer(1, &[1; 32], true), Verdict::Again("answer"));
/// assert_eq!(replay.offer(1, &[2; 32], true), Verdict::Used);
/// ```
#[derive(Debug)]
pub struct Replay<T> {
    highest: u64,
    /// A bit for each number of the window, at the number modulo its width.
    used: [u64; WORDS],
    entries: BTreeMap<u64, Entry<T>>,
    bytes: usize,
}

impl<T> Default for Replay<T> {
    fn default() -> Self {
        Self { highest: 0, used: [0; WORDS], entries: BTreeMap::new(), bytes: 0 }
    }
}

impl<T: Clone> Replay<T> {
    /// Takes a command with number `q` and code `code`; `kept`: its answer will be remembered, as
    /// that of a document cannot be.
    pub fn offer(&mut self, q: u64, code: &Code, kept: bool) -> Verdict<T> {
        if q == 0 || self.highest.saturating_sub(q) >= WINDOW {
            return Verdict::Used;
        }
        self.slide(q);
        let (word, bit) = place(q);
        if self.used[word] & bit != 0 {
            // The codes have proved themselves, so that there is nothing to learn from the time.
            let entry = self.entries.get(&q).filter(|entry| entry.code == *code);
            return match entry {
                Some(Entry { answer: Some((answer, _)), .. }) => Verdict::Again(answer.clone()),
                Some(Entry { answer: None, .. }) => Verdict::Waits,
                None => Verdict::Used,
            };
        }
        self.used[word] |= bit;
        if kept {
            self.entries.insert(q, Entry { code: *code, answer: None });
        }
        Verdict::Fresh
    }

    /// The answer to `q` was given; it takes about so many bytes. The oldest are forgotten where
    /// all together take too many.
    pub fn remember(&mut self, q: u64, answer: T, bytes: usize) {
        let Some(entry) = self.entries.get_mut(&q) else { return };
        entry.answer = Some((answer, bytes));
        self.bytes += bytes;
        while self.bytes > KEPT_BYTES_MAX {
            let mut answered = self.entries.iter().filter(|(_, entry)| entry.answer.is_some());
            let Some(oldest) = answered.next().map(|(q, _)| *q) else { return };
            self.forget(oldest);
        }
    }

    /// Memory beside the struct itself, in bytes, about.
    pub fn bytes(&self) -> usize {
        self.bytes + self.entries.len() * size_of::<(u64, Entry<T>)>()
    }

    /// Moves the window so that `q` is in it.
    fn slide(&mut self, q: u64) {
        if q <= self.highest {
            return;
        }
        if q - self.highest >= WINDOW {
            self.used = [0; WORDS];
        } else {
            for passed in self.highest + 1..=q {
                let (word, bit) = place(passed);
                self.used[word] &= !bit;
            }
        }
        self.highest = q;
        while let Some((&oldest, _)) = self.entries.first_key_value()
            && q - oldest >= WINDOW
        {
            self.forget(oldest);
        }
    }

    fn forget(&mut self, q: u64) {
        let entry = self.entries.remove(&q);
        self.bytes -= entry.and_then(|entry| entry.answer).map_or(0, |(_, bytes)| bytes);
    }
}

fn place(q: u64) -> (usize, u64) {
    let at = q % WINDOW;
    ((at / 64) as usize, 1 << (at % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::base::random::Random;

    #[test]
    fn each_number_is_taken_once_and_old_ones_never() {
        for seed in 0..20 {
            let mut random = Random::from_number(seed);
            let mut replay = Replay::<()>::default();
            let mut plain = BTreeSet::new();
            let mut highest = 0u64;
            for _ in 0..5_000 {
                let q = match random.below(20) {
                    0 => highest + random.below(2_000),
                    1 => highest.saturating_sub(WINDOW - 2 + random.below(4)),
                    _ => (highest + 8).saturating_sub(random.below(40)),
                };
                let fresh = q > 0 && q + WINDOW > highest && plain.insert(q);
                highest = if fresh { highest.max(q) } else { highest };
                let verdict = replay.offer(q, &[0; 32], false);
                assert_eq!(verdict == Verdict::Fresh, fresh, "seed {seed}: {q} of {highest}");
                assert!(fresh || verdict == Verdict::Used);
            }
        }
        let mut replay = Replay::<()>::default();
        assert_eq!(replay.offer(u64::MAX, &[0; 32], true), Verdict::Fresh);
        assert_eq!(replay.offer(u64::MAX, &[0; 32], true), Verdict::Waits);
    }

    #[test]
    fn answers_are_kept_within_bounds() {
        let mut replay = Replay::default();
        let size = KEPT_BYTES_MAX / 4;
        for q in 1..=8 {
            assert_eq!(replay.offer(q, &[0; 32], true), Verdict::Fresh);
            replay.remember(q, q, size);
        }
        assert_eq!(replay.offer(8, &[0; 32], true), Verdict::Again(8));
        assert_eq!(replay.offer(5, &[0; 32], true), Verdict::Again(5));
        assert_eq!(replay.offer(4, &[0; 32], true), Verdict::Used, "forgotten, and not done again");
        assert!(replay.bytes() <= KEPT_BYTES_MAX + 8 * 128);
        replay.offer(WINDOW + 8, &[0; 32], true);
        assert_eq!(replay.offer(8, &[0; 32], true), Verdict::Used);
        replay.offer(10 * WINDOW, &[0; 32], true);
        assert!(replay.bytes() <= 128, "what is out of the window takes no memory");
    }
}
