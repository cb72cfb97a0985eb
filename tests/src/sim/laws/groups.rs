//! Groups: what was acknowledged of them goes along with the worker, as long as anybody is there who knows.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use sworm::NodeId;
use sworm::core::cell::NameCell;
use sworm::core::ids::{Birth, Epoch, Peer};
use sworm::core::message::{Answer, Ask, Done};

use crate::sim::node::Node;
use crate::sim::world::World;

/// A worker that is to join or to leave a group.
#[derive(Debug)]
struct Change {
    name: Arc<str>,
    group: Arc<str>,
    joins: bool,
    asked_ms: u64,
    /// From then on it is not carried out any more.
    over_ms: u64,
    said: Option<Said>,
}

/// That it was acknowledged.
#[derive(Debug)]
struct Said {
    at_ms: u64,
    birth: Birth,
    /// Of which start of the worker.
    since: Epoch,
    /// The lanes that have it, each from that number on: that of its host, and of those who took the worker over.
    lanes: Vec<(Peer, u64)>,
    /// Whether the worker was started elsewhere when nobody was there who knew of it.
    lost: bool,
}

impl Change {
    /// What must be so, if nothing else came after it.
    fn holds(&self) -> Option<&Said> {
        self.said.as_ref().filter(|said| !said.lost)
    }

    /// Whether it was over when another one was asked for that holds.
    fn is_before(&self, later: &Self) -> bool {
        later.holds().is_some() && later.asked_ms > self.said.as_ref().map_or(self.over_ms, |said| said.at_ms)
    }

    /// Whether a node has the cell that says so, and had it when its host ended: what was still on its way then may come when
    /// the name was given to somebody else.
    fn is_held_by(&self, node: &Node, ended: &Ended) -> bool {
        let held = |said: &Said, host: &Peer, from: u64| {
            let in_time = |at_end: &BTreeMap<NodeId, u64>| {
                node.me.node == host.node || at_end.get(&node.me.node).is_some_and(|max| *max >= from)
            };
            let lane = node.core.directory().lane(host).filter(|lane| lane.max() >= from);
            lane.filter(|_| ended.get(host).is_none_or(in_time))
                .and_then(|lane| lane.name(&self.name))
                .is_some_and(|(_, cell)| cell.birth == said.birth)
        };
        self.said.as_ref().is_some_and(|said| said.lanes.iter().any(|(host, from)| held(said, host, *from)))
    }
}

/// How much of the lanes of processes that have ended the other nodes held then.
type Ended = BTreeMap<Peer, BTreeMap<NodeId, u64>>;

/// All changes of groups, by the numbers of their requests.
#[derive(Default)]
pub(in crate::sim) struct Groups {
    changes: BTreeMap<u64, Change>,
    /// When workers were started.
    starts: BTreeMap<(Arc<str>, Epoch), u64>,
    ended: Ended,
}

impl Groups {
    pub(in crate::sim) fn asked(&mut self, number: u64, ask: &Ask, asked_ms: u64, until_ms: u64) {
        let (group, joins) = match ask {
            Ask::Join { group, .. } => (group.clone(), true),
            Ask::Leave { group, .. } => (group.clone(), false),
            _ => return,
        };
        // What was sent at last may be on its way, and clocks run apart.
        let over_ms = until_ms + 5_000;
        self.changes.insert(number, Change { name: ask.name().clone(), group, joins, asked_ms, over_ms, said: None });
    }

    /// A process has ended; others hold so much of its lane.
    pub(in crate::sim) fn ends(&mut self, me: &Peer, held: impl Iterator<Item = (NodeId, u64)>) {
        self.ended.insert(me.clone(), held.collect());
    }

    /// An answer shows what it acknowledges, unless something else was asked of that group meanwhile. One that comes when the worker
    /// has been started again may be of a host that has died: who started it did not look for what was acknowledged later.
    pub(in crate::sim) fn answered(&mut self, number: u64, answer: &Answer, at_ms: u64) -> Option<String> {
        let Ok(Done::Regrouped { name, host, cell, said }) = answer else { return None };
        let change = self.changes.get_mut(&number)?;
        let lanes = vec![(host.clone(), *said)];
        let later = self.starts.range((Excluded((name.clone(), cell.since)), Unbounded)).next();
        let lost = later.is_some_and(|((started, _), _)| started == name);
        change.said = Some(Said { at_ms, birth: cell.birth, since: cell.since, lanes, lost });
        let change = &self.changes[&number];
        let meanwhile = |(other, it): (&u64, &Change)| {
            let is_over = it.said.as_ref().map_or(it.over_ms, |said| said.at_ms) < change.asked_ms;
            *other != number && it.name == *name && it.group == change.group && !is_over
        };
        let shows = cell.groups.contains(&change.group) == change.joins || self.changes.iter().any(meanwhile);
        let is_wrong = change.name != *name || !shows;
        is_wrong.then(|| format!("request {number} was answered with {:?}: {change:?}", cell.groups))
    }

