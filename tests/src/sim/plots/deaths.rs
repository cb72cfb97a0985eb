//! Plots in which processes die.

use crate::sim::links::LEASE_MS;
use crate::sim::script::name;
use crate::sim::world::{World, node_name};

impl World {
    pub(super) fn asked_again(&mut self) {
        self.boot();
        for _ in 0..3 {
            for n in 0..self.options.names {
                self.register_anywhere(&name(n));
            }
            self.pause(0..400);
            let victim = self.any_node();
            self.kill(&victim);
            for _ in 0..3 {
                self.register_all();
                self.pause(0..300);
            }
            self.start(&victim);
            self.pause(0..3_000);
            let ended = self.any_name();
            let on = self.any_node();
            self.unregister(&on, &ended);
        }
    }

    pub(super) fn failover(&mut self) {
        self.boot();
        self.register_all();
        self.rests_within(30_000);
        self.run(3_000);
        let before = self.all_places();
        let victim = self.any_node();
        self.kill(&victim);
        self.rests_within(20_000);
        self.undisturbed(&before, &victim);
    }

    pub(super) fn blackouts(&mut self) {
        self.boot();
        for _ in 0..4 {
            for n in 0..self.options.names {
                let on = self.any_node();
                match self.rng.u32(0..6) {
                    0..=2 => drop(self.register(&on, &name(n), 0)),
                    3 => drop(self.unregister(&on, &name(n))),
                    _ => drop(self.count(&name(n), true)),
                }
            }
            // Sometimes one comes back just before, and what it had is being adopted.
            if self.rng.bool() {
                let victim = self.any_node();
                self.kill(&victim);
                self.pause(0..9_000);
                self.start(&victim);
                self.pause(0..3_000);
            } else {
                let enough = self.rng.usize(0..self.options.nodes * 4);
                let waiting = |world: &World| world.asked.values().filter(|asked| asked.answer.is_none()).count();
                let before = waiting(self);
                self.run_while(3_000, |world| waiting(world) + enough > before);
            }
            for node in self.alive() {
                self.kill(&node);
            }
            self.start_all_shuffled(3_000);
            self.rests_within(60_000);
        }
    }

    pub(super) fn all_alone(&mut self) {
        let alone = self.machines.keys().next().cloned().unwrap_or_default();
        self.start(&alone);
        self.run(3_000);
        self.register_all();
        self.rests_within(60_000);
        for _ in 0..5 {
            self.count_all(true);
            self.run_while(2_000, |world| world.nodes[&alone].workers.values().all(|worker| worker.saving.is_some()));
            self.pause(0..50);
            self.kill(&alone);
            self.pause(0..2_000);
            self.start(&alone);
            self.run(9_000);
            self.rests_within(60_000);
            self.nothing_lost();
        }
    }

    pub(super) fn ends_of_the_down(&mut self) {
        self.boot();
        for _ in 0..2 {
            self.register_all();
            self.rests_within(30_000);
            let first = self.any_node();
            self.kill(&first);
            self.pause(0..3_000);
            for n in 0..self.options.names {
                if self.rng.bool() {
                    let on = self.any_node();
                    self.unregister(&on, &name(n));
                }
            }
            self.answered_within(25_000);
            self.pause(0..2_000);
            let second = self.any_node();
            self.kill(&second);
            self.pause(0..2_000);
            self.start_all_shuffled(2_000);
            self.rests_within(60_000);
        }
    }

    pub(super) fn second_node(&mut self) {
        let (first, second) = (node_name(0), node_name(1));
        self.start(&first);
        self.run(4_000);
        self.register_all();
        self.answered_within(25_000);
        self.start(&second);
        for _ in 0..30 {
            self.pause(0..100);
            self.count_all(true);
        }
        self.run(8_000);
        self.kill(&first);
        self.rests_within(30_000);
        self.nothing_lost();
    }

    pub(super) fn one_by_one(&mut self) {
        self.boot();
        self.register_all();
        self.rests_within(30_000);
        for _ in 0..4 {
            for _ in 0..3 {
                self.count_all(true);
                self.pause(0..200);
            }
            let victim = self.any_node();
            self.kill(&victim);
            self.pause(0..4_000);
            self.start(&victim);
            self.run(9_000);
            self.rests_within(30_000);
        }
        self.nothing_lost();
    }

