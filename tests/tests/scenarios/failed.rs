//! Names whose workers have failed, or do not start again.

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
