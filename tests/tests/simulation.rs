//! Simulated clusters: as many seeds as a gate has time for. `SWORM_SIM_SEEDS` and `SWORM_SIM_FROM` choose other small
//! ones; the program `simulate` runs more of any size, and replays one.

use std::ops::{ControlFlow, Range};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sworm_tests::sim::{Case, Outcome, REGRESSIONS, Shape, each, run};

/// Small seeds, unless the environment says otherwise.
const SMALL: u64 = 200;
/// Large seeds.
const LARGE: u64 = 4;
/// So many failures are told at most.
const TOLD: usize = 5;

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

fn chosen() -> Range<u64> {
    let from = variable("SWORM_SIM_FROM", 0);
    from..from + variable("SWORM_SIM_SEEDS", SMALL)
}

/// What is said of a seed that fails.
fn told(case: Case, outcome: &Outcome) -> Option<String> {
    let violation = outcome.violation.as_ref()?;
    Some(format!("seed {}: {violation}\n  {}\n  {}", case.seed, outcome.options, case.command(None)))
}

fn no_law_is_broken(seeds: Range<u64>, shape: Shape) {
    let (failed, ran) = (Mutex::new(Vec::new()), AtomicU64::new(0));
    each(seeds.clone(), |seed| {
        ran.fetch_add(1, Relaxed);
        let case = Case::of(seed, shape);
        let Some(text) = told(case, &run(case, false)) else { return ControlFlow::Continue(()) };
        let mut failed = failed.lock().expect("nobody panics with it");
        failed.push(text);
        if failed.len() < TOLD { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let failed = failed.into_inner().expect("nobody panics with it");
    assert!(failed.is_empty(), "of {ran:?} seeds {} fail:\n{}", failed.len(), failed.join("\n"));
    assert_eq!(ran.into_inner(), seeds.end - seeds.start);
}

#[test]
fn no_law_is_broken_in_small_clusters() {
    no_law_is_broken(chosen(), Shape::SMALL);
}

#[test]
fn no_law_is_broken_in_large_clusters() {
    no_law_is_broken(0..LARGE, Shape { nodes: 5, names: 150 });
}

#[test]
fn what_was_mended_stays_mended() {
    for (case, why) in REGRESSIONS {
        let failed = told(*case, &run(*case, false));
        assert!(failed.is_none(), "once {why}; now {}", failed.unwrap_or_default());
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    for case in [0, 1, 2, 3, 77, 1_234_567].map(Case::small) {
        let here = run(case, true);
        let there = std::thread::spawn(move || run(case, true)).join().expect("a seed does not panic");
        assert!(!here.trace.is_empty());
        assert_eq!(here, there, "{case:?}");
        let quiet = run(case, false);
        assert_eq!(here.digest, quiet.digest, "to watch {case:?} changes what happens");
    }
    assert_ne!(run(Case::small(0), false).digest, run(Case::small(1), false).digest);
}