    /// The changes that a cell contradicts, each of which nothing came after; or that it is in a group which nothing put it in.
    fn wrong(&self, name: &Arc<str>, cell: &NameCell) -> Result<Vec<u64>, String> {
        let of_name = |change: &&Change| change.name == *name;
        let groups = self.changes.values().filter(of_name).map(|change| &change.group).chain(cell.groups.iter());
        for group in groups.collect::<BTreeSet<_>>() {
            let of_group: Vec<(&u64, &Change)> = self
                .changes
                .iter()
                .filter(|(_, change)| change.name == *name && change.group == *group)
                .filter(|(_, change)| change.said.as_ref().is_none_or(|said| said.birth == cell.birth))
                .collect();
            let is_last = |change: &Change| !of_group.iter().any(|(_, later)| change.is_before(later));
            let last: Vec<_> = of_group.iter().filter(|(_, change)| is_last(change)).collect();
            let is_in = cell.groups.contains(group);
            let none_holds = last.iter().all(|(_, change)| change.holds().is_none());
            if last.iter().any(|(_, change)| change.joins == is_in) || none_holds && !is_in {
                continue;
            }
            let wrong: Vec<u64> =
                last.iter().filter(|(_, change)| change.holds().is_some()).map(|(number, _)| **number).collect();
            if wrong.is_empty() {
                return Err(format!("{name} is in {group}, and nobody has put it there"));
            }
            return Ok(wrong);
        }
        Ok(Vec::new())
    }
}

impl World {
    /// A worker is started with the groups that were acknowledged, if anybody is there who knows of them. (With cuts one who is
    /// not there may be heard of later, and loses.)
    pub(in crate::sim) fn groups_come_along(&mut self, at: &Peer, name: &Arc<str>, birth: Birth, since: Epoch) {
        let core = &self.nodes[&*at.node].core;
        let Some(cell) = core.directory().mine(name).cloned() else { return };
        self.laws.groups.starts.entry((name.clone(), since)).or_insert(self.now_ms);
        loop {
            let wrong = match self.laws.groups.wrong(name, &cell) {
                Ok(wrong) if wrong.is_empty() => break,
                Ok(wrong) => wrong,
                Err(what) => return self.laws.broken(what),
            };
            for number in wrong {
                let core = &self.nodes[&*at.node].core;
                let Groups { changes, ended, .. } = &self.laws.groups;
                let change = &changes[&number];
                let in_view = |peer: &Peer| peer == at || core.up().any(|up| up == peer);
                let known = self.nodes.values().find(|node| in_view(&node.me) && change.is_held_by(node, ended));
                if let Some(node) = known.filter(|_| !self.options.may_part()) {
                    let what = format!(
                        "{name} {since} starts on {at} in {:?}, and {} knows of request {number}: {change:?}",
                        cell.groups, node.me
                    );
                    return self.laws.broken(what);
                }
                self.note(|| format!("request {number} is lost"));
                let said = self.laws.groups.changes.get_mut(&number).and_then(|change| change.said.as_mut());
                said.expect("it was acknowledged").lost = true;
            }
        }
        let from = self.nodes[&*at.node].core.directory().said(at, name);
        for change in self.laws.groups.changes.values_mut().filter(|change| change.name == *name) {
            let holds = cell.groups.contains(&change.group) == change.joins;
            if let Some(said) = change.said.as_mut().filter(|said| holds && said.birth == birth && !said.lost) {
                said.lanes.push((at.clone(), from));
            }
        }
    }

    /// Who runs is in all groups whose joining was acknowledged last, and in no other, and all look-ups say so.
    pub(super) fn groups_are_wrong(&self) -> Option<String> {
        for (id, node) in &self.nodes {
            for (name, worker) in &node.workers {
                let Some(cell) = node.core.directory().mine(name) else { continue };
                let wrong = match self.laws.groups.wrong(name, cell) {
                    Ok(wrong) => wrong,
                    Err(what) => return Some(what),
                };
                let started_ms = self.laws.groups.starts.get(&(name.clone(), worker.since)).copied().unwrap_or(0);
                for number in wrong {
                    let change = &self.laws.groups.changes[&number];
                    // With cuts it may have been another worker's, which has lost since.
                    let has_lost = |said: &Said| said.since != worker.since && said.at_ms >= started_ms;
                    if !(self.options.may_part() && change.holds().is_some_and(has_lost)) {
                        let groups = &cell.groups;
                        return Some(format!("{name} on {id} is in {groups:?}, and request {number} was {change:?}"));
                    }
                }
                let groups = |node: &Node| node.index.get(name).map(|entry| entry.cell.groups.clone());
                if let Some(other) = self.nodes.values().find(|other| groups(other).as_ref() != Some(&cell.groups)) {
                    let what = (groups(other), &cell.groups);
                    return Some(format!("{} looks {name} up in other groups than it is in: {what:?}", other.me));
                }
            }
        }
        None
    }
}
