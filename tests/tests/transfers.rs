//! Lanes that are too large for one message.

use std::collections::BTreeMap;
use std::sync::Arc;

use sworm::core::cell::{Kind, NameCell, NameState, Spec};
use sworm::core::ids::{Birth, Epoch, RequestId};
use sworm::core::transfer::PART_BYTES;
use sworm_tests::sim::{Options, World};

/// A node has so many names that are not started again: they stay where they are.
fn give(world: &mut World, on: &str, names: std::ops::Range<u64>) {
    let kind = Arc::new(Kind {
        worker_type: "counter".into(),
        version: 1,
        distribution: "rendezvous".into(),
        handoff: true,
        replicas: 1,
        patient: false,
    });
    let spec = Arc::new(Spec { kind, value: Box::new([7; 8]) });
    let (me, directory) = world.directory(on);
    for n in names {
        let epoch = Epoch { major: 1 + n, minor: 0 };
        let cell = NameCell {
            birth: Birth(1 + n, 0),
            epoch,
            since: epoch,
            assigned: n,
            spec: spec.clone(),
            request: RequestId { from: me.clone(), number: n },
            groups: Default::default(),
            metadata: BTreeMap::new().into(),
            attached: false,
            unsaved: false,
            past: Default::default(),
            outdone: Default::default(),
            holders: Default::default(),
            restarts: Default::default(),
            state: NameState::Failed { reason: "boom".into() },
        };
        directory.put_name(&format!("name-{n}").into(), cell);
    }
}

fn rest(world: &mut World) {
    world.run_until("rest", World::is_at_rest);
}

#[test]
fn a_joiner_gets_100_000_names_in_small_messages_and_stages_no_more_than_there_is() {
    const NAMES: u64 = 100_000;
    let mut world = World::calm(1);
    give(&mut world, "n1", 0..NAMES);
    rest(&mut world);
    world.start("n2");
    let mut most = 0;
    for round in 0.. {
        world.run(20);
        most = world.staged("n2").map_or(most, |(_, cells)| cells.max(most));
        if round < 100 {
            // Meanwhile the owner goes on.
            give(&mut world, "n1", round * 50..round * 50 + 10);
        }
        if world.is_at_rest() {
            break;
        }
        assert!(round < 3_000, "a minute passed");
    }
    assert_eq!(world.names_at("n2"), usize::try_from(NAMES).expect("small"));
    assert!(world.largest <= PART_BYTES, "a message had {} bytes", world.largest);
    assert!((50_000..=100_010).contains(&most), "{most} cells were staged");
}

#[test]
fn a_sender_that_dies_in_the_middle_is_replaced_by_another_one() {
    let mut world = World::under(Options { nodes: 2, part_bytes: 5_000, ..Options::none() });
    give(&mut world, "n1", 0..3_000);
    rest(&mut world);
    // What was stated stays with whoever is left.
    for name in ["n1", "n2"] {
        world.run(2_000);
        world.start("n3");
        world.run_until("a transfer", |world| world.staged("n3").is_some_and(|(_, cells)| cells > 100));
        let (sender, _) = world.staged("n3").expect("it runs");
        assert!(world.names_at("n3") == 0, "nothing of it is seen yet");
        world.kill(&sender);
        rest(&mut world);
        assert_eq!(world.names_at("n3"), 3_000, "after the end of {sender}, for {name}");
        world.start(&sender);
        rest(&mut world);
        world.leave("n3");
        world.lose("n3");
        rest(&mut world);
    }
}

#[test]
fn lost_parts_are_asked_for_again() {
    let mut world = World::under(Options {
        seed: 5,
        nodes: 2,
        part_bytes: 2_000,
        lost: 150,
        repeated: 150,
        delay_ms: 10,
        in_order: false,
        ..Options::none()
    });
    give(&mut world, "n1", 0..500);
    rest(&mut world);
    world.start("n3");
    rest(&mut world);
    assert_eq!((world.names_at("n2"), world.names_at("n3")), (500, 500));
}
