//! What nodes without a majority have parked: a later worker gets it.

use std::collections::BTreeSet;
use std::sync::Arc;

use sworm::core::cell::Revision;
use sworm::core::ids::{Birth, Peer};

use super::{Kept, Laws};
use crate::sim::disk::states;
use crate::sim::node::{Node, STOP_MS};
use crate::sim::world::World;

/// Whether a state is there, or what the same worker had when it was saved again: that has it as well.
fn is_in(states: &BTreeSet<Kept>, kept: &Kept) -> bool {
    let (name, birth, revision) = kept;
    let last = (name.clone(), *birth, Revision { number: u64::MAX, ..*revision });
    states.range(kept..=&last).next().is_some()
}

impl Laws {
    /// A worker is parked with this state, since its node has no majority.
    pub(in crate::sim) fn parks(&mut self, now_ms: u64, at: &Peer, name: &Arc<str>, birth: Birth, revision: Revision) {
        self.parked.insert((name.clone(), birth, revision), (at.node.to_string(), now_ms));
    }

    /// A worker is started from a state, or has been given it.
    pub(in crate::sim) fn goes_on_from(&mut self, name: &Arc<str>, birth: Birth, revision: Revision) {
        self.gone_on_from.insert((name.clone(), birth, revision));
    }

    /// Of what was parked on a node only this is there when its process has ended: the rest had not reached its disk.
    pub(in crate::sim) fn only_keeps(&mut self, node: &str, kept: &BTreeSet<Kept>) {
        self.parked.retain(|parked, (on, _)| on != node || kept.contains(parked));
    }

    /// A state with which a worker was parked, and that no later worker of its lineage has seen.
    pub(super) fn unseen(&self, runs: impl Fn(&str, Birth) -> bool) -> Option<String> {
        let unseen = |kept: &&Kept| !is_in(&self.gone_on_from, kept) && runs(&kept.0, kept.1);
        let (name, _, revision) = self.parked.keys().find(unseen)?;
        Some(format!("{name} was parked with {revision:?}, and no later worker of it was given that"))
    }
}

impl World {
    /// What was parked is on the disk before the other side starts the name: from there it can be offered. One that stood still
    /// meanwhile, or until just before, has not had the time.
    pub(in crate::sim) fn parked_states_are_durable(&mut self, at: &Peer, name: &Arc<str>, birth: Birth) {
        let lost = self.laws.parked.iter().find(|(kept, (on, since_ms))| {
            let is_it = kept.0 == *name && kept.1 == birth && **on != *at.node;
            let woke = |node: &Node| node.resumed_ms > 0 && node.resumed_ms + STOP_MS + 200 >= *since_ms;
            let had_time = |node: &Node| node.paused_until.is_none() && !woke(node);
            is_it
                && !is_in(&self.laws.gone_on_from, kept)
                && self.nodes.get(on).is_some_and(had_time)
                && !self.machines[on].disk.has_failed()
                && !is_in(&states(&self.machines[on].disk.durable_part()), kept)
        });
        if let Some(((_, _, revision), (on, _))) = lost {
            let what =
                format!("{name} starts on {at}, and {revision:?}, with which it was parked, is not durable on {on}");
            self.laws.broken(what);
        }
    }
}
