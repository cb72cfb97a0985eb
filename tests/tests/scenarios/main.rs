//! Clusters on virtual time: one behaviour each.

use sworm::core::cell::Key;
mod chunks;
mod closed;
mod failed;
mod majority;
mod moves;
mod parking;
mod replicas;
mod states;

use sworm::core::message::{Ask, Done, Refusal};
use sworm_tests::sim::{Options, World};

const ALL: [&str; 3] = ["n1", "n2", "n3"];

fn registered(world: &mut World, names: usize) -> Vec<String> {
    let names: Vec<String> = (0..names).map(|n| format!("name-{n}")).collect();
    let requests: Vec<u64> = names.iter().enumerate().map(|(n, name)| world.register(ALL[n % 3], name, 0)).collect();
    for request in requests {
        world.answer(request).expect("registered");
    }
    names
}

fn rest(world: &mut World) {
    world.run_until("rest", World::is_at_rest);
    assert_eq!(world.violation(), None);
}

/// Waits until nothing is being saved any more.
fn all_durable(world: &mut World) {
    world.run_until("all is durable", |world| !world.is_saving());
}

/// Counts a worker up and makes that durable.
fn saved(world: &mut World, name: &str) {
    world.count(name, true).expect("it runs");
}

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
