//! Plots in mode "majority": no name ever runs on two nodes, whatever is cut, stopped or lost.

use sworm::core::message::{Ask, Done};

use crate::sim::node::LEAVING;
use crate::sim::world::{World, node_name};

impl World {
    /// Cuts a node off from all others: both ways, or one.
    fn cut_off(&mut self, lone: &str) {
        let (out, back) = [(true, true), (true, false), (false, true)][self.rng.usize(0..3)];
        for other in self.machines.keys().filter(|other| *other != lone).cloned().collect::<Vec<_>>() {
            if out {
                self.cut_one_way(lone, &other);
            }
            if back {
                self.cut_one_way(&other, lone);
            }
        }
    }

    /// Everything goes on for a while, as far as it can.
    fn goes_on(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        while self.now_ms < until_ms && self.violation().is_none() {
            let save = self.rng.bool();
            if self.handoff {
                self.count_all(save);
            }
            if let Some(on) = self.awake().first().cloned() {
                let name = self.any_name();
                self.register(&on, &name, 0);
            }
            self.ends_one();
            self.pause(50..900);
        }
    }

    /// All names run, and count.
    fn all_run(&mut self) {
        self.boot();
        self.register_all();
        self.rests_within(60_000);
        if self.handoff {
            self.count_all(true);
        }
        self.pause(100..1_000);
    }

    pub(super) fn founding(&mut self) {
        let mut nodes: Vec<String> = (0..self.options.nodes).map(node_name).collect();
        self.rng.shuffle(&mut nodes);
        let Some((last, first)) = nodes.split_last().filter(|(_, first)| !first.is_empty()) else { return };
        for node in first {
            self.start(node);
            self.pause(0..3_000);
        }
        self.register_all();
        if self.rng.u32(0..4) > 0 {
            // Nobody could decide: what is refused does not come about later.
            self.answered_within(25_000);
        } else {
            self.pause(0..20_000);
        }
        self.start(last);
        self.rests_within(60_000);
        self.register_all();
        self.rests_within(30_000);
    }

    pub(super) fn minority(&mut self) {
        // Without a state to be found a worker starts at once.
        self.handoff = self.rng.bool();
        self.all_run();
        for _ in 0..3 {
            let lone = self.any_node();
            self.cut_off(&lone);
            let ms = self.rng.u64(1_000..25_000);
            self.goes_on(ms);
            if self.options.kills && self.rng.bool() {
                let victim = self.any_node();
                self.kill(&victim);
                let ms = self.rng.u64(100..12_000);
                self.goes_on(ms);
            }
            self.heal();
            let ms = self.rng.u64(0..9_000);
            self.goes_on(ms);
            self.start_one();
        }
        self.rests_within(60_000);
    }

    pub(super) fn slow_stops(&mut self) {
        let slow = node_name(self.rng.usize(0..self.options.nodes));
        for (node, machine) in &mut self.machines {
            machine.clock.faster_ppm = if *node == slow { 0 } else { self.options.drift_ppm };
        }
        // Without a state to be found a worker starts at once.
        self.handoff = false;
        self.all_run();
        for _ in 0..3 {
            self.cut_off(&slow);
            let ms = self.rng.u64(7_000..25_000);
            self.goes_on(ms);
            self.heal();
            let ms = self.rng.u64(0..9_000);
            self.goes_on(ms);
            self.start_all_shuffled(1);
            self.rests_within(60_000);
        }
    }

    pub(super) fn members_in_a_cut(&mut self) {
        self.all_run();
        // It is no voter, however often it comes and goes.
        let joiner = node_name(self.options.nodes);
        for _ in 0..3 {
            if self.rng.bool() && !self.nodes.contains_key(&joiner) {
                self.start(&joiner);
                let ms = self.rng.u64(0..6_000);
                self.goes_on(ms);
            }
            let lone = self.any_node();
            self.cut_off(&lone);
            let ms = self.rng.u64(0..30_000);
            self.goes_on(ms);
            if !self.nodes.contains_key(&joiner) {
                self.start(&joiner);
                // It may be that only the smaller side sees it.
                self.heal();
                let with_lone = self.rng.bool();
                for other in (0..self.options.nodes).map(node_name).filter(|other| *other != lone) {
                    self.cut(if with_lone { &joiner } else { &lone }, &other);
                    self.cut(&lone, &other);
                }
                let ms = self.rng.u64(0..8_000);
                self.goes_on(ms);
            }
            let leaver = self.any_node();
            self.begin_leave(&leaver);
            let ms = self.rng.u64(500..25_000);
            self.goes_on(ms);
            if self.options.kills && self.alive().len() > 1 && self.rng.bool() {
                let victim = self.any_node();
                self.kill(&victim);
                let ms = self.rng.u64(100..12_000);
                self.goes_on(ms);
            }
            self.heal();
            let ms = self.rng.u64(0..9_000);
            self.goes_on(ms);
            self.start_one();
        }
        self.run_while(30_000, |world| world.nodes.values().any(|n| n.core.phase() == LEAVING));
        self.start_all_shuffled(2_000);
        self.rests_within(60_000);
    }

    /// Names move, and nodes are emptied and filled again, as somebody wants it.
    fn moves_some(&mut self) {
        for _ in 0..self.rng.u32(1..6) {
            let awake = self.awake();
            if awake.is_empty() {
                return;
            }
            let on = awake[self.rng.usize(0..awake.len())].clone();
            let (to, name) = (node_name(self.rng.usize(0..self.options.nodes)), self.any_name());
            match self.rng.u32(0..6) {
                0..=2 => drop(self.move_name(&on, &name, &to)),
                3 => self.drain(&on, true),
                4 => self.drain(&on, false),
                _ => self.count_all(true),
            }
            self.pause(0..700);
        }
    }

