//! Who holds copies of states, when disks are slow or cannot be read.

use std::collections::BTreeSet;

use sworm::core::Notice;
use sworm_tests::sim::{Options, World};

use super::{registered, rest, saved};

/// Who is said to hold the state of a name.
fn holders(world: &mut World, name: &str) -> BTreeSet<String> {
    let (host, _) = world.worker(name).expect("it runs");
    let (_, directory) = world.directory(&host);
    directory.mine(&name.into()).expect("it runs there").holders.iter().map(ToString::to_string).collect()
}

fn set(nodes: &[&str]) -> BTreeSet<String> {
    nodes.iter().map(|node| (*node).to_owned()).collect()
}

/// How long it takes until a state is durable.
fn saved_in_ms(world: &mut World, name: &str) -> u64 {
    let began = world.now_ms();
    saved(world, name);
    world.run_until("it is durable", |world| !world.worker(name).expect("it runs").1.is_saving());
    world.now_ms() - began
}

/// Names that run on n1 and have their copies on n2.
fn between_n1_and_n2(world: &mut World) -> Vec<String> {
    let mut names = registered(world, 60);
    names.iter().for_each(|name| saved(world, name));
    world.run(100);
    rest(world);
    names.retain(|name| world.worker(name).expect("it runs").0 == "n1" && holders(world, name) == set(&["n1", "n2"]));
    assert!(names.len() > 3, "{names:?}");
    names
}

#[test]
fn a_replica_with_a_slow_disk_holds_up_one_save_and_another_node_takes_its_place() {
    let mut world = World::calm(3);
    let names = between_n1_and_n2(&mut world);
    world.slow_disk("n2", Some(60_000));
    let took = saved_in_ms(&mut world, &names[0]);
    assert!((2_000..4_000).contains(&took), "it took {took} ms until the replica was left out");
    for name in names.iter().chain(&names) {
        let took = saved_in_ms(&mut world, name);
        assert!(took < 500, "{name}: it took {took} ms, though it is known who is slow");
        assert_eq!(holders(&mut world, name), set(&["n1", "n3"]));
    }
    // One that nobody has saved since has its copy there as well if the other one is gone.
    world.slow_disk("n2", None);
    world.run(70_000);
    for name in &names {
        assert!(saved_in_ms(&mut world, name) < 500);
        assert_eq!(holders(&mut world, name), set(&["n1", "n2"]), "it counts again after a while");
    }
}

#[test]
fn the_only_replica_gets_what_it_lacks_when_its_disk_is_fast_again() {
    let mut world = World::calm(2);
    let names: Vec<String> = (0..20).map(|n| format!("name-{n}")).collect();
    for name in &names {
        let request = world.register("n1", name, 0);
        world.answer(request).expect("registered");
        saved(&mut world, name);
    }
    world.run(100);
    rest(&mut world);
    let on_n1 = |world: &World, name: &String| world.worker(name).expect("it runs").0 == "n1";
    let names: Vec<String> = names.into_iter().filter(|name| on_n1(&world, name)).collect();
    world.slow_disk("n2", Some(9_000));
    saved_in_ms(&mut world, &names[0]);
    for name in &names {
        let took = saved_in_ms(&mut world, name);
        assert!(took < 500, "{name}: it took {took} ms, though it is known who is slow");
        assert_eq!(holders(&mut world, name), set(&["n1"]));
    }
    world.slow_disk("n2", None);
    world.run(45_000);
    for name in &names {
        assert_eq!(holders(&mut world, name), set(&["n1", "n2"]), "before anything is saved anew");
    }
    rest(&mut world);
}

#[test]
fn a_worker_whose_own_copy_cannot_be_read_goes_on_from_that_of_another_node() {
    for (chunk_bytes, padding) in [(Options::none().chunk_bytes, 0), (10, 40)] {
        let mut world = World::under(Options { nodes: 3, chunk_bytes, padding, ..Options::none() });
        let names = between_n1_and_n2(&mut world);
        let name = &names[0];
        world.spoil("n1", name);
        // It is noticed when another node is to get a copy.
        world.kill("n2");
        world.run(8_000);
        world.start("n2");
        world.run(8_000);
        rest(&mut world);
        let before = world.worker(name).expect("it runs").1;
        assert_eq!(before.count, 1);
        world.crash(name);
        world.run_until("it runs again", |world| {
            world.worker(name).is_some_and(|(_, worker)| worker.since > before.since)
        });
        assert_eq!(world.worker(name).expect("it runs").1.count, 1, "it was there");
        rest(&mut world);
    }
}

