//! Storms: five processes are killed, frozen, cut off from each other, leave and start again, as a seed tells; when it is
//! over, each name has one living worker, and every node knows it.
//!
//! `SWORM_STORM_ROUNDS` and `SWORM_STORM_NAMES` make it longer and larger (10 rounds with 5,000 names take ten minutes),
//! `SWORM_STORM_SEED` makes it another one (a number, or `random`). Processes and networks have their own time, so that a
//! seed repeats what is done to them, not what comes of it.

mod check;
mod cluster;
mod script;

use std::str::FromStr;

use cluster::Storm;
use fastrand::Rng;

/// A leave, a kill, a node that stands still for longer than its links live, and one that is cut off.
const SEED: u64 = 2;

fn setting<T: FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value:?} is no number")))
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "what is needed to repeat it, and measured times")]
async fn after_every_storm_each_name_has_one_worker_and_every_node_knows_it() {
    let seed = match std::env::var("SWORM_STORM_SEED").as_deref() {
        Ok("random") => fastrand::u64(..),
        _ => setting("SWORM_STORM_SEED").unwrap_or(SEED),
    };
    let rounds = setting("SWORM_STORM_ROUNDS").unwrap_or(2);
    let names = setting("SWORM_STORM_NAMES").unwrap_or(300);
    println!("SWORM_STORM_SEED={seed} SWORM_STORM_ROUNDS={rounds} SWORM_STORM_NAMES={names}");
    let mut rng = Rng::with_seed(seed);
    let mut storm = Storm::start(names).await;
    println!("at first: {}", storm.settle().await);
    for round in 1..=rounds {
        let calm = round % 2 == 1;
        let steps = script::round(&mut rng, calm);
        println!("round {round}, {}: {steps:?}", if calm { "calm" } else { "rough" });
        let before = storm.hosts().await;
        let overlaps = storm.overlaps();
        for step in &steps {
            storm.perform(step).await;
        }
        storm.calm_down().await;
        let settled = storm.settle().await;
        let after = storm.hosts().await;
        println!("round {round}: {settled}; {} workers are others than before", check::others(&before, &after));
        if calm {
            assert_eq!(storm.overlaps(), overlaps, "a name ran twice although the members agreed all the time");
            check::undisturbed(&steps, &before, &after);
        }
    }
}
