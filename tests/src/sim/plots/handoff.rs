//! One move after the other, in each of which a node dies at one step.

use crate::sim::trap::{Dies, Trap};
use crate::sim::world::{World, node_name};
use crate::step::Step;

use super::Plot;

/// How long it may take until a step of a move comes, be it of the second try.
const STEP_MS: u64 = 30_000;

/// How many points there are: each step, before and after it, with the source, the target or both dying.
const POINTS: u64 = Step::ALL.len() as u64 * 2 * 3;

/// The point of a seed. The seeds of all plots are `2 * Plot::ALL.len()` apart for each of them, which alone would come upon a few
/// of the points again and again; so are those of one plot that is played alone not apart at all.
fn point_of(seed: u64) -> u64 {
    let stride = 2 * Plot::ALL.len() as u64;
    // What two seeds of one plot are apart then has no divisor in common with the number of points.
    let apart = (stride + 1..).find(|apart| has_no_common_divisor(*apart, POINTS)).expect("there are primes");
    (seed + seed / stride * (apart - stride)) % POINTS
}

fn has_no_common_divisor(a: u64, b: u64) -> bool {
    (2..=b).all(|divisor| !a.is_multiple_of(divisor) || !b.is_multiple_of(divisor))
}

impl World {
    /// Plays the point of this seed.
    pub(super) fn handoff_kills(&mut self) {
        let point = usize::try_from(point_of(self.options.seed)).expect("small");
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::sim::{Case, Shape};

    fn points(seeds: impl Iterator<Item = u64>) -> BTreeSet<u64> {
        seeds.map(point_of).collect()
    }

    #[test]
    fn so_many_seeds_of_the_plot_in_a_row_play_each_point() {
        assert_eq!(points(0..720).len() as u64, POINTS);
        let least = (0..POINTS).map(|point| (0..7_200).filter(|seed| point_of(*seed) == point).count()).min();
        assert!(least >= Some(80), "{least:?} of 100");
    }

    #[test]
    fn the_seeds_of_all_plots_come_upon_each_point_in_turn() {
        let plays = |seed: &u64| Case::of(*seed, Shape::SMALL).plot == Plot::HandoffKills;
        let all: Vec<u64> = (0..).filter(plays).take(usize::try_from(POINTS).expect("small")).collect();
        assert_eq!(points(all.into_iter()).len() as u64, POINTS);
    }
}
