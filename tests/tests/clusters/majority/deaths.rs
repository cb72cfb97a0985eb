//! Nodes are killed.

use sworm_tests::holds_for;

use super::voters::{LEASE_MS, SILENCE, Voters};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_nodes_names_start_elsewhere_when_it_was_silent_for_long_enough() {
    let mut voters = Voters::founded(&["a", "b", "c"], LEASE_MS).await;
    voters.kill(&["a"]).await;
    voters.all_is_well(&["b", "c"]).await;
    voters.add("c").await;
    voters.start(&["a"]).await;
    voters.cluster.all_see_all().await;
    voters.add("a").await;
    voters.all_is_well(&["a", "b", "c"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_of_three_parks_all_and_resumes_when_one_comes_back() {
    let mut voters = Voters::founded(&["a", "b", "c"], LEASE_MS).await;
    voters.kill(&["a", "c"]).await;
    voters.refused("b").await;
    voters.parked("b").await;
    let alone = voters.node("b").clone();
    holds_for(SILENCE, "it runs nothing", || async { alone.living().await.is_empty() }).await;
    voters.start(&["c"]).await;
    voters.all_is_well(&["b", "c"]).await;
    voters.add("b").await;
    voters.all_is_well(&["b", "c"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_killed_cluster_one_node_runs_nothing_and_with_the_second_the_names_are_back() {
    let mut voters = Voters::founded(&["a", "b", "c"], LEASE_MS).await;
    voters.kill(&["a", "b", "c"]).await;
    voters.start(&["c"]).await;
    let alone = voters.node("c").clone();
    holds_for(SILENCE, "it runs nothing", || async { alone.living().await.is_empty() }).await;
    voters.refused("c").await;
    voters.start(&["a"]).await;
    voters.all_is_well(&["a", "c"]).await;
    voters.add("a").await;
    voters.start(&["b"]).await;
    voters.cluster.all_see_all().await;
    voters.add("b").await;
    voters.all_is_well(&["a", "b", "c"]).await;
}
