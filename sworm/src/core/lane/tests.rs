use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::core::ids::{Incarnation, NodeId};

fn id() -> LaneId {
    LaneId { node: NodeId::new("a").expect("valid"), incarnation: Incarnation(1) }
}

fn key(n: u8) -> Key {
    Key::WorkerType(Arc::from(format!("t{n}")))
}

/// Each operation of the owner: put a value under a key, or remove the key, perhaps collect.
fn owner(ops: &[(u8, Option<u32>, bool)]) -> (Lane, Vec<Lane>) {
    let mut lane = Lane::default();
    let mut history = vec![lane.clone()];
    for (k, value, collect) in ops {
        match value {
            Some(v) => lane.put(key(*k), Value::WorkerType(*v)),
            None => lane.remove(&key(*k)),
        }
        if *collect {
            lane.collect(0);
        }
        history.push(lane.clone());
    }
    (lane, history)
}

fn live(lane: &Lane) -> Vec<(Key, Value)> {
    lane.facts().map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn ops() -> impl Strategy<Value = Vec<(u8, Option<u32>, bool)>> {
    proptest::collection::vec((0..6u8, proptest::option::of(0..100u32), any::<bool>()), 1..40)
}

proptest! {
    #[test]
    fn any_order_and_repetition_of_deltas_plus_a_pull_gives_the_owners_lane(
        ops in ops(),
        picks in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..60),
    ) {
        let (owner, history) = owner(&ops);
        let mut copy = Lane::default();
        for (state, from) in picks {
            let state = state.get(&history);
            let from = from.get(&history).max();
            if from <= state.max() {
                copy.join(state.delta(&id(), from));
            }
        }
        let pull = owner.delta(&id(), copy.max());
        prop_assert!(!matches!(copy.join(pull), Joined::Gap | Joined::Damaged(_)));
        prop_assert_eq!(copy.max(), owner.max());
        prop_assert_eq!(copy.fingerprint(), owner.fingerprint());
        prop_assert_eq!(live(&copy), live(&owner));
    }
}

#[test]
fn a_gap_is_refused() {
    let (_, history) = owner(&[(1, Some(1), false), (2, Some(2), false), (3, Some(3), false)]);
    let mut copy = Lane::default();
    assert_eq!(copy.join(history[3].delta(&id(), 2)), Joined::Gap);
    assert_eq!(copy, Lane::default());
}

#[test]
fn a_copy_behind_collected_tombstones_gets_the_whole_lane() {
    let (owner, history) = owner(&[(1, Some(1), false), (2, Some(2), false), (1, None, false), (2, None, true)]);
    let mut copy = history[2].clone();
    let delta = owner.delta(&id(), copy.max());
    assert!(delta.full);
    assert!(matches!(copy.join(delta), Joined::Changed(_)));
    assert_eq!(live(&copy), vec![]);
}

#[test]
fn damage_is_detected_and_the_copy_discarded() {
    let (owner, _) = owner(&[(1, Some(1), false)]);
    let mut delta = owner.delta(&id(), 0);
    delta.cells[0].2 = Some(Value::WorkerType(7));
    let mut copy = Lane::default();
    assert_eq!(copy.join(delta), Joined::Damaged(vec![key(1), key(1)]));
    assert_eq!(copy.max(), 0);
}

#[test]
fn changes_that_are_not_recent_any_more_are_found_too() {
    let (mut owner, mut copy) = (Lane::default(), Lane::default());
    let key = |n: usize| Key::WorkerType(n.to_string().into());
    for n in 0..2 * RECENT {
        owner.put(key(n), Value::WorkerType(1));
        if n == 9 {
            copy.join(owner.delta(&id(), 0));
        }
    }
    owner.remove(&key(3));
    assert!(owner.recent.len() == RECENT && copy.max() < owner.recent_after);
    let delta = owner.delta(&id(), copy.max());
    assert_eq!(delta.cells.len(), 2 * RECENT - 9, "ten are known, one of which has ended");
    assert!(delta.cells.is_sorted_by_key(|(seq, _, _)| *seq));
    assert!(matches!(copy.join(delta), Joined::Changed(_)));
    assert_eq!((live(&copy), copy.max()), (live(&owner), owner.max()));
    let delta = owner.delta(&id(), owner.max() - 1);
    assert_eq!(delta.cells, [(owner.max(), key(3), None)]);
}

#[test]
fn a_value_that_does_not_fit_its_key_is_nothing() {
    let mut lane = Lane::default();
    lane.put(Key::Name("n".into()), Value::WorkerType(1));
    assert!(lane.name("n").is_none() && lane.claims() == 0 && lane.fingerprint() == 0);
    lane.collect(0);
    assert_eq!(lane.seq(&Key::Name("n".into())), None);
}
