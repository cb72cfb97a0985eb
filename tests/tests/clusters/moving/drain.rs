//! A node that is emptied.

use futures_util::future::join_all;
use sworm_tests::protocol::{Kind, Say};
use sworm_tests::{Cluster, eventually, program};

use super::register;

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_has_given_all_away_and_its_death_takes_nothing_along() {
    const IDS: [&str; 3] = ["a", "b", "c"];
    let mut cluster = Cluster::start(program!(), &IDS).await;
    let kind = |n: usize| if n.is_multiple_of(2) { Kind::Held } else { Kind::Counter };
    let workers: Vec<_> = (0..90).map(|n| (kind(n), format!("worker-{n}"))).collect();
    register(&cluster, &workers, 0, &IDS).await;
    let (a, b) = (cluster["a"].clone(), cluster["b"].clone());
    a.attach("task").await.expect("free");
    let totals: Vec<i64> = (1..=90).collect();
    let filled = workers.iter().zip(&totals).map(|((kind, name), total)| {
        let b = &b;
        // In memory only.
        async move { assert_eq!(b.call(*kind, name, Say::Add(*total)).await, Ok(*total)) }
    });
    join_all(filled).await;
    eventually("the task being known", || async { b.find("task").await }).await;

    let planned = b.plan_drain("a").await;
    let drained = a.drain().await.expect("in time");
    assert_eq!((drained.moved, drained.stays.keys().map(String::as_str).collect::<Vec<_>>()), (30, vec!["task"]));
    assert!(drained.stays["task"].contains("stays where it is"), "{drained:?}");
    assert_eq!(planned.len(), 31);
    for planned in planned {
        let host = a.find(&planned.name).await.expect("it is registered").pid.node.to_string();
        assert_eq!(host, planned.to.unwrap_or_else(|_| "a".into()), "{}, as it was planned", planned.name);
    }
    assert!(a.living().await.is_empty(), "nothing lives there");
    let refused = b.register_on(Kind::Counter, "more", 0, "a").await;
    assert_eq!(refused.map_err(|failure| failure.kind), Err("NoCandidate".into()));
    let before = eventually("all running elsewhere, and one view", || async {
        let seen = b.registered().await;
        let settled = seen.iter().all(|found| found.state == "Running") && seen == cluster["c"].registered().await;
        settled.then_some(seen)
    })
    .await;

    cluster.kill("a").await;
    let c = &cluster["c"];
    for node in [&b, c] {
        let asked = workers.iter().zip(&totals).map(|((kind, name), total)| async move {
            assert_eq!(
                node.call(*kind, name, Say::Get).await,
                Ok(*total),
                "{name} is not exact, asked from {}",
                node.id()
            );
        });
        join_all(asked).await;
        let stayed: Vec<_> = before.iter().filter(|found| found.name != "task").cloned().collect();
        eventually("the same workers as before", || async {
            let mut now = node.registered().await;
            now.retain(|found| found.name != "task");
            (now == stayed).then_some(())
        })
        .await;
    }
    assert_eq!(cluster.overlaps(), "", "a name ran twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_undrained_takes_workers_again() {
    let cluster = Cluster::start(program!(), &["a", "b"]).await;
    let (a, b) = (&cluster["a"], &cluster["b"]);
    b.register_on(Kind::Held, "one", 5, "a").await.expect("free");
    assert_eq!(b.call(Kind::Held, "one", Say::Add(1)).await, Ok(6));
    assert_eq!(a.drain().await.expect("in time").moved, 1);
    assert_eq!(a.drain().await.expect("again").moved, 0);
    a.undrain().await;
    eventually("it taking part again", || async { b.move_name("one", "a").await.ok() }).await;
    assert_eq!(b.whereabouts(Kind::Held, "one").await, Ok("a".into()));
    assert_eq!(b.call(Kind::Held, "one", Say::Get).await, Ok(6));
    assert_eq!(cluster.overlaps(), "", "a name ran twice");
}
