//! Groups: they go along with their workers, and what of them only a node knows that dies.

use sworm_tests::sim::{Options, World};

use sworm::core::message::{Ask, Done};

use super::{ALL, registered, rest};

fn joins(world: &mut World, on: &str, group: &str) {
    let request = world.ask(on, Ask::Join { name: "name-0".into(), group: group.into() });
    assert!(matches!(world.answer(request), Ok(Done::Regrouped { cell, .. }) if cell.groups.contains(group)));
}

#[test]
fn groups_go_along_when_a_worker_moves() {
    let mut world = World::calm(3);
    registered(&mut world, 1);
    for _ in 0..2 {
        let request = world.ask("n1", Ask::Join { name: "name-0".into(), group: "g".into() });
        assert!(matches!(world.answer(request), Ok(Done::Regrouped { cell, .. }) if cell.groups.len() == 1));
    }
    let host = world.worker("name-0").expect("runs").0;
    world.leave(&host);
    rest(&mut world);
    let on = ALL.into_iter().find(|node| **node != *host).expect("two are left");
    let request = world.ask(on, Ask::Leave { name: "name-0".into(), group: "other".into() });
    assert!(matches!(world.answer(request), Ok(Done::Regrouped { cell, .. }) if cell.groups.len() == 1));
}

/// A worker joins a group that all know of, and then another one while nobody hears its node, which dies.
fn dies_unheard(world: &mut World) -> String {
    registered(world, 1);
    joins(world, "n1", "heard");
    rest(world);
    let host = world.worker("name-0").expect("runs").0;
    for other in ALL.into_iter().filter(|other| **other != *host) {
        world.cut(&host, other);
    }
    joins(world, &host, "unheard");
    world.kill(&host);
    // What it has said is on its way until then, and lost.
    world.run(50);
    world.heal();
    host
}

/// With cuts, so that the laws of the simulation leave it to the scenario what is lost.
fn cut() -> World {
    World::under(Options { nodes: 3, cuts: true, ..Options::none() })
}

#[test]
fn a_group_that_nobody_had_heard_of_is_gone_when_its_worker_was_started_elsewhere_before_its_node_was_back() {
    let mut world = cut();
    let host = dies_unheard(&mut world);
    world.run_until("failover", |world| world.worker("name-0").is_some());
    rest(&mut world);
    assert_eq!(world.groups("name-0"), [["heard"], ["heard"]]);
    world.start(&host);
    world.run(10_000);
    rest(&mut world);
    assert_ne!(world.worker("name-0").expect("runs").0, host);
    assert_eq!(world.groups("name-0"), [["heard"], ["heard"], ["heard"]]);
    joins(&mut world, &host, "unheard");
    rest(&mut world);
    assert_eq!(world.groups("name-0"), [["heard", "unheard"]; 3]);
}

#[test]
fn a_group_that_nobody_had_heard_of_is_back_with_its_node() {
    let mut world = cut();
    let host = dies_unheard(&mut world);
    world.start(&host);
    world.run_until("it runs again", |world| world.worker("name-0").is_some());
    rest(&mut world);
    assert_eq!(world.groups("name-0"), [["heard", "unheard"]; 3]);
}

#[test]
fn a_group_that_nobody_had_heard_of_is_back_when_all_died_and_are_back() {
    let mut world = cut();
    let host = dies_unheard(&mut world);
    for other in ALL.into_iter().filter(|other| **other != *host) {
        world.kill(other);
    }
    ALL.into_iter().for_each(|node| world.start(node));
    world.run_until("it runs again", |world| world.worker("name-0").is_some());
    rest(&mut world);
    assert_eq!(world.groups("name-0"), [["heard", "unheard"]; 3]);
}

#[test]
fn a_request_that_comes_twice_does_not_undo_what_came_in_between() {
    let options = Options { nodes: 3, delay_ms: 60, in_order: false, repeated: 1_000, ..Options::none() };
    let mut world = World::under(options);
    registered(&mut world, 1);
    rest(&mut world);
    let host = world.worker("name-0").expect("runs").0;
    let other = ALL.into_iter().find(|node| **node != *host).expect("two others");
    for n in 0..30 {
        let group = format!("group-{n}");
        joins(&mut world, other, &group);
        let request = world.ask(&host, Ask::Leave { name: "name-0".into(), group: group.into() });
        assert!(world.answer(request).is_ok());
    }
    world.run(1_000);
    rest(&mut world);
    assert_eq!(world.groups("name-0"), [[""; 0]; 3]);
}
