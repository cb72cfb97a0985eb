//! What is so of copies of states, played on virtual time in one thread: that is where a fault is planted.

use sworm::NodeId;
use sworm::core::fault::{Fault, plant};
use sworm::core::message::Ask;
use sworm_tests::sim::{Options, World};

use crate::lanes::Law;

/// All laws.
pub(super) const LAWS: &[(&str, Law)] = &[
    ("a copy is kept until the next worker has one of its own", a_copy_is_kept_until_the_next_worker_has_one),
    ("a copy that was asked for is kept until it is counted on", a_copy_that_was_asked_for_is_kept),
    ("whoever has lost a conflict comes after whoever has won it", whoever_has_lost_comes_after),
    ("what a store has that has lost something is not the newest", a_store_that_has_lost_something_has_not_the_newest),
    ("what another worker saves does not take the place of one's own", what_another_saves_takes_no_place),
    ("a state that a worker was not given is given to it later", a_state_that_was_not_given_is_given_later),
];

/// A worker that was counted up once on the first of so many nodes, and has saved that there and on so many others.
fn saved(nodes: usize, replicas: u8) -> World {
    let mut world = World::under(Options { nodes, replicas, ..Options::none() });
    let request = world.register_at("n1", "one", 0, Some("n1"));
    world.answer(request).expect("registered");
    world.run(1_000);
    world.count("one", true).expect("it runs");
    world.run(1_000);
    world
}

fn lose(world: &mut World, node: &str) {
    world.kill(node);
    world.lose_disk(node);
}

fn goes_on(world: &mut World) -> Result<(), String> {
    for _ in 0..600 {
        world.run(100);
        if let Some((node, worker)) = world.worker("one") {
            return if worker.count == 1 { Ok(()) } else { Err(format!("{node} starts it from {}", worker.count)) };
        }
    }
    Err("it does not run again".into())
}

/// It moves, and the machine that it moves to is lost before it runs there. No other copy is made: with replicas the next
/// worker's first state is on its way to them before anything is said of it.
fn a_copy_is_kept_until_the_next_worker_has_one() -> Result<(), String> {
    let mut world = saved(2, 0);
    world.slow_disk("n2", Some(2_000));
    world.ask("n1", Ask::Move { name: "one".into(), to: NodeId::new("n2").expect("valid") });
    let taken = |world: &World| {
        let seen = world.lookups("one");
        seen.first().is_some_and(|seen| seen.as_ref().is_some_and(|(host, runs)| *host.node == *"n2" && !runs))
    };
    world.run_until("it is taken", taken);
    world.run(200);
    lose(&mut world, "n2");
    goes_on(&mut world)
}

/// A second node gets a copy, and the view changes before the first one has said that it counts on that.
fn a_copy_that_was_asked_for_is_kept() -> Result<(), String> {
    let mut world = saved(1, 1);
    world.slow_disk("n1", Some(3_000));
    world.start("n2");
    world.run(2_500);
    world.start("n3");
    world.run(20_000);
    lose(&mut world, "n1");
    goes_on(&mut world)
}

/// A worker goes on in a cut where its copy is, and that node dies before it is told that this does not count.
fn whoever_has_lost_comes_after() -> Result<(), String> {
    let mut world = World::under(Options { nodes: 2, replicas: 1, cuts: true, ..Options::none() });
    let request = world.register_at("n1", "one", 0, Some("n2"));
    world.answer(request).expect("registered");
    world.run(1_000);
    world.cut("n1", "n2");
    world.run(20_000);
    for _ in 0..3 {
        world.count("one", true).expect("it runs on n1, too");
        world.run(1_000);
    }
    world.kill("n1");
    world.heal();
    world.start("n1");
    world.run_until("rest", World::is_at_rest);
    world.count("one", true).expect("it runs");
    world.run(3_000);
    world.kill("n2");
    goes_on(&mut world)
}

