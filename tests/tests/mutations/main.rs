//! The mutation gate: each mistake that can be planted in the library is found, by a simulated seed or by a law of lanes.

mod lanes;

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use sworm::core::fault::Fault;
use sworm_tests::sim::{Shape, each, run, run_planted};

/// So many small seeds at most for each fault.
const BUDGET: u64 = 1_500;

/// What found a fault.
enum Found {
    Seed { seed: u64, violation: String },
    Law { name: &'static str, why: String },
}

/// The first seed that fails with the fault planted, and does not without, and how many were run.
fn by_seed(fault: Fault) -> (Option<Found>, u64) {
    let (found, ran) = (Mutex::new(None), AtomicU64::new(0));
    each(0..BUDGET, |seed| {
        ran.fetch_add(1, Relaxed);
        let Some(violation) = run_planted(seed, Shape::SMALL, false, fault).violation else {
            return ControlFlow::Continue(());
        };
        if run(seed, Shape::SMALL, false).violation.is_some() {
            return ControlFlow::Continue(());
        }
        found.lock().expect("nobody panics with it").get_or_insert(Found::Seed { seed, violation });
        ControlFlow::Break(())
    });
    (found.into_inner().expect("nobody panics with it"), ran.into_inner())
}

fn by_law(fault: Fault) -> Option<Found> {
    lanes::LAWS.iter().find_map(|(name, law)| {
        sworm::core::fault::plant(Some(fault));
        let broken = law().err();
        sworm::core::fault::plant(None);
        broken.map(|why| Found::Law { name, why })
    })
}

#[test]
fn every_fault_that_is_planted_is_found() {
    let (mut table, mut missed) = (String::new(), Vec::new());
    for fault in Fault::ALL {
        let began = Instant::now();
        let (found, after) = match by_law(*fault) {
            Some(found) => (Some(found), 0),
            None => by_seed(*fault),
        };
        let what = match &found {
            None => "NOT FOUND".to_owned(),
            Some(Found::Seed { seed, violation }) => format!("seed {seed}: {violation}"),
            Some(Found::Law { name, why }) => format!("{name}: {why}"),
        };
        let what: String = what.lines().next().unwrap_or_default().chars().take(140).collect();
        let took = began.elapsed().as_secs_f32();
        writeln!(table, "{:24} {after:5} seeds {took:5.1} s  {what}", fault.name()).expect("to memory");
        if found.is_none() {
            missed.push(fault.name());
        }
    }
    println!("{table}");
    assert!(missed.is_empty(), "{missed:?} of these were not found:\n{table}");
}
