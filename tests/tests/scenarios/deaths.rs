//! Nodes die, leave and come back, or are cut off: what ran there goes on, from its last state.

use sworm_tests::sim::{Options, World};

use super::{ALL, all_durable, registered, rest, saved};

#[test]
fn workers_of_a_killed_node_start_elsewhere_with_their_checkpoints_and_no_other_is_touched() {
    let mut world = World::calm(3);
    let names = registered(&mut world, 60);
    for name in &names {
        saved(&mut world, name);
    }
    all_durable(&mut world);
    let before: Vec<_> = names.iter().map(|name| world.worker(name).expect("runs")).collect();
    world.kill("n2");
    world.run_until("failover", |world| names.iter().all(|name| world.worker(name).is_some()));
    rest(&mut world);
    for (name, (host, worker)) in names.iter().zip(before) {
        let (now, after) = world.worker(name).expect("runs");
        assert_eq!(after.count, 1, "{name}");
        if host != "n2" {
            assert_eq!((now, after), (host, worker), "a bystander was disturbed");
        }
    }
    // The lost copies were made up for: the next loss loses nothing either.
    world.run(2_000);
    world.kill("n3");
    world.run_until("failover", |world| names.iter().all(|name| world.worker(name).is_some()));
    assert!(names.iter().all(|name| world.worker(name).expect("runs").1.count == 1));
}

#[test]
fn a_node_that_leaves_hands_everything_over_with_its_state() {
    let mut world = World::calm(3);
    let names = registered(&mut world, 300);
    for name in names.iter().step_by(7) {
        saved(&mut world, name);
    }
    all_durable(&mut world);
    world.leave("n1");
    world.run_until("all there", |world| names.iter().all(|name| world.worker(name).is_some()));
    rest(&mut world);
    for (n, name) in names.iter().enumerate() {
        assert_eq!(world.worker(name).expect("runs").1.count, u64::from(n % 7 == 0), "{name}");
    }
    assert_eq!(world.workers("n2") + world.workers("n3"), 300);
}

#[test]
fn a_node_that_leaves_takes_no_copy_away_that_others_count_on() {
    let mut world = World::calm(3);
    let names = registered(&mut world, 60);
    for name in &names {
        saved(&mut world, name);
    }
    all_durable(&mut world);
    world.leave("n1");
    world.kill("n2");
    let killed = world.now_ms();
    world.run_until("failover", |world| names.iter().all(|name| world.worker(name).is_some()));
    assert!(world.now_ms() < killed + 5_000, "a state had to be waited for");
    assert!(names.iter().all(|name| world.worker(name).expect("runs").1.count == 1));
}

#[test]
fn a_state_whose_holders_are_gone_is_waited_for_once() {
    let mut world = World::calm(3);
    let names = registered(&mut world, 60);
    for name in &names {
        saved(&mut world, name);
    }
    all_durable(&mut world);
    world.kill("n1");
    world.kill("n2");
    let killed = world.now_ms();
    world.run_until("failover", |world| names.iter().all(|name| world.worker(name).is_some()));
    assert!(world.now_ms() > killed + 10_000, "nobody was waited for");
    assert!(world.now_ms() < killed + 15_000, "they were waited for twice");
}

#[test]
fn the_last_node_parks_its_workers_and_they_come_back() {
    let mut world = World::calm(1);
    let request = world.register("n1", "alice", 0);
    world.answer(request).expect("free");
    saved(&mut world, "alice");
    all_durable(&mut world);
    world.leave("n1");
    world.start("n1");
    world.run_until("it is back", |world| world.worker("alice").is_some());
    assert_eq!(world.worker("alice").expect("runs").1.count, 1);
    rest(&mut world);
}

#[test]
fn a_killed_cluster_comes_back_once_each_with_its_checkpoints() {
    for order in [["n1", "n2", "n3"], ["n3", "n1", "n2"], ["n2", "n3", "n1"]] {
        let mut world = World::calm(3);
        let names = registered(&mut world, 30);
        for name in &names {
            saved(&mut world, name);
        }
        all_durable(&mut world);
        for node in ALL {
            world.kill(node);
        }
        for node in order {
            world.start(node);
            world.run(400);
        }
        world.run_until("all back", |world| names.iter().all(|name| world.places(name).len() == 1));
        rest(&mut world);
        for name in &names {
            assert_eq!(world.worker(name).expect("runs").1.count, 1, "{name}");
        }
    }
}

#[test]
fn after_a_cut_heals_each_name_has_one_worker_and_the_majority_kept_its_own() {
    let mut world = World::under(Options { nodes: 3, cuts: true, ..Options::none() });
    let names = registered(&mut world, 30);
    rest(&mut world);
    world.cut("n1", "n3");
    world.cut("n2", "n3");
    world.run(8_000);
    let kept: Vec<_> = names.iter().map(|name| (name, world.places(name).len())).collect();
    assert!(kept.iter().all(|(_, places)| *places == 2), "both sides run everything: {kept:?}");
    world.heal();
    world.run(3_000);
    rest(&mut world);
    for name in &names {
        let (host, _) = world.worker(name).expect("runs once");
        assert_ne!(host, "n3", "{name}: the lone side must not win");
    }
}

#[test]
fn a_copy_that_is_counted_on_is_not_thrown_away_for_older_news() {
    for seed in 0..20 {
        let mut world = World::under(Options { seed, nodes: 1, in_order: false, ..Options::none() });
        world.delay(100);

        let names: Vec<String> = (0..200).map(|n| format!("name-{n}")).collect();
        for name in &names {
            let request = world.register("n1", name, 0);
            world.answer(request).expect("free");
            saved(&mut world, name);
        }
        all_durable(&mut world);
        world.start("n2");
        for round in 0..6 {
            world.run(150);
            for name in names.iter().skip(round * 30).take(30) {
                saved(&mut world, name);
            }
        }
        world.delay(1);
        world.run(5_000);
        let before: Vec<u64> = names.iter().map(|name| world.worker(name).expect("runs").1.count).collect();
        world.kill("n1");
        world.run_until("failover", |world| names.iter().all(|name| world.worker(name).is_some()));
        for (name, before) in names.iter().zip(before) {
            assert_eq!(world.worker(name).expect("runs").1.count, before, "seed {seed}, {name}");
        }
    }
}

#[test]
fn nodes_that_start_wait_for_no_client_that_was_there_before() {
    let mut world = World::calm(3);
    world.start_client("c1");
    let names = registered(&mut world, 20);
    rest(&mut world);
    ALL.iter().chain(&["c1"]).for_each(|node| world.kill(node));
    let began = world.now_ms();
    ALL.iter().for_each(|node| world.start(node));
    world.run_until("all run", |world| names.iter().all(|name| world.worker(name).is_some()));
    let took = world.now_ms() - began;
    assert!(took < 4_000, "it took {took} ms: nodes that run something are waited for, for 5 s");
}
