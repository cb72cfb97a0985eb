//! That a worker starts from an older state than the newest is told only where nobody in view has that one: whoever may have it is
//! waited for, those who are known to hold it for long.

use std::collections::BTreeMap;
use std::sync::Arc;

use sworm::core::cell::Revision;
use sworm::core::ids::{Birth, Epoch, Peer};

use crate::sim::disk::states;
use crate::sim::world::World;

/// How long somebody may take to say what state it has, if it is not known to hold the newest, and else, unless something else
/// is set.
const ANSWER_MS: u64 = 3_000;
const HOLDER_MS: u64 = 10_000;
/// What two clocks may differ by in that time.
const APART_MS: u64 = 200;

/// A worker that is to start, by its node, its name and its epoch.
type Starting = (Peer, Arc<str>, Epoch);

/// The states that are being looked for.
#[derive(Default)]
pub(super) struct Searches {
    /// Since when, and what others had then.
    begun: BTreeMap<Starting, (u64, BTreeMap<Peer, Revision>)>,
    /// Of starts of which it was told that they are from an older one: what those had who could have been waited for.
    told: BTreeMap<Starting, BTreeMap<Peer, Revision>>,
}

impl World {
    /// A node begins to look for the best state of a lineage.
    pub(in crate::sim) fn looks_for(&mut self, at: &Peer, name: &Arc<str>, birth: Birth) {
        let Some(since) = self.nodes[&*at.node].core.directory().mine(name).map(|cell| cell.since) else { return };
        let starting = (at.clone(), name.clone(), since);
        if self.laws.searches.begun.contains_key(&starting) {
            return;
        }
        let others = self.nodes.values().filter(|node| node.me != *at);
        let kept = others.filter_map(|node| {
            let (_, revision) = node.core.kept(name).filter(|(kept, _)| *kept == birth)?;
            Some((node.me.clone(), revision))
        });
        let had = kept.collect();
        self.laws.searches.begun.insert(starting, (self.now_ms, had));
    }

    /// It tells that its worker is started from an older state than the newest.
    pub(in crate::sim) fn tells_older(&mut self, at: &Peer, name: &Arc<str>, since: Epoch) {
        let starting = (at.clone(), name.clone(), since);
        let Some((since_ms, had)) = self.laws.searches.begun.get(&starting) else { return };
        let core = &self.nodes[&*at.node].core;
        let Some(cell) = core.directory().mine(name) else { return };
        let usual = if cell.spec.patient { u64::MAX } else { HOLDER_MS };
        let (looked_ms, holder_ms) = (self.now_ms - since_ms, self.options.state_wait_ms.unwrap_or(usual));
        let waited_for = had.iter().filter(|(peer, _)| {
            let limit_ms = if cell.holders.contains(&peer.node) { holder_ms } else { ANSWER_MS };
            core.has_in_view(peer) && looked_ms + APART_MS < limit_ms
        });
        let waited_for = waited_for.map(|(peer, revision)| (peer.clone(), *revision)).collect();
        self.laws.searches.told.insert(starting, waited_for);
    }

    /// A worker is started from that state, or from none.
    pub(in crate::sim) fn starts_from(&mut self, at: &Peer, name: &Arc<str>, since: Epoch, from: Option<Revision>) {
        let starting = (at.clone(), name.clone(), since);
        self.laws.searches.begun.remove(&starting);
        let Some(had) = self.laws.searches.told.remove(&starting) else { return };
        let Some(birth) = self.nodes[&*at.node].core.birth_of(name) else { return };
        let newer = had.into_iter().find(|(peer, revision)| {
            let machine = &self.machines[&*peer.node];
            Some(*revision) > from
                && self.nodes.get(&*peer.node).is_some_and(|node| node.me == *peer)
                && !machine.unreadable.contains(name)
                && states(&machine.disk).contains(&(name.clone(), birth, *revision))
        });
        if let Some((peer, revision)) = newer {
            self.laws.broken(format!(
                "{name} starts from {from:?} on {at}, which tells that it is older, and {peer} in view has {revision:?}"
            ));
        }
    }
}
