//! Mode "majority" with few voters, an even number of them, and after a restart of all.

use sworm::NodeId;
use sworm::core::Notice;
use sworm::core::fault::{Fault, plant};
use sworm::core::message::{Ask, Done, Refusal};
use sworm_tests::sim::{Options, World};

use super::{ALL, rest, saved};

/// Names that run on each of these nodes, with a state that is saved.
fn running_on(world: &mut World, nodes: &[&str]) -> Vec<String> {
    let names: Vec<String> = nodes.iter().map(|node| format!("on-{node}")).collect();
    for (name, node) in names.iter().zip(nodes) {
        let request = world.register_at(node, name, 0, Some(node));
        world.answer(request).expect("free");
        saved(world, name);
    }
    world.run(1_000);
    names
}

fn apart(world: &mut World, one: &[&str], other: &[&str]) {
    one.iter().for_each(|a| other.iter().for_each(|b| world.cut(a, b)));
}

#[test]
fn of_two_voters_the_side_of_the_first_goes_on_and_has_all() {
    let mut world = World::voting(2);
    let names = running_on(&mut world, &["n1", "n2"]);
    world.cut("n1", "n2");
    world.run_until("n1 has both", |world| world.workers("n1") == 2);
    assert_eq!((world.workers("n2"), world.violation()), (0, None));
    assert_eq!(world.worker("on-n2").expect("it runs").1.count, 1, "as it was saved");
    let request = world.register("n2", "more", 0);
    assert!(matches!(world.answer(request), Err(Refusal::NoMajority { .. })));
    world.heal();
    rest(&mut world);
    assert!(names.iter().all(|name| world.worker(name).expect("it runs").0 == "n1"));
}

#[test]
fn of_two_voters_the_second_alone_runs_nothing_and_goes_on_when_the_first_is_back() {
    let mut world = World::voting(2);
    running_on(&mut world, &["n1", "n2"]);
    world.kill("n1");
    world.run_until("n2 has stopped", |world| world.workers("n2") == 0);
    world.run(60_000);
    assert_eq!((world.workers("n2"), world.violation()), (0, None));
    world.start("n1");
    world.run_until("all run", |world| world.worker("on-n1").is_some() && world.worker("on-n2").is_some());
    rest(&mut world);
}

#[test]
fn of_four_voters_half_is_enough_on_the_side_of_the_first() {
    let mut world = World::voting(4);
    let names = running_on(&mut world, &["n1", "n2", "n3", "n4"]);
    apart(&mut world, &["n1", "n4"], &["n2", "n3"]);
    world.run_until("one half has all", |world| world.workers("n1") + world.workers("n4") == 4);
    assert_eq!((world.workers("n2"), world.workers("n3"), world.violation()), (0, 0, None));
    world.heal();
    rest(&mut world);
    assert!(names.iter().all(|name| world.worker(name).is_some()));
}

#[test]
fn four_voters_apart_by_twos_and_ones_run_nothing() {
    let mut world = World::voting(4);
    running_on(&mut world, &["n1", "n2", "n3", "n4"]);
    // Not even the first has half of them.
    apart(&mut world, &["n1"], &["n2", "n3", "n4"]);
    apart(&mut world, &["n2"], &["n3", "n4"]);
    world.run(60_000);
    let running: usize = ["n1", "n2", "n3", "n4"].iter().map(|node| world.workers(node)).sum();
    assert_eq!((running, world.violation()), (0, None));
    world.heal();
    rest(&mut world);
}

#[test]
fn a_cluster_of_voters_that_was_killed_starts_nothing_before_a_majority_is_back() {
    for order in [["n1", "n2", "n3"], ["n3", "n1", "n2"], ["n2", "n3", "n1"]] {
        let mut world = World::voting(3);
        let names = running_on(&mut world, &["n1", "n2", "n3"]);
        ALL.iter().for_each(|node| world.kill(node));
        world.start(order[0]);
        world.run(60_000);
        assert_eq!(world.workers(order[0]), 0, "{order:?}");
        world.start(order[1]);
        world.run_until("all are back", |world| names.iter().all(|name| world.places(name).len() == 1));
        assert_eq!(world.violation(), None);
        world.start(order[2]);
        rest(&mut world);
        assert!(names.iter().all(|name| world.worker(name).expect("it runs").1.count == 1), "{order:?}");
    }
}

#[test]
fn a_voter_that_has_left_in_good_order_is_still_counted() {
    let mut world = World::voting(3);
    running_on(&mut world, &["n1", "n2", "n3"]);
    world.leave("n3");
    world.kill("n2");
    world.run_until("n1 has stopped", |world| world.workers("n1") == 0);
    world.run(60_000);
    assert_eq!((world.workers("n1"), world.violation()), (0, None));
    world.start("n3");
    world.run_until("all run", |world| world.workers("n1") + world.workers("n3") == 3);
    world.start("n2");
    rest(&mut world);
}

