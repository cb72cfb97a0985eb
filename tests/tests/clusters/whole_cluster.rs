//! All nodes are killed and started again: every name that was acknowledged is back, once, with its state, groups and metadata.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use sworm::Pid;
use sworm_tests::protocol::{Failure, Kind, Say, TypedCommand};
use sworm_tests::{Cluster, Registering, eventually, program};

const NAMES: usize = 60;

fn kind(n: usize) -> Kind {
    if n.is_multiple_of(2) { Kind::Held } else { Kind::Counter }
}

async fn filled(cluster: &Cluster) -> Vec<(String, i64)> {
    let nodes: Vec<_> = cluster.nodes().cloned().collect();
    let filled = (0..NAMES).map(|n| {
        let node = nodes[n % nodes.len()].clone();
        async move {
            let name = format!("worker-{n}");
            let value = i64::try_from(n).expect("small");
            let metadata = &[("value", &*value.to_string())];
            let registering = Registering { metadata, ..Registering::new(kind(n), &name, value) };
            node.register_with(registering).await.expect("free");
            // A third has a checkpoint, the others are as they were registered.
            let kept = if n % 3 == 0 {
                node.call(kind(n), &name, Say::AddDurable(500)).await.expect("it runs")
            } else {
                value
            };
            node.call(kind(n), &name, Say::Add(10_000)).await.expect("it runs");
            if n % 2 == 1 {
                node.join("odd", &name).await.expect("it runs");
            }
            (name, kept)
        }
    });
    join_all(filled).await
}