/// A name is registered on both sides of a cut, and whoever loses it saves as long as it runs. Who has won goes on from its own
/// state after a crash.
fn what_another_saves_takes_no_place() -> Result<(), String> {
    for seed in 0..10 {
        let mut world = World::under(Options { seed, nodes: 2, cuts: true, delay_ms: 100, ..Options::none() });
        world.cut("n1", "n2");
        world.run(12_000);
        for node in ["n2", "n1"] {
            let requests: Vec<u64> = (0..20).map(|n| world.register_at(node, &format!("{n}"), 0, Some(node))).collect();
            requests.into_iter().for_each(|request| drop(world.answer(request)));
            // The first that runs is counted up.
            (0..20).for_each(|n| _ = world.count(&format!("{n}"), true));
            world.run(2_000);
        }
        world.heal();
        for _ in 0..300 {
            (0..20).filter(|n| world.places(&format!("{n}")).len() > 1).collect::<Vec<_>>().into_iter().for_each(|n| {
                world.count(&format!("{n}"), true);
            });
            world.run(10);
        }
        world.run_until("rest", World::is_at_rest);
        for n in 0..20 {
            let name = format!("{n}");
            let (node, before) = world.worker(&name).ok_or("it runs no more")?;
            world.crash(&name);
            world.run_until("its restart", |world| world.worker(&name).is_some_and(|(_, w)| w.since > before.since));
            let count = world.worker(&name).map_or(0, |(_, worker)| worker.count);
            if count < before.count {
                return Err(format!("{seed}: {name} starts from {count} on {node}, which had {}", before.count));
            }
        }
    }
    Ok(())
}

#[test]
fn it_is_so_where_no_fault_is_planted() {
    for (name, law) in LAWS {
        law().unwrap_or_else(|why| panic!("{name}: {why}"));
    }
}

#[test]
fn it_is_not_so_where_one_is_planted() {
    let faults = [
        Fault::DeleteBeforeProof,
        Fault::DropPromisedCopy,
        Fault::LoserIsLater,
        Fault::CountDoubtful,
        Fault::KeepAnothers,
        Fault::NotGivenIsGiven,
    ];
    for (fault, (name, law)) in faults.into_iter().zip(LAWS) {
        plant(Some(fault));
        let broken = law();
        plant(None);
        assert!(broken.is_err(), "{fault:?}: {name}");
    }
}

/// All are killed, and the first that is back has an older disk than it had.
fn a_store_that_has_lost_something_has_not_the_newest() -> Result<(), String> {
    let mut world = saved(3, 2);
    let before = world.image("n2");
    world.count("one", true).expect("it runs");
    world.run(1_000);
    ["n1", "n2", "n3"].iter().for_each(|node| world.kill(node));
    world.roll_back("n2", &before);
    world.start("n2");
    world.run(5_000);
    world.start("n1");
    for _ in 0..600 {
        world.run(100);
        if let Some((node, worker)) = world.worker("one") {
            return if worker.count == 2 { Ok(()) } else { Err(format!("{node} starts it from {}", worker.count)) };
        }
    }
    Err("it does not run again".into())
}

/// A worker is started from an older state; the first time that the later one turns up it is not given it.
fn a_state_that_was_not_given_is_given_later() -> Result<(), String> {
    let mut world = saved(2, 1);
    world.kill("n2");
    world.run(6_000);
    world.count("one", true).expect("it runs");
    world.run(1_000);
    world.kill("n1");
    world.start("n2");
    world.run_until("it runs from what n2 has", |world| world.worker("one").is_some_and(|(host, _)| host == "n2"));
    world.run(1_000);
    world.count("one", true).expect("it runs");
    world.run(1_000);
    world.withholds = true;
    world.start("n1");
    world.run(60_000);
    let given = world.given.iter().any(|(name, count)| (&**name, *count) == ("one", 2));
    if given && !world.withholds { Ok(()) } else { Err("it is not given the state of the other node".into()) }
}