/// A worker is parked on n3, and starts on the other side.
fn parked_and_started_elsewhere() -> World {
    let mut world = World::under(Options { nodes: 3, majority: true, cuts: true, ..Options::none() });
    running_on(&mut world, &["n3"]);
    world.count("on-n3", false).expect("it runs");
    apart(&mut world, &["n3"], &["n1", "n2"]);
    world.run_until("it is parked", |world| world.workers("n3") == 0);
    world.run_until("it runs elsewhere", |world| world.workers("n1") + world.workers("n2") == 1);
    world
}

#[test]
fn a_state_that_was_parked_is_durable_before_the_other_side_starts_and_that_is_checked() {
    let told = |fault: Option<Fault>| {
        plant(fault);
        let world = parked_and_started_elsewhere();
        plant(None);
        world.violation().map(str::to_owned)
    };
    assert_eq!(told(None), None);
    let stopped = told(Some(Fault::ParkWithoutState)).expect("it is stopped without its state");
    assert!(stopped.contains("its state is not taken"), "{stopped}");
    let unstored = told(Some(Fault::ParkUnstored)).expect("its state is not stored");
    assert!(unstored.contains("is not durable on n3"), "{unstored}");
}

#[test]
fn what_a_worker_does_before_it_is_said_to_run_is_parked_with_it() {
    // Its state is long on its way to the disk of its new node, or its start takes long.
    for (sync_ms, slow) in [(5_000, false), (100, true)] {
        let mut world = World::under(Options { nodes: 3, majority: true, cuts: true, ..Options::none() });
        running_on(&mut world, &["n3"]);
        world.slow_disk("n2", Some(sync_ms));
        if slow {
            world.slow.insert("on-n3".into());
        }
        world.ask("n1", Ask::Move { name: "on-n3".into(), to: NodeId::new("n2").expect("valid") });
        world.run_until("it is there", |world| world.places("on-n3").iter().any(|(node, _)| *node == "n2"));
        apart(&mut world, &["n2"], &["n1", "n3"]);
        let ready = |world: &World| world.places("on-n3").iter().any(|(_, worker)| worker.is_ready());
        if !slow {
            world.run_until("it has started", ready);
            assert_eq!(
                world.lookups("on-n3")[1].as_ref().map(|(_, running)| *running),
                Some(false),
                "it is not settled"
            );
            world.count("on-n3", false).expect("it has started");
        }
        world.run_until("it is parked", |world| world.workers("n2") == 0);
        world.run_until("it runs elsewhere", ready);
        world.slow.clear();
        world.heal();
        rest(&mut world);
        let given = world.told.iter().filter(|(_, notice)| matches!(notice, Notice::StateDiverged { .. })).count();
        assert_eq!((given > 0, world.violation()), (true, None), "slow: {slow}");
    }
}

/// How long a node must have been silent before its names start elsewhere.
const SILENCE_MS: u64 = 9_450;
/// How soon something is done that nothing keeps from being done.
const SOON_MS: u64 = 1_500;

/// Waits until a node hears of a majority again; when that was.
fn hears_of_a_majority(world: &mut World, node: &str) -> u64 {
    let times = |world: &World| {
        let heard = |(on, notice): &&(String, Notice)| on == node && matches!(notice, Notice::MajorityHeard);
        world.told.iter().filter(heard).count()
    };
    let before = times(world);
    world.run_until("a majority is heard of", |world| times(world) > before);
    world.now_ms()
}

/// Waits until a name runs; when that was.
fn runs(world: &mut World, name: &str) -> u64 {
    world.run_until("it runs", |world| world.places(name).iter().any(|(_, worker)| worker.is_ready()));
    world.now_ms()
}

#[test]
fn what_a_node_has_parked_goes_on_as_soon_as_the_majority_is_heard_that_knows_of_all_others() {
    // One of three is dead, and the other two were apart; whether they had noticed its death before is all the same.
    for noticed in [true, false] {
        let mut world = World::voting(3);
        running_on(&mut world, &["n1", "n2", "n3"]);
        world.kill("n3");
        if noticed {
            runs(&mut world, "on-n3");
            world.run(2_000);
        }
        world.cut("n1", "n2");
        world.run_until("all is parked", |world| world.workers("n1") + world.workers("n2") == 0);
        world.run(30_000);
        world.heal();
        let heard = hears_of_a_majority(&mut world, "n1");
        for name in ["on-n1", "on-n2", "on-n3"] {
            let waited = runs(&mut world, name) - heard;
            assert!(waited < SOON_MS, "{name} has waited for {waited} ms; noticed before: {noticed}");
        }
        assert_eq!(world.violation(), None);
    }
}

