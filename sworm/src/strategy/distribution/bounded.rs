use super::{Candidate, Distribution, ranked, weighted_score};

/// `"bounded"`: the best by rendezvous that is not full. A node is full with a quarter more names than its share
/// (consistent hashing with bounded loads: Mirrokni, Thorup and Zadimoghaddam 2018).
#[derive(Clone, Copy, Debug)]
pub struct BoundedLoad {
    percent: u32,
}

impl BoundedLoad {
    /// A node takes at most this many hundredths of its share; less than 100 counts as 100.
    pub const fn percent(percent: u32) -> Self {
        Self { percent: if percent < 100 { 100 } else { percent } }
    }
}

impl Default for BoundedLoad {
    fn default() -> Self {
        Self::percent(125)
    }
}

impl Distribution for BoundedLoad {
    fn choose(&self, name: &str, candidates: &[Candidate]) -> usize {
        let names: u128 = candidates.iter().map(|candidate| u128::from(candidate.names)).sum();
        let weights: u128 = candidates.iter().map(|candidate| u128::from(candidate.weight)).sum();
        let limit = |candidate: &Candidate| {
            ((names + 1) * u128::from(candidate.weight) * u128::from(self.percent)).div_ceil(weights.max(1) * 100)
        };
        let places = ranked(name, candidates);
        let room = |place: &usize| u128::from(candidates[*place].names) < limit(&candidates[*place]);
        places.iter().copied().find(room).or(places.first().copied()).unwrap_or(0)
    }

    fn score(&self, name: &str, candidate: &Candidate) -> Option<u64> {
        Some(weighted_score(name, candidate))
    }
}

crate::plugin!(dyn Distribution, "bounded", BoundedLoad::percent(125));
