use super::{Candidate, Distribution, Rendezvous};

/// `"local-first"`: the node on which the registration was asked for, for as long as it can; else rendezvous.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalFirst;

impl Distribution for LocalFirst {
    fn choose(&self, name: &str, candidates: &[Candidate]) -> usize {
        let local = candidates.iter().position(|candidate| candidate.asked);
        local.unwrap_or_else(|| Rendezvous.choose(name, candidates))
    }

    fn score(&self, name: &str, candidate: &Candidate) -> Option<u64> {
        Some(if candidate.asked { u64::MAX } else { Rendezvous.score(name, candidate)? })
    }
}

crate::plugin!(dyn Distribution, "local-first", LocalFirst);
