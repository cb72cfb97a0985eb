//! Moves whose worker ends in their midst.

use sworm::NodeId;
use sworm::core::message::Ask;
use sworm_tests::sim::{Options, World};

use super::rest;

#[test]
fn what_its_receiver_has_is_handed_over_however_its_worker_ends() {
    // It takes long to stop, and its task is gone meanwhile.
    let mut world = World::under(Options { nodes: 2, stop_ms: 60_000, ..Options::none() });
    let request = world.register_at("n1", "one", 0, Some("n1"));
    world.answer(request).expect("registered");
    rest(&mut world);
    world.count("one", false).expect("it runs");
    world.ask("n1", Ask::Move { name: "one".into(), to: NodeId::new("n2").expect("valid") });
    world.run(2_000);
    assert_eq!(world.worker("one").expect("it has not stopped").0, "n1");
    world.vanish_at_its_end("one");
    world.run_until("it runs there", |world| world.worker("one").is_some_and(|(host, _)| host == "n2"));
    assert_eq!(world.worker("one").expect("it runs").1.count, 1, "its state had gone along");
    rest(&mut world);
}
