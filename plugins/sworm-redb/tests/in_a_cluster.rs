//! Nodes that keep what they have in it: crashed, closed and started again.

use std::collections::BTreeSet;
use std::fs::read_dir;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::store::StoreError;
use sworm::transport::MemoryNetwork;
use sworm::{Error, StartError};

use sworm_redb as _;
use sworm_tests::eventually;

const NAMES: usize = 20;
/// What takes long on a busy machine.
const LONG: Duration = Duration::from_secs(40);

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(handles(Add, Get), handoff)]
struct Tally {
    total: i64,
}

#[derive(Message, Serialize, Deserialize)]
#[message(reply = i64)]
struct Add(i64);

#[derive(Message, Serialize, Deserialize)]
#[message(reply = i64)]
struct Get;

impl Handler<Add> for Tally {
    async fn handle(&mut self, Add(n): Add, ctx: &mut Context<Self>) -> i64 {
        self.total += n;
        ctx.checkpoint().await.expect("the type has handoff");
        self.total
    }
}

impl Handler<Get> for Tally {
    async fn handle(&mut self, _: Get, _: &mut Context<Self>) -> i64 {
        self.total
    }
}

/// Nodes with stores in this directory, which see each other; all are started anew.
async fn start(network: &MemoryNetwork, directory: &Path, ids: &[&str]) -> Vec<(Node, Sworm)> {
    let mut all = Vec::new();
    for id in ids {
        all.push(started(network, directory, id).await);
    }
    for (_, sworm) in &all {
        eventually("all of them", || async { (sworm.nodes().len() == ids.len()).then_some(()) }).await;
    }
    all
}

async fn started(network: &MemoryNetwork, directory: &Path, id: &str) -> (Node, Sworm) {
    // A node that was dropped lets go of its directory in its own time.
    let node = eventually("the directory", || async {
        let node = Node::builder(id).memory_network(network).store_plugin("redb", directory.join(id)).start().await;
        match node {
            Err(Error::Start(StartError::Store(StoreError::Locked { .. }))) => None,
            started => Some(started.expect("it starts")),
        }
    })
    .await;
    let sworm = node.sworm("tallies").await.expect("it opens");
    (node, sworm)
}

/// Every name runs with that total, as that node sees it.
async fn totals(sworm: &Sworm, total: i64) {
    for n in 0..NAMES {
        let name = format!("tally-{n}");
        let ask = || async { sworm.whereis_name::<Tally>(&name)?.call(Get).await.ok() };
        assert_eq!(eventually(&name, ask).await, total, "{name}");
    }
}

async fn add(sworm: &Sworm, n: i64) {
    for name in 0..NAMES {
        // What another node has registered is known here a moment later.
        let name = format!("tally-{name}");
        let tally = eventually(&name, || async { sworm.whereis_name::<Tally>(&name) }).await;
        tally.call(Add(n)).timeout(LONG).await.expect("it runs");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_survive_the_crash_of_a_node_and_of_all() {
    let (network, directory) = (MemoryNetwork::new(), tempfile::tempdir().expect("a directory"));
    let directory = directory.path();
    let mut nodes = start(&network, directory, &["a", "b"]).await;
    for n in 0..NAMES {
        let on = nodes[n % 2].0.id().clone();
        let name = format!("tally-{n}");
        nodes[0].1.register(name, Tally::default()).on(&on).await.expect("free");
    }
    add(&nodes[1].1, 1).await;

    drop(nodes.pop());
    totals(&nodes[0].1, 1).await;
    add(&nodes[0].1, 10).await;
    nodes.push(started(&network, directory, "b").await);
    eventually("both", || async { (nodes[0].1.nodes().len() == 2).then_some(()) }).await;
    totals(&nodes[1].1, 11).await;
    add(&nodes[1].1, 100).await;

    // Both, and what is not in a store is nowhere.
    drop(nodes);
    let nodes = start(&MemoryNetwork::new(), directory, &["b", "a"]).await;
    for (_, sworm) in &nodes {
        totals(sworm, 111).await;
        assert_eq!(sworm.registered().len(), NAMES);
    }
    for (node, _) in nodes {
        node.close().await.expect("it closes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_directory_is_in_use_or_another_ones_does_not_start() {
    let (network, directory) = (MemoryNetwork::new(), tempfile::tempdir().expect("a directory"));
    let of = |id: &str| Node::builder(id).memory_network(&network).store_plugin("redb", directory.path());
    let node = of("a").start().await.expect("it starts");
    let refused = of("a").start().await;
    assert!(matches!(refused, Err(Error::Start(StartError::Store(StoreError::Locked { .. })))), "{refused:?}");
    node.close().await.expect("it closes");
    let refused = of("b").start().await;
    assert!(matches!(refused, Err(Error::Start(StartError::ForeignStore { .. }))), "{refused:?}");
    let there = || -> BTreeSet<_> {
        read_dir(directory.path()).expect("it is there").map(|e| e.expect("it is there").file_name()).collect()
    };
    let before = there();
    let refused = Node::builder("a").memory_network(&network).store(directory.path()).start().await;
    let Err(Error::Start(error @ StartError::OtherStore { .. })) = refused else { panic!("{refused:?}") };
    assert!(error.to_string().contains(r#"a store of kind "redb", not "sled""#), "{error}");
    assert_eq!(there(), before, "it is left as it is");
    of("a").start().await.expect("it starts").close().await.expect("it closes");
}
