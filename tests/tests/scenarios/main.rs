//! Clusters on virtual time: one behaviour each.

mod balance;
mod chunks;
mod closed;
mod conflicts;
mod deaths;
mod failed;
mod groups;
mod leaving;
mod majority;
mod moves;
mod names;
mod parking;
mod replicas;
mod restarts;
mod rolled_back;
mod states;
mod workers;

use sworm_tests::sim::World;

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
