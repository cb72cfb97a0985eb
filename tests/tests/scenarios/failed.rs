//! Names whose workers have failed, or do not start again.

use sworm::NodeId;
use sworm::core::cell::NameState;
use sworm::core::message::{Ask, Done, Refusal};
use sworm_tests::sim::{Options, World};

use super::{all_durable, rest, saved};

/// A name on n1, whose worker has counted to one and saved that.
fn counted(world: &mut World, name: &str) {
    let request = world.register_at("n1", name, 0, Some("n1"));
    world.answer(request).expect("free");
    saved(world, name);
    all_durable(world);
    rest(world);
}

/// The same, and the worker has failed since.
fn failed(world: &mut World, name: &str) {
    counted(world, name);
    for _ in 0..20 {
        world.crash(name);
        world.run(500);
    }
    assert!(world.worker(name).is_none(), "it is given up");
    rest(world);
}

fn count(world: &World, name: &str) -> (String, u64) {
    let (host, worker) = world.worker(name).expect("it runs");
    (host, worker.count)
}

#[test]
fn a_registration_that_is_refused_leaves_what_has_failed_as_it_is() {
    let mut world = World::under(Options { nodes: 3, crashes: true, ..Options::none() });
    failed(&mut world, "one");
    let is_as_it_was = |world: &mut World, refused| {
        world.run(3_000);
        let (_, directory) = world.directory("n1");
        let state = directory.mine(&"one".into()).map(|cell| cell.state.clone());
        assert!(matches!(state, Some(NameState::Failed { .. })), "{refused:?}, and then {state:?}");
        rest(world);
    };
    for on in ["n1", "n2", "n3"] {
        let request = world.register_at(on, "one", 70, Some("nobody"));
        let refused = world.answer(request);
        assert!(matches!(refused, Err(Refusal::NoCandidate { .. })), "{refused:?}");
        is_as_it_was(&mut world, refused);
    }
    let request = world.ask("n2", Ask::Restart { name: "one".into() });
    world.answer(request).expect("it can run");
    assert_eq!(count(&world, "one").1, 1, "its state is there");
    // Where there is a place it is replaced.
    for _ in 0..20 {
        world.crash("one");
        world.run(500);
    }
    let request = world.register_at("n2", "one", 70, Some("n3"));
    world.answer(request).expect("it has failed");
    rest(&mut world);
    assert_eq!(count(&world, "one"), ("n3".to_owned(), 70));
}

#[test]
fn a_name_is_taken_while_its_worker_cannot_be_started_again() {
    let mut world = World::under(Options { nodes: 3, kills: true, ..Options::none() });
    counted(&mut world, "one");
    world.broken.insert("one".into());
    world.kill("n1");
    world.run(20_000);
    assert!(world.worker("one").is_none());
    for on in ["n2", "n3"] {
        let asked_ms = world.now_ms();
        let request = world.register(on, "one", 70);
        let refused = world.answer(request);
        assert!(matches!(refused, Err(Refusal::AlreadyRegistered { .. })), "{refused:?}");
        assert!(world.now_ms() < asked_ms + 1_000, "it waited for the worker");
    }
    world.broken.clear();
    world.run_until("a start", |world| world.worker("one").is_some());
    assert_eq!(count(&world, "one").1, 1);
    rest(&mut world);
}

#[test]
fn who_has_registered_a_name_that_is_started_elsewhere_in_vain_holds_up_nobody() {
    let mut world = World::under(Options { nodes: 3, kills: true, ..Options::none() });
    world.slow.insert("one".into());
    let own = world.register_at("n2", "one", 7, Some("n1"));
    world.run(1_500);
    world.slow.clear();
    world.broken.insert("one".into());
    world.kill("n1");
    world.run(10_000);
    assert!(world.asked[&own].answer.is_none() && world.worker("one").is_none());
    let asked_ms = world.now_ms();
    let request = world.register("n3", "one", 70);
    let refused = world.answer(request);
    assert!(matches!(refused, Err(Refusal::AlreadyRegistered { .. })), "{refused:?}");
    assert!(world.now_ms() < asked_ms + 1_000, "it waited for the worker");
    world.broken.clear();
    let registered = world.answer(own);
    assert!(matches!(registered, Ok(Done::Registered { .. })), "{registered:?}");
    assert_eq!(count(&world, "one").1, 7);
    rest(&mut world);
}

/// A name whose worker does not start on n2, which has it since n1 is gone. There are n2 and n3.
fn in_vain_on_n2(options: Options) -> World {
    let mut world = World::under(Options { nodes: 3, kills: true, ..options });
    counted(&mut world, "one");
    world.broken_on.insert("n2".into());
    // So that it comes to n2.
    world.drain("n3", true);
    world.kill("n1");
    world.run(15_000);
    world.drain("n3", false);
    world.run(1_000);
    world.drained.clear();
    let (me, directory) = world.directory("n2");
    assert_eq!(directory.mine(&"one".into()).map(|cell| cell.state.clone()), Some(NameState::Starting), "{me} has it");
    world
}

#[test]
fn a_node_that_is_emptied_gives_away_what_it_cannot_start() {
    for seed in 0..5 {
        let mut world = in_vain_on_n2(Options { seed, ..Options::none() });
        world.drain("n2", true);
        let began = world.now_ms();
        world.run_until("a start", |world| world.worker("one").is_some());
        assert!(world.now_ms() < began + 5_000, "it took {} ms", world.now_ms() - began);
        assert_eq!(count(&world, "one"), ("n3".to_owned(), 1));
        rest(&mut world);
        world.run_until("that n2 is empty", |world| !world.drained.is_empty());
        assert_eq!((world.drained[0].moved, world.drained[0].stays.len()), (1, 0));
    }
}

#[test]
fn what_a_node_cannot_start_and_no_other_may_run_stays_there_and_is_tried_again() {
    let mut world = in_vain_on_n2(Options::none());
    world.kill("n3");
    world.run(15_000);
    world.drain("n2", true);
    world.run_until("the end of that", |world| !world.drained.is_empty());
    assert_eq!((world.drained[0].moved, world.drained[0].stays.len()), (0, 1));
    world.broken_on.clear();
    world.run_until("a start", |world| world.worker("one").is_some());
    assert_eq!(count(&world, "one"), ("n2".to_owned(), 1));
    rest(&mut world);
}

#[test]
fn what_a_node_cannot_start_is_moved_to_where_it_is_asked_for() {
    let mut world = in_vain_on_n2(Options::none());
    // Where n3 would not have it by itself.
    world.start("n4");
    world.start("n5");
    world.run(3_000);
    for to in ["n4", "n5"] {
        let to_it = |node: &str| Ask::Move { name: "one".into(), to: NodeId::new(node).expect("valid") };
        let nowhere = world.ask("n3", to_it("nobody"));
        let refused = world.answer(nowhere);
        assert!(matches!(refused, Err(Refusal::NoCandidate { .. })), "{refused:?}");
        let request = world.ask("n3", to_it(to));
        let moved = world.answer(request);
        assert!(matches!(&moved, Ok(Done::Moved { host, .. }) if *host.node == *to), "{moved:?}");
        assert_eq!(count(&world, "one"), (to.to_owned(), 1));
    }
    rest(&mut world);
}