#[test]
fn a_checkpoint_that_nobody_knows_to_be_held_by_fewer_is_not_acknowledged_by_a_copy_that_nobody_gets() {
    let mut world = World::voting(3);
    let request = world.register_at("n1", "one", 0, Some("n1"));
    world.answer(request).expect("free");
    saved(&mut world, "one");
    world.run(100);
    rest(&mut world);
    let replica = holders(&mut world, "one").into_iter().find(|node| node != "n1").expect("it has a replica");
    // The replica is left out after two seconds; before that nothing gets to the others any more.
    world.slow_disk(&replica, Some(60_000));
    world.count("one", true).expect("it runs");
    world.run(1_500);
    world.cut("n1", "n2");
    world.cut("n1", "n3");
    world.run_until("it is parked", |world| {
        let places = world.places("one");
        places.iter().for_each(|(_, worker)| assert!(worker.is_saving() || !worker.is_ready(), "it is acknowledged"));
        places.is_empty()
    });
    world.slow_disk(&replica, None);
    world.heal();
    world.run_until("it runs", |world| world.places("one").len() == 1);
    assert_eq!(world.violation(), None);
}

/// Nobody else hears anything of a worker's node from the moment at which its first checkpoint is acknowledged.
#[test]
fn of_a_first_checkpoint_whose_holders_are_gone_at_once_it_is_told_that_there_was_one() {
    for seed in 0..20 {
        let mut world = World::under(Options { seed, nodes: 3, delay_ms: 60, ..Options::none() });
        let request = world.register_at("n1", "one", 0, Some("n1"));
        world.answer(request).expect("free");
        rest(&mut world);
        saved(&mut world, "one");
        world.run_until("it is acknowledged", |world| !world.worker("one").expect("it runs").1.is_saving());
        let gone = holders(&mut world, "one");
        assert_eq!(gone.len(), 2);
        let left = world.alive().into_iter().find(|node| !gone.contains(node)).expect("one does not hold it");
        gone.iter().for_each(|node| world.cut(node, &left));
        gone.iter().for_each(|node| world.kill(node));
        world.run(1_000);
        world.heal();
        world.run_until("it runs", |world| world.worker("one").is_some());
        assert_eq!(world.worker("one").expect("it runs").1.count, 0);
        let told =
            |(_, notice): &(String, Notice)| matches!(notice, Notice::RestoredOlder { pid, .. } if *pid.name == *"one");
        assert!(world.told.iter().any(told), "seed {seed}: an older state was used, and nobody was told");
        rest(&mut world);
    }
}

#[test]
fn a_state_with_two_replicas_survives_the_loss_of_two_of_its_holders_at_once() {
    for seed in 0..20 {
        let mut world = World::under(Options { seed, nodes: 4, replicas: 2, ..Options::none() });
        let names = registered(&mut world, 12);
        for count in 1..=3 {
            names.iter().for_each(|name| saved(&mut world, name));
            let saving = |world: &World, name: &String| world.worker(name).is_none_or(|(_, worker)| worker.is_saving());
            world.run_until("all are durable", |world| names.iter().all(|name| !saving(world, name)));
            assert!(names.iter().all(|name| world.worker(name).expect("it runs").1.count == count));
        }
        assert_eq!(holders(&mut world, &names[0]).len(), 3);
        ["n1", "n2"].iter().for_each(|node| world.kill(node));
        let killed = world.now_ms();
        world.run_until("all run", |world| names.iter().all(|name| world.worker(name).is_some()));
        assert!(world.now_ms() < killed + 10_000, "a state was waited for");
        assert!(names.iter().all(|name| world.worker(name).expect("it runs").1.count == 3));
        rest(&mut world);
    }
}

#[test]
fn where_all_other_voters_are_being_emptied_each_save_is_as_fast_as_before() {
    let mut world = World::voting(3);
    let request = world.register_at("n1", "name", 0, Some("n1"));
    world.answer(request).expect("free");
    for node in ["n2", "n3"] {
        world.drain(node, true);
    }
    world.run(1_000);
    for _ in 0..5 {
        let took = saved_in_ms(&mut world, "name");
        assert!(took < 500, "it took {took} ms until those were asked who know who holds it");
    }
    rest(&mut world);
}
