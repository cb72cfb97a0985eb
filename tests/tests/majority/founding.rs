//! Before there are voters.

use sworm_tests::Registering;
use sworm_tests::protocol::Kind;

use crate::voters::{LEASE_MS, Voters};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_registered_before_all_expected_nodes_have_seen_each_other() {
    let mut voters = Voters::new(&["a", "b", "c"], LEASE_MS).await;
    voters.start(&["a", "b"]).await;
    voters.cluster.all_see_all().await;
    let mut all_refused = vec!["early".to_owned()];
    for id in ["a", "b"] {
        let refused = voters.refused(id).await;
        assert_eq!(voters.node(id).find(&refused).await, None);
        assert_eq!(voters.node(id).living().await, []);
        all_refused.push(refused);
    }
    let registering = Registering { within_ms: Some(500), ..Registering::new(Kind::Held, "early", 0) };
    let refusal = voters.node("a").register_with(registering).await.expect_err("there are no voters");
    assert!(refusal.text.contains("before 3 nodes have seen each other; 2 are there"), "{refusal}");
    voters.start(&["c"]).await;
    for id in ["a", "b", "c"] {
        voters.register(&format!("on-{id}"), id).await;
    }
    for refused in &all_refused {
        assert_eq!(voters.node("c").find(refused).await, None, "{refused} was refused");
    }
    assert_eq!(voters.cluster.overlaps(), "");
}
