//! Nodes that leave while workers of theirs take long to stop.

use sworm::core::cell::NameState;
use sworm_tests::sim::{Options, World};

use super::rest;

/// Two nodes, and names on the first whose workers take long to stop.
fn slow_to_stop(names: usize) -> World {
    let mut world = World::under(Options { nodes: 2, kills: true, stop_ms: 60_000, ..Options::none() });
    for n in 0..names {
        let request = world.register_at("n1", &format!("name-{n}"), 0, Some("n1"));
        world.answer(request).expect("free");
    }
    rest(&mut world);
    world
}

#[test]
fn nobody_starts_a_name_whose_worker_still_stops_when_its_node_leaves_late() {
    let mut world = slow_to_stop(10);
    for n in 0..10 {
        world.forget(&format!("name-{n}")); // it is stopped, to be started anew
    }
    world.run(2_000);
    world.leave("n1");
    world.run_until("they run elsewhere", |world| world.workers("n2") == 10);
    rest(&mut world);
}

#[test]
fn what_its_receiver_has_is_not_taken_back_when_a_node_leaves_late() {
    let mut world = slow_to_stop(5);
    for n in 0..5 {
        world.count(&format!("name-{n}"), false).expect("it runs");
    }
    world.begin_leave("n1");
    while world.alive().len() == 2 {
        world.run(100);
        if world.alive().len() == 2 {
            let (me, directory) = world.directory("n1");
            let names = directory.lane(&me).into_iter().flat_map(|lane| lane.names());
            assert_eq!(names.filter(|(_, cell)| cell.state == NameState::Parked).count(), 0, "one was taken back");
        }
    }
    world.run_until("they run elsewhere", |world| world.workers("n2") == 5);
    for n in 0..5 {
        assert_eq!(world.worker(&format!("name-{n}")).expect("it runs").1.count, 1);
    }
    rest(&mut world);
}
