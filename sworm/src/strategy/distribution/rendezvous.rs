use super::{Candidate, Distribution, weighted_score};

/// `"rendezvous"` (the default): highest random weight (Thaler and Ravishankar 1998); shares follow the weights, and a node
/// that comes or goes moves only what it wins or held.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rendezvous;

impl Distribution for Rendezvous {
    fn choose(&self, name: &str, candidates: &[Candidate]) -> usize {
        let best = candidates.iter().enumerate().max_by_key(|(_, c)| (weighted_score(name, c), &c.node));
        best.map_or(0, |(place, _)| place)
    }

    fn score(&self, name: &str, candidate: &Candidate) -> Option<u64> {
        Some(weighted_score(name, candidate))
    }
}

crate::plugin!(dyn Distribution, "rendezvous", Rendezvous);
