//! What is so of copies of states, played on virtual time in one thread: that is where a fault is planted.

use sworm::NodeId;
use sworm::core::fault::{Fault, plant};
use sworm::core::message::Ask;
use sworm_tests::sim::{Options, World};

use crate::lanes::Law;

/// All laws.
pub(super) const LAWS: &[(&str, Law)] = &[
    ("a copy is kept until the next worker has one of its own", a_copy_is_kept_until_the_next_worker_has_one),
    ("a copy that was asked for is kept until it is counted on", a_copy_that_was_asked_for_is_kept),
];

/// A worker that was counted up once on the first of so many nodes, and has saved that there and on so many others.
fn saved(nodes: usize, replicas: u8) -> World {
    let mut world = World::under(Options { nodes, replicas, ..Options::none() });
    let request = world.register_at("n1", "one", 0, Some("n1"));
    world.answer(request).expect("registered");
    world.run(1_000);
    world.count("one", true).expect("it runs");
    world.run(1_000);
    world
}

fn lose(world: &mut World, node: &str) {
    world.kill(node);
    world.lose_disk(node);
}

fn goes_on(world: &mut World) -> Result<(), String> {
    for _ in 0..600 {
        world.run(100);
        if let Some((node, worker)) = world.worker("one") {
            return if worker.count == 1 { Ok(()) } else { Err(format!("{node} starts it from {}", worker.count)) };
        }
    }
    Err("it does not run again".into())
}

/// It moves, and the machine that it moves to is lost before it runs there. No other copy is made: with replicas the next
/// worker's first state is on its way to them before anything is said of it.
fn a_copy_is_kept_until_the_next_worker_has_one() -> Result<(), String> {
    let mut world = saved(2, 0);
    world.slow_disk("n2", Some(2_000));
    world.ask("n1", Ask::Move { name: "one".into(), to: NodeId::new("n2").expect("valid") });
    let taken = |world: &World| {
        let seen = world.lookups("one");
        seen.first().is_some_and(|seen| seen.as_ref().is_some_and(|(host, runs)| *host.node == *"n2" && !runs))
    };
    world.run_until("it is taken", taken);
    world.run(200);
    lose(&mut world, "n2");
    goes_on(&mut world)
}

/// A second node gets a copy, and the view changes before the first one has said that it counts on that.
fn a_copy_that_was_asked_for_is_kept() -> Result<(), String> {
    let mut world = saved(1, 1);
    world.slow_disk("n1", Some(3_000));
    world.start("n2");
    world.run(2_500);
    world.start("n3");
    world.run(20_000);
    lose(&mut world, "n1");
    goes_on(&mut world)
}

#[test]
fn it_is_so_where_no_fault_is_planted() {
    for (name, law) in LAWS {
        law().unwrap_or_else(|why| panic!("{name}: {why}"));
    }
}

#[test]
fn it_is_not_so_where_one_is_planted() {
    for (fault, (name, law)) in [Fault::DeleteBeforeProof, Fault::DropPromisedCopy].into_iter().zip(LAWS) {
        plant(Some(fault));
        let broken = law();
        plant(None);
        assert!(broken.is_err(), "{fault:?}: {name}");
    }
}
