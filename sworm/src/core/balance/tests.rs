//! What is planned when a node has joined.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::PlannedMove;
use super::calm::FORGET_MS;
use crate::core::cell::{Key, Kind, NameCell, NameState, Spec, Value};
use crate::core::fixture::{cluster, id, links_nothing, now, peer, running};
use crate::core::lane::Lane;
use crate::core::state::Core;

/// Names that run on a node, told apart by a number.
fn names(node: &str, count: usize, number: u64) -> Vec<(String, NameCell)> {
    (0..count).map(|n| (format!("{node}-{number}-{n}"), running())).collect()
}

fn filled(nodes: &[(usize, u32)], number: u64) -> Core {
    let ids: Vec<String> = (0..nodes.len()).map(|n| format!("n{n}")).collect();
    let lanes: Vec<_> =
        ids.iter().zip(nodes).map(|(id, (count, _))| (id.as_str(), names(id, *count, number))).collect();
    let mut core = cluster(&lanes);
    for (node, (_, weight)) in ids.iter().zip(nodes) {
        core.profiles.entry(id(node)).or_default().weight = *weight;
    }
    core
}

/// How many moves go to each node.
fn given(plan: &[PlannedMove]) -> BTreeMap<String, usize> {
    let mut given = BTreeMap::new();
    for planned in plan {
        let to = planned.to.as_ref().expect("for balance only where there is a place");
        *given.entry(to.to_string()).or_default() += 1;
    }
    given
}

#[test]
fn a_node_that_joins_is_given_a_tenth_above_its_share_at_most_to_the_last_name() {
    // One of each host by rounding up would be nine too many.
    for number in 0..20 {
        let mut nodes = vec![(19, 1); 9];
        nodes.push((0, 1));
        let given = given(&filled(&nodes, number).plan_rebalance());
        assert!(given["n9"] <= 18 && given["n9"] >= 10, "{given:?}: a share is 17.1");
        assert_eq!(given.len(), 1, "nobody else has room");
    }
}

#[test]
fn one_host_gives_all_that_is_missing() {
    assert_eq!(given(&filled(&[(1_000, 1), (0, 1)], 0).plan_rebalance())["n1"], 500);
    assert!(filled(&[(1, 1), (0, 1)], 0).plan_rebalance().is_empty(), "half a name is none");
}

#[test]
fn a_client_has_no_share() {
    let mut core = filled(&[(100, 1), (100, 1), (100, 1), (0, 1), (0, 1), (0, 1), (0, 1), (0, 1)], 0);
    let clients = ["n4", "n5", "n6", "n7"];
    clients.iter().for_each(|client| links_nothing(&mut core, client));
    let hosts: Vec<_> = ["n0", "n1", "n2", "n3"].map(id).into();
    assert_eq!(core.places_left().into_keys().collect::<Vec<_>>(), hosts, "nobody gives a client a name");
    // A share is 75; among eight it would be 37.
    assert_eq!(core.places_left()[&id("n3")], 82);
    let given = given(&core.plan_rebalance());
    assert!(given.len() == 1 && (60..=82).contains(&given["n3"]), "{given:?}");
}

/// A name on a node that is not there any more.
fn with_one_of_the_gone(cell: NameCell) -> Core {
    let mut core = filled(&[(1, 1), (1, 1)], 0);
    let mut lane = Lane::default();
    lane.put(Key::Name("lost".into()), Value::Name(Arc::new(cell)));
    core.directory.join(lane.delta(&peer("gone"), 0));
    core
}

/// The same cell with another kind.
fn of_kind(cell: NameCell, change: impl FnOnce(&mut Kind)) -> NameCell {
    let mut kind = (*cell.spec.kind).clone();
    change(&mut kind);
    NameCell { spec: Arc::new(Spec { kind: Arc::new(kind), value: Box::default() }), ..cell }
}

#[test]
fn balance_waits_for_what_is_to_start_elsewhere_and_for_nothing_that_never_will() {
    assert!(!filled(&[(1, 1), (1, 1)], 0).must_wait());
    for state in [NameState::Running, NameState::Parked] {
        assert!(with_one_of_the_gone(NameCell { state, ..running() }).must_wait());
    }
    let failed = NameState::Failed { reason: "it broke too often".into() };
    assert!(!with_one_of_the_gone(NameCell { state: failed, ..running() }).must_wait(), "it is not started again");
    let unknown = of_kind(running(), |kind| kind.worker_type = "linked nowhere".into());
    assert!(!with_one_of_the_gone(unknown).must_wait(), "no node can run it");
}

