//! Plots in which links are cut.

use crate::sim::script::name;
use crate::sim::world::World;

impl World {
    pub(super) fn lone_cut(&mut self) {
        self.boot();
        self.register_all();
        self.rests_within(30_000);
        self.run(3_000);
        let before = self.all_places();
        let lone = self.any_node();
        for other in self.alive().iter().filter(|other| **other != lone) {
            self.cut(&lone, other);
        }
        self.pause(0..20_000);
        self.heal();
        self.run(4_000);
        self.rests_within(30_000);
        self.undisturbed(&before, &lone);
    }

    pub(super) fn two_births(&mut self) {
        self.boot();
        let (one, other) = (self.any_node(), self.any_node());
        if one == other {
            return;
        }
        for apart in self.alive().iter().filter(|apart| **apart != one) {
            self.cut(&one, apart);
        }
        self.pause(0..9_000);
        for n in 0..self.options.names {
            let crowd = [self.register(&one, &name(n), 0), self.register(&other, &name(n), 1)];
            self.run_while(25_000, |world| crowd.iter().any(|asked| world.asked[asked].answer.is_none()));
        }
        // The others of the larger side know what this one had; it comes back when the names have ended.
        if self.nodes.contains_key(&other) {
            self.kill(&other);
        }
        self.heal();
        self.pause(0..6_000);
        // Sometimes those are both down.
        let both = self.rng.bool() && self.nodes.len() == 2;
        if both {
            self.kill(&one);
            self.pause(0..4_000);
        }
        for n in 0..self.options.names {
            let on = self.any_node();
            self.unregister(&on, &name(n));
        }
        self.answered_within(25_000);
        self.start_all_shuffled(3_000);
        self.pause(0..5_000);
    }

    pub(super) fn slow_losers(&mut self) {
        self.boot();
        self.register_all();
        self.rests_within(30_000);
        let lone = self.any_node();
        for other in self.alive().iter().filter(|other| **other != lone) {
            self.cut(&lone, other);
        }
        self.pause(8_000..12_000);
        self.heal();
        self.run_while(10_000, |world| !world.laws.somebody_lost());
        self.pause(0..200);
        let winners: Vec<String> = self.alive().into_iter().filter(|other| *other != lone).collect();
        let victim = winners[self.rng.usize(0..winners.len())].clone();
        self.kill(&victim);
        self.start(&victim);
        self.rests_within(60_000);
    }
}
