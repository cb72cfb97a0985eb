//! States of many chunks: slow links, chunks that are spoiled on their way, and transfers that are broken off.

use sworm::NodeId;
use sworm::core::message::Ask;
use sworm_tests::sim::{Options, World};

use super::{rest, saved};

/// Two nodes, of which the first runs a worker with a state of that many chunks.
fn world(chunks: usize, options: Options) -> World {
    let mut world = World::under(Options { nodes: 2, chunk_bytes: 10, padding: chunks * 10 - 8, ..options });
    let request = world.register_at("n1", "one", 0, Some("n1"));
    world.answer(request).expect("registered");
    rest(&mut world);
    world
}

fn asks_to_move(world: &mut World, to: &str) -> u64 {
    let to = NodeId::new(to).expect("valid");
    world.ask("n1", Ask::Move { name: "one".into(), to })
}

#[test]
fn a_move_takes_as_long_as_it_gets_on() {
    let mut world = world(240, Options::none());
    world.count("one", false).expect("it runs");
    world.delay(400);
    let began = world.now_ms();
    asks_to_move(&mut world, "n2");
    world.run_until("it runs there", |world| world.worker("one").is_some_and(|(host, _)| host == "n2"));
    let took = world.now_ms() - began;
    assert!(took > 20_000, "it took {took} ms: that is not long");
    assert_eq!(world.worker("one").expect("it runs").1.count, 1);
}

#[test]
fn a_checkpoint_waits_for_a_replica_as_long_as_it_gets_on() {
    let mut world = world(60, Options::none());
    world.delay(400);
    world.count("one", true).expect("it runs");
    world.run_until("it is acknowledged", |world| world.worker("one").is_some_and(|(_, worker)| !worker.is_saving()));
    let (_, directory) = world.directory("n1");
    assert_eq!(directory.mine(&"one".into()).expect("it runs here").holders.len(), 2, "nobody was left out");
    world.kill("n1");
    world.run_until("it runs elsewhere", |world| world.worker("one").is_some_and(|(host, _)| host == "n2"));
    assert_eq!(world.worker("one").expect("it runs").1.count, 1);
}

#[test]
fn chunks_that_are_spoiled_lost_or_repeated_are_asked_for_again() {
    let bad =
        Options { seed: 3, spoiled: 300, lost: 50, repeated: 200, delay_ms: 10, in_order: false, ..Options::none() };
    let mut world = world(40, bad);
    let mut moved = 0;
    for round in 0..12 {
        world.count("one", false);
        let to = ["n2", "n1"][round % 2];
        let request = asks_to_move(&mut world, to);
        moved += u32::from(world.answer(request).is_ok());
        rest(&mut world);
    }
    assert!(moved > 6, "{moved} of 12 moves came about");
    assert_eq!(world.worker("one").expect("it runs").1.count, 12);
    assert_eq!(world.violation(), None);
}

#[test]
fn of_transfers_that_are_broken_off_nothing_is_left() {
    let mut world = world(60, Options { delay_ms: 20, ..Options::none() });
    saved(&mut world, "one");
    world.run(5_000);
    for (dies, round) in [("n1", 1), ("n2", 2), ("n1", 3)] {
        let (host, _) = world.worker("one").expect("it runs");
        world.count("one", true).expect("it runs");
        let other = if host == "n1" { "n2" } else { "n1" };
        world.run_until("some chunks", |world| world.left_over(other) > 0);
        world.kill(dies);
        world.run(30_000);
        world.start(dies);
        rest(&mut world);
        world.run(30_000);
        rest(&mut world);
        for node in ["n1", "n2"] {
            assert_eq!(world.left_over(node), 0, "on {node} in round {round}");
        }
    }
}
