//! `kill -9` of one of several nodes: its workers go on elsewhere from their last checkpoint, the others go on as they
//! were.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sworm_tests::protocol::{Kind, Say};
use sworm_tests::{Cluster, eventually, program};

/// How long a node is waited for whose links are lost.
const GRACE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_nodes_workers_start_elsewhere_and_no_other_worker_is_disturbed() {
    let mut cluster = Cluster::start(program!(), &["a", "b", "c"]).await;
    let a = cluster["a"].clone();
    let names: Vec<String> = (0..60).map(|n| format!("worker-{n}")).collect();
    let registered = names.iter().enumerate().map(|(n, name)| {
        let a = &a;
        async move {
            let kind = if n % 2 == 0 { Kind::Held } else { Kind::Counter };
            let pid = a.register_on(kind, name, 0, ["a", "b", "c"][n % 3]).await.expect("free");
            let n = i64::try_from(n).expect("small");
            assert_eq!(a.call(kind, name, Say::AddDurable(n)).await, Ok(n));
            // On top of the checkpoint, in memory only.
            assert_eq!(a.call(kind, name, Say::Add(1000)).await, Ok(n + 1000));
            (kind, pid, n)
        }
    });
    let before = join_all(registered).await;
    cluster.kill("b").await;
    for ((kind, pid, n), name) in before.iter().zip(&names) {
        let total = a.total(*kind, name).await.unwrap_or_else(|failure| panic!("{name}: {failure}"));
        let found = a.find(name).await.expect("it runs");
        if pid.node.as_str() == "b" {
            assert_eq!(total, *n, "{name} is not exact: it goes on from its checkpoint");
            assert!(found.pid.epoch > pid.epoch && found.pid.node.as_str() != "b", "{name}: {pid} to {}", found.pid);
        } else {
            assert_eq!((total, &found.pid), (n + 1000, pid), "{name} was disturbed");
        }
    }
    assert_eq!(a.registered().await.len(), 60);
    assert_eq!(cluster.overlaps(), "", "a name ran twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_survives_the_death_of_its_node_right_after_the_reply_again_and_again() {
    let mut cluster = Cluster::start(program!(), &["a", "b", "c"]).await;
    let c = cluster["c"].clone();
    let names: Vec<String> = (0..8).map(|n| format!("held-{n}")).collect();
    for name in &names {
        c.register_on(Kind::Held, name, 0, "a").await.expect("free");
    }
    for round in 1..=6 {
        // The node that runs most of them, but never the caller's.
        let mut hosts = Vec::new();
        for name in &names {
            hosts.push(c.whereabouts(Kind::Held, name).await.expect("it runs"));
        }
        let on = |node: &str| hosts.iter().filter(|host| *host == node).count();
        let victim = if on("a") >= on("b") { "a" } else { "b" };
        let replies = join_all(names.iter().map(|name| c.call(Kind::Held, name, Say::AddDurable(1)))).await;
        cluster.kill(victim).await;
        for (name, reply) in names.iter().zip(replies) {
            assert_eq!(reply, Ok(round), "{name}");
            assert_eq!(c.total(Kind::Held, name).await, Ok(round), "{name} in round {round}");
        }
        cluster.add(victim).await;
        cluster.all_see_all().await;
        // To have something to kill in the next round.
        let fresh = format!("fresh-{round}");
        c.register_on(Kind::Held, &fresh, 0, victim).await.expect("free");
    }
    assert_eq!(cluster.overlaps(), "", "a name ran twice");
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "the typical time is worth knowing, and is no condition")]
async fn a_killed_process_is_noticed_at_once() {
    let mut cluster = Cluster::start(program!(), &["a", "b", "c"]).await;
    let mut took = Vec::new();
    for _ in 0..3 {
        let started = Instant::now();
        cluster.kill("b").await;
        for survivor in ["a", "c"] {
            let survivor = &cluster[survivor];
            eventually("the death being noticed", || async { (survivor.members().await["b"] == "Down").then_some(()) })
                .await;
        }
        took.push(started.elapsed());
        cluster.add("b").await;
        cluster.all_see_all().await;
    }
    println!("noticed on both survivors after {took:?}");
    // Where its links were lost and nothing else told of its end, it would be waited for as long as that.
    let best = took.iter().min().expect("three rounds");
    assert!(*best < GRACE, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_there_again_after_a_failover() {
    let mut cluster = Cluster::start(program!(), &["a", "b"]).await;
    let a = cluster["a"].clone();
    for (name, on) in [("one", "a"), ("two", "b"), ("three", "b")] {
        a.register_on(Kind::Counter, name, 0, on).await.expect("free");
        eventually("the join", || async { a.join("numbers", name).await.ok() }).await;
    }
    cluster.kill("b").await;
    for name in ["two", "three"] {
        a.total(Kind::Counter, name).await.expect("it runs again");
    }
    eventually("the group", || async { (a.group("numbers").await == ["one", "three", "two"]).then_some(()) }).await;
    assert!(
        a.find("two").await.is_some_and(|found| found.groups.contains("numbers") && found.pid.node.as_str() == "a")
    );
}
