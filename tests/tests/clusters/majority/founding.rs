//! Before there are voters.

use std::time::Duration;

use futures_util::future::join_all;
use sworm_tests::protocol::Kind;
use sworm_tests::{Registering, eventually, holds_for};

use super::voters::{LEASE_MS, Voters};

/// Longer than it takes to start what waits for voters.
const LATER: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_registered_before_all_expected_nodes_have_seen_each_other() {
    let mut voters = Voters::new(&["a", "b", "c"], LEASE_MS).await;
    voters.start(&["a", "b"]).await;
    voters.cluster.all_see_all().await;
    let early: Vec<_> =
        ["a", "b"].iter().flat_map(|id| (0..10).map(move |n| (*id, format!("early-{id}-{n}")))).collect();
    let refused = early.iter().map(|(id, name)| {
        let node = voters.node(id);
        let refusal = move || async move {
            let registering = Registering { within_ms: Some(2_500), ..Registering::new(Kind::Held, name, 0) };
            let refusal = node.register_with(registering).await.expect_err("there are no voters");
            // A node that is too busy says nothing in that time.
            assert!(["NoMajority", "Timeout"].contains(&refusal.kind.as_str()), "{refusal}");
            let why = "before 3 nodes have seen each other; 2 are there";
            (refusal.kind == "NoMajority" && !refusal.unknown && refusal.text.contains(why)).then_some(())
        };
        async move { eventually(&format!("the refusal of {name}"), refusal).await }
    });
    join_all(refused).await;
    voters.start(&["c"]).await;
    for id in ["a", "b", "c"] {
        voters.register(&format!("on-{id}"), id).await;
    }
    // What was refused does not come about later.
    let c = voters.node("c");
    eventually("all three names", || async { (c.registered().await.len() == 3).then_some(()) }).await;
    holds_for(LATER, "only three names are registered", || async { c.registered().await.len() == 3 }).await;
    assert_eq!(voters.cluster.overlaps(), "", "a name ran twice");
}
