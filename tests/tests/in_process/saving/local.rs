//! `durable = "local"`: a checkpoint waits for the worker's own disk, and for no other.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm_tests::{eventually, holds_for};

use super::{Add, LONG, Life, sum};
use crate::running;

/// How long a replica that does not answer is waited for, and a little less.
const LEFT_OUT: Duration = Duration::from_millis(1_900);

macro_rules! worker {
    ($name:literal, $worker:ident, $($option:tt)*) => {
        #[derive(Worker, Serialize, Deserialize, Default)]
        #[worker(name = $name, handles(Add), $($option)*)]
        struct $worker {
            total: i64,
        }

        impl Handler<Add> for $worker {
            async fn handle(&mut self, Add(n): Add, ctx: &mut Context<Self>) -> i64 {
                self.total += n;
                ctx.checkpoint().await.expect("it saves its state");
                self.total
            }
        }
    };
}

worker!("saving.local", Local, handoff, durable = "local");
worker!("saving.local.each", LocalEach, snapshot = "each", durable = "local");
worker!("saving.replicated", Replicated, handoff);
worker!("saving.replicated.each", ReplicatedEach, snapshot = "each", durable = "replicas");

async fn took<W: Handler<Add>>(worker: &Ref<W>) -> Duration
where
    Add: Request<W>,
{
    let asked = Instant::now();
    worker.call(Add(1)).timeout(LONG).await.expect("it is durable here");
    asked.elapsed()
}

async fn held_by_both(life: &Life, name: &str) {
    eventually("both hold it", || async { (running(&life.sworm, name).await.holders.len() == 2).then_some(()) }).await;
}

/// Some calls, of which one at least does not happen to be slow.
async fn waits_for_no_replica<W: Handler<Add>>(worker: &Ref<W>)
where
    Add: Request<W>,
{
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        fastest = fastest.min(took(worker).await);
    }
    assert!(fastest < LEFT_OUT, "each waited for the replica, at least {fastest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_checkpoint_does_not_wait_for_a_replica_which_gets_it_all_the_same() {
    let [a, b] = Life::pair().await;
    let worker = a.register("x", Local::default()).await;
    let each = a.register("y", LocalEach::default()).await;
    b.store.hold(true);
    waits_for_no_replica(&worker).await;
    waits_for_no_replica(&each).await;
    // But for its own disk it does.
    a.store.hold(true);
    let before = a.writes();
    let call = tokio::spawn({
        let worker = worker.clone();
        async move { worker.call(Add(1)).timeout(LONG).await }
    });
    a.writes_more_than(before).await;
    holds_for(Duration::from_millis(300), "it is not durable here", || async { !call.is_finished() }).await;
    a.store.hold(false);
    assert_eq!(call.await.expect("it does not panic"), Ok(6));
    b.store.hold(false);
    // A copy that was left out meanwhile is made up for with the next one.
    assert_eq!((sum(&worker).await, sum(&each).await), (6, 5));
    worker.call(Add(1)).await.expect("it runs");
    each.call(Add(1)).await.expect("it runs");
    held_by_both(&a, "x").await;
    held_by_both(&a, "y").await;
    drop((worker, each, a));
    eventually("both on the other node", || async {
        let (x, y) = (running(&b.sworm, "x").await.pid, running(&b.sworm, "y").await.pid);
        (x.node == *"b" && y.node == *"b").then_some(())
    })
    .await;
    assert_eq!(sum(&b.sworm.whereis_name::<Local>("x").expect("it runs")).await, 7);
    assert_eq!(sum(&b.sworm.whereis_name::<LocalEach>("y").expect("it runs")).await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_checkpoint_waits_until_the_replica_has_it_or_is_left_out() {
    let [a, b] = Life::pair().await;
    let worker = a.register("x", Replicated::default()).await;
    let each = a.register("y", ReplicatedEach::default()).await;
    b.store.hold(true);
    let (worker_took, each_took) = tokio::join!(took(&worker), took(&each));
    assert!(worker_took >= LEFT_OUT && each_took >= LEFT_OUT, "{worker_took:?}, {each_took:?}");
    assert_eq!(running(&a.sworm, "x").await.holders.len(), 1, "it is known that only one has it");
    b.store.hold(false);
    worker.call(Add(1)).await.expect("it runs");
    held_by_both(&a, "x").await;
}
