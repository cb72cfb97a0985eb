//! A node process whose files cannot grow any more: it stops as one whose disk is full. How large they are to begin with is
//! known of sled.

use futures_util::future::join_all;
use sworm_tests::protocol::{Command, Kind, Say};
use sworm_tests::{Cluster, Process, eventually, program};

/// Enough to start; some hundred checkpoints fill it.
const BLOCKS: u64 = 2_048;

/// Counts until it fails, or has gone on elsewhere between two calls; gives the last total that was acknowledged.
async fn count(node: &Process, name: &str) -> i64 {
    let mut acknowledged = 0;
    loop {
        match node.call(Kind::Held, name, Say::AddDurable(1)).await {
            Ok(total) => {
                acknowledged = total;
                if node.find(name).await.is_some_and(|found| *found.pid.node != *"b") {
                    return acknowledged;
                }
            }
            Err(failure) if failure.kind == "NotSent" => return acknowledged,
            Err(failure) => {
                assert!(failure.unknown, "{failure}");
                return acknowledged;
            }
        }
        assert!(acknowledged < 100_000, "the files grow without a limit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_full_disk_says_why_and_leaves_its_work_to_the_others() {
    let mut cluster = Cluster::new(program!()).with_store("sled").started(&["a", "c"]).await;
    cluster.limit_files(Some(BLOCKS));
    let b = cluster.add("b").await;
    cluster.limit_files(None);
    cluster.all_see_all().await;
    let a = cluster["a"].clone();
    let names: Vec<String> = (0..12).map(|n| format!("worker-{n}")).collect();
    for name in &names {
        a.register_on(Kind::Held, name, 0, "b").await.expect("free");
    }
    // Half of the callers are elsewhere.
    let counting = names.iter().enumerate().map(|(n, name)| count([&a, &b][n % 2], name));
    let mut acknowledged = join_all(counting).await;
    let why: Option<String> = b.get(Command::Stopped).await.expect("it answers");
    let why = why.expect("it was not told to stop");
    assert!(why.starts_with("the store failed: ") && why.len() > 20, "{why}");
    eventually("b being gone", || async { (a.members().await["b"] == "Down").then_some(()) }).await;
    let refused = b.register(Kind::Counter, "late", 0).await.expect_err("it has stopped");
    assert!(refused.kind == "NodeFailed" && refused.text.contains(&why), "{refused}");
    let refused = b.call(Kind::Held, "worker-0", Say::Get).await.expect_err("it has stopped");
    assert!(refused.kind == "NodeFailed" && refused.text.contains(&why), "{refused}");
    let log = b.log();
    let said = ["ERROR", "this node stops", "File too large"];
    assert!(log.lines().any(|line| said.iter().all(|said| line.contains(said))), "{log}");
    for (name, least) in names.iter().zip(&mut acknowledged) {
        let total = a.total(Kind::Held, name).await.unwrap_or_else(|failure| panic!("{name}: {failure}"));
        // The one call with an unknown outcome may have counted.
        assert!((*least..=*least + 1).contains(&total), "{name}: {least} was acknowledged, now {total}");
        assert_ne!(a.find(name).await.expect("it runs").pid.node.as_str(), "b");
        *least = total;
    }
    // With room on the disk it is a member like any other, and brings no old state back.
    cluster.kill("b").await;
    let b = cluster.add("b").await;
    cluster.all_see_all().await;
    for (name, total) in names.iter().zip(acknowledged) {
        assert_eq!(b.total(Kind::Held, name).await, Ok(total), "{name}");
    }
    b.register_on(Kind::Counter, "fresh", 1, "b").await.expect("it hosts again");
    assert_eq!(cluster.overlaps(), "", "a name ran twice");
}
