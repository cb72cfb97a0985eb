//! Distribution strategies: which node a name runs on.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use crate::NodeId;

/// A node that may run a worker.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Candidate {
    /// Its id.
    pub node: NodeId,
    /// The labels that it was built with.
    pub labels: BTreeMap<String, String>,
    /// How many names of this sworm it runs.
    pub names: u64,
}

impl Candidate {
    /// A candidate without labels that runs nothing yet.
    pub fn new(node: NodeId) -> Self {
        Self { node, labels: BTreeMap::new(), names: 0 }
    }
}

/// Decides where a name runs. Pure: the same name and candidates give the same answer on every machine.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a distribution strategy; write `impl Distribution for {Self}`, or name a strategy in quotes",
    label = "not a distribution strategy"
)]
pub trait Distribution: Send + Sync + 'static {
    /// Returns the place in `candidates` (never empty, sorted by node id) of the node to run `name`; too high a place means
    /// the last one. A panic counts as if there were no candidate.
    fn choose(&self, name: &str, candidates: &[Candidate]) -> usize;
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

/// `"rendezvous"` (the default): highest random weight; even, and moves the least when nodes come and go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rendezvous;

impl Distribution for Rendezvous {
    fn choose(&self, name: &str, candidates: &[Candidate]) -> usize {
        let best = candidates.iter().enumerate().max_by_key(|(_, c)| (score(name, &c.node), &c.node));
        best.map_or(0, |(place, _)| place)
    }
}

crate::plugin!(dyn Distribution, "rendezvous", Rendezvous);

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(ids: &[&str]) -> Vec<Candidate> {
        ids.iter().map(|id| Candidate::new(NodeId::new(id).expect("a valid id"))).collect()
    }

    #[test]
    fn rendezvous_is_even_and_moves_only_what_a_leaver_held() {
        let (four, three) = (nodes(&["a", "b", "c", "d"]), nodes(&["a", "b", "c"]));
        let mut counts = [0u32; 4];
        for n in 0..100_000 {
            let name = format!("name-{n}");
            let place = Rendezvous.choose(&name, &four);
            counts[place] += 1;
            if place < 3 {
                assert_eq!(Rendezvous.choose(&name, &three), place);
            }
        }
        assert!(counts.iter().all(|c| (24_500..25_500).contains(c)), "{counts:?}");
    }

    #[test]
    fn scores_are_the_same_on_every_machine() {
        // Nodes with another opinion would place names elsewhere: these numbers may never change.
        let scores = ["a", "b"].map(|node| score("alice", node));
        assert_eq!(scores, [14_137_137_887_285_652_974, 4_013_619_819_869_067_410]);
        assert_eq!(score("", ""), 14_144_645_293_874_801_883);
        assert_eq!(score("né/*", "node-1"), 12_346_612_100_993_169_813);
        let three = nodes(&["a", "b", "c"]);
        let chosen: Vec<usize> = (0..10).map(|n| Rendezvous.choose(&format!("name-{n}"), &three)).collect();
        assert_eq!(chosen, [2, 2, 0, 2, 0, 1, 0, 0, 1, 1]);
    }
}
