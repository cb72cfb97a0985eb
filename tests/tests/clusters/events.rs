//! What nodes tell of each other's workers, and of each other, as it happens.

use std::time::Duration;

use sworm_tests::protocol::{Happened, Kind, Say};
use sworm_tests::relay::{Network, Way};
use sworm_tests::{Cluster, Process, eventually, holds_for, program};

/// How long it is looked that something is not told again.
const ONCE: Duration = Duration::from_millis(300);

async fn has_seen(node: &Process, kind: &str, says: &str) -> usize {
    let is_it = |event: &&Happened| event.kind == kind && event.text.contains(says);
    node.events().await.iter().filter(is_it).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_node_sees_a_worker_being_handed_over_and_going_on_when_that_does_not_come_about() {
    let mut cluster = Cluster::start(program!(), &["a", "b", "c"]).await;
    let [a, b, c] = ["a", "b", "c"].map(|id| cluster[id].clone());
    c.watch().await;
    let (kind, name, mut seen) = (Kind::Counter, "handed", 0);
    a.register_on(kind, name, 3, "b").await.expect("free");
    c.sees(&mut seen, "Started", &[name, "node: b,"]).await;
    // It is busy until all have heard that it is to go.
    b.cast(kind, name, Say::Wait).await.expect("it runs");
    let moving = tokio::spawn(async move { a.move_name(name, "a").await });
    c.sees(&mut seen, "Handoff", &[name, "to: a"]).await;
    cluster.open_gate();
    c.sees(&mut seen, "Moved", &[name, "node: a,", "cause: Handoff"]).await;
    c.sees(&mut seen, "Started", &[name, "node: a,"]).await;
    let moved = moving.await.expect("it does not panic");
    assert!(moved.as_ref().map_or_else(|failure| failure.kind == "Timeout", |pid| *pid.node == *"a"), "{moved:?}");

    cluster.close_gate();
    let a = cluster["a"].clone();
    a.cast(kind, name, Say::Wait).await.expect("it runs");
    let stays = a.find(name).await.expect("it is registered").pid;
    let moving = tokio::spawn(async move { a.move_name(name, "b").await });
    c.sees(&mut seen, "Handoff", &[name, "to: b"]).await;
    // a may know of its death before c does.
    let mut of_name = seen;
    cluster.kill("b").await;
    c.sees(&mut seen, "NodeDown", &["node: b,"]).await;
    cluster.open_gate();
    c.sees(&mut of_name, "Resumed", &[name]).await;
    assert!(moving.await.expect("it does not panic").is_err(), "b is dead");
    assert_eq!(c.total(kind, name).await, Ok(3));
    assert_eq!(c.find(name).await.map(|found| found.pid), Some(stays), "it is the same worker");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_cut_off_tell_of_doubt_and_absence_and_of_two_workers_the_loser_is_told_of_once() {
    let mut cluster = Cluster::new(program!()).as_strangers();
    let mut network = Network::new(cluster.host(), &["a", "b"]).await;
    for id in ["a", "b"] {
        let spec = network.connect(cluster.spec(id)).await;
        cluster.launch(spec).await.expect("it starts");
    }
    cluster.all_see_all().await;
    let [a, b] = ["a", "b"].map(|id| cluster[id].clone());
    a.watch().await;
    b.watch().await;
    network.set("a", "b", Way::Silent);
    network.set("b", "a", Way::Silent);
    for (node, other) in [(&a, "node: b,"), (&b, "node: a,")] {
        let mut seen = 0;
        node.sees(&mut seen, "NodeSuspect", &[other]).await;
        node.sees(&mut seen, "NodeDown", &[other]).await;
        let alone = || async { (node.sworm_nodes().await == [node.id()]).then_some(()) };
        eventually("each alone in the sworm", alone).await;
    }
    a.register(Kind::Counter, "twice", 1).await.expect("free there");
    b.register(Kind::Counter, "twice", 2).await.expect("free there");
    network.heal();
    cluster.all_see_all().await;
    cluster.all_run(1).await;
    let told = || async { has_seen(&a, "Conflict", "twice").await + has_seen(&b, "Conflict", "twice").await };
    eventually("the conflict", || async { (told().await > 0).then_some(()) }).await;
    holds_for(ONCE, "it is told of once", || async { told().await == 1 }).await;
    let winner = a.find("twice").await.expect("one has won").pid;
    let loser = if *winner.node == *"a" { &b } else { &a };
    assert_eq!(has_seen(loser, "Conflict", &format!("winner: {winner:?}")).await, 1, "{winner:?}");
    let both_are_up =
        || async { has_seen(&a, "NodeUp", "node: b,").await > 0 && has_seen(&b, "NodeUp", "node: a,").await > 0 };
    eventually("both told of the other", || async { both_are_up().await.then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_slow_is_told_how_much_it_has_missed_of_what_happened_on_another_node() {
    const NAMES: usize = 2_500;
    let cluster = Cluster::start(program!(), &["a", "b"]).await;
    let (a, b) = (cluster["a"].clone(), cluster["b"].clone());
    b.watch_slowly().await;
    let names: Vec<String> = (0..NAMES).map(|n| format!("name-{n}")).collect();
    for part in names.chunks(500) {
        assert_eq!(a.register_all(Kind::NoHandoff, part.to_vec()).await, Ok(Vec::new()));
    }
    cluster.all_run(NAMES).await;
    let mut seen = 0;
    b.sees(&mut seen, "Missed", &[]).await;
    // What it is told after that it has not missed.
    a.register(Kind::NoHandoff, "the last", 0).await.expect("free");
    b.sees(&mut seen, "Started", &["the last"]).await;
    let events = b.events().await;
    let missed = events.iter().filter_map(|event| event.text.strip_prefix("Missed { events: ")?.split(' ').next());
    let missed: usize = missed.map(|count| count.parse::<usize>().expect("a number")).sum();
    let told = events.iter().filter(|event| event.text.contains("name-")).count();
    // Each was registered and started.
    assert!(missed + told >= 2 * NAMES && missed > 0, "{missed} missed, {told} told");
}
