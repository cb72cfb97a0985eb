//! What is so of lanes whatever is put into them, and in whichever order copies of them meet. The laws are functions, so
//! that a planted fault can be shown to break them.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use fastrand::Rng;
use sworm::core::cell::{Key, Kind, NameCell, NameState, Spec, Value};
use sworm::core::directory::{Directory, Standing};
use sworm::core::ids::{Birth, Epoch, Incarnation, LaneId, NodeId, Peer, RequestId};
use sworm::core::lane::{Delta, Joined, Lane, Stage};

/// So many random cases for each law.
const CASES: u64 = if cfg!(debug_assertions) { 60 } else { 300 };

pub(super) type Law = fn() -> Result<(), String>;

/// All laws.
pub(super) const LAWS: &[(&str, Law)] = &[
    ("joining is commutative", joining_is_commutative),
    ("joining is associative", joining_is_associative),
    ("joining is idempotent", joining_is_idempotent),
    ("any way to the newest number gives the same", any_way_gives_the_same),
    ("what comes in parts gives the same", parts_give_the_same),
    ("what was removed does not come back", what_was_removed_does_not_come_back),
    ("where a name stands does not depend on the order of arrival", standings_do_not_depend_on_the_order),
    ("whoever misses a name that was handed on knows that something is missing", what_was_handed_on_is_missed),
];

fn peer(node: &str) -> Peer {
    Peer { node: NodeId::new(node).expect("valid"), incarnation: Incarnation(1) }
}

fn name(n: u8) -> Arc<str> {
    format!("name-{n}").into()
}

/// What somebody could state of a name.
fn cell(rng: &mut Rng) -> NameCell {
    let epoch = Epoch { major: rng.u64(1..4), minor: rng.u32(0..3) };
    let kind = Kind {
        worker_type: "counter".into(),
        version: 1,
        distribution: "rendezvous".into(),
        handoff: true,
        replicas: 1,
        patient: false,
    };
    let states = [NameState::Running, NameState::Starting, NameState::Parked, NameState::Failed { reason: "x".into() }];
    NameCell {
        birth: Birth(rng.u64(1..3), 0),
        epoch,
        since: epoch,
        assigned: rng.u64(0..3),
        spec: Arc::new(Spec { kind: Arc::new(kind), value: Box::new([rng.u8(..)]) }),
        request: RequestId { from: peer("x"), number: 0 },
        groups: Default::default(),
        metadata: Default::default(),
        attached: false,
        unsaved: false,
        past: Default::default(),
        outdone: Default::default(),
        holders: Default::default(),
        restarts: Default::default(),
        state: rng.choice(states).expect("four"),
    }
}

/// A lane at each of its numbers: what its owner put, removed, and forgot that it had removed.
fn history(rng: &mut Rng) -> Vec<Lane> {
    let changes = rng.usize(1..40);
    history_of(rng, changes, 5)
}

fn history_of(rng: &mut Rng, changes: usize, names: u8) -> Vec<Lane> {
    let mut lane = Lane::default();
    let mut history = vec![lane.clone()];
    let mut shrinks = false;
    for _ in 0..changes {
        shrinks ^= rng.u8(0..12) == 0;
        let name = name(rng.u8(0..names));
        match rng.u8(if shrinks { 2..6 } else { 0..6 }) {
            0..3 => lane.put(Key::Name(name), Value::Name(Arc::new(cell(rng)))),
            3 => lane.put(Key::Ban(name), Value::Ban([Birth(rng.u64(1..3), 0)].into())),
            4 => lane.remove(&Key::Name(name)),
            _ => lane.remove(&Key::Ban(name)),
        }
        if rng.u8(0..6) == 0 {
            lane.collect(0);
        }
        history.push(lane.clone());
    }
    history
}

/// All that is live in a lane, and its numbers.
fn content(lane: &Lane) -> (u64, u64, Vec<(Key, Value)>) {
    let names = lane.names().map(|(name, cell)| (Key::Name(name.clone()), Value::Name(cell.clone())));
    let facts = lane.facts().map(|(key, value)| (key.clone(), value.clone()));
    (lane.max(), lane.fingerprint(), names.chain(facts).collect())
}

/// A copy that came about through some deltas of other copies, in any order.
fn copy(rng: &mut Rng, history: &[Lane]) -> Lane {
    let mut copy = Lane::default();
    for _ in 0..rng.usize(0..12) {
        let (of, from) = (rng.choice(history).expect("one"), rng.choice(history).expect("one"));
        if from.max() <= of.max() {
            copy.join(of.delta(&peer("a"), from.max()));
        }
    }
    copy
}

