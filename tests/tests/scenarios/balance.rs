//! Balance waits for what is recovered, and for nothing else that starts.

use sworm_tests::sim::{Options, World};

use super::rest;

const NAMES: usize = 30;

/// Two nodes with names, and a third on which what is recovered ran; `more` is done before that one dies.
fn one_has_died(more: impl FnOnce(&mut World)) -> World {
    let mut world = World::under(Options { nodes: 3, balances: true, kills: true, ..Options::none() });
    for n in 0..NAMES {
        let on = ["n1", "n2"][n % 2];
        let request = world.register_at(on, &format!("n{n}"), 0, Some(on));
        world.answer(request).expect("free");
    }
    for n in 0..4 {
        let request = world.register_at("n3", &lost(n), 0, Some("n3"));
        world.answer(request).expect("free");
    }
    rest(&mut world);
    more(&mut world);
    world.kill("n3");
    let is_given =
        |world: &World, n| world.lookups(&lost(n)).iter().all(|at| at.as_ref().is_some_and(|at| &*at.0.node != "n3"));
    world.run_until("it is given to others", |world| (0..4).all(|n| is_given(world, n)));
    world.start("n4");
    world
}

fn lost(n: usize) -> String {
    format!("lost-{n}")
}

#[test]
fn nothing_moves_for_balance_while_what_is_recovered_starts_on_nodes_that_stay() {
    let mut world = one_has_died(|world| {
        world.slow_ms = 20_000;
        world.slow.extend((0..4).map(|n| lost(n).into()));
    });
    let recovered = |world: &World| (0..4).all(|n| world.worker(&lost(n)).is_some_and(|(_, worker)| worker.is_ready()));
    let mut waited_ms = 0;
    while !recovered(&world) {
        assert_eq!(world.workers("n4"), 0, "after {waited_ms} ms");
        world.run(100);
        waited_ms += 100;
    }
    assert!(waited_ms > 10_000, "that is longer than names wait for a new node: {waited_ms} ms");
    world.run_until("its share", |world| world.workers("n4") > 4);
    rest(&mut world);
}

#[test]
fn what_is_recovered_and_does_not_start_holds_balance_up_for_a_minute() {
    let mut world = one_has_died(|world| world.broken.extend((0..4).map(|n| lost(n).into())));
    let started_ms = world.now_ms();
    world.run_until("something moves", |world| world.workers("n4") > 0);
    let waited_ms = world.now_ms() - started_ms;
    assert!((55_000..65_000).contains(&waited_ms), "{waited_ms} ms");
    world.run_until("its share", |world| world.workers("n4") > 4);
    world.broken.clear();
    rest(&mut world);
}

/// The time that a node takes to be given its share of 60 names that run on another one.
fn share_of_60_within(mut world: World, share: usize) -> u64 {
    let started_ms = world.now_ms();
    world.start("n2");
    world.run_until("its share", |world| world.workers("n2") >= share);
    let took_ms = world.now_ms() - started_ms;
    world.slow.clear();
    rest(&mut world);
    took_ms
}

fn with_60() -> World {
    let mut world = World::under(Options { nodes: 1, balances: true, crashes: true, ..Options::none() });
    for n in 0..60 {
        let request = world.register("n1", &format!("n{n}"), 0);
        world.answer(request).expect("free");
    }
    rest(&mut world);
    world
}

#[test]
fn slow_starts_after_moves_and_first_starts_hold_no_balance_up() {
    let quick_ms = share_of_60_within(with_60(), 25);
    let mut world = with_60();
    world.slow_ms = 20_000;
    world.slow.extend((0..60).map(|n| format!("n{n}").into()));
    let slow_ms = share_of_60_within(world, 25);
    assert!(slow_ms < quick_ms + 1_000, "{slow_ms} ms, and {quick_ms} ms with quick starts");
    let mut world = with_60();
    world.slow_ms = 60_000;
    for n in 0..20 {
        world.slow.insert(format!("first-{n}").into());
        world.register("n1", &format!("first-{n}"), 0);
    }
    let first_ms = share_of_60_within(world, 25);
    // What was planned of those that do not run is planned anew.
    assert!(first_ms < quick_ms + 6_000, "{first_ms} ms, and {quick_ms} ms without");
}

#[test]
fn a_worker_that_ends_by_itself_over_and_over_holds_no_balance_up() {
    let mut world = with_60();
    world.slow_ms = 4_000;
    world.slow.insert("n0".into());
    world.start("n2");
    for _ in 0..30_000 {
        if world.worker("n0").is_some_and(|(_, worker)| worker.is_ready()) {
            world.crash("n0");
        }
        world.run(1);
    }
    assert!(world.workers("n2") >= 25, "{} have moved", world.workers("n2"));
    world.slow.clear();
    rest(&mut world);
}
