//! How long names wait for a node that has come: the oftener it comes, the longer.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::fault::{Fault, planted};
use crate::core::ids::{NodeId, Peer};

/// How long the members must have been the same, and how long names wait for a node that comes once.
pub(super) const CALM_MS: u64 = 5_000;
/// How long names wait at most for a node that comes again and again.
const MOST_CALM_MS: u64 = 300_000;
/// So long after a node came it does not matter any more how often it did.
const FORGET_MS: u64 = 600_000;

/// How often each node has come of late.
#[derive(Debug, Default)]
pub(super) struct Comings {
    here: BTreeSet<Peer>,
    of_late: BTreeMap<NodeId, Coming>,
}

#[derive(Debug)]
struct Coming {
    times: u32,
    last_ms: u64,
}

impl Comings {
    /// These are the members from now on.
    pub(super) fn note<'a>(&mut self, now_ms: u64, members: impl Iterator<Item = &'a Peer>) {
        self.of_late.retain(|_, coming| now_ms < coming.last_ms + FORGET_MS);
        let members: BTreeSet<Peer> = members.cloned().collect();
        for peer in members.difference(&self.here) {
            let coming = self.of_late.entry(peer.node.clone()).or_insert(Coming { times: 0, last_ms: now_ms });
            coming.times += 1;
            coming.last_ms = now_ms;
        }
        self.here = members;
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
