//! Distribution strategies other than the usual one, between processes.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use sworm::Pid;
use sworm_tests::protocol::{Command, Considered, Explained, Found, Kind, NodeSpec, Say, TypedCommand};
use sworm_tests::{Cluster, Process, eventually, program};

const STRATEGIES: [&str; 7] = ["rendezvous", "least-loaded", "bounded", "ring", "random", "local-first", "zones"];
/// How many names are asked for on each node.
const EACH: usize = 4;

async fn in_sworm<T: serde::de::DeserializeOwned>(node: &Process, sworm: &str, command: TypedCommand) -> T {
    let command = Command::Typed { sworm: sworm.into(), command };
    node.get(command).await.unwrap_or_else(|failure| panic!("{sworm} through {}: {failure}", node.id()))
}

async fn register(node: &Process, sworm: &str, name: &str) -> Pid {
    let (kind, name, metadata) = (Kind::Counter, name.to_owned(), BTreeMap::new());
    let register = TypedCommand::Register { kind, name, value: 0, on: None, within_ms: None, metadata };
    in_sworm(node, sworm, register).await
}

/// What all nodes say of a name, as soon as that is the same.
async fn explained(cluster: &Cluster, sworm: &str, name: &str) -> Explained {
    let what = format!("one explanation of {name} in {sworm}");
    eventually(&what, || async {
        let all = join_all(cluster.nodes().map(|node| node.explain_in(sworm, Kind::Counter, name))).await;
        let alike = all.iter().all(|explained| *explained == all[0] && explained.runs.is_some());
        alike.then(|| all.into_iter().next()).flatten()
    })
    .await
}

/// Each node asks for some names, and all know each before the next one is asked for. Where each runs.
async fn placed(cluster: &Cluster, sworm: &str) -> BTreeMap<String, Pid> {
    let mut placed = BTreeMap::new();
    for n in 0..EACH {
        for node in cluster.nodes() {
            let name = format!("{}-{n}", node.id());
            let pid = register(node, sworm, &name).await;
            for other in cluster.nodes() {
                let command = || Command::Find { sworm: sworm.into(), name: name.clone() };
                let knows = || async {
                    let found: Option<Found> = other.get(command()).await.expect("look-ups never fail");
                    found.filter(|found| found.pid == pid && found.state == "Running")
                };
                eventually("the name on all nodes", knows).await;
            }
            placed.insert(name, pid);
        }
    }
    placed
}

async fn is_explained(cluster: &Cluster, strategy: &str) {
    let placed = placed(cluster, strategy).await;
    for (name, pid) in &placed {
        let Explained { choice, runs, failed, candidates } = explained(cluster, strategy, name).await;
        let host = &*pid.node;
        assert_eq!((runs.as_deref(), failed), (Some(host), None), "{strategy}: {name}");
        assert_eq!(candidates.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
        let score = |of: &Considered| of.score.unwrap_or_else(|| panic!("{strategy} has no score of {name}: {of:?}"));
        let mut best: Vec<(u64, &str)> = candidates.iter().map(|(node, of)| (score(of), node.as_str())).collect();
        best.sort_unstable();
        match strategy {
            "least-loaded" => assert_ne!(host, best[0].1, "{name} is on one of its two best: {best:?}"),
            // Of what is full by now it would not be chosen again.
            "bounded" => {}
            _ => {
                assert_eq!((choice.as_deref(), best[2].1), (Ok(host), host), "{strategy}: {name}: {best:?}");
            }
        }
        if strategy == "local-first" {
            assert!(name.starts_with(host), "{name} was asked for elsewhere than on {host}");
        }
        // And there it really is.
        for node in cluster.nodes() {
            let call = TypedCommand::Call { kind: Kind::Counter, name: name.clone(), say: Say::Where, within_ms: None };
            assert_eq!(in_sworm::<String>(node, strategy, call).await, host, "{strategy}: {name}");
        }
    }
    let on = |id: &str| placed.values().filter(|pid| *pid.node == *id).count();
    match strategy {
        // A quarter above a share, rounded up: of twelve names, a weight of two in four has six.
        "bounded" => assert!(on("a") <= 4 && on("b") <= 8 && on("c") <= 4, "{placed:?}"),
        "local-first" => assert!(["a", "b", "c"].iter().all(|id| on(id) == EACH), "{placed:?}"),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_strategy_places_what_any_node_asks_for_and_every_node_tells_why() {
    let mut cluster = Cluster::new(program!());
    for (id, zone, weight) in [("a", "east", 1), ("b", "west", 2), ("c", "west", 1)] {
        let labels = BTreeMap::from([("zone".to_owned(), zone.to_owned())]);
        let spec = NodeSpec { labels, weight: Some(weight), ..cluster.spec(id) };
        cluster.launch(spec).await.expect("it starts");
    }
    cluster.all_see_all().await;
    let all = STRATEGIES.map(|strategy| {
        let cluster = &cluster;
        async move {
            join_all(cluster.nodes().map(|node| node.open_placed_by(strategy))).await;
            for node in cluster.nodes() {
                let all_there = || async {
                    let nodes: Vec<String> =
                        node.get(Command::SwormNodes { sworm: strategy.into() }).await.expect("look-ups never fail");
                    (nodes.len() == 3).then_some(())
                };
                eventually("all nodes in the sworm", all_there).await;
            }
            is_explained(cluster, strategy).await;
        }
    });
    join_all(all).await;
}
