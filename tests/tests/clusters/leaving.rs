//! A node that leaves in good order hands its workers over: state, names and calls go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::join_all;
use sworm_tests::protocol::{Kind, Say};
use sworm_tests::{Cluster, Process, eventually, program};

/// How long a call may take that is answered: a busy machine must not be what leaves its outcome open.
const LONG_MS: Option<u64> = Some(55_000);

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_workers_move_with_their_state_when_their_nodes_leave_one_after_the_other() {
    let mut cluster = Cluster::start(program!(), &["a", "b", "c"]).await;
    let nodes: Vec<_> = cluster.nodes().cloned().collect();
    let names: Vec<String> = (0..300).map(|n| format!("worker-{n}")).collect();
    let filled = names.iter().enumerate().map(|(n, name)| {
        let node = &nodes[n % 3];
        async move {
            node.register(Kind::Counter, name, 0).await.expect("free");
            let n = i64::try_from(n).expect("small");
            // In memory only: what an orderly leave must not lose.
            assert_eq!(node.call(Kind::Counter, name, Say::Add(n)).await, Ok(n));
        }
    });
    join_all(filled).await;
    for leaver in ["a", "b"] {
        cluster.leave(leaver).await;
        for node in cluster.nodes() {
            // Each call adds 1 and takes it back, so that it can be seen to have been handled once.
            let asked = names.iter().enumerate().map(|(n, name)| async move {
                let n = i64::try_from(n).expect("small");
                let call = async |n| node.call_within(Kind::Counter, name, Say::Add(n), LONG_MS).await;
                assert_eq!(call(1).await, Ok(n + 1), "{name} on {}", node.id());
                assert_eq!(call(-1).await, Ok(n), "{name} on {}", node.id());
            });
            join_all(asked).await;
            assert_eq!(node.registered().await.len(), 300);
        }
    }
    // The last one parks them, and they come back.
    cluster.leave("c").await;
    let c = cluster.add("c").await;
    for (n, name) in names.iter().enumerate() {
        let n = i64::try_from(n).expect("small");
        assert_eq!(c.call(Kind::Counter, name, Say::Get).await, Ok(n), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_handoff_a_moved_worker_starts_from_its_registered_value() {
    let mut cluster = Cluster::start(program!(), &["a", "b"]).await;
    let b = cluster["b"].clone();
    b.register_on(Kind::NoHandoff, "forgetful", 5, "a").await.expect("free");
    assert_eq!(b.call(Kind::NoHandoff, "forgetful", Say::Add(1)).await, Ok(6));
    cluster.leave("a").await;
    assert_eq!(b.call(Kind::NoHandoff, "forgetful", Say::Get).await, Ok(5));
    assert_eq!(b.whereabouts(Kind::NoHandoff, "forgetful").await, Ok("b".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_busy_when_its_node_leaves_is_waited_for_and_keeps_its_state() {
    let mut cluster = Cluster::start(program!(), &["a", "b"]).await;
    let b = cluster["b"].clone();
    b.register_on(Kind::Counter, "busy", 5, "a").await.expect("free");
    assert_eq!(b.call(Kind::Counter, "busy", Say::Add(1)).await, Ok(6));
    let busy = tokio::spawn({
        let b = b.clone();
        async move { b.call_within(Kind::Counter, "busy", Say::Sleep(18_000), LONG_MS).await }
    });
    // It is in its handler when it answers nothing else.
    let probe = || async { b.call_within(Kind::Counter, "busy", Say::Get, Some(200)).await.err() };
    eventually("it being busy", probe).await;
    cluster.leave("a").await;
    assert_eq!(busy.await.expect("it does not panic"), Ok(6), "its caller has the reply");
    assert_eq!(b.call(Kind::Counter, "busy", Say::Get).await, Ok(6), "its state went along");
    assert_eq!(b.whereabouts(Kind::Counter, "busy").await, Ok("b".into()));
}

/// Adds 1 until it is told to stop; how often that was `Ok`, and how often nobody knows.
async fn keep_adding(node: Arc<Process>, name: String, kind: Kind, stop: Arc<AtomicBool>) -> (i64, i64) {
    let (mut ok, mut unknown) = (0, 0);
    while !stop.load(Relaxed) {
        match node.call_within(kind, &name, Say::AddDurable(1), LONG_MS).await {
            Ok(_) => ok += 1,
            Err(failure) if failure.unknown => unknown += 1,
            // Not handled, as it says, though there was time for more than a move.
            Err(failure) => panic!("{name}: {failure}"),
        }
    }
    (ok, unknown)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_during_a_move_is_handled_once_and_no_worker_ever_runs_twice() {
    let mut cluster = Cluster::start(program!(), &["a", "b", "c"]).await;
    // It stays all the time; the others come and go.
    let c = cluster["c"].clone();
    let names: Vec<String> = (0..12).map(|n| format!("held-{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        c.register_on(Kind::Held, name, 0, ["a", "b"][n % 2]).await.expect("free");
    }
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = names
        .iter()
        .flat_map(|name| [name, name])
        .map(|name| tokio::spawn(keep_adding(c.clone(), name.clone(), Kind::Held, stop.clone())))
        .collect();
    for round in 0..3 {
        for leaver in ["a", "b"] {
            cluster.leave(leaver).await;
            tokio::time::sleep(Duration::from_millis(200)).await; // some calls in between, not a condition
            cluster.add(leaver).await;
            cluster.all_see_all().await;
            // New workers of the round go to the one that came back, so that the next leave has something to move.
            let name = format!("fresh-{round}-{leaver}");
            c.register_on(Kind::Held, &name, 0, leaver).await.expect("free");
        }
    }
    stop.store(true, Relaxed);
    let counted = join_all(callers).await;
    for (name, pair) in names.iter().zip(counted.chunks(2)) {
        let (mut ok, mut unknown) = (0, 0);
        for one in pair {
            let (o, u) = one.as_ref().expect("its calls went well");
            (ok, unknown) = (ok + o, unknown + u);
        }
        let total = c.call_within(Kind::Held, name, Say::Get, LONG_MS).await.expect("it runs");
        assert!(ok > 0 && (ok..=ok + unknown).contains(&total), "{name}: {total} of {ok} and {unknown} unknown");
        assert_eq!(unknown, 0, "{name}: an orderly move leaves no outcome open");
    }
    assert_eq!(cluster.overlaps(), "", "a name ran twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_takes_part_and_leaves_the_others_workers_where_they_are() {
    let mut cluster = Cluster::start(program!(), &["a"]).await;
    let a = cluster["a"].clone();
    for n in 0..20 {
        a.register(Kind::Held, &format!("early-{n}"), n).await.expect("free");
    }
    let before = a.registered().await;
    let b = cluster.add("b").await;
    cluster.all_see_all().await;
    eventually("the names on the joiner", || async { (b.registered().await == before).then_some(()) }).await;
    let mut hosts = Vec::new();
    for n in 0..20 {
        hosts.push(b.register(Kind::Held, &format!("late-{n}"), n).await.expect("free").node.to_string());
    }
    assert!(hosts.iter().any(|host| host == "a") && hosts.iter().any(|host| host == "b"), "{hosts:?}");
    let after: Vec<_> = a.registered().await.into_iter().filter(|found| found.name.starts_with("early")).collect();
    assert_eq!(after, before, "nobody was moved");
    assert_eq!(cluster.overlaps(), "", "a name ran twice");
}
