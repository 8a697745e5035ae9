//! Which of several instances serves: by weight, the same for every asker, and without moving what
//! need not move.
//!
//! Instances of a shared subject are chosen by rendezvous hashing (Thaler and Ravishankar, "Using
//! name-based mappings to increase hit rates", IEEE/ACM Transactions on Networking 6, 1998): each
//! pair of an instance and a subject has a random number *u* of its own, and the instance with the
//! highest score wins. No table is needed, every asker finds the same instance, and an instance
//! that comes or goes moves its own subjects only. With weights the score is
//! *-weight / ln(u)* (Schindelhauer and Schomaker, "Weighted distributed hash tables", SPAA 2005).
//! For *-ln(u)* is the wait for an event that comes at a rate of 1; divided by the weight it is the
//! wait for one at the rate of the weight; and of several such events each is the first as often as
//! its share among the rates. The highest score is the shortest wait.
//!
//! All is reckoned in integers, so that it comes out alike on every machine and in every version;
//! the logarithm of a floating-point library may differ in its last bit. It is that to base 2, as a
//! common factor changes no order, with 32 bits behind the point. That is enough: of a thousand
//! instances the shortest wait is about a thousandth, and the next one is within 2^-32 of it less
//! than once in a million times; then the instances' numbers decide, which are the same for every
//! asker too.

use std::cmp::Ordering;

use crate::wire::resource::InstanceId;

/// Bits behind the point of a logarithm.
const FRACTION_BITS: u32 = 32;

/// What is to be known of an instance to choose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which one.
    pub instance: InstanceId,
    /// Its share among its kind; zero counts as one.
    pub weight: u32,
    /// The consumers that it has, as far as is known.
    pub load: u64,
}

/// The instance that serves a shared subject; `None` if there is no candidate.
///
/// ```
/// use ahm::link::balance::{Candidate, shared};
/// use ahm::wire::resource::InstanceId;
/// let one = |id| Candidate { instance: InstanceId(id), weight: 1, load: 0 };
/// let chosen = shared("EURUSD", [one(1), one(2), one(3)]).unwrap();
/// assert_eq!(shared("EURUSD", [one(3), one(1), one(2)]), Some(chosen), "in any order");
/// ```
pub fn shared(
    subject: &str,
    candidates: impl IntoIterator<Item = Candidate>,
) -> Option<InstanceId> {
    let subject = hash(subject);
    let waiting = candidates.into_iter().map(|candidate| Waiting::new(subject, candidate));
    waiting.min_by(Waiting::cmp).map(|first| first.candidate.instance)
}

/// The instance that serves a private channel: the one with the fewest consumers for its weight.
/// Those that are equal have their order from the subject; `None` if there is no candidate.
pub fn private(
    subject: &str,
    candidates: impl IntoIterator<Item = Candidate>,
) -> Option<InstanceId> {
    let subject = hash(subject);
    let waiting = candidates.into_iter().map(|candidate| Waiting::new(subject, candidate));
    let first = waiting.min_by(|one, other| {
        let loads = (one.candidate.load, other.candidate.load);
        one.per_weight(other, loads).then_with(|| one.cmp(other))
    });
    first.map(|first| first.candidate.instance)
}

/// A candidate, and how long its event would take at a rate of 1.
struct Waiting {
    candidate: Candidate,
    wait: u64,
}

impl Waiting {
    fn new(subject: u64, candidate: Candidate) -> Self {
        Self { candidate, wait: minus_log2(pair(subject, candidate.instance)) }
    }

    /// Whose event comes first: `Less` if this one's.
    fn cmp(&self, other: &Self) -> Ordering {
        let numbers = self.candidate.instance.cmp(&other.candidate.instance);
        self.per_weight(other, (self.wait, other.wait)).then(numbers)
    }

    /// Compares what both have for their weights.
    fn per_weight(&self, other: &Self, have: (u64, u64)) -> Ordering {
        let weight = |of: &Self| u128::from(of.candidate.weight.max(1));
        (u128::from(have.0) * weight(other)).cmp(&(u128::from(have.1) * weight(self)))
    }
}

