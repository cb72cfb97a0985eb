//! Names are registered, seen everywhere, and end.

use sworm::core::message::{Ask, Done, Refusal};
use sworm_tests::sim::{Options, World};

use super::{ALL, registered, rest};

#[test]
fn of_many_registrations_of_one_name_exactly_one_is_ok_and_all_name_its_pid() {
    let mut world = World::calm(3);
    let requests: Vec<u64> = (0..100).map(|n| world.register(ALL[n % 3], "one", n as u64)).collect();
    let answers: Vec<_> = requests.into_iter().map(|request| world.answer(request)).collect();
    let winner: Vec<_> = answers
        .iter()
        .filter_map(|answer| match answer {
            Ok(Done::Registered { host, cell, .. }) => Some(cell.pid(&"s".into(), &"one".into(), host)),
            _ => None,
        })
        .collect();
    assert_eq!(winner.len(), 1);
    let others = answers
        .iter()
        .filter(|answer| matches!(answer, Err(Refusal::AlreadyRegistered { pid, .. }) if *pid == winner[0]));
    assert_eq!(others.count(), 99);
    rest(&mut world);
}

#[test]
fn names_are_seen_on_every_node_and_disappear_everywhere() {
    let mut world = World::calm(3);
    let names = registered(&mut world, 20);
    rest(&mut world);
    for name in &names {
        let lookups = world.lookups(name);
        assert!(lookups.iter().all(|l| l.is_some() && *l == lookups[0]), "{lookups:?}");
        let request = world.ask("n2", Ask::Unregister { name: name.as_str().into(), birth: None });
        assert!(matches!(world.answer(request), Ok(Done::Unregistered { .. })));
    }
    rest(&mut world);
    for name in &names {
        assert!(world.lookups(name).iter().all(Option::is_none));
        assert_eq!(world.places(name).len(), 0);
    }
    let request = world.ask("n3", Ask::Unregister { name: "name-0".into(), birth: None });
    assert_eq!(world.answer(request), Err(Refusal::NotRegistered));
}

#[test]
fn an_end_that_was_asked_for_while_the_view_changed_is_not_called_a_failure() {
    for ms in 0..10 {
        let mut world = World::under(Options { seed: ms, nodes: 3, ..Options::none() });
        let names = registered(&mut world, 60);
        rest(&mut world);
        let requests: Vec<u64> = names
            .iter()
            .map(|name| world.ask("n2", Ask::Unregister { name: name.as_str().into(), birth: None }))
            .collect();
        world.run(ms);
        world.kill("n3");
        for (name, request) in names.iter().zip(requests) {
            let answer = world.answer(request);
            assert!(matches!(answer, Ok(Done::Unregistered { .. })), "{name}, killed after {ms} ms: {answer:?}");
        }
        rest(&mut world);
        assert!(names.iter().all(|name| world.places(name).is_empty()));
    }
}

#[test]
fn an_end_is_told_when_the_worker_has_stopped_though_the_view_changes_meanwhile() {
    let mut world = World::under(Options { nodes: 3, stop_ms: 8_000, ..Options::none() });
    let names = registered(&mut world, 30);
    rest(&mut world);
    let ask = |world: &mut World| names.iter().map(|name| world.unregister("n2", name)).collect::<Vec<u64>>();
    let first = ask(&mut world);
    world.run(200);
    world.start("n4");
    world.run(1_500);
    // Whoever asks for it only now finds that it has ended, and waits as well.
    let late = ask(&mut world);
    for (name, (first, late)) in names.iter().zip(first.into_iter().zip(late)) {
        let answer = world.answer(first);
        assert!(matches!(answer, Ok(Done::Unregistered { .. })), "{name}: {answer:?}");
        assert_eq!(world.places(name), [], "{name}");
        let answer = world.answer(late);
        assert!(matches!(answer, Ok(Done::Unregistered { .. }) | Err(Refusal::NotRegistered)), "{name}: {answer:?}");
        assert_eq!(world.places(name), [], "{name}");
    }
    rest(&mut world);
}

#[test]
fn a_name_can_be_registered_again_after_its_end() {
    let mut world = World::calm(3);
    for round in 0..5 {
        let request = world.register("n1", "again", round);
        world.answer(request).expect("free");
        let request = world.ask("n3", Ask::Unregister { name: "again".into(), birth: None });
        world.answer(request).expect("taken");
    }
    rest(&mut world);
    assert_eq!(world.places("again").len(), 0);
}

#[test]
fn a_start_that_fails_leaves_no_name() {
    let mut world = World::calm(3);
    world.broken.insert("broken".into());
    let request = world.register("n1", "broken", 0);
    assert!(matches!(world.answer(request), Err(Refusal::StartFailed { .. })));
    rest(&mut world);
    assert!(world.lookups("broken").iter().all(Option::is_none));
}

#[test]
fn a_node_without_the_worker_type_asks_but_never_hosts() {
    let mut world = World::calm(3);
    world.start_client("client");
    world.run(1_000);
    for n in 0..30 {
        let request = world.register("client", &format!("n{n}"), 0);
        world.answer(request).expect("free");
    }
    assert_eq!(world.workers("client"), 0);
    rest(&mut world);
}

#[test]
fn a_name_runs_where_its_type_is_linked_in_no_older_version_and_else_it_is_said_what_is_missing_where() {
    let mut world = World::calm(1);
    world.start_linking("other", &[("another", 9)]);
    world.start_client("client");
    world.start_linking("newer", &[("counter", 2)]);
    world.run(1_000);
    let register = |world: &mut World, name: String, on: Option<&str>| {
        let request = world.register_at("client", &name, 0, on);
        world.answer(request)
    };
    for n in 0..30 {
        register(&mut world, format!("old-{n}"), None).expect("two can run it");
    }
    let before = (world.workers("n1"), world.workers("newer"));
    assert!(before.0 > 0 && before.1 > 0, "{before:?}");
    world.version = 2;
    for n in 0..30 {
        register(&mut world, format!("new-{n}"), None).expect("one can run it");
    }
    assert_eq!((world.workers("n1"), world.workers("newer")), (before.0, before.1 + 30));
    let older = "n1 links version 1 of the worker type, and the name is of version 2";
    let other = "other does not link the worker type";
    let client = "client is a client, or links no worker type";
    let refused = register(&mut world, "there".into(), Some("n1"));
    assert!(matches!(&refused, Err(Refusal::NoCandidate { why }) if why.contains(older)), "{refused:?}");
    // Nor does anybody take over what he cannot run.
    world.kill("newer");
    world.run_until("failover", |world| (0..30).all(|n| world.worker(&format!("old-{n}")).is_some()));
    assert_eq!(world.workers("n1"), 30);
    let refused = register(&mut world, "anywhere".into(), None);
    let said = |why: &str| [older, other, client].into_iter().all(|what| why.contains(what));
    assert!(matches!(&refused, Err(Refusal::NoCandidate { why }) if said(why)), "{refused:?}");
    world.run(5_000);
    assert_eq!(world.workers("n1"), 30);
    world.start("newer");
    world.run_until("their return", |world| (0..30).all(|n| world.worker(&format!("new-{n}")).is_some()));
    assert_eq!((world.workers("n1"), world.workers("newer")), (30, 30));
    rest(&mut world);
}
