//! No stale state: a worker starts from what was acknowledged last, or it is told that it does not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sworm::core::ids::{Birth, Epoch, NodeId, Peer};

use crate::sim::world::World;

/// A worker is started.
pub(in crate::sim) struct Start<'a> {
    pub(in crate::sim) at: &'a Peer,
    pub(in crate::sim) name: &'a Arc<str>,
    pub(in crate::sim) birth: Birth,
    pub(in crate::sim) since: Epoch,
    pub(in crate::sim) count: u64,
    /// Where it runs.
    pub(in crate::sim) places: &'a [String],
    /// The nodes that run.
    pub(in crate::sim) running: BTreeSet<Peer>,
    pub(in crate::sim) now_ms: u64,
}

/// A count that was acknowledged.
#[derive(Default)]
pub(in crate::sim) struct Acked {
    pub(in crate::sim) count: u64,
    /// Who held it then.
    pub(in crate::sim) holders: BTreeSet<Peer>,
    /// Who else was there for its host: one of those at least knew who holds it.
    pub(in crate::sim) others: BTreeSet<Peer>,
}

/// A lineage.
type Line = (Arc<str>, Birth);

/// What was acknowledged, and what was told.
#[derive(Default)]
pub(super) struct States {
    /// The newest count of each lineage that was acknowledged, and not told to be given up.
    acked: BTreeMap<Line, Acked>,
    /// The starts of which it was told that they are from an older state.
    older: BTreeSet<(Arc<str>, Birth, Epoch)>,
    /// Of lineages that were started from an older state, since all who knew of it were gone, that newer one: it is told when
    /// it is back.
    untold: BTreeMap<Line, u64>,
}

/// What was acknowledged where names may run on both sides of a cut: nobody goes on from less without a word.
#[derive(Default)]
pub(super) struct Parted(BTreeMap<Line, u64>);

impl Parted {
    pub(super) fn saved(&mut self, name: &Arc<str>, birth: Birth, count: u64) {
        let known = self.0.entry((name.clone(), birth)).or_default();
        *known = count.max(*known);
    }

    /// It is told that another state is used, or has turned up.
    pub(super) fn told(&mut self, name: &Arc<str>, birth: Birth) {
        self.0.remove(&(name.clone(), birth));
    }

    /// A worker is told that it has lost a conflict: it can give what it has to the other one.
    pub(super) fn lost(&mut self, lost: &Arc<str>) {
        self.0.retain(|(name, _), _| name != lost);
    }

    pub(super) fn is_behind(&self, name: &str, birth: Birth, count: u64) -> Option<String> {
        let known = self.0.get(&(name.into(), birth)).copied().unwrap_or(0);
        (count < known)
            .then(|| format!("is at {count}, and {known} was acknowledged on one side, and that is not told"))
    }
}

impl States {
    pub(super) fn saved(&mut self, name: &Arc<str>, birth: Birth, acked: Acked) {
        let known = self.acked.entry((name.clone(), birth)).or_default();
        if acked.count >= known.count {
            *known = acked;
        }
    }

    fn acknowledged(&self, line: &Line) -> u64 {
        self.acked.get(line).map_or(0, |acked| acked.count)
    }

    /// It is told of this one start that it is from an older state than the last.
    pub(super) fn restored_older(&mut self, name: &Arc<str>, birth: Birth, since: Epoch) {
        self.older.insert((name.clone(), birth, since));
    }

    /// It is told that a newer state has turned up than the worker was started from.
    pub(super) fn diverged(&mut self, name: &Arc<str>, birth: Birth) {
        self.untold.remove(&(name.clone(), birth));
    }

    /// What is wrong with a start, when so many nodes died lately. From then on what it was started from counts, and what is
    /// acknowledged after that.
    pub(super) fn starts(&mut self, start: &Start<'_>, deaths: usize, lost_disks: bool) -> Option<String> {
        let Start { at, name, birth, since, count, running, .. } = start;
        let line = ((*name).clone(), *birth);
        let told = self.older.remove(&(line.0.clone(), *birth, *since));
        let acked = self.acked.get_mut(&line).filter(|acked| acked.count > *count)?;
        let known = std::mem::replace(&mut acked.count, *count);
        if told || lost_disks {
            return None;
        }
        // Each who holds it would say so; and one of the others knows that it is there.
        let is_held = !acked.holders.is_disjoint(running);
        let is_known = !acked.others.is_empty() && acked.others.is_subset(running);
        if deaths < 2 || is_held || is_known {
            return Some(format!("{name} starts from {count} on {at}, and {known} was acknowledged"));
        }
        let untold = self.untold.entry(line).or_default();
        *untold = known.max(*untold);
        None
    }

    /// Whether a worker is behind what was acknowledged, and it was not told; with `all_back` also if those were gone who knew.
    pub(super) fn is_behind(&self, name: &str, birth: Birth, count: u64, all_back: bool) -> Option<String> {
        let line = (name.into(), birth);
        let untold = self.untold.get(&line).copied().filter(|_| all_back).unwrap_or(0);
        let known = self.acknowledged(&line).max(untold);
        (count < known).then(|| format!("is at {count}, and {known} was acknowledged"))
    }
}

impl World {
    /// A count of a worker is durable: who holds it, and who else is there.
    pub(in crate::sim) fn acked(&self, at: &Peer, name: &Arc<str>, count: u64) -> Acked {
        let core = &self.nodes[&*at.node].core;
        let cell = core.directory().mine(name);
        let names: BTreeSet<&NodeId> = cell.map(|cell| cell.holders.iter().collect()).unwrap_or_default();
        let incarnation = |node: &&NodeId| self.nodes.get(&***node).map(|node| node.me.clone());
        let others = core.up().filter(|peer| *peer != at && !names.contains(&peer.node)).cloned().collect();
        Acked { count, holders: names.iter().filter_map(incarnation).collect(), others }
    }

    /// What was acknowledged is there, though nodes died, or it was told that it is not.
    pub(in crate::sim) fn nothing_lost(&mut self) {
        let all_back = self.nodes.len() == self.machines.len();
        for n in 0..self.options.names {
            let name = crate::sim::script::name(n);
            let running = self.places(&name).first().map(|(_, worker)| (worker.birth, worker.count));
            let behind = running.and_then(|(birth, count)| self.laws.states.is_behind(&name, birth, count, all_back));
            if let Some(what) = behind {
                return self.laws.broken(format!("{name} {what}, and a copy was there"));
            }
        }
    }
}
