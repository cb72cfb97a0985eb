//! Plots about names that are moved on purpose: one by one, all of a node, and for balance.

use std::sync::Arc;

use sworm::NodeId;
use sworm::core::Input;
use sworm::core::message::{Ask, Done};

use crate::sim::kinds::of;
use crate::sim::world::{World, node_name};

impl World {
    /// Asks a node to move a name; the number is that of the request.
    pub(super) fn move_name(&mut self, on: &str, name: &str, to: &str) -> u64 {
        self.ask(on, Ask::Move { name: name.into(), to: NodeId::new(to).expect("valid") })
    }

    /// Empties a node, or lets it take part as before.
    pub fn drain(&mut self, node: &str, drained: bool) {
        self.note(|| format!("{node} is {}", if drained { "drained" } else { "undrained" }));
        let me = self.nodes[node].me.clone();
        self.tell(0, &me, Input::Drain(drained.then_some(0)));
    }

    pub(super) fn moves(&mut self) {
        let kills = self.options.kills;
        self.boot();
        self.register_all();
        self.answered_within(25_000);
        for _ in 0..20 {
            let (on, to, name) = (self.any_node(), node_name(self.rng.usize(0..self.options.nodes)), self.any_name());
            match self.rng.u32(0..9) {
                0..=3 => drop(self.move_name(&on, &name, &to)),
                4 => self.drain(&on, true),
                5 => self.drain(&on, false),
                6 if kills && self.alive().len() > 1 => self.kill(&on),
                7 => self.start_one(),
                // What is only in memory goes along with a move, and not with its node.
                _ if !kills => self.count_all(false),
                _ => {}
            }
            self.ends_one();
            self.pause(0..800);
        }
        self.start_all_shuffled(500);
        for node in self.alive() {
            self.drain(&node, false);
        }
        self.run(2_000);
        self.rests_within(60_000);
        // Now nothing is in the way.
        for n in 0..self.options.names {
            let (on, to, name) = (self.any_node(), self.any_node(), super::super::script::name(n));
            let runs = self.nodes[&on].index.get(&*name).is_some_and(|entry| entry.running);
            let number = self.move_name(&on, &name, &to);
            self.answered_within(21_000);
            let moved = matches!(self.asked[&number].answer, Some(Some(Ok(Done::Moved { .. }))));
            let there = self.places(&name).iter().any(|(node, _)| **node == to);
            if runs && !(moved && there) {
                let answer = &self.asked[&number].answer;
                self.laws.broken(format!("{name} should be on {to}: {answer:?}{}", self.describe(&name)));
                return;
            }
        }
        // A node that is emptied has nothing left, and one that is alone keeps all.
        let drained = self.any_node();
        self.drain(&drained, true);
        self.rests_within(60_000);
        self.run_while(30_000, |world| !world.nodes[&drained].workers.is_empty());
        if !self.nodes[&drained].workers.is_empty() {
            self.laws.broken(format!("{drained} was to be emptied"));
        }
        self.drain(&drained, false);
    }

    /// Lets all move that is to move for balance.
    pub(super) fn balances_out(&mut self) {
        self.run(10_000);
        // Names wait for one that came and went.
        let moves = |world: &World| world.nodes.values().any(|node| !node.core.is_balanced());
        let until_ms = self.now_ms + 400_000;
        while self.now_ms < until_ms && self.violation().is_none() && moves(self) {
            self.run(1_000);
        }
        self.rests_within(60_000);
    }

    /// A node comes and goes, and is there for long enough to be given names.
    fn flaps(&mut self, node: &str) {
        for _ in 0..10 {
            self.start(node);
            self.pause(500..12_000);
            self.kill(node);
            self.pause(0..3_000);
        }
        self.rests_within(60_000);
    }

    pub(super) fn joins(&mut self) {
        let last = node_name(self.options.nodes - 1);
        // In each third seed another one joins shortly before.
        let mut joining = vec![last.clone()];
        if self.options.seed % 3 == 1 {
            joining.insert(0, node_name(0));
        }
        for node in (0..self.options.nodes).map(node_name).filter(|node| !joining.contains(node)) {
            self.start(&node);
            self.pause(0..100);
        }
        self.run(3_000);
        self.register_all();
        // Those that came first are balanced meanwhile.
        self.rests_within(120_000);
        self.balances_out();
        let mut before = self.all_places();
        // One that comes and goes moves nothing.
        for _ in 0..self.rng.u32(0..3) {
            self.start(&last);
            self.pause(500..3_500);
            self.kill(&last);
            self.pause(0..3_000);
        }
        self.undisturbed(&before, &last);
        if self.options.seed.is_multiple_of(2) {
            self.flaps(&last);
            before = self.all_places();
        }
        for node in &joining {
            self.start(node);
            self.pause(0..6_000);
        }
        self.balances_out();
        if self.violation().is_some() {
            return;
        }
        // By these all are level when a node has its share; others would place names elsewhere as soon as loads change.
        let is_level = |name: &Arc<str>| matches!(of(name, &self.options).1, "rendezvous" | "ring");
        if before.keys().all(is_level)
            && let Some((id, node)) = self.nodes.iter().find(|(_, node)| !node.core.plan_rebalance().is_empty())
        {
            let plan = node.core.plan_rebalance();
            return self.laws.broken(format!("{id} would still move {plan:?}"));
        }
        let after = self.all_places();
        let moved: Vec<_> = before.iter().filter(|(name, place)| after.get(*name) != Some(*place)).collect();
        let weight = |node: &String| self.nodes[node].profile.weight as usize;
        let others = self.nodes.keys().filter(|node| !joining.contains(node)).map(weight).sum();
        // Each has a share of what there is when it comes.
        let (most, weights) = joining.iter().fold((0, others), |(most, weights): (usize, usize), node| {
            let weights = weights + weight(node);
            (most + before.len() * weight(node) * 11 / (weights * 10), weights)
        });
        if moved.len() > most {
            let of_weights = format!("{joining:?} of weights of {weights} in all may be given {most}");
            self.laws.broken(format!("{} of {} have moved, {of_weights}", moved.len(), before.len()));
        } else if let Some((name, _)) =
            moved.iter().find(|(name, _)| after.get(*name).is_none_or(|place| !joining.contains(&place.0)))
        {
            self.laws.broken(format!("{name} has moved between old nodes"));
        }
    }
}
