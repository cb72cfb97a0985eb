use xxhash_rust::xxh3::xxh3_64;

use super::{Candidate, Distribution};

/// `"random"`: any node, by the hash of the name alone (as Horde's `UniformRandomDistribution`). Even, and shares follow the
/// weights; but almost every name has another home when a node comes or goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

impl Distribution for Random {
    fn choose(&self, name: &str, candidates: &[Candidate]) -> usize {
        let weights: u64 = candidates.iter().map(|candidate| u64::from(candidate.weight)).sum();
        let mut share = xxh3_64(name.as_bytes()) % weights.max(1);
        for (place, candidate) in candidates.iter().enumerate() {
            match share.checked_sub(u64::from(candidate.weight)) {
                Some(rest) => share = rest,
                None => return place,
            }
        }
        0
    }
}

crate::plugin!(dyn Distribution, "random", Random);
