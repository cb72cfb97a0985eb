//! One move after the other, in each of which a node dies at one step.

use crate::sim::trap::{Dies, Trap};
use crate::sim::world::{World, node_name};
use crate::step::Step;

/// How long it may take until a step of a move comes.
const STEP_MS: u64 = 15_000;

/// How many points there are: each step, before and after it, with the source, the target or both dying.
pub(super) const POINTS: u64 = Step::ALL.len() as u64 * 2 * 3;

impl World {
    /// Plays the point of this seed.
    pub(super) fn handoff_kills(&mut self) {
        let point = usize::try_from(self.options.seed % POINTS).expect("small");
        let step = Step::ALL[point / 6];
        let (before, dies) = (point % 2 == 0, [Dies::Source, Dies::Target, Dies::Both][point / 2 % 3]);
        self.boot();
        self.register_all();
        self.rests_within(60_000);
        for _ in 0..3 {
            self.count_all(true);
            self.pause(0..400);
        }
        let name = self.any_name();
        let Some(source) = self.places(&name).first().map(|(node, _)| (*node).to_owned()) else { return };
        let others: Vec<String> = (0..self.options.nodes).map(node_name).filter(|node| *node != source).collect();
        let target = others[self.rng.usize(0..others.len())].clone();
        self.count(&name, true);
        self.pause(0..60);
        self.trap = Some(Trap { name: name.as_str().into(), source, target: target.clone(), step, before, dies });
        let on = self.any_node();
        self.move_name(&on, &name, &target);
        // It is called while it moves.
        let until_ms = self.now_ms + STEP_MS;
        while self.trap.is_some() && self.now_ms < until_ms && self.violation().is_none() {
            self.count(&name, true);
            self.pause(1..30);
        }
        if self.trap.take().is_some() {
            return self.laws.broken(format!("{step:?} of the move of {name} never came"));
        }
        self.pause(1..15_000);
        self.start_all_shuffled(4_000);
        self.rests_within(60_000);
        self.count_all(true);
        self.pause(100..1_000);
        self.nothing_lost();
        // And it can be moved again.
        let (on, to) = (self.any_node(), self.any_node());
        self.move_name(&on, &name, &to);
        self.answered_within(21_000);
        self.rests_within(60_000);
        self.nothing_lost();
    }
}