#[test]
fn a_plan_to_empty_a_node_counts_what_it_has_given_before() {
    for (strategy, most) in [("least-loaded", 45), ("bounded", 57)] {
        let names = |node: &str, count| {
            let names = names(node, count, 0).into_iter();
            names.map(|(name, cell)| (name, of_kind(cell, |kind| kind.distribution = strategy.into()))).collect()
        };
        let core = cluster(&[("n0", names("n0", 60)), ("n1", names("n1", 30)), ("n2", Vec::new())]);
        let plan = core.plan_drain(&id("n0")).expect("it is there");
        let given = given(&plan);
        let of = |node: &str| given.get(node).copied().unwrap_or(0);
        let will_have = [30 + of("n1"), of("n2")];
        assert_eq!(will_have.iter().sum::<usize>(), 90);
        assert!(will_have.iter().all(|has| *has <= most), "{strategy}: {will_have:?}");
    }
}

/// The nodes that take part, one set after the other, as the first node sees them; long ago by now.
fn with_members(core: &mut Core, seen: &[&[&str]]) {
    for members in seen {
        let members: Vec<_> = members.iter().map(|node| peer(node)).collect();
        core.balancing.comings.note(0, &core.config.me, members.iter());
    }
    core.now = now(FORGET_MS - 1);
}

#[test]
fn by_itself_only_who_has_joined_is_given_names_whatever_the_strategy_and_by_hand_all_are_levelled() {
    for strategy in ["rendezvous", "least-loaded", "bounded", "ring", "random", "local-first"] {
        let names = |node: &str, count| {
            let names = names(node, count, 0).into_iter();
            names.map(|(name, cell)| (name, of_kind(cell, |kind| kind.distribution = strategy.into()))).collect()
        };
        let mut core = cluster(&[("n0", names("n0", 130)), ("n1", names("n1", 20)), ("n2", Vec::new())]);
        let levelled = given(&core.plan_rebalance());
        assert!(levelled.contains_key("n1") && levelled.contains_key("n2"), "{strategy}: {levelled:?}");
        with_members(&mut core, &[&["n0"], &["n0", "n1"]]);
        core.balancing.comings.all_given(core.now.mono_ms);
        assert!(core.moves_by_itself().is_empty(), "{strategy}: nobody has joined");
        with_members(&mut core, &[&["n0", "n1", "n2"]]);
        let moves = core.moves_by_itself();
        assert!(moves.iter().all(|(_, to)| *to == id("n2")), "{strategy}: {moves:?}");
        assert!((10..=55).contains(&moves.len()), "{strategy}: {} moves, and a share is 50", moves.len());
        core.balancing.comings.all_given(core.now.mono_ms);
        assert!(core.moves_by_itself().is_empty(), "{strategy}: it had its turn");
    }
}

#[test]
fn who_is_found_by_a_node_that_joins_is_given_nothing_by_it_and_who_comes_back_is() {
    let mut core = filled(&[(100, 1), (0, 1)], 0);
    with_members(&mut core, &[&["n1"], &["n0", "n1"]]);
    assert!(core.moves_by_itself().is_empty(), "n1 was there before");
    with_members(&mut core, &[&["n0"], &["n0", "n1"]]);
    assert!(!core.moves_by_itself().is_empty(), "it was gone and has come back");
}

#[test]
fn a_node_passes_nothing_on_of_what_it_is_just_being_given_and_gives_later() {
    for (has, gives) in [(52, false), (90, true)] {
        let mut core = filled(&[(has, 1), (100, 1), (0, 1)], 0);
        with_members(&mut core, &[&["n1"], &["n0", "n1"], &["n0", "n1", "n2"]]);
        assert_eq!(!core.moves_by_itself().is_empty(), gives, "a share is {}", (has + 100) / 3);
        assert!(!core.balancing.comings.is_settled(&id("n0")), "it has come");
        assert!(core.balancing.comings.is_settled(&id("n0")), "and has waited");
        assert!(!core.moves_by_itself().is_empty());
    }
}

#[test]
fn a_node_that_nobody_knows_has_no_plan_and_one_that_has_nothing_an_empty_one() {
    let core = filled(&[(1, 1), (0, 1)], 0);
    assert_eq!(core.plan_drain(&id("n1")), Some(Vec::new()));
    assert_eq!(core.plan_drain(&id("nobody")), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_plan_gives_a_node_more_than_a_tenth_above_its_share(
        nodes in prop::collection::vec((0..60_usize, 1..4_u32), 1..9),
        weight in 1..4_u32,
        number: u64,
    ) {
        let mut nodes = nodes;
        nodes.push((0, weight));
        let all: usize = nodes.iter().map(|(count, _)| count).sum();
        let weights: u32 = nodes.iter().map(|(_, weight)| weight).sum();
        let given = given(&filled(&nodes, number).plan_rebalance());
        for (n, (count, weight)) in nodes.iter().enumerate() {
            let Some(given) = given.get(&format!("n{n}")) else { continue };
            let most = 11 * all * *weight as usize;
            prop_assert!((count + given) * 10 * weights as usize <= most, "{given} to n{n} of {nodes:?}");
        }
    }
}
