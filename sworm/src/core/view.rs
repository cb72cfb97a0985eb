//! Who takes part in the sworm, who agrees on that, and so whether this node may decide.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use super::fault::{Fault, planted};
use super::ids::{Incarnation, LaneId, NodeId, Peer};
use super::message::{Beat, Phase};
use crate::codec;
use crate::strategy::score;

/// A view, by its hash, and how often its owner's view has changed.
pub type Seen = (u64, u64);

/// What is known of another node's part in this sworm.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its present incarnation.
    pub incarnation: Incarnation,
    /// Whether the node as a whole is thought to be there (Up or Suspect).
    pub present: bool,
    /// Whether it said that it has not opened the sworm.
    pub not_open: bool,
    /// Its newest heartbeat, and when it came.
    pub beat: Option<(Beat, u64)>,
    /// How much of this node's own lane it is known to hold.
    pub holds_of_mine: u64,
    /// How much of it is known to be on its disk.
    pub keeps_of_mine: u64,
    /// Whether it is owed an answer that waits for the disk here.
    pub is_owed: bool,
    /// When its versions were asked for.
    pub asked_ms: u64,
    /// In which view of its, and after how many changes of that, all that it holds was pulled.
    pub synced: Option<Seen>,
    /// What must be held before it counts as pulled, and in which view it said so, after how many changes.
    pub target: Option<(Seen, Vec<(LaneId, u64)>)>,
}

impl Member {
    /// A node just met.
    pub fn new(incarnation: Incarnation) -> Self {
        Self {
            incarnation,
            present: true,
            not_open: false,
            beat: None,
            holds_of_mine: 0,
            keeps_of_mine: 0,
            is_owed: false,
            asked_ms: 0,
            synced: None,
            target: None,
        }
    }

    /// Whether all that it holds in that view was pulled.
    pub fn is_synced(&self, view: u64) -> bool {
        if planted(Fault::SameViewAgain) {
            return self.synced.is_some_and(|(synced, _)| synced == view);
        }
        self.beat.as_ref().is_some_and(|(beat, _)| self.synced == Some((view, beat.changes)))
    }

    /// Whether it is there and has said neither what it holds nor that it has not opened the sworm.
    pub(super) fn is_unheard(&self) -> bool {
        self.present && !self.not_open && self.beat.is_none()
    }

    /// Its phase, if it has opened the sworm.
    pub fn phase(&self) -> Option<Phase> {
        self.beat.as_ref().map(|(beat, _)| beat.phase)
    }
}

/// The members in view: those that opened the sworm and are Up or Leaving.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Their phases.
    pub members: BTreeMap<Peer, Phase>,
    /// Hash of the above; equal hashes, equal views.
    pub hash: u64,
}

/// Those of the others that are present and have opened the sworm, in order.
fn taking_part(others: &BTreeMap<NodeId, Member>) -> impl Iterator<Item = (&NodeId, Incarnation, Phase)> {
    let present = others.iter().filter(|(_, member)| member.present);
    let taking_part = present.filter_map(|(node, member)| Some((node, member.incarnation, member.phase()?)));
    taking_part.filter(|(_, _, phase)| *phase != Phase::Joining)
}

impl View {
    /// The view made of this node and the others that are present.
    pub fn of(me: &Peer, phase: Phase, others: &BTreeMap<NodeId, Member>) -> Self {
        let mut members: BTreeMap<Peer, Phase> = taking_part(others)
            .map(|(node, incarnation, phase)| (Peer { node: node.clone(), incarnation }, phase))
            .collect();
        if phase != Phase::Joining {
            members.insert(me.clone(), phase);
        }
        let hash = xxh3_64(&codec::encode(&members).expect("ids encode"));
        Self { members, hash }
    }

    /// Whether it is that one still.
    pub fn is_of(&self, me: &Peer, phase: Phase, others: &BTreeMap<NodeId, Member>) -> bool {
        let own = self.members.get(me).copied() == (phase != Phase::Joining).then_some(phase);
        let mut theirs = self.members.iter().filter(|(peer, _)| *peer != me);
        let same = |(node, incarnation, phase): (&NodeId, Incarnation, Phase)| {
            let seen = theirs.next();
            seen.is_some_and(|(peer, seen)| (&peer.node, peer.incarnation, *seen) == (node, incarnation, phase))
        };
        own && taking_part(others).all(same) && theirs.next().is_none()
    }

    /// Whether that incarnation is in view.
    pub fn contains(&self, peer: &Peer) -> bool {
        self.members.contains_key(peer)
    }

    /// The incarnation of a node in view.
    pub fn peer(&self, node: &NodeId) -> Option<&Peer> {
        self.members.keys().find(|peer| peer.node == *node)
    }

    /// The node that decides about a name: the best rendezvous score among those that are Up, or else being emptied.
    pub fn arbiter(&self, name: &str) -> Option<&Peer> {
        let best = |phase: Phase| self.in_phase(phase).max_by_key(|peer| (score(name, &peer.node), &peer.node));
        best(Phase::Up).or_else(|| best(Phase::Draining))
    }

    /// The members that are Up.
    pub fn up(&self) -> impl Iterator<Item = &Peer> {
        self.in_phase(Phase::Up)
    }

    /// The members that stay: those that are Up, or are being emptied.
    pub fn staying(&self) -> impl Iterator<Item = &Peer> {
        self.in_phase(Phase::Up).chain(self.in_phase(Phase::Draining))
    }

    fn in_phase(&self, wanted: Phase) -> impl Iterator<Item = &Peer> {
        self.members.iter().filter(move |(_, phase)| **phase == wanted).map(|(peer, _)| peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::fixture::peer;
    use proptest::prelude::*;

    const PHASES: [Phase; 4] = [Phase::Joining, Phase::Up, Phase::Leaving, Phase::Draining];

    /// Of a node whether it is there, its incarnation, and its phase if it has said one.
    type Said = Option<(bool, u64, Option<usize>)>;

    fn members(of: &[Said]) -> BTreeMap<NodeId, Member> {
        let member = |(node, known): (&str, &Said)| {
            let (present, incarnation, phase) = (*known)?;
            let beat = phase.map(|phase| {
                let phase = PHASES[phase];
                let [counter, view, changes, seen, max, durable, heard, holds, time] = [0; 9];
                (Beat { counter, phase, view, changes, seen, max, durable, heard, holds, time }, 0)
            });
            Some((peer(node).node, Member { present, beat, ..Member::new(Incarnation(incarnation)) }))
        };
        ["a", "c", "d"].into_iter().zip(of).filter_map(member).collect()
    }

    fn all() -> impl Strategy<Value = (usize, [Said; 3])> {
        let one = || proptest::option::of((any::<bool>(), 1..3_u64, proptest::option::of(0..4_usize)));
        (0..4_usize, [one(), one(), one()])
    }

    proptest! {
        #[test]
        fn a_view_knows_whether_it_is_still_so((phase, of) in all(), (later_phase, later) in all()) {
            let me = peer("b");
            let view = View::of(&me, PHASES[phase], &members(&of));
            prop_assert!(view.is_of(&me, PHASES[phase], &members(&of)));
            let (phase, of) = (PHASES[later_phase], members(&later));
            prop_assert_eq!(view.is_of(&me, phase, &of), view == View::of(&me, phase, &of));
        }
    }
}