/// The random number of an instance and a subject, as 64 bits behind the point; not zero.
fn pair(subject: u64, instance: InstanceId) -> u64 {
    // The golden ratio, so that an instance of number 0 does not count for nothing.
    mix(subject ^ mix(instance.0.wrapping_add(0x9e37_79b9_7f4a_7c15))).max(1)
}

/// 64 bits of a text: FNV-1a (Fowler, Noll and Vo), whose weak high bits are mixed afterwards.
fn hash(text: &str) -> u64 {
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    mix(text.bytes().fold(0xcbf2_9ce4_8422_2325, step))
}

/// Spreads each bit over all: the finalizer of SplitMix64 (Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators", OOPSLA 2014).
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// -log2 of `bits` / 2^64, which is not zero, with 32 bits behind the point.
fn minus_log2(bits: u64) -> u64 {
    let zeros = bits.leading_zeros();
    // From 1 up to below 2, with 63 bits behind the point. Squared it is from 1 up to below 4, and
    // whether it is 2 or more is the next bit of its logarithm.
    let mut rest = bits << zeros;
    let mut fraction = 0;
    for _ in 0..FRACTION_BITS {
        let square = u128::from(rest) * u128::from(rest);
        let is_two = square >> 127 != 0;
        fraction = fraction << 1 | u64::from(is_two);
        rest = (square >> if is_two { 64 } else { 63 }) as u64;
    }
    (u64::from(zeros + 1) << FRACTION_BITS) - fraction
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    const SUBJECTS: usize = 1_000;

    fn candidates(seed: u64, weights: &[u32]) -> Vec<Candidate> {
        let random = &mut Random::from_number(seed);
        let one = |weight: &u32| Candidate {
            instance: InstanceId(random.next()),
            weight: *weight,
            load: 0,
        };
        weights.iter().map(one).collect()
    }

    fn subjects(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("fx/{n}")).collect()
    }

    fn spread(subjects: &[String], candidates: &[Candidate]) -> Vec<InstanceId> {
        let chosen = subjects.iter().map(|subject| shared(subject, candidates.iter().copied()));
        chosen.map(Option::unwrap).collect()
    }

    /// How many each has, and how many it should have.
    fn shares(chosen: &[InstanceId], candidates: &[Candidate]) -> Vec<(f64, f64)> {
        let total: u32 = candidates.iter().map(|candidate| candidate.weight).sum();
        let share = |candidate: &Candidate| {
            let has = chosen.iter().filter(|id| **id == candidate.instance).count();
            let should = chosen.len() as f64 * f64::from(candidate.weight) / f64::from(total);
            (has as f64, should)
        };
        candidates.iter().map(share).collect()
    }

    const WEIGHTS: [&[u32]; 6] = [
        &[1, 1],
        &[1, 1, 1, 1],
        &[1, 2, 3],
        &[1_000, 500, 500],
        &[7, 7, 1],
        &[10, 10, 10, 10, 10, 10, 10, 10, 10, 30],
    ];

    #[test]
    fn the_logarithm_is_one() {
        for bits in [1, 2, 3, 1 << 32, 1 << 63, u64::MAX, u64::MAX - 1, 0x9e37_79b9_7f4a_7c15] {
            let exact = 64.0 - (bits as f64).log2();
            let ours = minus_log2(bits) as f64 / 2f64.powi(FRACTION_BITS as i32);
            assert!((exact - ours).abs() < 1e-9, "{bits}: {exact}, not {ours}");
        }
        assert_eq!(minus_log2(1), 64 << FRACTION_BITS);
        assert_eq!(minus_log2(1 << 63), 1 << FRACTION_BITS);
        assert!(minus_log2(u64::MAX) <= 1, "nearly none");
    }

    /// Of a thousand subjects fewer than a tenth would have to move for the exact shares; of a
    /// hundred thousand each instance has its share within a tenth.
    #[test]
    fn shared_subjects_spread_by_the_weights() {
        for (seed, weights) in (0..20).flat_map(|seed| WEIGHTS.map(|weights| (seed, weights))) {
            let candidates = candidates(seed, weights);
            let few = shares(&spread(&subjects(SUBJECTS), &candidates), &candidates);
            let wrong = few.iter().map(|(has, should)| (has - should).abs()).sum::<f64>() / 2.0;
            assert!(wrong < SUBJECTS as f64 / 10.0, "{seed} {weights:?}: {few:?}");
        }
        for weights in WEIGHTS {
            let candidates = candidates(1, weights);
            let many = shares(&spread(&subjects(100_000), &candidates), &candidates);
            let near = |(has, should): &(f64, f64)| (has - should).abs() < should / 10.0;
            assert!(many.iter().all(near), "{weights:?}: {many:?}");
        }
    }

    #[test]
    fn private_channels_spread_by_the_weights() {
        for weights in WEIGHTS {
            let mut candidates = candidates(1, weights);
            let mut chosen = Vec::new();
            for subject in subjects(SUBJECTS) {
                let id = private(&subject, candidates.iter().copied()).unwrap();
                candidates.iter_mut().find(|one| one.instance == id).unwrap().load += 1;
                chosen.push(id);
            }
            let shares = shares(&chosen, &candidates);
            let near = |(has, should): &(f64, f64)| (has - should).abs() <= should / 10.0;
            assert!(shares.iter().all(near), "{weights:?}: {shares:?}");
        }
    }

    #[test]
    fn who_has_fewer_consumers_for_its_weight_takes_the_next() {
        let one = |id, weight, load| Candidate { instance: InstanceId(id), weight, load };
        let chosen = |all: &[Candidate]| private("", all.iter().copied()).map(|id| id.0);
        assert_eq!(chosen(&[one(1, 1, 5), one(2, 1, 4)]), Some(2));
        assert_eq!(chosen(&[one(1, 2, 5), one(2, 1, 4)]), Some(1));
        assert_eq!(chosen(&[one(1, 1_000, u64::MAX), one(2, 999, u64::MAX)]), Some(1));
        assert_eq!(chosen(&[]), None);
    }

    #[test]
    fn only_what_must_move_moves() {
        let subjects = subjects(SUBJECTS);
        for (seed, weights) in (0..10).flat_map(|seed| WEIGHTS.map(|weights| (seed, weights))) {
            let before = candidates(seed, weights);
            let was = spread(&subjects, &before);
            let moves = |after: &[Candidate]| {
                let pairs = was.iter().copied().zip(spread(&subjects, after));
                pairs.filter(|(from, to)| from != to).collect::<Vec<_>>()
            };
            for at in 0..before.len() {
                let id = before[at].instance;
                let mut gone = before.clone();
                gone.remove(at);
                let moved = moves(&gone);
                let had = was.iter().filter(|chosen| **chosen == id).count();
                assert!(moved.iter().all(|(from, _)| *from == id) && moved.len() == had);

                let mut heavier = before.clone();
                heavier[at].weight *= 2;
                let moved = moves(&heavier);
                assert!(moved.iter().all(|(_, to)| *to == id) && !moved.is_empty());
            }
            let mut more = before.clone();
            let weight = before[0].weight;
            more.push(Candidate { instance: InstanceId(seed), weight, load: 0 });
            let moved = moves(&more);
            assert!(moved.iter().all(|(_, to)| *to == InstanceId(seed)) && !moved.is_empty());
        }
    }

    /// Two processes of different versions must agree: what is chosen here never changes.
    #[test]
    fn the_choice_is_the_same_for_ever() {
        let one = |id| Candidate { instance: InstanceId(id), weight: id as u32, load: 0 };
        let all = [one(1), one(2), one(3)];
        let subjects = ["", "EURUSD", "USDJPY", "a", "b", "c", "d", "e"];
        let chosen = subjects.map(|subject| shared(subject, all).unwrap().0);
        assert_eq!(chosen, [2, 3, 3, 1, 3, 1, 2, 2]);
    }
}
