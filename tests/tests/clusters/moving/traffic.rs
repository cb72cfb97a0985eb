//! Calls of several nodes to workers that move between processes, each of them accounted for.

use std::time::Duration;

use sworm::prelude::*;
use sworm_tests::traffic::book::{Book, SafeBook};
use sworm_tests::traffic::{Load, run_with};
use sworm_tests::{Cluster, SWORM, eventually, program};

/// How much time calls have that are in no hurry.
const LIMIT: Duration = Duration::from_secs(40);

/// Nodes of this very process that take part in a cluster: they call, and workers move to them as well.
pub(super) async fn beside(cluster: &Cluster, ids: &[&str], all: usize) -> Vec<(Node, Sworm)> {
    let join: Vec<String> = cluster.nodes().flat_map(|node| node.endpoints().to_vec()).collect();
    let mut nodes = Vec::new();
    for id in ids {
        let mut builder = Node::builder(*id).cluster(cluster.name()).listen(cluster.listen()).in_memory();
        if let Some(config) = cluster.spec(id).zenoh {
            builder = builder.zenoh(zenoh::Config::from_json5(&config).expect("a configuration"));
        }
        let node = builder.join(join.clone()).start().await.expect("it starts");
        let sworm = node.sworm(SWORM).await.expect("it opens");
        nodes.push((node, sworm));
    }
    for (_, sworm) in &nodes {
        eventually("all nodes", || async { (sworm.nodes().len() == all).then_some(()) }).await;
    }
    nodes
}

fn ids(all: &[&str]) -> Vec<NodeId> {
    all.iter().map(|id| NodeId::new(*id).expect("valid")).collect()
}

/// With `SWORM_MESSAGES=1000000 SWORM_MOVES=1000` it is a million calls.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "how much there was is worth a look when all is well, too")]
async fn calls_to_workers_that_move_between_processes_each_come_to_a_reply_or_an_error_that_is_true() {
    let cluster = Cluster::start(program!(), &["a", "b"]).await;
    let nodes = beside(&cluster, &["x", "y"], 4).await;
    let load =
        Load { calls: 4_000, moves: 20, workers: 12, senders: 4, together: 4, casts: true, hurry: 8, limit: LIMIT };
    let load = load.scaled();
    match run_with::<Book>(&nodes, &ids(&["a", "b", "x", "y"]), load, async {}).await {
        Ok(report) => {
            println!("{report}");
            assert!(report.calls >= load.calls && report.moves >= load.moves, "{report}");
            let failed: usize = report.errors.values().sum();
            assert!(failed > 0, "some had no time: {report}");
            assert_eq!(report.replies + failed, report.calls, "{report}");
            assert_eq!(report.lost, 0, "where no link is lost, casts follow their workers: {report}");
        }
        Err(why) => panic!("{why}"),
    }
    for (node, _) in nodes {
        node.close().await.expect("it closes");
    }
}

/// With `SWORM_MESSAGES=…` as well.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "how much there was is worth a look when all is well, too")]
async fn what_was_replied_to_is_there_after_the_kill_of_a_node_and_nothing_is_there_twice() {
    let mut cluster = Cluster::start(program!(), &["a", "b", "c"]).await;
    let nodes = beside(&cluster, &["x", "y"], 5).await;
    let load =
        Load { calls: 1_200, moves: 6, workers: 9, senders: 3, together: 1, casts: false, hurry: 10, limit: LIMIT };
    let load = load.scaled();
    let kill = cluster.kill("b");
    match run_with::<SafeBook>(&nodes, &ids(&["a", "b", "c"]), load, kill).await {
        Ok(report) => {
            println!("{report}");
            assert!(report.calls >= load.calls && report.moves >= load.moves, "{report}");
            assert_eq!(report.replies + report.errors.values().sum::<usize>(), report.calls, "{report}");
        }
        Err(why) => panic!("{why}"),
    }
    for (node, _) in nodes {
        node.close().await.expect("it closes");
    }
}
