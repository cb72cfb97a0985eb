//! One move after the other, in each of which a node dies at one step.

use crate::sim::trap::{Dies, Trap};
use crate::sim::world::{World, node_name};
use crate::step::Step;

use super::Plot;

/// How long it may take until a step of a move comes, be it of the second try.
const STEP_MS: u64 = 30_000;

/// How many points each step has: before and after it, with the source, the target or both dying.
const OF_STEP: u64 = 2 * 3;
/// How many there are of the steps of every move.
const POINTS: u64 = Step::ALL.len() as u64 * OF_STEP;
/// How many there are of the steps of a state in chunks.
const POINTS_OF_CHUNKS: u64 = Step::OF_CHUNKS.len() as u64 * OF_STEP;
/// Each seed of so many in a row plays one of those.
const CHUNKS_EVERY: u64 = 7;
/// How many there are of the steps in which a state becomes the target's alone.
const POINTS_OF_STATES: u64 = Step::OF_STATES.len() as u64 * OF_STEP;
/// Of so many in a row this one plays one of those.
const STATES_EVERY: (u64, u64) = (8, 1);
/// How often a name is moved until such a step comes that does not come in each move.
const TRIES: [(Step, usize); 3] = [(Step::SendChunk, 6), (Step::StoreChunk, 6), (Step::Erase, 30)];
/// How long the source may take to erase what it had.
const ERASED_MS: u64 = 3_000;

/// Whether the states of a seed are in chunks, since it dies at a step that only these have.
pub(super) fn is_of_chunks(seed: u64) -> bool {
    seed.is_multiple_of(CHUNKS_EVERY)
}

/// Whether a seed plays that the source erases a state, which it does where others are enough to hold it.
pub(super) fn is_erased(seed: u64) -> bool {
    drawn(seed).0 == Step::Erase
}

/// The step of a seed, whether a node dies before it, and who dies.
fn drawn(seed: u64) -> (Step, bool, Dies) {
    let (every, this) = STATES_EVERY;
    let (point, steps): (u64, &[Step]) = if is_of_chunks(seed) {
        (seed / CHUNKS_EVERY % POINTS_OF_CHUNKS, &Step::OF_CHUNKS)
    } else if seed % every == this {
        (seed / every % POINTS_OF_STATES, &Step::OF_STATES)
    } else {
        (point_of(seed), &Step::ALL)
    };
    let index = |number: u64| usize::try_from(number).expect("small");
    let dies = [Dies::Source, Dies::Target, Dies::Both][index(point / 2 % 3)];
    (steps[index(point / OF_STEP)], point % 2 == 0, dies)
}

/// The point of a seed. The seeds of all plots are `Plot::APART` apart for each of them, which alone would come upon a few
/// of the points again and again; so are those of one plot that is played alone not apart at all.
fn point_of(seed: u64) -> u64 {
    let stride = Plot::APART;
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
        let (step, before, dies) = drawn(self.options.seed);
        self.boot();
        self.register_all();
        self.rests_within(60_000);
        for _ in 0..3 {
            self.count_all(true);
            self.pause(0..400);
        }
        let name = self.any_name();
        // A target that was sent a copy meanwhile lacks no chunks, and a source that keeps a copy erases nothing.
        let tries = TRIES.iter().find(|(of, _)| *of == step).map_or(1, |(_, tries)| *tries);
        if !(0..tries).any(|_| self.dies_at(&name, step, before, dies)) && self.violation().is_none() {
            return self.laws.broken(format!("{step:?} of the move of {name} never came"));
        }
        // By then who was to die after something was sent to it has died.
        let dead_ms = 2 * self.options.delay_ms + 1;
        self.pause(dead_ms..dead_ms + 15_000);
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

impl World {
    /// Moves a name; whether the step came at which somebody dies.
    fn dies_at(&mut self, name: &str, step: Step, before: bool, dies: Dies) -> bool {
        let Some(source) = self.places(name).first().map(|(node, _)| (*node).to_owned()) else { return false };
        let mut others: Vec<String> = (0..self.options.nodes).map(node_name).filter(|node| *node != source).collect();
        let is_of_chunks = Step::OF_CHUNKS.contains(&step);
        if is_of_chunks {
            // Who has a copy lacks nothing.
            let until_ms = self.now_ms + STEP_MS;
            while self.holders(&source, name).len() < 2 && self.now_ms < until_ms {
                self.pause(50..100);
            }
            let holders = self.holders(&source, name);
            others.retain(|node| !holders.contains(node));
        }
        if others.is_empty() {
            return false;
        }
        let target = others[self.rng.usize(0..others.len())].clone();
        self.count(name, true);
        self.pause(0..60);
        self.trap = Some(Trap { name: name.into(), source, target: target.clone(), step, before, dies });
        let on = self.any_node();
        self.move_name(&on, name, &target);
        // It is called while it moves.
        let until_ms = self.now_ms + STEP_MS;
        let mut moved_ms = None;
        while self.trap.is_some() && self.now_ms < until_ms && self.violation().is_none() {
            if step.is_rare() && self.places(name).iter().any(|(node, _)| *node == target) {
                let patience_ms = if is_of_chunks { 0 } else { ERASED_MS };
                if self.now_ms >= *moved_ms.get_or_insert(self.now_ms) + patience_ms {
                    break;
                }
            }
            self.count(name, true);
            self.pause(1..30);
        }
        self.trap.take().is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::sim::{Case, Shape};

    fn points(seeds: impl Iterator<Item = u64>) -> BTreeSet<u64> {
        seeds.map(point_of).collect()
    }

    #[test]
    fn so_many_seeds_of_the_plot_in_a_row_play_each_point() {
        let mut counts = BTreeMap::new();
        for seed in 0..11_400 {
            let (step, before, dies) = drawn(seed);
            *counts.entry(format!("{step:?} {before} {dies:?}")).or_insert(0) += 1;
        }
        assert_eq!(counts.len() as u64, POINTS + POINTS_OF_CHUNKS + POINTS_OF_STATES);
        assert!(counts.values().all(|count| *count >= 100), "100 each: {counts:?}");
    }

    #[test]
    fn the_seeds_of_all_plots_come_upon_each_point_in_turn() {
        let plays = |seed: &u64| Case::of(*seed, Shape::SMALL).plot == Plot::HandoffKills;
        let all: Vec<u64> = (0..).filter(plays).take(usize::try_from(POINTS).expect("small")).collect();
        assert_eq!(points(all.into_iter()).len() as u64, POINTS);
    }
}
