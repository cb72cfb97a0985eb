//! Distribution strategies: which node a name runs on.

mod bounded;
mod by_label;
mod least_loaded;
mod local_first;
mod random;
mod rendezvous;
mod ring;

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

pub use self::bounded::BoundedLoad;
pub use self::by_label::{Pinned, Spread};
pub use self::least_loaded::LeastLoaded;
pub use self::local_first::LocalFirst;
pub use self::random::Random;
pub use self::rendezvous::Rendezvous;
pub use self::ring::HashRing;
use crate::NodeId;

/// The greatest weight of a node.
pub const MAX_WEIGHT: u32 = 100;

/// A node that may run a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidate {
    /// Its id.
    pub node: NodeId,
    /// The labels that it was built with.
    pub labels: BTreeMap<String, String>,
    /// How many shares of the names it takes: 1 to [`MAX_WEIGHT`].
    pub weight: u32,
    /// How many names of this sworm it runs.
    pub names: u64,
    /// Whether the registration was asked for on it.
    pub asked: bool,
}

impl Candidate {
    /// A candidate of weight 1, without labels, that runs nothing yet.
    pub fn new(node: NodeId) -> Self {
        Self { node, labels: BTreeMap::new(), weight: 1, names: 0, asked: false }
    }

    /// The same with another weight; what is out of its limits counts as the nearest one.
    pub fn with_weight(mut self, weight: u32) -> Self {
        self.weight = weight.clamp(1, MAX_WEIGHT);
        self
    }
}

/// Decides where a name runs. Pure: the same name and candidates give the same answer on every machine.
///
/// Names are placed by whichever node decides about them, and kept where they are as long as that node lives: a strategy
/// that looks at [`Candidate::names`] is asked when a name is registered, moves or comes back, not when loads change.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a distribution strategy; write `impl Distribution for {Self}`, or name a strategy in quotes",
    label = "not a distribution strategy"
)]
pub trait Distribution: Send + Sync + 'static {
    /// Returns the place in `candidates` (never empty, sorted by node id) of the node to run `name`; too high a place means
    /// the last one. A panic counts as if there were no candidate.
    fn choose(&self, name: &str, candidates: &[Candidate]) -> usize;

    /// Why `name` must not run there, if it must not: such nodes are left out before [`choose`](Self::choose) is asked.
    /// Names for which every node is left out wait (or are refused, if they are new) until there is another one.
    fn excludes(&self, name: &str, candidate: &Candidate) -> Option<String> {
        let _ = (name, candidate);
        None
    }

    /// What it compares candidates by, higher is better, for those who ask why a name runs where it does
    /// ([`Sworm::explain`](crate::Sworm::explain)). Nothing for strategies that compare nothing.
    fn score(&self, name: &str, candidate: &Candidate) -> Option<u64> {
        let _ = (name, candidate);
        None
    }

    /// The same of all candidates (sorted by node id), where it depends on which others there are.
    fn scores(&self, name: &str, candidates: &[Candidate]) -> Vec<Option<u64>> {
        candidates.iter().map(|candidate| self.score(name, candidate)).collect()
    }
}

/// The rendezvous score of a key on a node (Thaler and Ravishankar 1998): the node with the highest score wins, and
/// a node that joins or leaves moves only the keys that it wins or held.
pub fn score(key: &str, node: &str) -> u64 {
    let mut bytes = Vec::with_capacity(key.len() + node.len() + 1);
    bytes.extend_from_slice(key.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(node.as_bytes());
    xxh3_64(&bytes)
}

/// The score of a candidate: one of weight `n` draws as if it were `n` nodes. So shares follow the weights exactly,
/// and all machines agree, which logarithms of floating point numbers would not promise.
pub fn weighted_score(key: &str, candidate: &Candidate) -> u64 {
    let mut best = score(key, &candidate.node);
    for draw in 1..candidate.weight.min(MAX_WEIGHT) {
        best = best.max(score(key, &format!("{}\0{draw}", candidate.node)));
    }
    best
}

/// The places of the candidates, the best first.
fn ranked(name: &str, candidates: &[Candidate]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..candidates.len()).collect();
    places.sort_by_cached_key(|place| {
        let candidate = &candidates[*place];
        std::cmp::Reverse((weighted_score(name, candidate), candidate.node.clone()))
    });
    places
}

/// Compares how full two nodes are, for their weights.
fn by_load(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    let load = |of: &Candidate, other: &Candidate| u128::from(of.names) * u128::from(other.weight.max(1));
    load(a, b).cmp(&load(b, a))
}

#[cfg(test)]
mod tests;
