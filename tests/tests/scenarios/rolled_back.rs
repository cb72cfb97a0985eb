//! Disks that have lost what was on them last.

use sworm::core::Notice;
use sworm_tests::sim::{Image, Options, World};

use super::{all_durable, registered, rest, saved};

/// Saves that worker's state twice. What was on that disk in between.
fn saved_twice(world: &mut World, name: &str, node: &str) -> Image {
    let save = |world: &mut World| {
        saved(world, name);
        all_durable(world);
        rest(world);
    };
    save(world);
    let between = world.image(node);
    save(world);
    between
}

/// Three nodes that are down, of which the second has lost what it saved last of the one worker.
fn all_down() -> World {
    let mut world = World::under(Options { nodes: 3, replicas: 2, kills: true, ..Options::none() });
    registered(&mut world, 1);
    let before = saved_twice(&mut world, "name-0", "n2");
    ["n1", "n2", "n3"].iter().for_each(|node| world.kill(node));
    world.roll_back("n2", &before);
    world
}

fn tells_of_an_older_one(world: &World) -> bool {
    world.told.iter().any(|(_, notice)| matches!(notice, Notice::RestoredOlder { .. }))
}

#[test]
fn who_has_lost_what_it_wrote_last_is_no_holder_and_who_has_it_is_waited_for() {
    let mut world = all_down();
    world.start("n2");
    world.run(5_000);
    assert!(world.worker("name-0").is_none(), "it was started from what may not be the newest");
    world.start("n1");
    world.run_until("it is back", |world| world.worker("name-0").is_some());
    assert_eq!(world.worker("name-0").expect("it runs").1.count, 2);
    rest(&mut world);
    assert!(!tells_of_an_older_one(&world));
    // From now on it has what the others have.
    for node in world.alive() {
        world.kill(&node);
    }
    world.start("n2");
    world.run_until("it is back", |world| world.worker("name-0").is_some());
    assert_eq!(world.worker("name-0").expect("it runs").1.count, 2);
    assert!(!tells_of_an_older_one(&world));
}

#[test]
fn a_loss_is_not_forgotten_when_the_node_starts_once_more() {
    let mut world = all_down();
    for _ in 0..2 {
        // Its store tells of the loss the first time only.
        world.start("n2");
        world.run(10_000);
        assert!(world.worker("name-0").is_none(), "it was started from what may not be the newest");
        world.kill("n2");
    }
    world.start("n2");
    world.start("n1");
    world.run_until("it is back", |world| world.worker("name-0").is_some());
    assert_eq!(world.worker("name-0").expect("it runs").1.count, 2);
}

#[test]
fn what_a_store_has_that_has_lost_something_is_used_where_nobody_else_is_and_that_is_told() {
    let mut world = World::under(Options { nodes: 1, kills: true, patient: true, ..Options::none() });
    let request = world.register("n1", "one", 0);
    world.answer(request).expect("free");
    let before = saved_twice(&mut world, "one", "n1");
    world.kill("n1");
    world.roll_back("n1", &before);
    world.start("n1");
    world.run_until("it is back", |world| world.worker("one").is_some());
    assert_eq!(world.worker("one").expect("it runs").1.count, 1);
    world.run(1_000);
    assert!(tells_of_an_older_one(&world));
    // From now on that is the newest, also if it is not saved again.
    world.told.clear();
    world.kill("n1");
    world.start("n1");
    world.run_until("it is back", |world| world.worker("one").is_some());
    assert_eq!(world.worker("one").expect("it runs").1.count, 1);
    rest(&mut world);
    assert!(!tells_of_an_older_one(&world));
}

#[test]
fn what_its_host_has_confirmed_counts_also_after_the_next_start() {
    let mut world = World::under(Options { nodes: 2, kills: true, patient: true, ..Options::none() });
    let request = world.register_at("n1", "one", 0, Some("n1"));
    world.answer(request).expect("free");
    saved_twice(&mut world, "one", "n2");
    let newest = world.image("n2");
    world.kill("n2");
    // What is lost is none of its states; nobody can know that before the host has said which is the newest.
    world.roll_back("n2", &newest);
    world.start("n2");
    rest(&mut world);
    world.run(10_000);
    ["n1", "n2"].iter().for_each(|node| world.kill(node));
    world.start("n2");
    world.run_until("it runs", |world| world.worker("one").is_some());
    assert_eq!(world.worker("one").expect("it runs").1.count, 2);
    rest(&mut world);
    assert!(!tells_of_an_older_one(&world));
}
