//! Calls to workers that move.

use sworm_tests::protocol::{Kind, Say};
use sworm_tests::{Cluster, Process, eventually, program};

use futures_util::future::join_all;

use super::{Adding, check, register};

/// Asks until it has moved: to ask again is safe when the time was over.
async fn moved(through: &Process, name: &str, to: &str) {
    let moved = || async {
        match through.move_name(name, to).await {
            Ok(pid) => Some(pid),
            Err(failure) if failure.kind == "Timeout" => None,
            Err(failure) => panic!("{name} to {to}: {failure}"),
        }
    };
    assert_eq!(eventually("the move", moved).await.node.as_str(), to);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_moves_with_its_state_and_every_node_finds_it() {
    let cluster = Cluster::start(program!(), &["a", "b", "c"]).await;
    cluster["a"].register_on(Kind::Held, "one", 0, "a").await.expect("free");
    for node in cluster.nodes() {
        eventually("the name", || node.find("one")).await;
    }
    let mut total = 0;
    for (through, to) in [("b", "c"), ("c", "b"), ("a", "a"), ("a", "b"), ("b", "b")] {
        moved(&cluster[through], "one", to).await;
        for node in cluster.nodes() {
            total += 1;
            assert_eq!(node.call(Kind::Held, "one", Say::Add(1)).await, Ok(total), "{through}, {to}, {}", node.id());
            assert_eq!(node.whereabouts(Kind::Held, "one").await, Ok(to.into()));
            eventually("the new place", || async {
                let found = node.find("one").await.expect("it is registered");
                (found.pid.node.as_str() == to && found.state == "Running").then_some(())
            })
            .await;
        }
    }
    let nowhere = cluster["b"].move_name("one", "nobody").await;
    assert_eq!(nowhere.map_err(|failure| failure.kind), Err("NoCandidate".into()));
    let nothing = cluster["b"].move_name("nothing", "a").await;
    assert_eq!(nothing.map_err(|failure| failure.kind), Err("NotRegistered".into()));
    assert_eq!(cluster["c"].call(Kind::Held, "one", Say::Get).await, Ok(total));
    assert_eq!(cluster.overlaps(), "", "a name ran twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_all_nodes_to_workers_that_move_are_each_handled_once() {
    const IDS: [&str; 3] = ["a", "b", "c"];
    let cluster = Cluster::start(program!(), &IDS).await;
    let workers: Vec<_> = (0..8).map(|n| (Kind::Held, format!("held-{n}"))).collect();
    register(&cluster, &workers, 0, &IDS).await;
    let nodes: Vec<_> = cluster.nodes().cloned().collect();
    for node in &nodes {
        let known = || async { (node.registered().await.len() == workers.len()).then_some(()) };
        eventually("all names", known).await;
    }
    let adding = Adding::start(&nodes, &workers, Say::Add(1));
    for round in 1..=6 {
        let moves = workers.iter().enumerate().map(|(n, (_, name))| {
            let to = IDS[(n + round) % 3];
            moved(&nodes[round % 3], name, to)
        });
        join_all(moves).await;
    }
    let added = adding.stop().await;
    for (_, name) in &workers {
        let total = nodes[0].call(Kind::Held, name, Say::Get).await.expect("it runs");
        check(name, 0, total, &added);
    }
    let failed: Vec<_> = added.iter().filter(|(_, added)| added.unknown > 0 || !added.refused.is_empty()).collect();
    assert!(failed.is_empty(), "where no node fails, a move fails no call: {failed:?}");
    assert_eq!(cluster.overlaps(), "", "a name ran twice");
}