/// What two copies make together.
fn joined(mine: &Lane, theirs: &Lane) -> Lane {
    let mut lane = mine.clone();
    lane.join(theirs.delta(&peer("a"), mine.max()));
    lane
}

fn same<T: PartialEq + Debug>(seed: u64, what: &str, a: &T, b: &T) -> Result<(), String> {
    if a == b { Ok(()) } else { Err(format!("case {seed}: {what}: {a:?} and {b:?}")) }
}

fn for_copies<const N: usize>(law: impl Fn(u64, [Lane; N]) -> Result<(), String>) -> Result<(), String> {
    (0..CASES).try_for_each(|seed| {
        let mut rng = Rng::with_seed(seed);
        let history = history(&mut rng);
        law(seed, std::array::from_fn(|_| copy(&mut rng, &history)))
    })
}

fn joining_is_commutative() -> Result<(), String> {
    for_copies(|seed, [a, b]| same(seed, "a + b, b + a", &content(&joined(&a, &b)), &content(&joined(&b, &a))))
}

fn joining_is_associative() -> Result<(), String> {
    for_copies(|seed, [a, b, c]| {
        let (left, right) = (joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)));
        same(seed, "(a + b) + c, a + (b + c)", &content(&left), &content(&right))
    })
}

fn joining_is_idempotent() -> Result<(), String> {
    for_copies(|seed, [a, b]| {
        same(seed, "a + a", &content(&joined(&a, &a)), &content(&a))?;
        let both = joined(&a, &b);
        same(seed, "a + b + b", &content(&joined(&both, &b)), &content(&both))
    })
}

/// Through whichever copies the changes came: what has the owner's number has the owner's content, and what has an
/// earlier one has what the owner had then.
fn any_way_gives_the_same() -> Result<(), String> {
    (0..CASES).try_for_each(|seed| {
        let mut rng = Rng::with_seed(seed);
        let history = history(&mut rng);
        let owner = history.last().expect("one");
        let copies: Vec<Lane> = (0..4).map(|_| copy(&mut rng, &history)).collect();
        let mut all = copies.iter().fold(Lane::default(), |all, copy| joined(&all, copy));
        let then = history.iter().find(|lane| lane.max() == all.max()).ok_or("a number that never was")?;
        same(seed, "what it was then", &content(&all), &content(then))?;
        let pulled = all.join(owner.delta(&peer("a"), all.max()));
        if matches!(pulled, Joined::Gap | Joined::Damaged(_)) {
            return Err(format!("case {seed}: what was asked for does not fit: {pulled:?}"));
        }
        same(seed, "the owner's", &content(&all), &content(owner))
    })
}

/// A copy asks for one part after the other, each as large as may be, while the owner goes on; some parts come twice.
fn parts_give_the_same() -> Result<(), String> {
    (0..3 * CASES).try_for_each(|seed| {
        let mut rng = Rng::with_seed(seed);
        let (history, limit) = (history_of(&mut rng, 150, 20), rng.usize(1..5_000));
        let mut now = rng.usize(30..history.len());
        let mut all = if rng.bool() { Lane::default() } else { copy(&mut rng, &history[..now]) };
        let mut part = history[now].first_part(&peer("a"), all.max(), limit);
        let mut stage = Stage::of(&part);
        while history[now].max() > stage.upto() {
            // As whoever pulls does: what begins anew replaces what there is.
            if part.begins() && part.gc > stage.gc() {
                stage = Stage::of(&part);
            }
            let again = part.clone();
            if let Some(delta) = stage.take(part) {
                if let joined @ (Joined::Gap | Joined::Damaged(_)) = all.join(delta) {
                    return Err(format!("case {seed}: what came in parts does not fit: {joined:?}"));
                }
                return same(seed, "in parts", &content(&all), &content(&history[now]));
            }
            if stage.continues(&again) {
                return Err(format!("case {seed}: a part follows itself"));
            }
            now = (now + rng.usize(0..4)).min(history.len() - 1);
            part = history[now].next_part(&peer("a"), (stage.from(), stage.gc()), stage.upto(), limit);
            let anew = part.begins() && part.gc > stage.gc();
            if !anew && !stage.continues(&part) {
                return Err(format!("case {seed}: what was asked for does not follow: {part:?}"));
            }
        }
        Ok(())
    })
}

