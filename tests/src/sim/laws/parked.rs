//! What nodes without a majority have parked: a later worker gets it.

use std::collections::BTreeSet;
use std::sync::Arc;

use sworm::core::cell::Revision;
use sworm::core::ids::{Birth, Peer};

use super::{Kept, Laws};

impl Laws {
    /// A worker is parked with this state, since its node has no majority.
    pub(in crate::sim) fn parks(&mut self, at: &Peer, name: &Arc<str>, birth: Birth, revision: Revision) {
        self.parked.insert((name.clone(), birth, revision), at.node.to_string());
    }

    /// A worker is started from a state, or has been given it.
    pub(in crate::sim) fn goes_on_from(&mut self, name: &Arc<str>, birth: Birth, revision: Revision) {
        self.gone_on_from.insert((name.clone(), birth, revision));
    }

    /// Of what was parked on a node only this is there when its process has ended: the rest had not reached its disk.
    pub(in crate::sim) fn only_keeps(&mut self, node: &str, kept: &BTreeSet<Kept>) {
        self.parked.retain(|parked, on| on != node || kept.contains(parked));
    }

    /// A state with which a worker was parked, and that no later worker of its lineage has seen.
    pub(super) fn unseen(&self, runs: impl Fn(&str, Birth) -> bool) -> Option<String> {
        let unseen = |kept: &&Kept| {
            // What the same worker had when it was saved again is in that as well.
            let (name, birth, revision) = *kept;
            let last = (name.clone(), *birth, Revision { number: u64::MAX, ..*revision });
            self.gone_on_from.range(*kept..=&last).next().is_none() && runs(name, *birth)
        };
        let (name, _, revision) = self.parked.keys().find(unseen)?;
        Some(format!("{name} was parked with {revision:?}, and no later worker of it was given that"))
    }
}
