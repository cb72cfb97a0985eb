//! What can be seen of a cluster from outside.

use std::collections::BTreeSet;

use sworm::core::directory::Directory;
use sworm::core::ids::Peer;

use super::World;
use crate::sim::node::{Node, Worker};

impl World {
    /// The names of the nodes that run.
    pub fn alive(&self) -> Vec<String> {
        self.nodes.keys().cloned().collect()
    }

    /// The nodes that run and are not stopped.
    pub(in crate::sim) fn awake(&self) -> Vec<String> {
        self.nodes.iter().filter(|(_, node)| node.paused_until.is_none()).map(|(name, _)| name.clone()).collect()
    }

    /// How many chunks a node's disk has that belong to no state.
    pub fn left_over(&self, on: &str) -> usize {
        crate::sim::disk::left_over(&self.machines[on].disk)
    }

    /// Where a name runs.
    pub fn places(&self, name: &str) -> Vec<(&str, &Worker)> {
        let found = self.nodes.iter().filter_map(|(node, state)| Some((node.as_str(), state.workers.get(name)?)));
        found.collect()
    }

    /// Who holds the newest state of a name, as its host says.
    pub(in crate::sim) fn holders(&self, host: &str, name: &str) -> Vec<String> {
        let mine = self.nodes.get(host).and_then(|node| node.core.directory().mine(&name.into()).cloned());
        mine.map_or_else(Vec::new, |cell| cell.holders.iter().map(ToString::to_string).collect())
    }

    /// Where a name really runs: one that goes on after it was stopped may take some time to see that its lease has ended,
    /// and to end, whether there is a majority again by then or not.
    pub(in crate::sim) fn active_places(&self, name: &str) -> Vec<String> {
        let active = |node: &Node| {
            let woke = self.now_ms <= node.resumed_ms + crate::sim::node::STOP_MS + 200;
            let ends = !node.may_go_on(self.now_ms) || node.workers.get(name).is_some_and(|worker| worker.stops);
            !self.options.majority || node.paused_until.is_none() && !(woke && ends)
        };
        let places = self.nodes.iter().filter(|(_, node)| node.workers.contains_key(name) && active(node));
        places.map(|(node, _)| node.clone()).collect()
    }

    /// Where a name runs, which must be one place.
    pub fn worker(&self, name: &str) -> Option<(String, Worker)> {
        let places = self.places(name);
        assert!(places.len() <= 1, "{name} runs {} times", places.len());
        places.first().map(|(node, worker)| ((*node).to_owned(), (*worker).clone()))
    }

    /// What each node's look-up says of a name: where it is, and whether it runs.
    pub fn lookups(&self, name: &str) -> Vec<Option<(Peer, bool)>> {
        let entry = |node: &Node| node.index.get(name).map(|entry| (entry.host.clone(), entry.running));
        self.nodes.values().map(entry).collect()
    }

    /// In which groups a name is, as each node's look-up says.
    pub fn groups(&self, name: &str) -> Vec<Vec<String>> {
        let groups = |node: &Node| node.index.get(name).map(|entry| entry.cell.groups.clone()).unwrap_or_default();
        self.nodes.values().map(|node| groups(node).iter().map(ToString::to_string).collect()).collect()
    }

    /// Whether ticks pass over the workers of every node.
    pub fn ticks_are_idle(&self) -> bool {
        self.nodes.values().all(|node| node.core.workers_are_idle())
    }

    /// A node, and all that it holds.
    pub fn directory(&mut self, on: &str) -> (Peer, &mut Directory) {
        let node = self.nodes.get_mut(on).expect("it runs");
        (node.me.clone(), node.core.directory_mut())
    }

    /// How many names a node knows.
    pub fn names_at(&self, on: &str) -> usize {
        let names = self.nodes[on].core.directory().lanes().flat_map(|(_, lane)| lane.names());
        names.map(|(name, _)| name).collect::<BTreeSet<_>>().len()
    }

    /// From whom a node gets a lane in parts, and how many cells of it it has so far.
    pub fn staged(&self, on: &str) -> Option<(String, usize)> {
        self.nodes[on].core.staged().map(|(from, cells)| (from.node.to_string(), cells))
    }

    /// Whether a worker fails to start there.
    pub(in crate::sim) fn is_broken(&self, at: &Peer, name: &str) -> bool {
        self.broken.contains(name) || self.broken_on.contains(&*at.node)
    }

    /// How many workers a node runs.
    pub fn workers(&self, on: &str) -> usize {
        self.nodes[on].workers.len()
    }
}
