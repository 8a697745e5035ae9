//! Which shard is a topic's home.

use crate::base::id::ShardId;
use crate::base::name::TopicName;
use crate::base::random::Random;

/// The seeded hash that gives every topic its home, fixed for the life of the process.
///
/// ```
/// use ahm::base::name::TopicName;
/// use ahm::proto::home::Homes;
/// let homes = Homes::new([3; 32], 4);
/// let name = TopicName::new("fx", "EURUSD").unwrap();
/// assert!(homes.of(&name).index() < 4);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Homes {
    seed: u64,
    shards: u8,
}

impl Homes {
    /// The homes of a server with this seed and so many shards (at least one).
    pub fn new(seed: [u8; 32], shards: u8) -> Self {
        debug_assert!(shards > 0);
        Self { seed: Random::from_seed(seed).next(), shards }
    }

    /// The home of a topic.
    pub fn of(&self, name: &TopicName) -> ShardId {
        // FNV-1a over the seeded state, then MurmurHash3's finaliser, without which names that
        // differ in their last letters would share their upper bits.
        let mut hash = self.seed ^ 0xcbf2_9ce4_8422_2325;
        for byte in name.as_str().bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^= hash >> 33;
        ShardId((((hash >> 32) * u64::from(self.shards)) >> 32) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_are_spread() {
        let homes = Homes::new([9; 32], 4);
        let mut count = [0; 4];
        for number in 0..4_000 {
            let name = TopicName::new("r", &format!("subject{number}")).unwrap();
            count[homes.of(&name).index()] += 1;
        }
        assert!(count.iter().all(|&count| (800..1_200).contains(&count)), "{count:?}");
    }
}
