//! Runs seeds.

use std::ops::{ControlFlow, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{available_parallelism, scope};

use sworm::core::fault::{self, Fault};

use super::options::Options;
use super::plots::Plot;
use super::world::World;

/// How long a healed cluster may take to come to rest.
const REST_MS: u64 = 90_000;
/// How long copies may be missing since somebody is thought to be slow.
const COPIES_MS: u64 = 600_000;
/// How long it is watched then.
const QUIET_MS: u64 = 2_000;

/// The size of a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Nodes.
    pub nodes: usize,
    /// Names.
    pub names: u64,
}

impl Shape {
    /// Finds most.
    pub const SMALL: Self = Self { nodes: 3, names: 12 };
    /// Finds what depends on numbers.
    pub const LARGE: Self = Self { nodes: 5, names: 1_000 };
}

/// A seed, and what is played under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// The seed.
    pub seed: u64,
    /// The size.
    pub shape: Shape,
    /// What happens in the phase with faults.
    pub plot: Plot,
}

impl Case {
    /// What a seed stands for in a cluster of some size.
    pub fn of(seed: u64, shape: Shape) -> Self {
        Self { seed, shape, plot: Plot::of(seed, shape) }
    }

    /// What a seed stands for in a small cluster.
    pub fn small(seed: u64) -> Self {
        Self::of(seed, Shape::SMALL)
    }

    /// A plot in a small cluster.
    pub const fn playing(plot: Plot, seed: u64) -> Self {
        Self { seed, shape: Shape::SMALL, plot }
    }

    /// The command that replays it.
    pub fn command(&self, fault: Option<Fault>) -> String {
        let Self { seed, shape: Shape { nodes, names }, plot } = self;
        let planted = fault.map_or(String::new(), |fault| format!(" --fault {}", fault.name()));
        format!(
            "cargo run --release -p sworm-tests --bin simulate -- --seeds 1 --from {seed} --nodes {nodes} --names {names} --plot {plot:?}{planted} --trace"
        )
    }
}

/// What came of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its options.
    pub options: Options,
    /// The first law that was broken.
    pub violation: Option<String>,
    /// Stands for everything that was sent and happened.
    pub digest: u64,
    /// Simulated time, in milliseconds.
    pub took_ms: u64,
    /// Messages that were sent.
    pub messages: u64,
    /// What happened, if that was asked for.
    pub trace: Vec<String>,
}

/// Does something with each of these seeds, on all cores, in about their order, until it is told to stop.
pub fn each(seeds: Range<u64>, one: impl Fn(u64) -> ControlFlow<()> + Sync) {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    scope(|threads| {
        for _ in 0..available_parallelism().map_or(1, usize::from) {
            threads.spawn(|| {
                while !stop.load(Relaxed) {
                    let seed = seeds.start.saturating_add(next.fetch_add(1, Relaxed));
                    if !seeds.contains(&seed) {
                        break;
                    }
                    if one(seed).is_break() {
                        stop.store(true, Relaxed);
                    }
                }
            });
        }
    });
}

/// Runs a case with a fault planted in the library's code.
pub fn run_planted(case: Case, traced: bool, planted: Fault) -> Outcome {
    fault::plant(Some(planted));
    let outcome = run(case, traced);
    fault::plant(None);
    outcome
}

/// Runs a case.
pub fn run(case: Case, traced: bool) -> Outcome {
    let options = Options::of(case);
    let mut world = World::new(options.clone(), traced);
    let played = catch_unwind(AssertUnwindSafe(|| play(&mut world)));
    if let Err(panic) = played {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        world.laws.broken(format!("a panic: {}", text.unwrap_or("without a text")));
    }
    Outcome {
        options,
        violation: world.violation().map(str::to_owned),
        digest: world.digest(),
        took_ms: world.now_ms(),
        messages: world.messages,
        trace: world.trace.take().unwrap_or_default(),
    }
}

fn play_random(world: &mut World) {
    world.boot();
    for _ in 0..world.options.steps {
        world.play();
        if let Some(late) = world.overdue() {
            world.laws.broken(late);
        }
        if world.violation().is_some() {
            return;
        }
    }
}

fn play(world: &mut World) {
    match world.options.plot {
        Plot::Random | Plot::Mixed => play_random(world),
        plot => plot.play(world),
    }
    if world.violation().is_some() {
        return;
    }
    world.end_faults();
    if !world.run_while(REST_MS, |world| world.violation().is_none() && world.unrest().is_some()) {
        let why = world.unrest().unwrap_or_default();
        world.laws.broken(format!("{} s after the faults ended: {why}", REST_MS / 1_000));
    }
    if world.violation().is_some() {
        return;
    }
    // Whoever was slow gets its copies later.
    let copies = |world: &World| world.makes_up_for_copies();
    if !world.run_while(COPIES_MS, |world| world.violation().is_none() && copies(world)) {
        world.laws.broken(format!("copies are still made up for after {} s", COPIES_MS / 1_000));
    }
    if world.violation().is_some() {
        return;
    }
    // What is to be tidied up needs some heartbeats more; then nothing but heartbeats is sent.
    world.run(5_000);
    world.others = Some(Vec::new());
    world.run(QUIET_MS);
    if let Some(other) = world.others.take().and_then(|others| others.into_iter().next()) {
        world.laws.broken(format!("at rest something beside heartbeats is sent: {other}"));
    }
    if let Some(why) = world.unrest() {
        world.laws.broken(format!("it was at rest and is not any more: {why}"));
    }
    world.check_end();
}
