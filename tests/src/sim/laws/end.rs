//! Whether a cluster is at rest, and what must be so then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sworm::core::directory::Standing;
use sworm::core::message::{Ask, Refusal};

use super::AT_ONCE_MS;
use crate::sim::world::World;

impl World {
    /// Whether all directories are equal, every worker runs where they say, and nothing else runs.
    pub fn is_at_rest(&self) -> bool {
        self.unrest().is_none()
    }

    /// Why the cluster is not at rest.
    pub(in crate::sim) fn unrest(&self) -> Option<String> {
        let waits = |asked: &crate::sim::world::Asked| {
            asked.answer.is_none() && asked.until_ms >= self.now_ms && self.nodes.contains_key(&asked.on)
        };
        if let Some((number, _)) = self.asked.iter().find(|(_, asked)| waits(asked)) {
            return Some(format!("request {number} has no answer"));
        }
        let mut hashes = BTreeMap::new();
        for (id, node) in self.nodes.iter().filter(|(_, node)| node.opens) {
            if !node.core.settled() {
                return Some(format!(
                    "{id} is not settled: {}",
                    node.core.describe_members() + &format!("{:?} {:?}", node.membership.known(), node.links)
                ));
            }
            hashes.entry(node.core.directory().hash()).or_insert_with(Vec::new).push(id);
            if node.core.has_to_offer() {
                return Some(format!("{id} holds a state that a worker lacks"));
            }
            for (name, worker) in &node.workers {
                match node.core.standing(name) {
                    Standing::Claimed { host, cell } if host == node.me && cell.since == worker.since => {}
                    standing => return Some(format!("{id} runs {name} {}, and {standing:?}", worker.since)),
                }
            }
            if let Some(name) = node.overlaid.first() {
                return Some(format!("{id} still says of {name} what an answer said"));
            }
            for (name, entry) in &node.index {
                if entry.running && self.places(name).is_empty() {
                    let why = self.describe(name);
                    return Some(format!("{id} says that {name} runs on {}, and it does not{why}", entry.host));
                }
                let failed = matches!(entry.cell.state, sworm::core::cell::NameState::Failed { .. });
                if !entry.running && !failed && !self.broken.contains(name) {
                    return Some(format!("{name} does not run: {:?}{}", entry.cell.state, self.describe(name)));
                }
            }
        }
        (hashes.len() > 1).then(|| format!("directories differ: {hashes:?}"))
    }

    /// What must hold when all faults are over and the cluster is at rest.
    pub(in crate::sim) fn check_end(&mut self) {
        let found = self
            .overdue()
            .or_else(|| self.laws.untold())
            .or_else(|| {
                self.laws.unseen(|name, birth| self.places(name).iter().any(|(_, worker)| worker.birth == birth))
            })
            .or_else(|| self.names_are_wrong())
            .or_else(|| self.groups_are_wrong())
            .or_else(|| self.lanes_are_wrong());
        if let Some(what) = found {
            self.laws.broken(what);
        }
    }

    /// A request whose time is over and that has not ended.
    pub(in crate::sim) fn overdue(&self) -> Option<String> {
        let late = |asked: &crate::sim::world::Asked| {
            asked.answer.is_none()
                && asked.until_ms < self.now_ms
                && self.nodes.get(&asked.on).is_some_and(|node| node.paused_until.is_none())
        };
        let found = self.asked.iter().find(|(_, asked)| late(asked) && !self.options.may_part());
        found.map(|(number, asked)| format!("request {number} has not ended in time: {asked:?}"))
    }

    fn names_are_wrong(&self) -> Option<String> {
        let names: BTreeSet<Arc<str>> = self.asked.values().map(|asked| asked.ask.name().clone()).collect();
        names
            .iter()
            .find_map(|name| self.name_is_wrong(name).map(|what| format!("{name} {what}{}", self.describe(name))))
    }

