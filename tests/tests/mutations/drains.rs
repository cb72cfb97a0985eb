//! A law of emptied nodes that chance seldom puts to the test: what is parked on one is not left behind.

use sworm::core::fault::{Fault, plant};
use sworm_tests::sim::{Options, World};

use crate::lanes::Law;

pub(super) const LAWS: &[(&str, Law)] =
    &[("an empty node has no state that nobody else has", an_empty_node_has_no_state_that_nobody_else_has)];

/// A worker is parked where a node is cut off, and that node is emptied and lost when it hears of the others again.
fn an_empty_node_has_no_state_that_nobody_else_has() -> Result<(), String> {
    let mut world = World::under(Options { nodes: 3, majority: true, cuts: true, ..Options::none() });
    let request = world.register_at("n1", "one", 0, Some("n3"));
    world.answer(request).map_err(|refusal| format!("{refusal:?}"))?;
    world.run(1_000);
    world.count("one", false).ok_or("it runs no more")?;
    ["n1", "n2"].iter().for_each(|other| world.cut(other, "n3"));
    world.run_until("it is parked", |world| world.worker("one").is_none());
    world.run(100);
    world.heal();
    world.drain("n3", true);
    world.run_until("it is emptied", |world| !world.drained.is_empty());
    world.kill("n3");
    world.lose_disk("n3");
    world.run_until("it runs", |world| world.worker("one").is_some());
    match world.worker("one").map_or(0, |(_, worker)| worker.count) {
        1 => Ok(()),
        count => Err(format!("it starts from {count}")),
    }
}

#[test]
fn the_law_of_emptied_nodes_holds() {
    for (name, law) in LAWS {
        assert_eq!(law(), Ok(()), "{name}");
    }
    plant(Some(Fault::DrainedThoughParked));
    let broken = an_empty_node_has_no_state_that_nobody_else_has();
    plant(None);
    assert!(broken.is_err());
}