#[test]
fn what_a_node_has_parked_waits_for_one_that_is_silent_when_the_majority_has_forgotten_since_when() {
    let mut world = World::voting(3);
    running_on(&mut world, &["n1", "n2", "n3"]);
    world.kill("n2");
    world.kill("n3");
    world.run_until("all is parked", |world| world.workers("n1") == 0);
    world.run(30_000);
    let started = world.now_ms();
    world.start("n2");
    let heard = hears_of_a_majority(&mut world, "n1");
    for name in ["on-n1", "on-n2", "on-n3"] {
        let ran = runs(&mut world, name);
        // Its own, too: it could be that n2 and n3 had given it to n3 before n2 died, and that n3 is but cut off.
        let (since_start, since_heard) = (ran - started, ran - heard);
        assert!(
            since_start >= SILENCE_MS,
            "{name} runs {since_start} ms after the start, {since_heard} after the majority"
        );
        assert!(since_start < SILENCE_MS + SOON_MS, "{name} runs only {since_start} ms after the start");
    }
    assert_eq!(world.violation(), None);
}

#[test]
fn what_a_node_has_parked_may_run_elsewhere_when_it_hears_of_a_majority_again() {
    let mut world = World::voting(3);
    let names: Vec<String> = (0..6).map(|n| format!("parked-{n}")).collect();
    for name in &names {
        let request = world.register_at("n1", name, 0, Some("n1"));
        world.answer(request).expect("free");
        saved(&mut world, name);
    }
    world.run(1_000);
    // It was out of sight, and the others have given its names away; then the one that knows is cut off itself.
    apart(&mut world, &["n1"], &["n2", "n3"]);
    world.run_until("all run elsewhere", |world| world.workers("n2") + world.workers("n3") == names.len());
    world.run(500);
    let given = world.workers("n3");
    assert!(given > 0, "n3 has some of them");
    world.kill("n2");
    world.heal();
    apart(&mut world, &["n3"], &["n1", "n2"]);
    world.start("n2");
    hears_of_a_majority(&mut world, "n1");
    assert_eq!(world.workers("n3"), given, "its lease has not ended yet");
    world.run_until("all run on the other side", |world| world.workers("n1") + world.workers("n2") == names.len());
    assert_eq!((world.workers("n3"), world.violation()), (0, None));
    world.heal();
    rest(&mut world);
}

#[test]
fn a_client_is_none_of_the_first_voters() {
    let mut world = World::new(Options { nodes: 3, majority: true, ..Options::none() }, false);
    world.start_client("client");
    ["n1", "n2"].into_iter().for_each(|node| world.start(node));
    world.run(10_000);
    let request = world.register("n1", "early", 0);
    match world.answer(request) {
        Err(Refusal::NoMajority { why }) => assert!(why.ends_with("; 2 are there"), "{why}"),
        other => panic!("{other:?}"),
    }
    world.start("n3");
    world.run(10_000);
    let names = running_on(&mut world, &["n1", "n2"]);
    // Two of three are left.
    world.kill("client");
    world.kill("n3");
    world.run(15_000);
    let request = world.register("n2", "late", 0);
    world.answer(request).expect("there is a majority");
    assert!(names.iter().all(|name| world.worker(name).is_some()));
    assert_eq!(world.violation(), None);
}

/// What n1 knows of the voters.
fn voters(world: &mut World) -> (u64, Vec<String>) {
    // To add one that is one already changes nothing.
    let request = world.ask("n1", Ask::Voter { node: "n1".into(), add: true });
    match world.answer(request) {
        Ok(Done::Voters { number, nodes }) => (number, nodes.iter().map(ToString::to_string).collect()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_node_that_is_not_there_becomes_no_voter_and_the_sworm_goes_on() {
    let mut world = World::voting(1);
    running_on(&mut world, &["n1"]);
    // As first in order of ids it would break ties.
    world.ask("n1", Ask::Voter { node: "a".into(), add: true });
    world.run(60_000);
    assert_eq!((world.workers("n1"), world.violation()), (1, None));
    assert_eq!(voters(&mut world), (1, vec!["n1".to_owned()]));
    world.start("n2");
    world.run(5_000);
    let request = world.ask("n1", Ask::Voter { node: "n2".into(), add: true });
    world.answer(request).expect("it is there");
    assert_eq!(voters(&mut world), (2, vec!["n1".to_owned(), "n2".to_owned()]));
}

#[test]
fn a_voter_is_not_taken_away_where_those_who_are_left_have_no_majority_there() {
    let mut world = World::voting(3);
    let names = running_on(&mut world, &["n1", "n3"]);
    world.kill("n2");
    world.run(30_000);
    // Of n2 and n3 the first breaks ties.
    world.ask("n1", Ask::Voter { node: "n1".into(), add: false });
    world.run(60_000);
    assert_eq!(world.violation(), None);
    assert!(names.iter().all(|name| world.worker(name).is_some()), "both go on");
    // The one that is gone is taken away.
    let request = world.ask("n1", Ask::Voter { node: "n2".into(), add: false });
    world.answer(request).expect("two of three are there, and both of those who are left");
    assert_eq!(voters(&mut world), (2, vec!["n1".to_owned(), "n3".to_owned()]));
}
