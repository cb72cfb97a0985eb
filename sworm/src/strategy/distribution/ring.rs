use std::cell::RefCell;
use std::rc::Rc;

use xxhash_rust::xxh3::xxh3_64;

use super::{Candidate, Distribution, score};
use crate::NodeId;

/// `"ring"`: consistent hashing (Karger et al. 1997), as Horde and Swarm place names. A node has 128 points on the ring per
/// unit of weight, and a name goes to the first point after its own. Less even than rendezvous: the fullest of 50 nodes has
/// about a quarter more than the mean.
#[derive(Clone, Copy, Debug)]
pub struct HashRing {
    points: u32,
}

/// The points of some candidates.
#[derive(Debug)]
struct Ring {
    per_weight: u32,
    members: Vec<(NodeId, u32)>,
    /// In order, each with the place of its member.
    points: Vec<(u64, usize)>,
}

thread_local! {
    /// The ring that was last asked for: members seldom change, and names are many.
    static LAST: RefCell<Option<Rc<Ring>>> = const { RefCell::new(None) };
}

impl HashRing {
    /// A ring with so many points per node and unit of weight, at least one.
    pub const fn points(points: u32) -> Self {
        Self { points: if points == 0 { 1 } else { points } }
    }
}

/// The points of a candidate.
fn points_of(candidate: &Candidate, per_weight: u32) -> impl Iterator<Item = u64> {
    let (node, count) = (candidate.node.clone(), per_weight.saturating_mul(candidate.weight));
    (0..count).map(move |point| score(&point.to_string(), &node))
}

impl Ring {
    fn of(candidates: &[Candidate], per_weight: u32) -> Rc<Self> {
        LAST.with_borrow_mut(|last| match last.take().filter(|ring| ring.is_of(candidates, per_weight)) {
            Some(ring) => last.insert(ring).clone(),
            None => last.insert(Rc::new(Self::new(candidates, per_weight))).clone(),
        })
    }

    fn new(candidates: &[Candidate], per_weight: u32) -> Self {
        let points = |(place, candidate)| points_of(candidate, per_weight).map(move |point| (point, place));
        let mut points: Vec<(u64, usize)> = candidates.iter().enumerate().flat_map(points).collect();
        points.sort_unstable();
        Self { per_weight, members: candidates.iter().map(|c| (c.node.clone(), c.weight)).collect(), points }
    }

    fn is_of(&self, candidates: &[Candidate], per_weight: u32) -> bool {
        let members = self.members.iter().map(|(node, weight)| (node, *weight));
        self.per_weight == per_weight && members.eq(candidates.iter().map(|c| (&c.node, c.weight)))
    }
}

impl Distribution for HashRing {
    fn choose(&self, name: &str, candidates: &[Candidate]) -> usize {
        let ring = Ring::of(candidates, self.points);
        let key = xxh3_64(name.as_bytes());
        let after = ring.points.partition_point(|(point, _)| *point < key);
        ring.points.get(after).or(ring.points.first()).map_or(0, |(_, place)| *place)
    }

    /// The less far on from the name's point the nearest point of a node is, all around the ring, the more.
    fn score(&self, name: &str, candidate: &Candidate) -> Option<u64> {
        let key = xxh3_64(name.as_bytes());
        points_of(candidate, self.points).map(|point| u64::MAX - point.wrapping_sub(key)).max()
    }
}

crate::plugin!(dyn Distribution, "ring", HashRing::points(128));
