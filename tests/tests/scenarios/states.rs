//! States whose holders are away, and names of older versions.

use std::collections::BTreeSet;

use sworm::NodeId;
use sworm::core::Notice;
use sworm::core::message::{Ask, Done};
use sworm_tests::sim::{Options, World};

use super::{all_durable, registered, rest, saved};

/// Of three nodes two are killed at once that alone hold the states of some names. Gives those names, and when that was.
fn holders_gone(options: Options) -> (World, Vec<String>, u64) {
    holders_gone_beside(&[], options)
}

/// The same where these nodes are there as well, which do not link the workers' type.
fn holders_gone_beside(clients: &[&str], options: Options) -> (World, Vec<String>, u64) {
    let mut world = World::under(Options { nodes: 3, ..options });
    for client in clients {
        world.start_client(client);
        world.run(1_000);
    }
    let names = registered(&mut world, 60);
    for name in &names {
        saved(&mut world, name);
    }
    all_durable(&mut world);
    rest(&mut world);
    let lost: Vec<String> = names
        .into_iter()
        .filter(|name| {
            let (host, _) = world.worker(name).expect("it runs");
            let (_, directory) = world.directory(&host);
            let holders = &directory.mine(&name.as_str().into()).expect("it runs here").holders;
            !holders.is_empty() && holders.iter().all(|node| **node != *"n3")
        })
        .collect();
    assert!(lost.len() > 5, "{lost:?}");
    world.kill("n1");
    world.kill("n2");
    let killed = world.now_ms();
    (world, lost, killed)
}

/// The names of which n3 has told that.
fn told(world: &World, matching: impl Fn(&Notice) -> Option<String>) -> BTreeSet<String> {
    let there = world.told.iter().filter(|(node, _)| node == "n3");
    there.filter_map(|(_, notice)| matching(notice)).collect()
}

fn awaited(world: &World) -> BTreeSet<String> {
    told(world, |notice| match notice {
        Notice::StateAwaited { pid, holders } => {
            assert!(holders.iter().all(|node| **node != *"n3") && !holders.is_empty(), "{holders:?}");
            Some(pid.name.to_string())
        }
        _ => None,
    })
}

fn started_older(world: &World) -> BTreeSet<String> {
    told(world, |notice| match notice {
        Notice::RestoredOlder { pid, .. } => Some(pid.name.to_string()),
        _ => None,
    })
}

fn all_run(world: &World, names: &[String]) -> bool {
    names.iter().all(|name| world.worker(name).is_some())
}

fn set(names: &[String]) -> BTreeSet<String> {
    names.iter().cloned().collect()
}

#[test]
fn states_that_are_saved_after_each_message_are_waited_for_until_a_holder_is_back() {
    let (mut world, lost, killed) = holders_gone(Options { patient: true, ..Options::none() });
    world.run(9_000);
    assert_eq!(awaited(&world), BTreeSet::new(), "this is nothing unusual yet");
    world.run_until("it is told", |world| awaited(world) == set(&lost));
    assert!(world.now_ms() < killed + 20_000);
    world.run(600_000);
    assert!(lost.iter().all(|name| world.worker(name).is_none()), "there was nothing to start from");
    assert_eq!((awaited(&world), started_older(&world)), (set(&lost), BTreeSet::new()));
    let times = world.told.iter().filter(|(_, notice)| matches!(notice, Notice::StateAwaited { .. })).count();
    assert_eq!(times, lost.len(), "it is told once");
    // Meanwhile one can be given up.
    let (given_up, rest_of_them) = lost.split_first().expect("some");
    let request = world.unregister("n3", given_up);
    assert!(matches!(world.answer(request), Ok(Done::Unregistered { .. })));
    world.start("n1");
    world.run_until("they are back", |world| all_run(world, rest_of_them));
    assert!(rest_of_them.iter().all(|name| world.worker(name).expect("it runs").1.count == 1));
    rest(&mut world);
    assert!(world.worker(given_up).is_none(), "it has come back");
    assert!(started_older(&world).is_empty());
}

/// The holders of some names are gone, and one of them is back with an empty disk.
fn one_back_without_its_disk(options: Options) -> (World, Vec<String>) {
    let (mut world, lost, _) = holders_gone(options);
    world.run(6_000);
    world.lose_disk("n1");
    world.start("n1");
    (world, lost)
}

