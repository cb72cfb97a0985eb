//! Balance where nodes come and go: no storm, and nothing before what is lost runs again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sworm::Pid;
use sworm_tests::protocol::{Balance, Happened, Kind, NodeSpec, Say};
use sworm_tests::{Cluster, Process, eventually, holds_for, program};

async fn pids(through: &Process) -> BTreeMap<String, Pid> {
    through.registered().await.into_iter().map(|found| (found.name, found.pid)).collect()
}

fn is_for_balance(event: &Happened) -> bool {
    event.kind == "Moved" && event.text.contains("cause: Handoff")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_and_comes_back_again_and_again_causes_no_storm() {
    const NAMES: usize = 60;
    /// A tenth above the share of one of three.
    const MOST: usize = NAMES / 3 * 11 / 10;
    /// Shorter than names wait for a node that has come a second time.
    const SOON: Duration = Duration::from_secs(9);
    let mut cluster = Cluster::new(program!()).balanced(Balance::On).started(&["a", "b", "c"]).await;
    let a = cluster["a"].clone();
    let names: Vec<String> = (0..NAMES).map(|n| format!("name-{n}")).collect();
    assert_eq!(a.register_all(Kind::Counter, names).await, Ok(Vec::new()));
    cluster.all_run(NAMES).await;
    let before = pids(&a).await;
    a.watch().await;
    let (mut lost, mut comings, mut soon) = (0, 0, true);
    let mut up = Instant::now();
    for _ in 0..2 {
        lost += pids(&a).await.values().filter(|pid| *pid.node == *"c").count();
        cluster.kill("c").await;
        soon &= comings == 0 || up.elapsed() < SOON;
        cluster.all_run(NAMES).await;
        up = Instant::now();
        cluster.add("c").await;
        comings += 1;
        cluster.all_see_all().await;
        let waits = || async { up.elapsed() >= SOON || !a.events().await.iter().any(is_for_balance) };
        holds_for(Duration::from_secs(2), "nothing moves to one that has only just come", waits).await;
    }
    soon &= up.elapsed() < SOON;
    let (after, events) = (pids(&a).await, a.events().await);
    soon &= up.elapsed() < SOON;
    let moved = events.iter().filter(|event| event.kind == "Moved").count();
    let for_balance = events.iter().filter(|event| is_for_balance(event)).count();
    assert!(lost > 0 && moved <= lost + comings * MOST, "{moved} have moved of {lost} that were lost");
    assert!(!soon || for_balance == 0, "{for_balance} moved to a node that had only just come");
    for (name, pid) in before.iter().filter(|(_, pid)| *pid.node != *"c") {
        let now = &after[name];
        assert!(now == pid || for_balance > 0, "{name} was {pid} and is {now}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ran_on_dead_nodes_starts_before_anything_moves_to_one_that_joins() {
    let mut cluster = Cluster::new(program!()).balanced(Balance::On);
    let fast = BTreeMap::from([("disk".to_owned(), "fast".to_owned())]);
    let spec = NodeSpec { labels: fast.clone(), ..cluster.spec("a") };
    let a = cluster.launch(spec).await.expect("it starts");
    cluster.add_all(&["b", "c"]).await;
    // For these there is no other node yet.
    let names: Vec<String> = (0..40).map(|n| format!("fast-{n}")).collect();
    assert_eq!(a.register_all(Kind::Fast, names).await, Ok(Vec::new()));
    // The states of these are on b and c only: it is waited for those, for longer than balance waits for a node that has come.
    let mut lost = Vec::new();
    for n in 0..100 {
        let name = format!("lost-{n}-");
        if *a.register(Kind::Counter, &name, 5).await.expect("free").node != *"b" {
            continue;
        }
        assert_eq!(a.call(Kind::Counter, &name, Say::AddDurable(1)).await, Ok(6));
        let holders = || async { Some(a.holders(&name).await).filter(|holders| holders.len() == 2) };
        if eventually("its holders", holders).await.iter().all(|holder| holder != "a") {
            lost.push(name);
        }
        if lost.len() == 3 {
            break;
        }
    }
    assert!(!lost.is_empty(), "of so many some have their copy on c");
    a.watch().await;
    cluster.kill_these(&["b", "c"]).await;
    let spec = NodeSpec { labels: fast, ..cluster.spec("d") };
    cluster.launch(spec).await.expect("it starts");
    let first = eventually("balance", || async { a.events().await.iter().position(is_for_balance) }).await;
    let events = a.events().await;
    for name in &lost {
        let started = events.iter().position(|event| event.kind == "Started" && event.text.contains(name.as_str()));
        assert!(started.is_some_and(|at| at < first), "{name} ran after {first} at {started:?}: {events:#?}");
    }
    let given = || async { pids(&a).await.values().any(|pid| *pid.node == *"d").then_some(()) };
    eventually("names on d", given).await;
}
