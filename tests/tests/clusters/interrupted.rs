//! Nodes that are killed at a bad time: in the middle of a leave, or together with all who have a state.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sworm_tests::protocol::{Command, Failure, Kind, Say};
use sworm_tests::{Cluster, Process, eventually, program};

const NAMES: usize = 200;
/// How many must have moved when the kill comes, and how many are busy, so that they have not.
const SOME: usize = 10;
/// For how long they are: the leave waits for them if the kill does not end it.
const BUSY_MS: u64 = 18_000;

fn name(n: usize) -> String {
    format!("worker-{n}")
}

/// The total that each has in its last checkpoint.
fn kept(n: usize) -> i64 {
    1_000 + i64::try_from(n).expect("small")
}

/// Workers on "a" with two checkpoints each.
async fn filled(node: &Process) {
    let filled = (0..NAMES).map(|n| async move {
        node.register_on(Kind::Held, &name(n), 0, "a").await.expect("free");
        assert_eq!(node.call(Kind::Held, &name(n), Say::AddDurable(1_000)).await, Ok(1_000));
        assert_eq!(node.call(Kind::Held, &name(n), Say::AddDurable(kept(n) - 1_000)).await, Ok(kept(n)));
    });
    join_all(filled).await;
}

/// "a" leaves with all its workers, and `victim` is killed when a part of them has moved; what the leave came to.
async fn killed_during_the_leave(cluster: &mut Cluster, victim: &str) -> Result<(), Failure> {
    let (a, c) = (cluster["a"].clone(), cluster["c"].clone());
    filled(&c).await;
    let busy = (NAMES - SOME..NAMES).map(|n| {
        let a = &a;
        async move {
            let name = name(n);
            a.cast(Kind::Held, &name, Say::Sleep(BUSY_MS)).await.expect("it runs");
            // It is in its handler when it answers nothing else.
            let probe = || async { a.call_within(Kind::Held, &name, Say::Get, Some(500)).await.err() };
            eventually("it being busy", probe).await;
        }
    });
    join_all(busy).await;
    let leave = tokio::spawn(async move { a.get(Command::Leave).await });
    let on_a = eventually("a part having moved", || async {
        let on_a = c.registered().await.iter().filter(|found| found.pid.node.as_str() == "a").count();
        (on_a <= NAMES - SOME).then_some(on_a)
    })
    .await;
    cluster.kill(victim).await;
    assert!(on_a >= SOME, "the busy ones went before the kill: {on_a}");
    leave.await.expect("it does not panic")
}

/// Every name is there, once, with the state of its last checkpoint, and on "b" or "c".
async fn nothing_is_lost(cluster: &Cluster) {
    let c = &cluster["c"];
    let asked = (0..NAMES).map(|n| async move { c.total(Kind::Held, &name(n)).await });
    assert_eq!(join_all(asked).await, (0..NAMES).map(|n| Ok(kept(n))).collect::<Vec<_>>(), "a state was lost");
    let registered = c.registered().await;
    assert_eq!(registered.len(), NAMES, "a name was lost");
    assert!(registered.iter().all(|found| found.pid.node.as_str() != "a"), "{registered:?}");
    for node in cluster.nodes() {
        eventually("one view", || async { (node.registered().await == registered).then_some(()) }).await;
    }
    assert_eq!(cluster.overlaps(), "", "a name ran twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_leaving_node_is_killed_half_way_every_worker_goes_on_once_from_its_checkpoint() {
    let mut cluster = Cluster::start(program!(), &["a", "b", "c"]).await;
    let left = killed_during_the_leave(&mut cluster, "a").await;
    assert_eq!(left.expect_err("it was killed").kind, "ProcessGone");
    nothing_is_lost(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_node_that_takes_workers_over_is_killed_half_way_the_leave_goes_on_and_nothing_is_lost() {
    let mut cluster = Cluster::start(program!(), &["a", "b", "c"]).await;
    killed_during_the_leave(&mut cluster, "b").await.expect("it leaves all the same");
    cluster.kill("a").await; // it has left; the process is still there
    nothing_is_lost(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_who_have_a_state_are_killed_the_name_waits_and_then_starts_from_the_best_there_is() {
    let mut cluster = Cluster::start(program!(), &["a", "b", "c"]).await;
    let a = cluster["a"].clone();
    let names: Vec<String> = (0..12).map(name).collect();
    let mut on_c = Vec::new();
    for name in &names {
        a.register_on(Kind::Counter, name, 1, "a").await.expect("free");
        assert_eq!(a.call(Kind::Counter, name, Say::AddDurable(10)).await, Ok(11));
        on_c.push(a.holders(name).await == ["a", "c"]);
    }
    assert!(on_c.contains(&true) && on_c.contains(&false), "both shall be there: {on_c:?}");
    // While "c" is away all of them get another checkpoint; its own copies are older ones from then on.
    cluster.kill("c").await;
    for name in &names {
        eventually("a copy on b", || async { (a.holders(name).await == ["a", "b"]).then_some(()) }).await;
        assert_eq!(a.call(Kind::Counter, name, Say::AddDurable(100)).await, Ok(111));
    }
    let c = cluster.add("c").await;
    cluster.all_see_all().await;
    for name in &names {
        eventually("the news on c", || async { (c.holders(name).await == ["a", "b"]).then_some(()) }).await;
    }
    let started = Instant::now();
    cluster.kill_these(&["a", "b"]).await;
    let totals = join_all(names.iter().map(|name| c.total(Kind::Counter, name))).await;
    let waited = started.elapsed();
    let expected: Vec<Result<i64, Failure>> = on_c.iter().map(|on_c| Ok(if *on_c { 11 } else { 1 })).collect();
    assert_eq!(totals, expected, "its older copies, else the registered value");
    assert!(waited >= Duration::from_secs(10), "only {waited:?}");
    let log = c.log();
    for name in &names {
        let quoted = format!("{name:?}");
        let said = |line: &str| line.contains("nobody who has it is there") && line.contains(&quoted);
        assert!(log.lines().any(said), "{name}: {log}");
    }
}
