//! Moves whose worker ends in their midst.

use sworm::NodeId;
use sworm::core::cell::NameState;
use sworm::core::message::Ask;
use sworm_tests::sim::{Options, World};

use super::rest;

#[test]
fn what_its_receiver_has_is_handed_over_however_its_worker_ends() {
    // It takes long to stop, and its task is gone meanwhile.
    let mut world = World::under(Options { nodes: 2, stop_ms: 60_000, ..Options::none() });
    let request = world.register_at("n1", "one", 0, Some("n1"));
    world.answer(request).expect("registered");
    rest(&mut world);
    world.count("one", false).expect("it runs");
    world.ask("n1", Ask::Move { name: "one".into(), to: NodeId::new("n2").expect("valid") });
    world.run(2_000);
    assert_eq!(world.worker("one").expect("it has not stopped").0, "n1");
    world.vanish_at_its_end("one");
    world.run_until("it runs there", |world| world.worker("one").is_some_and(|(host, _)| host == "n2"));
    assert_eq!(world.worker("one").expect("it runs").1.count, 1, "its state had gone along");
    rest(&mut world);
}

#[test]
fn a_name_that_has_failed_on_a_node_that_is_gone_holds_no_balance_up() {
    let mut world = World::under(Options { nodes: 3, balances: true, kills: true, crashes: true, ..Options::none() });
    for n in 0..30 {
        let request = world.register("n1", &format!("n{n}"), 0);
        world.answer(request).expect("free");
    }
    let request = world.register_at("n1", "fails", 0, Some("n3"));
    world.answer(request).expect("free");
    for _ in 0..20 {
        world.crash("fails");
        world.run(500);
    }
    assert!(world.worker("fails").is_none(), "it is given up");
    world.kill("n3");
    world.run_until("all others run", |world| world.workers("n1") + world.workers("n2") == 30);
    world.start("n4");
    world.run_until("its share", |world| world.workers("n4") > 4);
    rest(&mut world);
    assert!(world.worker("fails").is_none() && world.lookups("fails").iter().all(Option::is_some));
}

#[test]
fn a_name_that_goes_for_balance_counts_among_those_on_their_way_however_long_that_takes() {
    // Some workers take longer to stop than what is planned for balance is waited for.
    let options = Options { nodes: 1, balances: true, stop_ms: 60_000, ..Options::none() };
    for seed in 0..3 {
        let mut world = World::under(Options { seed, ..options.clone() });
        for n in 0..80 {
            let request = world.register("n1", &format!("n{n}"), 0);
            world.answer(request).expect("free");
        }
        rest(&mut world);
        world.start("n2");
        let mut most = 0;
        for _ in 0..2_400 {
            world.run(100);
            let (me, directory) = world.directory("n1");
            let names = directory.lane(&me).into_iter().flat_map(|lane| lane.names());
            most = most.max(names.filter(|(_, cell)| matches!(cell.state, NameState::Leaving { .. })).count());
        }
        assert_eq!(most, 8, "so many are on their way at a time");
        world.run_until("its share", |world| world.workers("n2") >= 36);
        rest(&mut world);
    }
}
