//! A process that stood still for longer than its links live is met by all again, however its links ended meanwhile.

use std::time::Duration;

use sworm_tests::protocol::{Kind, Say};
use sworm_tests::{Cluster, eventually, program};
use tokio::time::sleep;

/// Longer than links live without a sign (2 s), and shorter than that and the grace time after which it would be down.
const LONGER_THAN_ITS_LINKS: Duration = Duration::from_millis(3_500);

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stood_still_is_met_by_all_again() {
    let cluster = Cluster::start(program!(), &["a", "b", "c"]).await;
    for id in ["a", "b", "c"] {
        cluster["b"].register_on(Kind::Counter, &format!("on-{id}"), 0, id).await.expect("free");
    }
    let a = &cluster["a"];
    a.freeze();
    sleep(LONGER_THAN_ITS_LINKS).await;
    a.resume();
    cluster.all_see_all().await;
    for node in cluster.nodes() {
        for id in ["a", "b", "c"] {
            let name = format!("on-{id}");
            eventually("a reply", || async { node.call(Kind::Counter, &name, Say::Get).await.ok() }).await;
        }
    }
}
