//! `kill -9` in the midst of moves: of the node that gives workers away, and of the one that takes them.

use sworm_tests::protocol::{Balance, Kind, Say};
use sworm_tests::{Cluster, Process, eventually, program};

use super::{Adding, check, register};

/// Each worker's registered value: those of type `Slow` take as many milliseconds to start, so that the kill comes between.
const BASE: i64 = 300;

fn workers(count: usize) -> Vec<(Kind, String)> {
    let kind = |n: usize| if n.is_multiple_of(2) { Kind::Held } else { Kind::Slow };
    (0..count).map(|n| (kind(n), format!("worker-{n}"))).collect()
}

/// Waits until a worker is on its way to that node, or there.
async fn first_on(through: &Process, id: &str) {
    let what = format!("a worker for {id}");
    eventually(&what, || async { through.registered().await.into_iter().find(|found| found.pid.node.as_str() == id) })
        .await;
}

/// All run, once, from states that nobody has seen newer ones of.
async fn is_well(cluster: &Cluster, workers: &[(Kind, String)], adding: Adding) {
    cluster.all_run(workers.len()).await;
    let added = adding.stop().await;
    for node in cluster.nodes() {
        for (kind, name) in workers {
            check(name, BASE, node.total(*kind, name).await.expect("it runs"), &added);
        }
    }
    assert_eq!(cluster.overlaps(), "", "a name ran twice");
}

async fn killed_while_draining(victim: &str) {
    let mut cluster = Cluster::start(program!(), &["a", "b", "c"]).await;
    let workers = workers(24);
    register(&cluster, &workers, BASE, &["a"]).await;
    let (a, c) = (cluster["a"].clone(), cluster["c"].clone());
    let adding = Adding::start(std::slice::from_ref(&c), &workers, Say::AddDurable(1));
    let draining = tokio::spawn(async move { a.drain().await });
    first_on(&c, "b").await;
    cluster.kill(victim).await;
    is_well(&cluster, &workers, adding).await;
    let drained = draining.await.expect("it ends");
    if victim != "a" {
        assert!(drained.as_ref().is_ok_and(|drained| drained.stays.is_empty()), "{drained:?}");
        assert!(cluster["a"].living().await.is_empty(), "it is empty all the same");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_while_it_is_emptied_leaves_every_name_to_the_others() {
    killed_while_draining("a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_emptied_although_one_that_takes_its_workers_dies() {
    killed_while_draining("b").await;
}

async fn killed_while_balancing(victim: &str) {
    let mut cluster = Cluster::new(program!()).balanced(Balance::Manual);
    cluster.add("a").await;
    cluster.add_all(&["b", "c"]).await;
    let workers = workers(60);
    register(&cluster, &workers, BASE, &["a", "b", "c"]).await;
    let c = cluster["c"].clone();
    cluster.add("d").await;
    cluster.all_see_all().await;
    let adding = Adding::start(std::slice::from_ref(&c), &workers, Say::AddDurable(1));
    let plan = eventually("something to move", || async {
        let plan = c.plan_rebalance().await;
        plan.iter().any(|planned| planned.from == "a").then_some(plan)
    })
    .await;
    assert!(plan.iter().all(|planned| planned.to == Ok("d".into())), "{plan:?}");
    c.rebalance().await.expect("it is allowed");
    first_on(&c, "d").await;
    cluster.kill(victim).await;
    is_well(&cluster, &workers, adding).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_while_it_gives_workers_away_for_balance_leaves_every_name_to_the_others() {
    killed_while_balancing("a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_and_dies_while_it_is_given_workers_leaves_every_name_to_the_others() {
    killed_while_balancing("d").await;
}
