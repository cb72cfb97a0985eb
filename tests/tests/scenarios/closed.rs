//! Nodes that have not opened the sworm hold nobody up, whoever was there first.

use sworm_tests::sim::{Options, World};

use super::{all_durable, rest, saved};

/// So many nodes, and perhaps one that comes later and does not open the sworm.
fn opened(nodes: usize, closed: bool) -> World {
    let mut world = World::under(Options { nodes, kills: true, leaves: true, ..Options::none() });
    if closed {
        world.start_closed("other");
    }
    world.run(2_000);
    world
}

#[test]
fn what_has_ended_is_forgotten_though_a_node_that_came_later_never_opens_the_sworm() {
    for closed in [false, true] {
        let mut world = opened(2, closed);
        let request = world.register("n1", "one", 0);
        world.answer(request).expect("free");
        let request = world.unregister("n2", "one");
        world.answer(request).expect("it runs");
        let banned = |world: &mut World, on: &str| !world.directory(on).1.own_bans(&"one".into()).is_empty();
        assert!(banned(&mut world, "n1") || banned(&mut world, "n2"));
        world.run(5_000);
        assert!(!banned(&mut world, "n1") && !banned(&mut world, "n2"), "still known, with another node: {closed}");
        rest(&mut world);
    }
}

#[test]
fn states_are_found_as_soon_though_a_node_that_came_later_never_opens_the_sworm() {
    let took = [false, true].map(|closed| {
        let mut world = opened(2, closed);
        let names = registered_on_all(&mut world);
        world.kill("n1");
        let killed = world.now_ms();
        world.run_until("failover", |world| names.iter().all(|name| world.worker(name).is_some()));
        assert!(names.iter().all(|name| world.worker(name).expect("runs").1.count == 1));
        world.now_ms() - killed
    });
    assert!(took[1] < took[0] + 1_000, "{took:?} ms without and with another node");
}

#[test]
fn the_last_node_leaves_as_soon_though_one_that_came_later_never_opens_the_sworm() {
    let took = [false, true].map(|closed| {
        let mut world = opened(1, closed);
        registered_on_all(&mut world);
        let began = world.now_ms();
        world.leave("n1");
        world.now_ms() - began
    });
    assert!(took[1] < took[0] + 500, "{took:?} ms without and with another node");
}

fn registered_on_all(world: &mut World) -> Vec<String> {
    let names: Vec<String> = (0..20).map(|n| format!("name-{n}")).collect();
    let requests: Vec<u64> = names.iter().map(|name| world.register("n1", name, 0)).collect();
    requests.into_iter().for_each(|request| drop(world.answer(request).expect("free")));
    names.iter().for_each(|name| saved(world, name));
    all_durable(world);
    rest(world);
    names
}
