//! All nodes were down, and one that has a later state than the others comes back late.

use sworm::core::Notice;
use sworm_tests::sim::{Options, World};

use super::{ALL, all_durable, rest, saved};

const NAMES: usize = 12;

/// Nodes with workers on the second one, which were counted up once.
fn counted_once(nodes: usize, options: Options) -> (World, Vec<String>) {
    let mut world = World::under(Options { nodes, ..options });
    let names: Vec<String> = (0..NAMES).map(|n| format!("name-{n}")).collect();
    for name in &names {
        let request = world.register_at("n1", name, 0, Some("n2"));
        world.answer(request).expect("free");
        saved(&mut world, name);
    }
    all_durable(&mut world);
    rest(&mut world);
    world.run(3_000); // also where nobody has waited for the copies
    (world, names)
}

/// Counts all of them up to that.
fn count_to(world: &mut World, names: &[String], count: u64) {
    while names.iter().any(|name| world.worker(name).expect("it runs").1.count < count) {
        names.iter().for_each(|name| saved(world, name));
        all_durable(world);
    }
}

/// All run on one node, with that count.
fn run_with(world: &World, names: &[String], on: &str, count: u64) {
    for name in names {
        let (host, worker) = world.worker(name).expect("it runs");
        assert_eq!((&*host, worker.count), (on, count), "{name}");
    }
}

fn all_run(world: &mut World, names: &[String]) {
    world.run_until("they run", |world| {
        names.iter().all(|name| matches!(&world.places(name)[..], [(_, worker)] if worker.is_ready()))
    });
}

/// The laws are not asked: to them what one node alone has had is lost when it goes, and here it comes back.
fn comes_to_rest(world: &mut World) {
    world.run(3_000);
    world.run_until("rest", World::is_at_rest);
}

/// The names whose states have turned up late, as their hosts have told, and with which counts they were given.
fn turned_up(world: &World) -> (Vec<String>, Vec<(String, u64)>) {
    let told = world.told.iter().filter_map(|(_, notice)| match notice {
        Notice::StateDiverged { pid, .. } => Some(pid.name.to_string()),
        _ => None,
    });
    let (mut told, mut given): (Vec<_>, _) = (told.collect(), world.given.clone());
    told.sort_unstable();
    given.sort_unstable();
    (told, given)
}

fn with_count(names: &[String], count: u64) -> (Vec<String>, Vec<(String, u64)>) {
    let mut names = names.to_vec();
    names.sort_unstable();
    (names.clone(), names.into_iter().map(|name| (name, count)).collect())
}

/// What the first of two nodes has started from older states than the second one has, which is down.
fn started_from_older_ones(seed: u64) -> (World, Vec<String>) {
    let (mut world, names) = counted_once(2, Options { seed, kills: true, ..Options::none() });
    world.kill("n1");
    world.run(6_000);
    count_to(&mut world, &names, 4);
    world.kill("n2");
    world.start("n1");
    all_run(&mut world, &names);
    run_with(&world, &names, "n1", 1);
    (world, names)
}

#[test]
fn the_state_of_a_later_assignment_that_comes_late_takes_the_place_of_what_a_lone_node_has_started() {
    for seed in 0..10 {
        let (mut world, names) = counted_once(3, Options { seed, kills: true, ..Options::none() });
        world.kill("n1");
        // It gives them to the only one that is left: that is another assignment each.
        world.leave("n2");
        all_run(&mut world, &names);
        run_with(&world, &names, "n3", 1);
        count_to(&mut world, &names, 4);
        world.leave("n3");
        // Nothing runs any more. The first one back has the older states, if any, and is the smaller part of those that it knows.
        world.start("n1");
        all_run(&mut world, &names);
        let before: Vec<_> = names.iter().map(|name| world.worker(name).expect("it runs")).collect();
        assert!(before.iter().all(|(host, worker)| host == "n1" && worker.count <= 1), "{before:?}");
        names.iter().for_each(|name| saved(&mut world, name));
        all_durable(&mut world);
        world.start("n3");
        comes_to_rest(&mut world);
        for (name, (_, before)) in names.iter().zip(before) {
            let (_, worker) = world.worker(name).expect("it runs");
            assert_eq!(worker.count, 4, "{name} has the state that came late, and nothing of the other one");
            assert!(worker.since > before.since, "{name}");
        }
        // It has that by now, wherever it goes next.
        world.leave("n3");
        all_run(&mut world, &names);
        run_with(&world, &names, "n1", 4);
    }
}

#[test]
fn the_later_state_of_the_same_assignment_that_comes_late_is_given_to_what_a_lone_node_has_started() {
    for seed in 0..10 {
        let (mut world, names) = started_from_older_ones(seed);
        let before: Vec<_> = names.iter().map(|name| world.worker(name).expect("it runs").1.since).collect();
        names.iter().for_each(|name| saved(&mut world, name));
        all_durable(&mut world);
        world.start("n2");
        comes_to_rest(&mut world);
        run_with(&world, &names, "n1", 2);
        let after: Vec<_> = names.iter().map(|name| world.worker(name).expect("it runs").1.since).collect();
        assert_eq!(after, before, "they have run on");
        assert_eq!(turned_up(&world), with_count(&names, 4));
    }
}

#[test]
fn a_later_state_that_only_the_late_one_of_three_had_is_given_to_what_the_other_two_have_started() {
    for seed in 0..10 {
        let (mut world, names) = counted_once(3, Options { seed, local: true, cuts: true, ..Options::none() });
        // What is saved now reaches no other node, and all die before that is noticed.
        ["n1", "n3"].iter().for_each(|other| world.cut("n2", other));
        for _ in 0..3 {
            names.iter().for_each(|name| saved(&mut world, name));
            world.run(200);
        }
        ALL.iter().for_each(|node| world.kill(node));
        world.heal();
        world.start("n1");
        world.start("n3");
        all_run(&mut world, &names);
        let before: Vec<_> = names.iter().map(|name| world.worker(name).expect("it runs")).collect();
        assert!(before.iter().all(|(host, worker)| host != "n2" && worker.count == 1), "{before:?}");
        world.start("n2");
        world.run(3_000);
        rest(&mut world);
        let after: Vec<_> = names.iter().map(|name| world.worker(name).expect("it runs")).collect();
        assert_eq!(after, before, "they have run on");
        assert_eq!(turned_up(&world), with_count(&names, 4));
    }
}

#[test]
fn a_state_that_a_worker_was_not_given_is_given_to_it_later() {
    let (mut world, names) = started_from_older_ones(0);
    names.iter().for_each(|name| saved(&mut world, name));
    all_durable(&mut world);
    world.withholds = true;
    world.start("n2");
    comes_to_rest(&mut world);
    assert!(!world.withholds);
    run_with(&world, &names, "n1", 2);
    assert_eq!(turned_up(&world), with_count(&names, 4), "each is told of once, and given once");
}
