//! Who runs workers, and who is taken for whom.

use futures_util::future::join_all;
use sworm_tests::protocol::{Kind, NodeSpec, Say};
use sworm_tests::{Cluster, eventually, program};

#[tokio::test(flavor = "multi_thread")]
async fn only_nodes_that_opened_the_sworm_and_link_the_worker_type_run_it_and_clients_never() {
    let mut cluster = Cluster::start(program!(), &["host"]).await;
    cluster.launch_only(cluster.spec("elsewhere")).await.expect("it starts");
    let client = NodeSpec { client: true, ..cluster.spec("client") };
    cluster.launch(client).await.expect("it starts");
    cluster.launch_as(program!(bare), cluster.spec("bare")).await.expect("it starts");
    cluster.all_see_all().await;
    let client = cluster["client"].clone();
    for n in 0..30 {
        let pid = client.register(Kind::Counter, &format!("worker-{n}"), n).await.expect("free");
        assert_eq!(pid.node.as_str(), "host");
        assert_eq!(client.call(Kind::Counter, &pid.name, Say::Get).await, Ok(n));
    }
    // Those that do not run it know it all the same.
    let bare = cluster["bare"].clone();
    eventually("all names", || async { (bare.registered().await.len() == 30).then_some(()) }).await;
    // The one that opens the sworm later runs what comes after it.
    cluster["elsewhere"].open().await.expect("it opens");
    cluster.all_see_all().await;
    let late = client.register_on(Kind::Counter, "late", 0, "elsewhere").await.expect("free");
    assert_eq!(late.node.as_str(), "elsewhere");
    // In an older version it is not linked for those.
    let older = "bare links version 1 of the worker type, and the name is of version 2";
    let refused = client.register_on(Kind::Newer, "newer", 0, "bare").await.expect_err("it cannot read its state");
    assert_eq!((refused.kind.as_str(), refused.unknown), ("NoCandidate", false), "{refused}");
    assert!(refused.text.contains(older), "{refused}");
    for n in 0..10 {
        let pid = client.register(Kind::Newer, &format!("newer-{n}"), n).await.expect("free");
        assert!(["host", "elsewhere"].contains(&pid.node.as_str()), "{pid}");
    }
    let explained = client.explain(Kind::Newer, "newer").await;
    assert_eq!(explained.candidates["bare"].excluded.as_deref(), older.strip_prefix("bare "));
    // When no host is left the names wait for one, rather than go.
    cluster.kill("elsewhere").await;
    cluster.kill("host").await;
    // One that is not known to be gone yet may have been told to start it.
    cluster.all_see_all().await;
    let none = client.register(Kind::Counter, "nowhere", 0).await.expect_err("nobody can run it");
    assert_eq!((none.kind.as_str(), none.unknown), ("NoCandidate", false), "{none}");
    assert!(none.text.contains("counter") && none.text.contains("bare does not link the worker type"), "{none}");
    assert!(none.text.contains("client is a client, or links no worker type"), "{none}");
    let none = client.register(Kind::Newer, "newer", 0).await.expect_err("nobody can run it");
    assert!(none.kind == "NoCandidate" && none.text.contains(older), "{none}");
    assert_eq!(client.registered().await.len(), 41);
    cluster.add("host").await;
    let all = join_all((0..30).map(|n| {
        let client = &client;
        async move { client.total(Kind::Counter, &format!("worker-{n}")).await }
    }));
    assert_eq!(all.await, (0..30).map(Ok).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_with_the_same_id_is_refused_while_the_first_lives() {
    let mut cluster = Cluster::start(program!(), &["a", "b"]).await;
    let a = cluster["a"].clone();
    a.register_on(Kind::Counter, "alice", 1, "a").await.expect("free");
    let twin = || NodeSpec { store: Some(cluster.store("twin")), ..cluster.spec("a") };
    let mut refused = Vec::new();
    for join in ["a", "b"] {
        let twin = NodeSpec { join: cluster[join].endpoints().to_vec(), ..twin() };
        let mut other = Cluster::new(program!());
        let started = other.launch(twin).await.map(|node| node.endpoints().to_vec());
        refused.push(started.expect_err("its id is taken"));
    }
    for refused in refused {
        assert_eq!(refused.kind, "IdTaken", "{refused}");
        assert!(refused.text.contains("the id a "), "{refused}");
    }
    // The first one was not disturbed.
    assert_eq!(cluster["b"].call(Kind::Counter, "alice", Say::Get).await, Ok(1));
    cluster.all_see_all().await;
    // Once it is gone another may take its place.
    let twin = NodeSpec { join: cluster["b"].endpoints().to_vec(), ..twin() };
    cluster.kill("a").await;
    cluster.launch(twin).await.expect("the id is free");
    cluster.all_see_all().await;
    assert_eq!(cluster["b"].total(Kind::Counter, "alice").await, Ok(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_node_is_replaced_and_yields_when_it_comes_back() {
    let cluster = Cluster::start(program!(), &["a", "b", "c"]).await;
    let a = cluster["a"].clone();
    let names: Vec<String> = (0..9).map(|n| format!("worker-{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        a.register_on(Kind::Counter, name, 0, ["a", "b", "c"][n % 3]).await.expect("free");
        assert_eq!(a.call(Kind::Counter, name, Say::AddDurable(1)).await, Ok(1));
    }
    cluster["c"].freeze();
    eventually("c being given up", || async { (a.members().await["c"] == "Down").then_some(()) }).await;
    for name in &names {
        let found = eventually("it running", || async { a.find(name).await.filter(|f| f.state == "Running") }).await;
        assert_ne!(found.pid.node.as_str(), "c", "{name}");
        assert_eq!(a.call(Kind::Counter, name, Say::AddDurable(1)).await, Ok(2));
    }
    cluster["c"].resume();
    cluster.all_see_all().await;
    let expected = a.registered().await;
    assert!(expected.iter().all(|found| found.pid.node.as_str() != "c"), "the lone side must not win");
    for node in cluster.nodes() {
        eventually("one view", || async { (node.registered().await == expected).then_some(()) }).await;
        for name in &names {
            assert_eq!(node.call(Kind::Counter, name, Say::Get).await, Ok(2), "{name} from {}", node.id());
        }
    }
    a.register_on(Kind::Counter, "fresh", 0, "c").await.expect("c takes part again");
    assert_eq!(a.whereabouts(Kind::Counter, "fresh").await, Ok("c".into()));
}
