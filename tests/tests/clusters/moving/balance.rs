//! A node that joins, and what moves to it.

use std::collections::BTreeMap;
use std::time::Duration;

use sworm::Pid;
use sworm_tests::protocol::{Balance, Kind, NodeSpec, Planned};
use sworm_tests::{Cluster, Process, eventually, holds_for, program};

const NAMES: usize = 600;
/// What a fourth node should get.
const SHARE: usize = NAMES / 4;
/// Longer than the members must be the same before anything moves by itself.
const CALM: Duration = Duration::from_secs(8);

/// Three nodes with many counters, each with a total of its own, and a fourth that has just joined.
async fn joined(balance: Balance) -> Cluster {
    let mut cluster = Cluster::new(program!()).balanced(balance);
    cluster.add("a").await;
    cluster.add_all(&["b", "c"]).await;
    let a = &cluster["a"];
    for part in parts() {
        assert_eq!(a.register_all(Kind::Counter, part).await, Ok(Vec::new()));
    }
    add(a, 0).await;
    cluster.all_run(NAMES).await;
    cluster
}

/// Commands' worth of names.
fn parts() -> Vec<Vec<String>> {
    let names: Vec<String> = (0..NAMES).map(|n| format!("name-{n:03}")).collect();
    names.chunks(100).map(<[String]>::to_vec).collect()
}

/// Adds 1, 2, … to the names of each part; each had that `before` times.
async fn add(through: &Process, before: i64) {
    for (n, part) in (1..).zip(parts()) {
        for (name, total) in through.add_all(Kind::Counter, part, n).await.expect("it answers") {
            assert_eq!(total, Ok(n * (before + 1)), "{name} through {}", through.id());
        }
    }
}

async fn pids(through: &Process) -> BTreeMap<String, Pid> {
    through.registered().await.into_iter().map(|found| (found.name, found.pid)).collect()
}

/// The names that have another worker than before, all on the fourth node.
fn moved(before: &BTreeMap<String, Pid>, after: &BTreeMap<String, Pid>) -> Vec<String> {
    let moved: Vec<_> =
        before.iter().filter(|(name, pid)| after[*name] != **pid).map(|(name, _)| name.clone()).collect();
    for name in &moved {
        assert_eq!(after[name].node.as_str(), "d", "{} is {}", before[name], after[name]);
    }
    moved
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_gets_its_share_by_itself_and_no_more() {
    let mut cluster = joined(Balance::On).await;
    // If they had a share, a host would get less than seven tenths of its own.
    let clients = ["x", "y", "z"].map(|id| NodeSpec { client: true, ..cluster.spec(id) });
    cluster.launch_all(&clients).await;
    cluster.all_see_all().await;
    let before = pids(&cluster["a"]).await;
    let d = cluster.add("d").await;
    cluster.all_see_all().await;
    eventually("balance", || async {
        let on_d = pids(&d).await.into_values().filter(|pid| pid.node.as_str() == "d").count();
        (on_d * 10 >= SHARE * 7 && d.plan_rebalance().await.is_empty()).then_some(())
    })
    .await;
    cluster.all_run(NAMES).await;
    for (n, node) in (1..).zip(cluster.nodes()) {
        add(node, n).await;
    }
    let moved = moved(&before, &pids(&d).await);
    assert!(moved.len() * 10 <= SHARE * 11, "{} of {NAMES} have moved", moved.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn by_hand_nothing_moves_before_and_then_what_was_planned() {
    let mut cluster = joined(Balance::Manual).await;
    let a = cluster["a"].clone();
    let before = pids(&a).await;
    let d = cluster.add("d").await;
    cluster.all_see_all().await;
    holds_for(CALM, "nothing moves by itself", || async { pids(&a).await == before }).await;
    let planned = a.plan_rebalance().await;
    assert!(
        planned.iter().all(|Planned { name, from, to }| *to == Ok("d".into()) && before[name].node.as_str() == from)
    );
    assert!(planned.len() * 10 <= SHARE * 11 && planned.len() * 10 >= SHARE * 7, "{} of {NAMES}", planned.len());
    assert_eq!(pids(&a).await, before, "a plan moves nothing");
    assert_eq!(a.rebalance().await, Ok(planned.clone()));
    let planned: Vec<String> = planned.into_iter().map(|planned| planned.name).collect();
    eventually("the planned moves", || async { (moved(&before, &pids(&d).await) == planned).then_some(()) }).await;
    cluster.all_run(NAMES).await;
    for (n, node) in (1..).zip(cluster.nodes()) {
        add(node, n).await;
    }
    assert_eq!(moved(&before, &pids(&d).await), planned, "nothing else has moved");
}
