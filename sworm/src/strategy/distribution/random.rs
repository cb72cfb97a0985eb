use xxhash_rust::xxh3::xxh3_64;

use super::{Candidate, Distribution};

/// `"random"`: any node, by the hash of the name alone (as Horde's `UniformRandomDistribution`). Even, and shares follow the
/// weights; but almost every name has another home when a node comes or goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

impl Random {
    /// The sum of all weights, at least one, and the share of it that a name draws: they are the candidates' one after another.
    fn draw(name: &str, candidates: &[Candidate]) -> (u64, u64) {
        let weights = candidates.iter().map(|candidate| u64::from(candidate.weight)).sum::<u64>().max(1);
        (weights, xxh3_64(name.as_bytes()) % weights)
    }
}

impl Distribution for Random {
    fn choose(&self, name: &str, candidates: &[Candidate]) -> usize {
        let (_, mut share) = Self::draw(name, candidates);
        for (place, candidate) in candidates.iter().enumerate() {
            match share.checked_sub(u64::from(candidate.weight)) {
                Some(rest) => share = rest,
                None => return place,
            }
        }
        0
    }

    /// The sum of all weights for whoever has the share that was drawn, and less by as many shares as another one's are ahead.
    fn scores(&self, name: &str, candidates: &[Candidate]) -> Vec<Option<u64>> {
        let (weights, share) = Self::draw(name, candidates);
        let mut first = 0;
        let scores = candidates.iter().map(|candidate| {
            let (from, weight) = (first, u64::from(candidate.weight));
            first += weight;
            let has_it = (from..first).contains(&share);
            Some(if has_it { weights } else { weights - (from + weights - share) % weights })
        });
        scores.collect()
    }
}

crate::plugin!(dyn Distribution, "random", Random);
