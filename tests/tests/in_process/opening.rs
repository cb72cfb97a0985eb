//! Opening a sworm again, after it was refused or with other settings.

use std::time::Duration;

use sworm::OpenError;
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm_tests::{eventually, holds_for};

use super::{Room, node, running};

#[tokio::test(flavor = "multi_thread")]
async fn a_sworm_that_was_refused_is_gone_and_can_be_opened_as_the_others_have_it() {
    let network = MemoryNetwork::new();
    let (a, b) = (node(&network, "a").await, node(&network, "b").await);
    let on_a = a.sworm(SwormSpec::new("s").handoff(true)).await.expect("it opens");
    for _ in 0..2 {
        let refused = b.sworm("s").await.expect_err("they disagree");
        assert!(matches!(&refused, OpenError::Disagreed { node, .. } if node == a.id()), "{refused}");
    }
    // Some heartbeats long it does nothing any more.
    holds_for(Duration::from_secs(1), "it stays out", || async { on_a.nodes() == [a.id().clone()] }).await;
    let on_b = b.sworm(SwormSpec::new("s").handoff(true)).await.expect("they agree");
    for sworm in [&on_a, &on_b] {
        eventually("each other", || async { (sworm.nodes().len() == 2).then_some(()) }).await;
    }
    for (sworm, other, name) in [(&on_a, &b, "from a"), (&on_b, &a, "from b")] {
        let room = sworm.register(name, Room).on(other.id()).await.expect("free");
        for sworm in [&on_a, &on_b] {
            assert_eq!(running(sworm, name).await.pid, room.pid());
        }
    }
    // A third node is not disturbed by what was refused.
    let c = node(&network, "c").await;
    c.sworm(SwormSpec::new("s").handoff(true)).await.expect("they agree");
}
