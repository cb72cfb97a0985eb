//! What becomes of states that were saved on both sides of a cut.

use sworm_tests::sim::{Options, World};

use super::{all_durable, rest, saved};

/// Workers that were counted up once, and three times more by the nodes on the other side of a cut, which have lost when it heals.
fn after_a_cut(seed: u64, nodes: usize, others: &[(&str, &str)], home: &str) -> (World, Vec<String>) {
    let mut world = World::under(Options { seed, nodes, cuts: true, ..Options::none() });
    let names: Vec<String> = (0..20).map(|n| format!("name-{n}")).collect();
    for name in &names {
        let request = world.register_at("n1", name, 0, Some(home));
        world.answer(request).expect("free");
        saved(&mut world, name);
    }
    all_durable(&mut world);
    rest(&mut world);
    others.iter().for_each(|(one, other)| world.cut(one, other));
    world.run(20_000); // also where the others do not have what was saved
    for _ in 0..3 {
        names.iter().for_each(|name| saved(&mut world, name));
        all_durable(&mut world);
    }
    for name in &names {
        let places: Vec<_> =
            world.places(name).iter().map(|(node, worker)| ((*node).to_owned(), worker.count)).collect();
        assert!(places.len() == 2 && places.contains(&(home.to_owned(), 1)), "{name}: {places:?}");
        assert!(places.iter().any(|(node, count)| node != home && *count >= 3), "{name}: {places:?}");
    }
    (world, names)
}

/// Kills a node, and gives the counts from which its workers have started elsewhere.
fn started_after(world: &mut World, names: &[String], dies: &str) -> Vec<u64> {
    world.kill(dies);
    world.run_until("they run again", |world| names.iter().all(|name| world.worker(name).is_some()));
    names.iter().map(|name| world.worker(name).expect("it runs").1.count).collect()
}

#[test]
fn who_has_lost_a_conflict_with_a_later_state_does_not_come_before_who_has_won_when_that_one_dies() {
    for seed in 0..10 {
        let cut = [("n1", "n3"), ("n1", "n4"), ("n2", "n3"), ("n2", "n4")];
        let (mut world, names) = after_a_cut(seed, 4, &cut, "n3");
        world.heal();
        rest(&mut world);
        let (won, counts): (Vec<_>, Vec<_>) =
            names.iter().map(|name| world.worker(name).expect("it runs")).map(|(node, w)| (node, w.count)).unzip();
        assert!(won.iter().all(|node| node == "n3"), "{won:?}");
        all_durable(&mut world);
        world.run(3_000);
        assert_eq!(started_after(&mut world, &names, "n3"), counts, "{seed}");
    }
}

#[test]
fn who_has_lost_a_conflict_and_died_before_it_was_told_holds_what_the_winner_saves() {
    for seed in 0..10 {
        let (mut world, names) = after_a_cut(seed, 2, &[("n1", "n2")], "n2");
        world.kill("n1");
        world.heal();
        world.start("n1");
        rest(&mut world);
        names.iter().for_each(|name| saved(&mut world, name));
        all_durable(&mut world);
        world.run(3_000);
        let counts: Vec<u64> = names.iter().map(|name| world.worker(name).expect("it runs").1.count).collect();
        assert_eq!(started_after(&mut world, &names, "n2"), counts, "{seed}");
    }
}
