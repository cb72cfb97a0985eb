//! Workers that end by themselves, names and workers that have lost each other, and what goes on at rest.

use sworm::core::cell::Key;
use sworm::core::message::{Ask, Done, Refusal};
use sworm_tests::sim::{Options, World};

use super::{all_durable, registered, rest, saved};

#[test]
fn a_crashed_worker_restarts_from_its_checkpoint_at_a_higher_epoch() {
    let mut world = World::calm(3);
    registered(&mut world, 1);
    saved(&mut world, "name-0");
    all_durable(&mut world);
    let (host, before) = world.worker("name-0").expect("runs");
    world.crash("name-0");
    world.run_until("a restart", |world| world.worker("name-0").is_some());
    let (again, after) = world.worker("name-0").expect("runs");
    assert_eq!((again, after.count), (host, 1));
    assert!(after.since > before.since);
    rest(&mut world);
}

#[test]
fn workers_whose_tasks_are_gone_without_a_word_are_started_again_however_many_there_are() {
    let mut world = World::calm(1);
    let names: Vec<String> = (0..1_200).map(|n| format!("name-{n:04}")).collect();
    for name in &names {
        world.register("n1", name, 0);
    }
    world.run_until("all run", |world| world.workers("n1") == 1_200);
    rest(&mut world);
    let gone = ["name-0000", "name-0499", "name-0500", "name-1199"];
    for name in gone {
        world.vanish(name);
    }
    assert_eq!(world.workers("n1"), 1_196);
    // Three looks, one each second.
    world.run(4_000);
    assert_eq!(world.workers("n1"), 1_200);
    rest(&mut world);
}

#[test]
fn a_worker_whose_name_is_lost_gets_it_back_and_runs_on() {
    let mut world = World::calm(3);
    let names = registered(&mut world, 12);
    rest(&mut world);
    let before: Vec<_> = names.iter().map(|name| world.worker(name).expect("runs")).collect();
    for (name, (host, _)) in names.iter().zip(&before) {
        let (_, directory) = world.directory(host);
        directory.remove(&Key::Name(name.as_str().into()));
    }
    // Somebody who is to end has no name to get back.
    let ended = world.ask("n1", Ask::Unregister { name: names[0].as_str().into(), birth: None });
    world.run(3_000);
    let answer = world.answer(ended);
    assert!(matches!(answer, Ok(Done::Unregistered { .. }) | Err(Refusal::NotRegistered)), "{answer:?}");
    for (name, before) in names.iter().zip(before).skip(1) {
        assert_eq!(world.worker(name), Some(before), "{name}");
        assert!(world.lookups(name).iter().all(|found| found.as_ref().is_some_and(|(_, running)| *running)));
    }
    rest(&mut world);
}

#[test]
fn a_worker_whose_name_is_lost_and_that_ends_before_that_is_noticed_is_started_again() {
    let mut world = World::calm(3);
    registered(&mut world, 1);
    rest(&mut world);
    let host = world.worker("name-0").expect("runs").0;
    let (_, directory) = world.directory(&host);
    directory.remove(&Key::Name("name-0".into()));
    world.crash("name-0");
    world.run_until("a restart", |world| world.worker("name-0").is_some());
    assert_eq!(world.worker("name-0").expect("runs").0, host);
    rest(&mut world);
}

#[test]
fn a_worker_that_waits_to_be_started_again_and_loses_its_name_is_started_all_the_same() {
    let mut world = World::calm(3);
    registered(&mut world, 1);
    rest(&mut world);
    let host = world.worker("name-0").expect("runs").0;
    // The second restart is put off.
    for _ in 0..2 {
        world.run_until("a start", |world| world.worker("name-0").is_some());
        world.run(20);
        world.crash("name-0");
    }
    world.run(5);
    assert_eq!(world.worker("name-0"), None);
    let (_, directory) = world.directory(&host);
    directory.remove(&Key::Name("name-0".into()));
    world.run(3_000);
    assert_eq!(world.worker("name-0").expect("runs").0, host);
    rest(&mut world);
}

#[test]
fn a_name_that_is_lost_and_taken_anew_stays_with_the_worker_that_had_it() {
    let mut world = World::under(Options { nodes: 3, cuts: true, ..Options::none() });
    registered(&mut world, 1);
    rest(&mut world);
    let (host, before) = world.worker("name-0").expect("runs");
    let (_, directory) = world.directory(&host);
    directory.remove(&Key::Name("name-0".into()));
    let request = world.register("n1", "name-0", 7);
    world.run_until("an answer", |world| world.asked[&request].answer.is_some());
    world.run_until("one worker", |world| world.places("name-0").len() == 1 && world.is_at_rest());
    assert_eq!(world.worker("name-0"), Some((host, before)));
}

#[test]
fn a_name_does_not_start_again_while_a_worker_of_it_that_was_ended_before_still_stops() {
    let mut world = World::under(Options { nodes: 3, kills: true, stop_ms: 3_000, ..Options::none() });
    let names: Vec<String> = (0..30).map(|n| format!("name-{n}")).collect();
    let register = |world: &mut World, at: &str| {
        let requests: Vec<u64> = names.iter().map(|name| world.register_at("n2", name, 0, Some(at))).collect();
        requests.into_iter().for_each(|request| drop(world.answer(request).expect("free")));
    };
    register(&mut world, "n2");
    rest(&mut world);
    world.run(1_000); // what n1 has heard is on its disk
    // It does not hear that they end, and that others take their place.
    world.kill("n1");
    world.run(1_000);
    let ended: Vec<u64> = names.iter().map(|name| world.unregister("n2", name)).collect();
    ended.into_iter().for_each(|request| drop(world.answer(request).expect("they run")));
    register(&mut world, "n3");
    world.run(3_000);
    ["n2", "n3"].iter().for_each(|node| world.kill(node));
    world.start("n1");
    world.run_until("n1 runs all", |world| world.workers("n1") == names.len());
    world.run(1_000);
    ["n2", "n3"].iter().for_each(|node| world.start(node));
    world.run_until("the later ones run", |world| names.iter().all(|name| world.places(name).len() == 1));
    rest(&mut world);
}

#[test]
fn at_rest_only_heartbeats_are_sent() {
    let mut world = World::calm(3);
    registered(&mut world, 10);
    world.run(3_000);
    let before = world.messages;
    world.run(2_000);
    // Three nodes, two links each, one heartbeat per 200 ms.
    let sent = world.messages - before;
    assert!((50..=66).contains(&sent), "{sent} messages in two seconds");
}

#[test]
fn at_rest_ticks_pass_over_the_workers() {
    let mut world = World::calm(3);
    registered(&mut world, 10);
    world.run(3_000);
    assert!(world.ticks_are_idle());
    world.crash("name-0");
    world.run_until("a restart to come", |world| !world.ticks_are_idle());
    world.run_until("a restart", |world| world.worker("name-0").is_some());
    world.run_until("rest", World::ticks_are_idle);
}