fn what_was_removed_does_not_come_back() -> Result<(), String> {
    (0..CASES).try_for_each(|seed| {
        let mut rng = Rng::with_seed(seed);
        let mut history = history(&mut rng);
        let mut owner = history.last().expect("one").clone();
        let gone = Key::Name(name(rng.u8(0..5)));
        owner.remove(&gone);
        owner.collect(0);
        let mut late = copy(&mut rng, &history);
        late.join(owner.delta(&peer("a"), late.max()));
        history.push(owner);
        for _ in 0..10 {
            let (of, from) = (rng.choice(&history).expect("one"), rng.choice(&history).expect("one"));
            late.join(of.delta(&peer("a"), from.max().min(of.max())));
            if content(&late).2.iter().any(|(key, _)| *key == gone) {
                return Err(format!("case {seed}: {gone:?} is back"));
            }
        }
        Ok(())
    })
}

/// Some nodes state things of the same names; two others hear of it in different orders, one of them in pieces.
fn standings_do_not_depend_on_the_order() -> Result<(), String> {
    (0..CASES).try_for_each(|seed| {
        let mut rng = Rng::with_seed(seed);
        let owners: Vec<(LaneId, Vec<Lane>)> =
            ["a", "b", "c"].iter().map(|node| (peer(node), history(&mut rng))).collect();
        let whole: Vec<Delta> = owners.iter().map(|(id, h)| h.last().expect("one").delta(id, 0)).collect();
        let pieces: Vec<Delta> = owners
            .iter()
            .flat_map(|(id, history)| history.windows(2).map(|w| w[1].delta(id, w[0].max())).collect::<Vec<_>>())
            .collect();
        let mut seen = Vec::new();
        for mut deltas in [whole.clone(), whole.clone(), pieces] {
            rng.shuffle(&mut deltas);
            let mut directory = Directory::new(peer("me"), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
            // What is missing after those that came too early is pulled, in another order.
            for delta in deltas.into_iter().chain(whole.iter().rev().cloned()) {
                directory.join(delta);
            }
            seen.push((directory.hash(), standings(&directory)));
        }
        same(seed, "two orders", &seen[0], &seen[1])?;
        same(seed, "whole and in pieces", &seen[0], &seen[2])
    })
}

/// Where all names stand, for each set of nodes in view.
fn standings(directory: &Directory) -> Vec<Standing> {
    let views = (0..8_u8).map(|view| move |peer: &Peer| view >> (peer.node.as_bytes()[0] - b'a') & 1 == 1);
    views.flat_map(|live| (0..5).map(move |n| (n, live))).map(|(n, live)| directory.standing(&name(n), live)).collect()
}

/// A name goes from one lane to another; a third node hears of the two in any order, and of some of it not at all.
fn what_was_handed_on_is_missed() -> Result<(), String> {
    let seeds = 0..CASES;
    seeds.into_iter().try_for_each(|seed| {
        let mut rng = Rng::with_seed(seed);
        let node = |id: &str| Directory::new(peer(id), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (mut from, mut to, mut third) = (node("from"), node("to"), node("third"));
        let mut told = Vec::new();
        let mut cell = NameCell { state: NameState::Running, ..cell(&mut rng) };
        from.put_name(&name(0), cell.clone());
        told.extend(from.unpublished());
        cell.epoch.major += 1;
        to.put_name(&name(0), cell);
        told.extend(to.unpublished());
        told.iter().for_each(|delta| drop(from.join(delta.clone())));
        from.remove(&Key::Name(name(0)));
        told.extend(from.unpublished());
        rng.shuffle(&mut told);
        for delta in told.into_iter().chain(from.lane(&peer("from")).map(|lane| lane.delta(&peer("from"), 0))) {
            third.join(delta);
            let heard = third.lane(&peer("from")).is_some_and(|lane| lane.max() > 0);
            let free = matches!(third.standing(&name(0), |_| true), Standing::Free);
            if heard && free && !third.lacks_what_was_seen(|_| true) {
                return Err(format!("seed {seed}: it looks free: {third:?}"));
            }
        }
        third.join(to.lane(&peer("to")).expect("it has stated something").delta(&peer("to"), 0));
        match third.lacks_what_was_seen(|_| true) {
            true => Err(format!("seed {seed}: nothing is missing any more: {third:?}")),
            false => Ok(()),
        }
    })
}

#[test]
fn all_laws_of_lanes_hold() {
    for (name, law) in LAWS {
        law().unwrap_or_else(|why| panic!("{name}: {why}"));
    }
}
