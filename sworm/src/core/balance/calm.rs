//! Which nodes have come and are to be given names, and how long names wait for one: the oftener it comes, the longer.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::fault::{Fault, planted};
use crate::core::ids::{NodeId, Peer};

/// How long the members must have been the same, and how long names wait for a node that comes once.
pub(super) const CALM_MS: u64 = 5_000;
/// How long names wait at most for a node that comes again and again.
const MOST_CALM_MS: u64 = 300_000;
/// So long after a node came it does not matter any more how often it did.
pub(super) const FORGET_MS: u64 = 600_000;

/// Who has come since names moved for balance, and how often each node has of late.
#[derive(Debug, Default)]
pub(super) struct Comings {
    here: BTreeSet<Peer>,
    /// Those that nothing has moved to yet, or not all that there is to move.
    new: BTreeSet<NodeId>,
    of_late: BTreeMap<NodeId, Coming>,
}

#[derive(Debug)]
struct Coming {
    times: u32,
    last_ms: u64,
}

impl Comings {
    /// These are the members that take part from now on. Whoever this node finds when it comes was there before.
    pub(super) fn note<'a>(&mut self, now_ms: u64, me: &Peer, members: impl Iterator<Item = &'a Peer>) {
        self.of_late.retain(|_, coming| now_ms < coming.last_ms + FORGET_MS);
        let members: BTreeSet<Peer> = members.cloned().collect();
        let was_here = self.here.contains(me);
        for peer in members.difference(&self.here) {
            let coming = self.of_late.entry(peer.node.clone()).or_insert(Coming { times: 0, last_ms: now_ms });
            coming.times += 1;
            coming.last_ms = now_ms;
            if was_here || peer == me {
                self.new.insert(peer.node.clone());
            }
        }
        self.here = members;
        let here = &self.here;
        self.new.retain(|node| here.iter().any(|peer| peer.node == *node));
    }

    /// Whether a node has come, and has not been given yet what there is to give.
    pub(super) fn is_new(&self, node: &NodeId) -> bool {
        self.new.contains(node)
    }

    /// Whether a node was there before; one that has come counts so from now on.
    pub(super) fn is_settled(&mut self, node: &NodeId) -> bool {
        !self.new.remove(node)
    }

    /// Nothing is left to move now: only those that names still wait for are given any later.
    pub(super) fn all_given(&mut self, now_ms: u64) {
        let waits = |node: &NodeId| self.calm_ms(node) > now_ms;
        self.new = self.new.iter().filter(|node| waits(node)).cloned().collect();
    }

    /// From when on names may move to a node for balance.
    pub(super) fn calm_ms(&self, node: &NodeId) -> u64 {
        self.of_late.get(node).map_or(0, |coming| coming.last_ms + calm_after(coming.times))
    }
}

/// How long names wait for a node that has come so often.
fn calm_after(times: u32) -> u64 {
    let doubled = if planted(Fault::FlapsUndamped) { 0 } else { times.saturating_sub(1).min(6) };
    (CALM_MS << doubled).min(MOST_CALM_MS)
}
