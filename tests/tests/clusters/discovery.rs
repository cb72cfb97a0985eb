//! How nodes find each other, and that they find no others.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use sworm_tests::protocol::{Kind, NodeSpec};
use sworm_tests::{Cluster, eventually, holds_for, program};

fn alone(cluster: &Cluster, id: &str) -> NodeSpec {
    NodeSpec { join: Vec::new(), ..cluster.spec(id) }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_find_each_other_through_the_endpoints_that_they_join() {
    let mut cluster = Cluster::new(program!()).as_strangers();
    for id in ["a", "b", "c", "d"] {
        // Each knows one other node, the first; the rest they learn from each other.
        let spec = cluster.spec(id);
        assert!(id == "a" || spec.join == cluster["a"].endpoints());
        cluster.launch(spec).await.expect("it starts");
    }
    cluster.all_see_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_one_machine_find_each_other_without_being_told_and_listen_on_loopback_only() {
    let mut cluster = Cluster::new(program!());
    for id in ["a", "b", "c"] {
        let spec = NodeSpec { listen: Vec::new(), ..alone(&cluster, id) };
        let node = cluster.launch(spec).await.expect("it starts");
        assert!(
            node.endpoints().iter().all(|endpoint| endpoint.starts_with("tcp/127.0.0.1:")),
            "{:?}",
            node.endpoints()
        );
        assert_eq!(node.log().matches("listening on this machine only").count(), 1, "{}", node.log());
    }
    cluster.all_see_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_find_those_again_that_they_remember_on_disk() {
    let mut cluster = Cluster::new(program!()).as_strangers();
    for id in ["a", "b", "c"] {
        cluster.add(id).await;
    }
    cluster.all_see_all().await;
    cluster.kill("b").await;
    // It is told of nobody, and could not find anybody on this machine.
    cluster.launch(alone(&cluster, "b")).await.expect("it starts");
    cluster.all_see_all().await;
    // One that remembers nobody stays alone, so it was the memory.
    let d = cluster.launch(alone(&cluster, "d")).await.expect("it starts");
    holds_for(Duration::from_secs(2), "it is alone", || async { d.up().await == ["d"] }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_cluster_that_was_killed_finds_itself_again_from_what_it_remembers() {
    let mut cluster = Cluster::new(program!()).as_strangers();
    for id in ["a", "b", "c"] {
        cluster.add(id).await;
    }
    cluster.all_see_all().await;
    cluster.kill_all().await;
    for id in ["b", "c", "a"] {
        cluster.launch(alone(&cluster, id)).await.expect("it starts");
    }
    cluster.all_see_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_with_other_names_never_see_each_other_even_when_told_to_join() {
    let mut one = Cluster::start(program!(), &["a", "b"]).await;
    let mut two = Cluster::new(program!());
    let to_join = one["a"].endpoints().to_vec();
    for id in ["a", "c"] {
        let join: Vec<String> = to_join.iter().chain(&two.spec(id).join).cloned().collect();
        two.launch(NodeSpec { join, ..two.spec(id) }).await.expect("it starts");
    }
    // And the other way round.
    let join = [two["c"].endpoints(), one["a"].endpoints()].concat();
    one.launch(NodeSpec { join, ..one.spec("d") }).await.expect("it starts");
    one.all_see_all().await;
    two.all_see_all().await;
    one["a"].register(Kind::Counter, "alice", 1).await.expect("free");
    two["a"].register(Kind::Counter, "alice", 2).await.expect("free there, too");
    holds_for(Duration::from_secs(2), "they see their own only", || async {
        one["b"].members().await.len() == 3
            && two["c"].members().await.len() == 2
            && one["b"].registered().await.len() <= 1
            && two["c"].registered().await.len() <= 1
    })
    .await;
    let (here, there) = (one["b"].find("alice").await.expect("seen"), two["c"].find("alice").await.expect("seen"));
    assert_ne!(here.pid, there.pid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_not_there_is_told_of_once_tried_for_ever_and_joined_when_it_comes() {
    let mut cluster = Cluster::new(program!()).as_strangers();
    let host = cluster.listen().trim_start_matches("tcp/").trim_end_matches(":0").to_owned();
    let port = TcpListener::bind((host.as_str(), 0)).and_then(|l| l.local_addr()).expect("a free port").port();
    let missing = format!("tcp/{host}:{port}");
    let started = Instant::now();
    let a = cluster.launch(NodeSpec { join: vec![missing.clone()], ..cluster.spec("a") }).await.expect("it starts");
    assert!(started.elapsed() < Duration::from_secs(20), "it waited {:?}", started.elapsed());
    a.register(Kind::Counter, "alice", 0).await.expect("it works alone");
    let told = || a.log().matches(&format!("{missing} does not answer")).count();
    eventually("a line in the log", || async { (told() == 1).then_some(()) }).await;
    holds_for(Duration::from_secs(3), "it is said once", || async { told() == 1 }).await;
    let b =
        cluster.launch(NodeSpec { listen: vec![missing.clone()], ..alone(&cluster, "b") }).await.expect("it starts");
    cluster.all_see_all().await;
    eventually("the name", || b.find("alice")).await;
    assert_eq!(told(), 1);
}
