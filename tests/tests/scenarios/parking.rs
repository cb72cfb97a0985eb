//! What becomes of states that are being saved when the majority is lost.

use sworm::core::Notice;
use sworm_tests::sim::{Options, World};

use super::rest;

#[test]
fn a_state_that_is_being_saved_when_the_majority_is_lost_is_parked_and_is_not_said_to_be_lost() {
    let mut world = World::under(Options { nodes: 3, majority: true, cuts: true, ..Options::none() });
    let request = world.register_at("n1", "one", 0, Some("n1"));
    world.answer(request).expect("free");
    rest(&mut world);
    world.slow_disk("n1", Some(8_000)); // it has the state before the others may start it
    world.count("one", true).expect("it runs");
    world.run(100);
    assert!(world.is_saving());
    let pairs = [("n1", "n2"), ("n1", "n3"), ("n2", "n3")];
    pairs.iter().for_each(|(one, other)| world.cut(one, other));
    world.run(10_000);
    assert_eq!(world.worker("one"), None);
    world.slow_disk("n1", None);
    world.heal();
    world.run_until("its start", |world| world.worker("one").is_some());
    assert_eq!(world.worker("one").expect("it runs").1.count, 1);
    rest(&mut world);
    let lost = |notice: &Notice| matches!(notice, Notice::Unsaved { .. } | Notice::RestoredOlder { .. });
    let told: Vec<_> = world.told.iter().filter(|(_, notice)| lost(notice)).collect();
    assert!(told.is_empty(), "{told:?}");
}

/// A node whose worker was parked with a state that nobody else has.
fn parked() -> World {
    let mut world = World::under(Options { nodes: 3, majority: true, cuts: true, ..Options::none() });
    let request = world.register_at("n1", "one", 0, Some("n3"));
    world.answer(request).expect("free");
    rest(&mut world);
    world.count("one", false).expect("it runs");
    ["n1", "n2"].iter().for_each(|other| world.cut(other, "n3"));
    world.run_until("it is parked", |world| world.worker("one").is_none());
    world.run(100);
    world
}

#[test]
fn a_node_without_a_majority_that_is_emptied_says_what_is_parked_on_it() {
    let mut world = parked();
    world.drain("n3", true);
    world.run_until("it says so", |world| !world.drained.is_empty());
    let stays: Vec<&str> = world.drained[0].stays.iter().map(|stays| &*stays.name).collect();
    assert_eq!((world.drained[0].moved, stays), (0, vec!["one"]));
}
