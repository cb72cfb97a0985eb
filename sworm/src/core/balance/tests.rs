//! What is planned when a node has joined.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::PlannedMove;
use crate::core::cell::NameCell;
use crate::core::fixture::{cluster, id, running};
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
