use proptest::prelude::*;

use super::*;
use crate::codec;
use crate::core::cell::{Kind, NameState, Outdone, Release, Revision, Spec};
use crate::core::ids::{Birth, Epoch, Incarnation, NodeId, Peer, RequestId};
use crate::core::lane::{Joined, fits};
use crate::core::past::Past;

type Op = (u8, Option<u32>, bool);

fn id() -> LaneId {
    LaneId { node: NodeId::new("a").expect("valid"), incarnation: Incarnation(1) }
}

/// What the owner does: puts a value under a key, or removes the key, and perhaps collects.
fn apply(lane: &mut Lane, ops: &[Op]) {
    for (n, value, collect) in ops {
        let key = Key::WorkerType(Arc::from(format!("t{n}{}", "x".repeat(usize::from(*n) * 9))));
        match value {
            Some(value) => lane.put(key, Value::WorkerType(*value)),
            None => lane.remove(&key),
        }
        if *collect {
            lane.collect(0);
        }
    }
}

fn ops(most: usize) -> impl Strategy<Value = Vec<Op>> {
    let op = (0..12u8, proptest::option::of(0..100u32), prop::bool::weighted(0.1));
    proptest::collection::vec(op, 0..most)
}

fn live(lane: &Lane) -> Vec<(Key, Value)> {
    lane.facts().map(|(key, value)| (key.clone(), value.clone())).collect()
}

proptest! {
    #[test]
    fn parts_of_any_size_from_an_owner_that_goes_on_give_its_lane(
        known in ops(30), before in ops(30), during in proptest::collection::vec(ops(5), 0..30), limit in 1..600usize,
    ) {
        let mut owner = Lane::default();
        apply(&mut owner, &known);
        let mut copy = owner.clone();
        apply(&mut owner, &before);
        prop_assume!(owner.max() > copy.max());
        let mut during = during.iter();
        let mut part = owner.first_part(&id(), copy.max(), limit);
        let mut stage = Stage::of(&part);
        let delta = loop {
            prop_assert!(part.cells.len() == 1 || fits(&part.cells, limit));
            if part.begins() && part.gc > stage.gc() {
                stage = Stage::of(&part);
            }
            prop_assert!(stage.continues(&part), "{part:?} after {stage:?}");
            if let Some(delta) = stage.take(part) {
                break delta;
            }
            prop_assert!(stage.cells() <= 12);
            apply(&mut owner, during.next().map_or(&[], |ops| ops));
            part = owner.next_part(&id(), (stage.from(), stage.gc()), stage.upto(), limit);
        };
        prop_assert!(matches!(copy.join(delta), Joined::Changed(_)));
        prop_assert_eq!((copy.max(), copy.fingerprint()), (owner.max(), owner.fingerprint()));
        prop_assert_eq!(live(&copy), live(&owner));
    }

    #[test]
    fn a_delta_that_is_cut_and_put_together_is_the_same(known in ops(30), before in ops(30), limit in 1..600usize) {
        let mut owner = Lane::default();
        apply(&mut owner, &known);
        let max = owner.max();
        apply(&mut owner, &before);
        let delta = owner.delta(&id(), max);
        prop_assume!(delta.to > delta.from);
        let parts: Vec<Part> = delta.clone().into_parts(limit).collect();
        prop_assert!(parts.iter().all(|part| part.cells.len() == 1 || fits(&part.cells, limit)));
        let mut stage = Stage::of(&parts[0]);
        let mut found = Vec::new();
        for part in parts {
            prop_assert!(stage.continues(&part));
            found.extend(stage.take(part));
        }
        prop_assert_eq!(found, vec![delta]);
    }
}

#[test]
fn what_is_not_the_next_part_does_not_continue_a_stage() {
    let mut owner = Lane::default();
    apply(&mut owner, &[(1, Some(1), false), (2, Some(2), false), (3, Some(3), false)]);
    let first = owner.first_part(&id(), 0, 1);
    let mut stage = Stage::of(&first);
    assert_eq!(stage.take(first.clone()), None);
    let second = owner.next_part(&id(), (0, 0), 1, 1);
    assert!(stage.continues(&second) && !stage.continues(&first));
    for other in [Part { from: 1, ..second.clone() }, Part { gc: 9, ..second.clone() }, Part { after: 2, ..second }] {
        assert!(!stage.continues(&other), "{other:?}");
    }
}

#[test]
fn a_cell_is_hardly_larger_than_it_weighs() {
    let node = NodeId::new("n".repeat(100)).expect("valid");
    let peer = Peer { node: node.clone(), incarnation: Incarnation(u64::MAX) };
    let epoch = Epoch { major: u64::MAX, minor: u32::MAX };
    let revision = Revision { epoch, number: u64::MAX };
    let states = [
        NameState::Running,
        NameState::Leaving { to: Box::new(peer.clone()) },
        NameState::Released(Box::new(Release { to: peer.clone(), epoch, snapshot: Some(revision) })),
        NameState::Failed { reason: "r".repeat(300).into() },
    ];
    for (state, many) in states.into_iter().flat_map(|state| [0, 1, 50].map(|many| (state.clone(), many))) {
        let texts = |what: &str| (0..many).map(|n| format!("{what}{n}")).collect::<Vec<String>>();
        let kind = Kind {
            worker_type: "w".repeat(many).into(),
            version: u32::MAX,
            distribution: "d".repeat(many).into(),
            handoff: true,
            replicas: 255,
            patient: true,
        };
        let cell = NameCell {
            birth: Birth(u64::MAX, u32::MAX),
            epoch,
            since: epoch,
            assigned: u64::MAX,
            spec: Arc::new(Spec { kind: Arc::new(kind), value: vec![1; many * 100].into() }),
            request: RequestId { from: peer.clone(), number: u64::MAX },
            groups: texts("group").into_iter().map(Arc::from).collect::<std::collections::BTreeSet<_>>().into(),
            metadata: texts("key").into_iter().zip(texts("value")).collect::<BTreeMap<_, _>>().into(),
            attached: false,
            unsaved: true,
            past: (0..many as u64)
                .map(|n| Revision { epoch: Epoch { major: u64::MAX - n, ..epoch }, ..revision })
                .collect::<Past>()
                .into(),
            outdone: Outdone(epoch, Epoch { major: u64::MAX, minor: u32::MAX }).into(),
            holders: texts("node")
                .into_iter()
                .filter_map(NodeId::new)
                .collect::<std::collections::BTreeSet<_>>()
                .into(),
            restarts: vec![u64::MAX; many].into(),
            state,
        };
        let change = (u64::MAX, Key::Name("name".into()), Some(Value::Name(Arc::new(cell))));
        let (weight, bytes) = (weight(&change.1, change.2.as_ref()), codec::encode(&change).expect("plain data").len());
        assert!((bytes..2 * bytes).contains(&weight), "{weight} for {bytes} bytes");
    }
}