    pub(super) fn dead_heirs(&mut self) {
        self.boot();
        self.register_all();
        self.rests_within(60_000);
        for _ in 0..3 {
            self.count_all(true);
            self.pause(0..500);
            let leaver = self.any_node();
            self.begin_leave(&leaver);
            self.run_while(300_000, |world| world.nodes.contains_key(&leaver));
            self.pause(0..300);
            let heir = self.any_node();
            self.kill(&heir);
            self.rests_within(60_000);
            for n in 0..self.options.names {
                let name = name(n);
                if self.places(&name).is_empty() {
                    let why = self.describe(&name);
                    return self.laws.broken(format!("{name} is lost: {leaver} has left, and then {heir} died{why}"));
                }
            }
            self.start_all_shuffled(1_000);
            self.rests_within(60_000);
        }
    }

    pub(super) fn back_first(&mut self) {
        self.boot();
        // It knows nothing of the other half.
        let known = self.options.names / 2;
        self.register_some(0..known);
        self.answered_within(25_000);
        let first = self.any_node();
        self.kill(&first);
        self.pause(6_000..9_000);
        // Sometimes those who are left know of it from their disks alone.
        if self.rng.bool() {
            for node in self.alive() {
                self.kill(&node);
                self.start(&node);
                self.run(6_000);
            }
        }
        for n in 0..known {
            let on = self.any_node();
            self.unregister(&on, &name(n));
        }
        self.answered_within(25_000);
        self.register_all();
        self.answered_within(25_000);
        for node in self.alive() {
            self.kill(&node);
            self.run(6_000);
        }
        self.start(&first);
        if self.rng.bool() {
            for _ in 0..3 {
                self.register_all_on(&first);
                self.pause(0..500);
            }
        } else {
            // It goes on with what it knows.
            self.pause(6_000..12_000);
        }
        self.start_all_shuffled(1_000);
        self.rests_within(60_000);
    }

    pub(super) fn lost_copies(&mut self) {
        self.boot();
        self.register_all();
        self.rests_within(30_000);
        self.count_all(true);
        self.run(3_000);
        let mut all = self.alive();
        self.rng.shuffle(&mut all);
        let (lost, other) = (all[0].clone(), all[1].clone());
        self.kill(&lost);
        self.kill(&other);
        self.lose_disk(&lost);
        // Longer than what counts as at once: from here on nobody has died.
        self.pause(6_000..9_000);
        self.start(&lost);
        self.pause(0..30_000);
        self.nothing_lost();
        self.start(&other);
        self.rests_within(60_000);
        self.nothing_lost();
    }

    pub(super) fn late_holders(&mut self) {
        self.boot();
        self.register_all();
        self.rests_within(60_000);
        for _ in 0..3 {
            self.count_all(true);
            self.run(4_000);
            let mut all = self.alive();
            self.rng.shuffle(&mut all);
            let (holder, victim) = (all[0].clone(), all[1].clone());
            self.drain(&holder, true);
            self.pause(0..1_500);
            self.kill(&victim);
            // Not for so long that it is thought to be gone.
            if self.rng.bool() {
                self.pause(0..1_000);
                let for_ms = self.rng.u64(300..LEASE_MS);
                self.freeze(&holder, for_ms);
            }
            self.rests_within(60_000);
            self.nothing_lost();
            self.drain(&holder, false);
            self.start(&victim);
            self.rests_within(60_000);
        }
    }

    pub(super) fn unheard(&mut self) {
        self.boot();
        for _ in 0..3 {
            let victim = self.any_node();
            for n in 0..self.options.names {
                self.register_at(&victim, &name(n), 0, Some(&victim));
            }
            let before = self.asked.values().filter(|asked| asked.answer.is_some()).count();
            self.run_while(3_000, |world| world.asked.values().filter(|a| a.answer.is_some()).count() < before + 2);
            self.kill(&victim);
            self.pause(0..3_000);
            self.start(&victim);
            self.pause(0..700);
            self.kill(&victim);
            self.pause(0..9_000);
            self.start(&victim);
            self.rests_within(60_000);
        }
    }

    pub(super) fn dies_twice(&mut self) {
        self.boot();
        self.register_all();
        self.rests_within(30_000);
        let (dead, gone, twice) = {
            let mut all = self.alive();
            self.rng.shuffle(&mut all);
            (all[0].clone(), all[1].clone(), all[2].clone())
        };
        self.kill(&dead);
        self.pause(0..9_000);
        self.begin_leave(&gone);
        self.run_while(30_000, |world| world.nodes.contains_key(&gone));
        self.kill(&twice);
        self.start(&twice);
        self.pause(200..4_000);
        self.kill(&twice);
        self.start(&twice);
        self.start(&dead);
        self.rests_within(60_000);
    }
}
