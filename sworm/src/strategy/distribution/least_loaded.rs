use super::{Candidate, Distribution, by_load, ranked, weighted_score};

/// `"least-loaded"`: of the two best by rendezvous the one that runs fewer names for its weight (the power of two choices:
/// Azar, Broder, Karlin and Upfal 1994; Mitzenmacher 2001). Nearly as even as to look at all nodes, and a name has only
/// two homes.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastLoaded;

impl Distribution for LeastLoaded {
    fn choose(&self, name: &str, candidates: &[Candidate]) -> usize {
        match ranked(name, candidates)[..] {
            [first, second, ..] if by_load(&candidates[second], &candidates[first]).is_lt() => second,
            [first, ..] => first,
            [] => 0,
        }
    }

    fn score(&self, name: &str, candidate: &Candidate) -> Option<u64> {
        Some(weighted_score(name, candidate))
    }
}

crate::plugin!(dyn Distribution, "least-loaded", LeastLoaded);