#[test]
fn who_has_lost_its_disk_holds_nothing_and_the_other_holder_is_waited_for() {
    let (mut world, lost) = one_back_without_its_disk(Options { patient: true, ..Options::none() });
    world.run(60_000);
    assert!(lost.iter().all(|name| world.worker(name).is_none()), "there was nothing to start from");
    let told = world.told.iter().filter_map(|(_, notice)| match notice {
        Notice::StateAwaited { pid, holders } => Some((pid.name.to_string(), holders.len())),
        _ => None,
    });
    assert_eq!(told.collect::<BTreeSet<_>>(), lost.iter().map(|name| (name.clone(), 2)).collect());
    world.start("n2");
    world.run_until("they are back", |world| all_run(world, &lost));
    assert!(lost.iter().all(|name| world.worker(name).expect("it runs").1.count == 1));
    rest(&mut world);
    assert!(!world.told.iter().any(|(_, notice)| matches!(notice, Notice::RestoredOlder { .. })));
}

#[test]
fn it_is_told_that_an_older_state_is_used_though_a_holder_without_its_disk_is_there() {
    let (mut world, lost) = one_back_without_its_disk(Options::none());
    world.run_until("they run", |world| all_run(world, &lost));
    assert!(lost.iter().all(|name| world.worker(name).expect("it runs").1.count == 0));
    let told = world.told.iter().filter_map(|(_, notice)| match notice {
        Notice::RestoredOlder { pid, .. } => Some(pid.name.to_string()),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>().len(), lost.len());
    rest(&mut world);
}

#[test]
fn a_sworm_says_how_long_states_are_waited_for_whatever_their_type_says() {
    for patient in [false, true] {
        for wait_ms in [3_000, 30_000] {
            let options = Options { patient, state_wait_ms: Some(wait_ms), ..Options::none() };
            let (mut world, lost, killed) = holders_gone(options);
            world.run(wait_ms - 100);
            assert!(lost.iter().all(|name| world.worker(name).is_none()), "{wait_ms}: they were not waited for");
            world.run_until("they run", |world| all_run(world, &lost));
            assert!(world.now_ms() < killed + wait_ms + 10_000, "{wait_ms}: they were waited for longer");
            assert!(lost.iter().all(|name| world.worker(name).expect("it runs").1.count == 0));
            assert_eq!(started_older(&world), set(&lost));
            let unusual = if wait_ms > 10_000 { set(&lost) } else { BTreeSet::new() };
            assert_eq!(awaited(&world), unusual);
        }
    }
}

#[test]
fn a_name_that_a_later_version_has_started_is_started_by_no_older_one() {
    let mut world = World::calm(1);
    world.renews = true;
    world.start_linking("newer", &[("counter", 2)]);
    world.run(1_000);
    for name in ["stays", "goes"] {
        let on = if name == "stays" { "n1" } else { "newer" };
        let request = world.register_at("n1", name, 0, Some(on));
        world.answer(request).expect("both can run it");
    }
    rest(&mut world);
    world.kill("newer");
    world.run(60_000);
    assert!(world.worker("stays").is_some());
    assert!(world.worker("goes").is_none(), "an older version has started it");
    assert!(world.lookups("goes")[0].is_some(), "its name is kept for it");
    world.start("newer");
    world.run_until("it is back", |world| world.worker("goes").is_some());
    rest(&mut world);
}

/// Those who decide about names know the workers' type from the names alone.
#[test]
fn who_decides_about_a_name_waits_for_its_holders_also_without_its_worker_type() {
    let waits = |patient: bool| {
        let (mut world, lost, _) = holders_gone_beside(&["one", "two"], Options { patient, ..Options::none() });
        world.run(60_000);
        let told: Vec<(String, Notice)> = world.told.clone();
        let by_clients = told.iter().filter(|(node, _)| node == "one" || node == "two");
        let awaited: BTreeSet<String> = by_clients
            .filter_map(|(_, notice)| match notice {
                Notice::StateAwaited { pid, .. } => Some(pid.name.to_string()),
                _ => None,
            })
            .collect();
        let run: Vec<String> = lost.iter().filter(|name| world.worker(name).is_some()).cloned().collect();
        (world, lost, awaited, run)
    };
    let (mut world, lost, awaited, run) = waits(true);
    assert_eq!(run, Vec::<String>::new(), "there was nothing to start from");
    assert!(awaited.len() > 2 && awaited.is_subset(&set(&lost)), "clients decide about some: {awaited:?}");
    for node in ["n1", "n2"] {
        world.start(node);
    }
    world.run_until("all run", |world| all_run(world, &lost));
    assert!(lost.iter().all(|name| world.worker(name).expect("it runs").1.count == 1));
    // Of a type that is not saved after each message they are started in the end.
    let (_, lost, _, run) = waits(false);
    assert_eq!(run, lost);
}

#[test]
fn who_follows_a_worker_that_was_given_up_starts_from_what_was_saved_last_and_that_is_told() {
    for moves in [false, true] {
        let mut world = World::under(Options { nodes: 2, crashes: true, ..Options::none() });
        let request = world.register_at("n1", "one", 0, Some("n1"));
        world.answer(request).expect("registered");
        saved(&mut world, "one");
        all_durable(&mut world);
        rest(&mut world);
        world.count("one", false).expect("it runs");
        let (_, before) = world.worker("one").expect("it runs");
        if moves {
            world.ask("n1", Ask::Move { name: "one".into(), to: NodeId::new("n2").expect("valid") });
            world.run_until("it is to pause", |world| !world.places("one")[0].1.is_ready());
        }
        world.give_up("one");
        world.run_until("the next one", |world| world.worker("one").is_some_and(|(_, worker)| worker.is_ready()));
        let (_, next) = world.worker("one").expect("it runs");
        assert!(next.since > before.since && next.count == 1, "{next:?} follows {before:?}");
        let told = world.told.iter().filter_map(|(node, notice)| match notice {
            Notice::Unsaved { pid, .. } => Some((node.as_str(), "unsaved", pid.epoch)),
            Notice::RestoredOlder { pid, .. } => Some((node.as_str(), "older", pid.epoch)),
            _ => None,
        });
        assert_eq!(told.collect::<Vec<_>>(), [("n1", "unsaved", before.since), ("n1", "older", next.since)]);
        rest(&mut world);
        // Nothing is lost at the next start: nothing is said.
        world.crash("one");
        world.run_until("the next one", |world| world.worker("one").is_some_and(|(_, w)| w.since > next.since));
        assert_eq!(world.told.iter().filter(|(_, n)| matches!(n, Notice::RestoredOlder { .. })).count(), 1);
        rest(&mut world);
    }
}

/// Nodes that start wait for no clients: what has ended is known to two that host workers, whoever decides.
#[test]
fn a_name_that_a_client_has_ended_does_not_come_back_with_the_other_node_that_hosts_workers() {
    let mut world = World::under(Options { nodes: 2, ..Options::none() });
    for client in ["one", "two", "three"] {
        world.start_client(client);
    }
    world.run(1_000);
    let names: Vec<String> = (0..40).map(|n| format!("name-{n}")).collect();
    for name in &names {
        let request = world.register_at("n2", name, 0, Some("n1"));
        world.answer(request).expect("free");
    }
    all_durable(&mut world);
    rest(&mut world);
    for name in &names {
        let request = world.unregister("n2", name);
        world.answer(request).expect("it runs");
    }
    for node in world.alive() {
        world.kill(&node);
    }
    world.start("n2");
    world.run(60_000);
    let back: Vec<&String> = names.iter().filter(|name| world.worker(name).is_some()).collect();
    assert!(back.is_empty(), "{back:?}");
    assert_eq!(world.violation(), None);
}

#[test]
fn what_a_client_ends_stays_ended_whoever_goes_meanwhile() {
    for host_goes in [false, true] {
        let mut world = World::under(Options { nodes: 3, kills: true, stop_ms: 8_000, ..Options::none() });
        for client in ["one", "two", "three"] {
            world.start_client(client);
        }
        world.run(1_000);
        let names: Vec<String> = (0..20).map(|n| format!("name-{n}")).collect();
        for name in &names {
            let request = world.register_at("n2", name, 0, Some("n1"));
            world.answer(request).expect("free");
        }
        all_durable(&mut world);
        rest(&mut world);
        let requests: Vec<u64> = names.iter().map(|name| world.unregister("n2", name)).collect();
        world.run(300);
        world.kill(if host_goes { "n1" } else { "n3" });
        for (name, request) in names.iter().zip(requests) {
            world.answer(request).unwrap_or_else(|why| panic!("{name} was there: {why:?}"));
        }
        for node in world.alive() {
            world.kill(&node);
        }
        // Two know of each end, one of them on another disk than that of its host.
        for node in ["n1", "n2"].into_iter().chain((!host_goes).then_some("one")) {
            world.start(node);
        }
        world.run(60_000);
        assert!(names.iter().all(|name| world.worker(name).is_none()));
        assert_eq!(world.violation(), None);
    }
}
