//! Randomness from a seed that is passed in.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A cryptographic generator (ChaCha, 12 rounds): keys may come from it when its seed came from the
/// operating system, and a test that passes the same seed sees the same server.
///
/// ```
/// use ahm::base::random::Random;
/// assert_eq!(Random::from_number(7).next(), Random::from_number(7).next());
/// ```
#[derive(Clone, Debug)]
pub struct Random(ChaCha12Rng);

impl Random {
    /// A generator from 256 bits of seed.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(seed))
    }

    /// A generator for tests and for choices that need not be secret.
    pub fn from_number(seed: u64) -> Self {
        Self(ChaCha12Rng::seed_from_u64(seed))
    }

    /// 64 random bits.
    #[expect(clippy::should_implement_trait, reason = "an endless source is no iterator")]
    pub fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `end`, which must not be zero. The bias is below `end` / 2^64.
    pub fn below(&mut self, end: u64) -> u64 {
        debug_assert!(end > 0);
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// A new 256-bit seed, for a generator that goes its own way.
    pub fn fork(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.fill(&mut seed);
        seed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_stays_below_and_reaches_all() {
        let mut random = Random::from_number(1);
        let mut seen = [false; 7];
        for _ in 0..1000 {
            seen[random.below(7) as usize] = true;
        }
        assert_eq!(seen, [true; 7]);
    }
}
