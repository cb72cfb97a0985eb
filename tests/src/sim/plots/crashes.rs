//! Plots in which workers end though nobody wants them to.

use sworm::core::cell::NameState;
use sworm::core::message::{Ask, Done};

use crate::sim::script::name;
use crate::sim::world::{World, node_name};

/// So many restarts within [`PERIOD_MS`] are allowed.
const INTENSITY: usize = 3;
const PERIOD_MS: u64 = 5_000;
/// How long it may take until a task that is gone is noticed, and its worker started again.
const NOTICED_MS: u64 = 2_500;

impl World {
    /// Each worker ends often enough to be given up, wherever it is by then, and the others do not mind.
    pub(super) fn crashes(&mut self) {
        self.boot();
        self.register_all();
        self.rests_within(30_000);
        self.run(2_000);
        for n in 0..self.options.names {
            let name = name(n);
            let before = self.all_places();
            if self.rng.bool() {
                self.vanishes_once(&name);
            } else {
                self.crashes_too_often(&name);
                self.starts_again(&name);
            }
            let others = before.into_iter().filter(|(other, _)| **other != *name).collect();
            self.undisturbed(&others, "");
            if self.violation().is_some() {
                return;
            }
        }
        self.rests_within(60_000);
        // Also when nodes are gone since it was saved.
        let last = self.any_name();
        self.count(&last, true);
        self.run(1_000);
        self.crashes_too_often(&last);
        let gone = self.any_node();
        self.kill(&gone);
        self.pause(0..8_000);
        self.starts_again(&last);
        self.start_all_shuffled(1_000);
        self.rests_within(60_000);
    }

    fn vanishes_once(&mut self, name: &str) {
        let before = self.places(name).first().map(|(_, worker)| worker.since);
        self.vanish(name);
        let again = |world: &World| {
            let places = world.places(name);
            places.first().is_some_and(|(_, worker)| worker.ready && Some(worker.since) > before)
        };
        if before.is_some() && !self.run_while(NOTICED_MS, |world| !again(world)) {
            self.laws.broken(format!("{name} was gone and is not started again{}", self.describe(name)));
        }
    }

    fn crashes_too_often(&mut self, name: &str) {
        let mut ends = Vec::new();
        loop {
            let ready = |world: &World| world.places(name).first().is_some_and(|(_, worker)| worker.ready);
            if !self.run_while(PERIOD_MS, |world| !ready(world) && !world.has_failed(name)) {
                return self.laws.broken(format!("{name} is not started again{}", self.describe(name)));
            }
            if self.has_failed(name) {
                return;
            }
            ends.push(self.now_ms);
            let recent = ends.iter().filter(|at| **at + PERIOD_MS > self.now_ms).count();
            // One more than that is within the period for certain, whatever a clock rounds.
            if recent > INTENSITY + 1 {
                return self.laws.broken(format!("{name} is started again after its ends at {ends:?}"));
            }
            if ends.len() > 20 {
                return; // too slow to be given up
            }
            self.crash(name);
            self.run_while(PERIOD_MS, |world| !ready(world) && !world.has_failed(name));
            if !self.has_failed(name) {
                let (on, to) = (self.any_node(), self.any_node());
                self.move_name(&on, name, &to);
                self.run_while(1_000, |world| world.places(name).first().is_none_or(|place| *place.0 != *to));
            }
        }
    }

    /// A name that was given up starts from its state when somebody says so, wherever that was asked.
    fn starts_again(&mut self, name: &str) {
        if self.violation().is_some() {
            return;
        }
        let on = self.any_node();
        let asked = self.ask(&on, Ask::Restart { name: name.into() });
        let answer = self.answer(asked);
        if !matches!(answer, Ok(Done::Registered { .. })) {
            self.laws.broken(format!("{name} had failed and is not started again: {answer:?}{}", self.describe(name)));
        }
        self.count(name, true);
        // What was asked for before goes on now.
        self.run_while(30_000, |world| world.asked.values().any(|asked| asked.answer.is_none()));
        self.run(2_000);
    }

    pub(in crate::sim) fn has_failed(&self, name: &str) -> bool {
        let failed = |cell: &NameState| matches!(cell, NameState::Failed { .. });
        self.nodes.values().any(|node| node.index.get(name).is_some_and(|entry| failed(&entry.cell.state)))
    }

    /// What two had is with nobody who is left; that is waited for, and a node without anything joins meanwhile.
    pub(super) fn losses(&mut self) {
        self.boot();
        self.register_all();
        self.rests_within(30_000);
        self.count_all(true);
        self.run(3_000);
        let mut all = self.alive();
        self.rng.shuffle(&mut all);
        for victim in all.iter().skip(1) {
            self.kill(victim);
        }
        // Sometimes most of it is given to the only one that is left, and starts slowly.
        if self.rng.bool() {
            self.slow_ms = 12_000;
            self.slow.extend((0..self.options.names).filter(|n| n % 2 == 0).map(|n| name(n).into()));
            self.pause(4_000..18_000);
        } else {
            self.pause(0..500);
        }
        self.start(&node_name(self.options.nodes));
        self.rests_within(60_000);
        self.slow.clear();
        self.start_all_shuffled(1_000);
        self.balances_out();
    }
}