    fn name_is_wrong(&self, name: &Arc<str>) -> Option<String> {
        let places = self.places(name);
        if places.len() > 1 {
            return Some(format!("runs on {} nodes", places.len()));
        }
        let mut all_known = true;
        let mut never_ended = true;
        for asked in self.asked.values().filter(|asked| asked.ask.name() == name) {
            let of_groups = matches!(asked.ask, Ask::Join { .. } | Ask::Leave { .. });
            all_known &= of_groups || matches!(asked.answer, Some(Some(_)));
            never_ended &= !matches!(asked.ask, Ask::Unregister { .. });
            if let Some(Some(Err(Refusal::Again))) = asked.answer {
                return Some("was answered with what is no answer".into());
            }
        }
        let registered = self.laws.registered.get(name).cloned().unwrap_or_default();
        let ended = self.laws.ended.get(name).cloned().unwrap_or_default();
        let failed = self.nodes.values().any(|node| {
            let failed =
                |cell: &sworm::core::cell::NameCell| matches!(cell.state, sworm::core::cell::NameState::Failed { .. });
            node.index.get(name).is_some_and(|entry| failed(&entry.cell))
        });
        if let Some((_, worker)) = places.first()
            && ended.contains(&worker.birth)
        {
            return Some(format!("runs, and the end of {:?} was acknowledged", worker.birth));
        }
        let over = registered.iter().any(|birth| self.laws.over.contains(&(name.clone(), *birth)));
        if never_ended && !registered.is_empty() && places.is_empty() && !failed && !over {
            return Some("was registered, never ended, and does not run".into());
        }
        if registered.is_empty() && all_known && !places.is_empty() {
            return Some("was never registered and runs".into());
        }
        // Somebody who gave up after a failure may have been replaced; so may one of whom only those knew who are gone.
        let unheard = registered.iter().any(|birth| self.laws.unheard.contains(&(name.clone(), *birth)));
        let known = self.laws.deaths.is_sorted_by(|a, b| a + AT_ONCE_MS < *b) && !unheard;
        if never_ended && registered.len() > 1 && known && !self.options.may_part() && !self.options.crashes {
            return Some(format!("was registered {} times and never ended", registered.len()));
        }
        if let Some((_, worker)) = places.first() {
            let at_once = !self.laws.deaths.is_sorted_by(|a, b| a + AT_ONCE_MS < *b);
            let excused = self.options.may_part() || at_once && self.options.lost_disks;
            let parted = self.options.may_part() && !self.options.lost_disks;
            if let Some(what) = self.laws.parted.is_behind(name, worker.birth, worker.count).filter(|_| parted) {
                return Some(what);
            }
            if let Some(what) = self.laws.states.is_behind(name, worker.birth, worker.count, true).filter(|_| !excused)
            {
                return Some(what);
            }
        }
        let lookups: BTreeSet<Option<(String, bool)>> = self
            .nodes
            .values()
            .map(|node| node.index.get(name).map(|entry| (entry.host.to_string(), entry.running)))
            .collect();
        (lookups.len() > 1).then(|| format!("is looked up differently: {lookups:?}"))
    }

    /// Equal lanes hold equal cells, and what has ended is forgotten.
    fn lanes_are_wrong(&self) -> Option<String> {
        let mut seen = BTreeMap::new();
        for (id, node) in &self.nodes {
            for (lane, content) in node.core.directory().lanes() {
                let cells = (content.names().collect::<Vec<_>>(), content.facts().collect::<Vec<_>>());
                let key = (lane.clone(), content.max());
                let (first, known) = seen.entry(key).or_insert_with(|| (id, cells.clone()));
                if *known != cells {
                    return Some(format!("{first} and {id} hold {lane} at {} differently", content.max()));
                }
                let forgotten = self.nodes.values().any(|node| node.me == *lane);
                if !forgotten && self.nodes.len() == self.machines.len() {
                    let names: Vec<_> = content.names().map(|(name, _)| name.clone()).collect();
                    let why: String = names.iter().map(|name| format!("\n{name}:{}", self.describe(name))).collect();
                    return Some(format!("{id} still holds {lane}, which has ended, with {names:?}{why}"));
                }
            }
        }
        None
    }
}