    pub(super) fn moves_in_a_cut(&mut self) {
        self.all_run();
        for _ in 0..3 {
            self.moves_some();
            let lone = self.any_node();
            if self.rng.u32(0..3) > 0 || !self.awake().contains(&lone) {
                self.cut_off(&lone);
            } else {
                let ms = self.rng.u64(500..20_000);
                self.freeze(&lone, ms);
            }
            self.moves_some();
            let ms = self.rng.u64(0..25_000);
            self.goes_on(ms);
            if self.options.kills && self.alive().len() > 1 && self.rng.bool() {
                let victim = self.any_node();
                self.kill(&victim);
                self.moves_some();
            }
            self.heal();
            self.moves_some();
            let ms = self.rng.u64(0..9_000);
            self.goes_on(ms);
            self.start_one();
        }
        self.run_while(30_000, |world| world.awake().len() < world.nodes.len());
        for node in self.alive() {
            self.drain(&node, false);
        }
        self.start_all_shuffled(500);
        self.rests_within(60_000);
    }

    pub(super) fn suspended(&mut self) {
        self.all_run();
        for _ in 0..5 {
            let awake = self.awake();
            if awake.len() > 1 {
                let node = awake[self.rng.usize(0..awake.len())].clone();
                let ms = self.rng.u64(500..25_000);
                self.freeze(&node, ms);
            }
            if self.rng.u32(0..3) == 0 {
                let (a, b) = (self.any_node(), self.any_node());
                if a != b {
                    self.cut_one_way(&a, &b);
                }
            }
            let ms = self.rng.u64(500..15_000);
            self.goes_on(ms);
            if self.rng.bool() {
                self.heal();
            }
        }
    }

    pub(super) fn lost_stores(&mut self) {
        self.all_run();
        for _ in 0..3 {
            // The others, which remember, are apart from each other.
            let lost = self.any_node();
            if self.rng.bool() {
                let lone = self.any_node();
                self.cut_off(&lone);
                let ms = self.rng.u64(0..6_000);
                self.goes_on(ms);
            }
            self.kill(&lost);
            self.lose_disk(&lost);
            self.pause(0..3_000);
            self.start(&lost);
            let ms = self.rng.u64(1_000..20_000);
            self.goes_on(ms);
            self.heal();
            self.rests_within(90_000);
        }
    }

    pub(super) fn all_anew(&mut self) {
        self.all_run();
        for _ in 0..2 {
            for node in self.alive() {
                self.kill(&node);
            }
            self.pause(0..5_000);
            self.start_one();
            self.pause(0..15_000);
            if let Some(alone) = self.alive().first().cloned() {
                let running = self.workers(&alone);
                if running > 0 && self.nodes.len() == 1 && self.machines.len() > 2 {
                    self.laws.broken(format!("{alone} is alone and runs {running} workers"));
                }
            }
            self.start_one();
            let ms = self.rng.u64(0..20_000);
            self.goes_on(ms);
            self.start_all_shuffled(5_000);
            self.rests_within(60_000);
            self.count_all(true);
            self.pause(200..2_000);
        }
    }

    pub(super) fn voters(&mut self) {
        self.all_run();
        let mut nodes = self.alive();
        self.rng.shuffle(&mut nodes[1..]);
        let [stays, forgets, lone] = [0, 1, 2].map(|n| nodes[n].clone());
        self.cut_off(&lone);
        let asked = self.ask(&stays, Ask::Voter { node: lone.as_str().into(), add: false });
        self.run_while(25_000, |world| world.asked[&asked].answer.is_none());
        if !matches!(self.asked[&asked].answer, Some(Some(Ok(Done::Voters { number: 2, .. })))) {
            let what = format!("{lone} is still a voter: {:?}", self.asked[&asked].answer);
            return self.laws.broken(what);
        }
        self.pause(0..9_000);
        self.kill(&forgets);
        self.lose_disk(&forgets);
        self.heal();
        self.cut(&stays, &forgets);
        self.cut(&stays, &lone);
        self.start(&forgets);
        let ms = self.rng.u64(5_000..40_000);
        self.goes_on(ms);
        self.heal();
        self.rests_within(90_000);
        // It is added again, and then all three vote.
        let asked = self.ask(&stays, Ask::Voter { node: lone.as_str().into(), add: true });
        self.run_while(25_000, |world| world.asked[&asked].answer.is_none());
        if !matches!(self.asked[&asked].answer, Some(Some(Ok(Done::Voters { number: 3, .. })))) {
            let what = format!("{lone} is no voter again: {:?}", self.asked[&asked].answer);
            return self.laws.broken(what);
        }
        // One that has lost its store votes when the others have let it in again.
        if !self.run_while(20_000, |world| world.nodes.values().any(|node| !node.core.may_vote())) {
            return self.laws.broken("somebody does not vote".into());
        }
        self.kill(&stays);
        // Some states are known to be with that one only, and are waited for.
        let ms = self.rng.u64(26_000..30_000);
        self.goes_on(ms);
        for n in 0..self.options.names {
            let name = crate::sim::script::name(n);
            if self.places(&name).is_empty() {
                let all: Vec<String> = self.nodes.values().map(|node| node.core.describe_members()).collect();
                let why = self.describe(&name) + "\n" + &all.join("\n");
                return self.laws.broken(format!("{name} does not run, though two of three voters are there{why}"));
            }
        }
    }
}
