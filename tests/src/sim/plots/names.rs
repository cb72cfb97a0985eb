//! Plots about registrations, ends and moves.

use crate::sim::node::{LEAVING, Node};
use crate::sim::script::name;
use crate::sim::world::{World, node_name};

impl World {
    pub(super) fn early_asks(&mut self) {
        let mut order: Vec<usize> = (0..self.options.nodes).collect();
        self.rng.shuffle(&mut order);
        let late = order.pop().expect("three or more");
        for n in order {
            self.start(&node_name(n));
            self.pause(0..300);
            self.register_all_on(&node_name(n));
        }
        self.pause(0..8_000);
        self.start(&node_name(late));
        for _ in 0..4 {
            self.pause(0..400);
            self.register_all_on(&node_name(late));
        }
        self.rests_within(30_000);
    }

    pub(super) fn quick_ends(&mut self) {
        self.boot();
        for _ in 0..20 {
            let (name, other) = (self.any_name(), self.any_node());
            self.register_anywhere(&name);
            self.answered_within(25_000);
            self.unregister(&other, &name);
            if self.rng.bool() {
                self.register_everywhere(&name);
            }
            self.answered_within(25_000);
            self.pause(0..200);
        }
    }

    pub(super) fn handovers(&mut self) {
        self.handoff = self.rng.bool();
        self.boot();
        self.register_all();
        for _ in 0..6 {
            for _ in 0..5 {
                if self.handoff {
                    self.count_all(false);
                }
                self.pause(0..300);
            }
            // A leave takes up to 30 s where links are slow, and what is parked then is waited for.
            self.rests_within(60_000);
            // Somebody stays: else who comes first does without those who have the newest states.
            let leaves = |node: &Node| node.core.phase() == LEAVING;
            if self.nodes.len() > 1 && !self.nodes.values().any(leaves) {
                let leaver = self.any_node();
                self.begin_leave(&leaver);
                self.pause(0..2_000);
            }
            self.start_one();
        }
    }

    pub(super) fn lost_news(&mut self) {
        self.boot();
        for _ in 0..3 {
            self.register_all();
            self.answered_within(25_000);
            let leaver = self.any_node();
            self.begin_leave(&leaver);
            for _ in 0..15 {
                self.pause(0..100);
                self.register_all();
            }
            self.rests_within(60_000);
            self.start_one();
            self.pause(0..6_000);
        }
    }

    pub(super) fn ended_alone(&mut self) {
        self.boot();
        self.register_all();
        self.answered_within(25_000);
        self.rests_within(60_000);
        while self.nodes.len() > 1 {
            let leaver = self.any_node();
            self.begin_leave(&leaver);
            self.run_while(100_000, |world| world.nodes.contains_key(&leaver));
            if self.nodes.contains_key(&leaver) {
                return self.laws.broken(format!("{leaver} has not left in time"));
            }
        }
        let last = self.any_node();
        self.pause(0..3_000);
        for n in 0..self.options.names / 2 {
            self.unregister(&last, &name(n));
        }
        self.answered_within(25_000);
        self.pause(0..10_000);
        if self.rng.bool() {
            self.kill(&last);
            if self.rng.bool() {
                self.start(&last);
                self.pause(0..10_000);
                self.kill(&last);
            }
        } else {
            self.begin_leave(&last);
            self.run_while(25_000, |world| world.nodes.contains_key(&last));
        }
        let others: Vec<String> = self.machines.keys().filter(|name| **name != last).cloned().collect();
        for other in others {
            self.start(&other);
            self.pause(0..9_000);
        }
        self.start(&last);
        self.rests_within(60_000);
    }

    pub(super) fn slow_ones(&mut self) {
        self.boot();
        let names: Vec<String> = (0..self.options.names).map(name).collect();
        let (slow, quick): (Vec<String>, Vec<String>) = names.into_iter().partition(|name| self.slow.contains(&**name));
        for name in &slow {
            let on = self.any_node();
            self.register(&on, name, 0);
        }
        self.pause(0..500);
        let on = self.any_node();
        let asked: Vec<u64> = quick.iter().map(|name| self.register(&on, name, 0)).collect();
        if !self.run_while(1_500, |world| asked.iter().any(|asked| world.asked[asked].answer.is_none())) {
            self.laws.broken("a name waits for others that start slowly".into());
        }
    }

    pub(super) fn slow_ends(&mut self) {
        self.boot();
        for _ in 0..3 {
            self.register_all();
            self.answered_within(25_000);
            for n in 0..self.options.names {
                let on = self.any_node();
                self.unregister(&on, &name(n));
            }
            self.pause(0..500);
            self.register_all();
            let victim = self.any_node();
            self.kill(&victim);
            self.pause(0..2_000);
            self.start(&victim);
            self.rests_within(60_000);
        }
    }

    /// Names are asked for that cannot be started; some or all nodes die when that has been said of some of them, and then all
    /// can be started.
    pub(super) fn failed_starts(&mut self) {
        self.boot();
        for _ in 0..4 {
            for n in 0..self.options.names {
                if self.rng.u32(0..4) > 0 {
                    self.broken.insert(name(n).into());
                }
                self.register_anywhere(&name(n));
            }
            let waiting = |world: &World| world.asked.values().filter(|asked| asked.answer.is_none()).count();
            let (before, enough) = (waiting(self), self.rng.usize(1..=self.options.nodes * 4));
            self.run_while(5_000, |world| waiting(world) + enough > before);
            if self.rng.u32(0..3) == 0 {
                // What it had is tried again elsewhere meanwhile.
                let victim = self.any_node();
                self.kill(&victim);
                self.pause(0..9_000);
            } else {
                self.alive().iter().for_each(|node| self.kill(node));
            }
            self.note(|| "all can be started".to_owned());
            self.broken.clear();
            self.pause(0..2_000);
            self.start_all_shuffled(3_000);
            self.rests_within(60_000);
            for n in 0..self.options.names {
                let on = self.any_node();
                self.unregister(&on, &name(n));
            }
            self.answered_within(25_000);
        }
    }
}
