//! What the plots have in common.

use std::collections::BTreeMap;
use std::sync::Arc;

use sworm::core::ids::Epoch;

use crate::sim::script::name;
use crate::sim::world::World;

/// Where each name runs, and since when.
pub(super) type Places = BTreeMap<Arc<str>, (String, Epoch)>;

impl World {
    pub(super) fn pause(&mut self, ms: std::ops::Range<u64>) {
        let ms = self.rng.u64(ms);
        self.run(ms);
    }

    pub(super) fn any_node(&mut self) -> String {
        let alive = self.alive();
        alive[self.rng.usize(0..alive.len())].clone()
    }

    pub(super) fn any_name(&mut self) -> String {
        name(self.rng.u64(0..self.options.names))
    }

    /// Where restart strategies are drawn, a worker ends now and then.
    pub(super) fn ends_one(&mut self) {
        if self.options.drawn && self.rng.u32(0..6) == 0 {
            let name = self.any_name();
            if self.rng.bool() { self.crash(&name) } else { self.stop(&name) }
        }
    }

    /// Asks for all names, each on some node.
    pub(super) fn register_all(&mut self) {
        self.register_some(0..self.options.names);
    }

    pub(super) fn register_some(&mut self, names: std::ops::Range<u64>) {
        for n in names {
            let (on, from) = (self.any_node(), self.rng.u64(0..3));
            self.register(&on, &name(n), from);
        }
    }

    /// Asks for a name where chance wants it to be: who decides about it is then seldom who runs it.
    pub(super) fn register_anywhere(&mut self, name: &str) {
        let (on, at, from) = (self.any_node(), self.any_node(), self.rng.u64(0..3));
        self.register_at(&on, name, from, Some(&at));
    }

    pub(super) fn register_all_on(&mut self, on: &str) {
        for n in 0..self.options.names {
            let from = self.rng.u64(0..3);
            self.register(on, &name(n), from);
        }
    }

    pub(super) fn register_everywhere(&mut self, name: &str) {
        for on in self.alive() {
            let from = self.rng.u64(0..3);
            self.register(&on, name, from);
        }
    }

    pub(super) fn count_all(&mut self, save: bool) {
        for n in 0..self.options.names {
            self.count(&name(n), save);
        }
    }

    pub(super) fn start_all_shuffled(&mut self, pause_ms: u64) {
        while self.nodes.len() < self.machines.len() {
            self.start_one();
            self.pause(0..pause_ms);
        }
    }

    pub(super) fn answered_within(&mut self, ms: u64) {
        self.run_while(ms, |world| world.asked.values().any(|asked| asked.answer.is_none()));
    }

    /// The cluster comes to rest in that time.
    pub(super) fn rests_within(&mut self, ms: u64) {
        let until = self.now_ms + ms;
        while self.violation().is_none() && self.unrest().is_some() {
            if self.now_ms >= until {
                let why = self.unrest().unwrap_or_default();
                return self.laws.broken(format!("{ms} ms were not enough: {why}"));
            }
            self.run(100);
        }
    }

    pub(super) fn all_places(&self) -> Places {
        let running = self.nodes.iter().flat_map(|(node, state)| state.workers.iter().map(move |w| (node, w)));
        running.map(|(node, (name, worker))| (name.clone(), (node.clone(), worker.since))).collect()
    }

    /// What did not run on that node runs where it ran, and has never stopped.
    pub(super) fn undisturbed(&mut self, before: &Places, but: &str) {
        let now = self.all_places();
        let moved = before.iter().find(|(name, place)| place.0 != but && now.get(*name) != Some(*place));
        if let Some((name, (node, since))) = moved {
            let what = format!("{name} ran on {node} since {since} and was disturbed: {:?}", now.get(name));
            self.laws.broken(what);
        }
    }
}