async fn is_back(cluster: &Cluster, expected: &[(String, i64)]) {
    for node in cluster.nodes() {
        let asked = expected.iter().enumerate().map(|(n, (name, kept))| async move {
            let total = node.call(kind(n), name, Say::Get).await;
            assert_eq!(total, Ok(*kept), "{name} is not exact, asked from {}", node.id());
        });
        join_all(asked).await;
        let registered = node.registered().await;
        assert_eq!(registered.len(), NAMES);
        for found in registered {
            let number = found.name.strip_prefix("worker-").expect("there are no others");
            assert_eq!(found.metadata, BTreeMap::from([("value".to_owned(), number.to_owned())]), "{}", found.name);
        }
        eventually("the group", || async { (node.group("odd").await.len() == NAMES / 2).then_some(()) }).await;
    }
    // Each node says the same, and so there is one worker of each name.
    let first = cluster.nodes().next().expect("one lives").registered().await;
    for node in cluster.nodes() {
        eventually("one view", || async { (node.registered().await == first).then_some(()) }).await;
    }
    assert_eq!(cluster.overlaps(), "", "a name ran twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_cluster_comes_back_in_any_order_with_every_name_once() {
    comes_back_in_any_order(Cluster::new(program!())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_cluster_on_redb_comes_back_as_well() {
    let cluster = comes_back_in_any_order(Cluster::new(program!()).with_store("redb")).await;
    assert!(cluster.store("a").join("sworm.redb").exists());
}

async fn comes_back_in_any_order(cluster: Cluster) -> Cluster {
    let mut cluster = cluster.patient().started(&["a", "b", "c"]).await;
    let expected = filled(&cluster).await;
    for order in [["c", "a", "b"], ["b", "c", "a"]] {
        cluster.kill_all().await;
        cluster.add_all(&order).await;
        is_back(&cluster, &expected).await;
    }
    cluster
}

/// Starts these one after the other, with pauses: how they find each other and what they wait for is different each time.
async fn add_staggered(cluster: &mut Cluster, ids: &[&str], rng: &mut fastrand::Rng) {
    for (n, id) in ids.iter().enumerate() {
        if n > 0 {
            // Part of what is tried out, and no condition.
            tokio::time::sleep(Duration::from_millis(rng.u64(0..3_000))).await;
        }
        let spec = cluster.spec(id);
        cluster.launch(spec).await.unwrap_or_else(|failure| panic!("{id} does not start: {failure}"));
    }
    cluster.all_see_all().await;
}

/// What a node has of the others' names need not be on its disk at once: it is when something of its own is.
async fn all_have_it_on_their_disks(cluster: &Cluster) {
    for node in cluster.nodes() {
        eventually("the group", || async { (node.group("odd").await.len() == NAMES / 2).then_some(()) }).await;
    }
    for node in cluster.nodes() {
        let name = format!("last-{}", node.id());
        node.register_on(Kind::Counter, &name, 0, node.id()).await.expect("free");
        node.unregister(&name).await.expect("it runs");
    }
    for node in cluster.nodes() {
        eventually("no more", || async { (node.registered().await.len() == NAMES).then_some(()) }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "the seed tells in which order they came back")]
async fn a_killed_cluster_comes_back_one_by_one_with_one_late_and_then_with_one_never() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut cluster = Cluster::start(program!(), &["a", "b", "c"]).await;
    let expected = filled(&cluster).await;
    for late_comes in [true, false] {
        all_have_it_on_their_disks(&cluster).await;
        let mut order = ["a", "b", "c"];
        rng.shuffle(&mut order);
        let (late, others) = order.split_last().expect("there are three");
        println!("{others:?}, and {late} {}", if late_comes { "late" } else { "never" });
        cluster.kill_all().await;
        add_staggered(&mut cluster, others, &mut rng).await;
        // A checkpoint is on two disks, and one of them is back.
        is_back(&cluster, &expected).await;
        if late_comes {
            cluster.add(late).await;
            cluster.all_see_all().await;
            is_back(&cluster, &expected).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_the_end_of_the_process_right_after_the_reply() {
    survives_the_end(Cluster::new(program!())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_redb_it_survives_as_well() {
    let cluster = survives_the_end(Cluster::new(program!()).with_store("redb")).await;
    assert!(cluster.store("a").join("sworm.redb").exists());
}

async fn survives_the_end(cluster: Cluster) -> Cluster {
    let mut cluster = cluster.started(&["a"]).await;
    let kind = Kind::Held;
    for round in 1..=6 {
        let name = format!("name-{round}");
        let (value, on, within_ms, metadata) = (round, None, None, BTreeMap::new());
        let register = TypedCommand::Register { kind, name: name.clone(), value, on, within_ms, metadata };
        let registered: Result<Pid, Failure> = cluster["a"].last(register).await;
        registered.expect("free");
        cluster.bury("a");
        let a = cluster.add("a").await;
        assert_eq!(a.call(kind, &name, Say::Get).await, Ok(round), "the registration was lost");
        // Not the first checkpoint: with that one more than the state has to become durable.
        assert_eq!(a.call(kind, &name, Say::AddDurable(10)).await, Ok(round + 10));

        let say = Say::AddDurable(100);
        let call = TypedCommand::Call { kind, name: name.clone(), say, within_ms: None };
        assert_eq!(a.last(call).await, Ok(round + 110));
        cluster.bury("a");
        let a = cluster.add("a").await;
        assert_eq!(a.call(kind, &name, Say::Get).await, Ok(round + 110), "the checkpoint was lost");
    }
    assert_eq!(cluster["a"].registered().await.len(), 6);
    assert_eq!(cluster.overlaps(), "", "a name ran twice");
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_was_left_node_by_node_comes_back_with_the_state_of_the_last_handoff() {
    let mut cluster = Cluster::new(program!()).patient().started(&["a", "b", "c"]).await;
    let mut expected = filled(&cluster).await;
    for (_, kept) in &mut expected {
        *kept += 10_000; // nothing is lost by leaving
    }
    for id in ["b", "a", "c"] {
        cluster.leave(id).await;
    }
    // The ones that left first have old states; they wait for the others for a while.
    cluster.add_all(&["b", "c", "a"]).await;
    is_back(&cluster, &expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_unregistered_does_not_come_back_even_if_only_one_node_does() {
    for back in ["a", "b"] {
        let mut cluster = Cluster::start(program!(), &["a", "b"]).await;
        let a = cluster["a"].clone();
        for (n, name) in ["gone-1", "gone-2", "stays-1", "stays-2"].into_iter().enumerate() {
            a.register_on(Kind::Counter, name, 1, ["a", "b"][n % 2]).await.expect("free");
            a.call(Kind::Counter, name, Say::AddDurable(1)).await.expect("it runs");
        }
        for name in ["gone-1", "gone-2"] {
            a.unregister(name).await.expect("it runs");
        }
        cluster.kill_all().await;
        let alone = cluster.add(back).await;
        // What comes back at all is back by then: all four are alike but for their end.
        for name in ["stays-1", "stays-2"] {
            assert_eq!(alone.call(Kind::Counter, name, Say::Get).await, Ok(2));
        }
        let names: Vec<String> = alone.registered().await.into_iter().map(|found| found.name).collect();
        assert_eq!(names, ["stays-1", "stays-2"], "on {back}");
        alone.register(Kind::Counter, "gone-1", 7).await.expect("it is free");
        assert_eq!(alone.call(Kind::Counter, "gone-1", Say::Get).await, Ok(7), "the old state must not come back");
        cluster.add(if back == "a" { "b" } else { "a" }).await;
        cluster.all_see_all().await;
        for node in cluster.nodes() {
            let names = || async {
                let names: Vec<String> = node.registered().await.into_iter().map(|found| found.name).collect();
                (names == ["gone-1", "stays-1", "stays-2"]).then_some(())
            };
            eventually("the same on both", names).await;
            assert_eq!(node.call(Kind::Counter, "gone-1", Say::Get).await, Ok(7));
        }
    }
}
