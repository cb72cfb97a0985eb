//! A node that leaves has as long as workers go, and says how many have not.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{Error, LeaveError};
use sworm_tests::eventually;
use tokio::sync::Semaphore;

use super::{node, opened, running};

/// Takes some time to stop.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "unhurried", handles(Hold), handoff, lifecycle)]
struct Unhurried {
    stopping_ms: u64,
}

/// Keeps its worker from stopping at all.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "leaving-hold")]
struct Hold;

static HELD: Semaphore = Semaphore::const_new(0);

impl Handler<Hold> for Unhurried {
    async fn handle(&mut self, _: Hold, _: &mut Context<Self>) {
        HELD.add_permits(1);
        std::future::pending().await
    }
}

impl Lifecycle for Unhurried {
    async fn stopping(&mut self, _: &mut Context<Self>) {
        tokio::time::sleep(Duration::from_millis(self.stopping_ms)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leave_goes_on_while_workers_go_however_long_that_is() {
    let [(a, on_a), (b, on_b)] = opened("s").await;
    // One after the other: the last goes when longer has passed than any of them may take.
    const EACH_MS: u64 = 350;
    for n in 1..=14 {
        let worker = Unhurried { stopping_ms: n * EACH_MS };
        on_a.register(format!("worker-{n}"), worker).on(a.id()).await.expect("free");
    }
    a.leave_within(Duration::from_millis(12 * EACH_MS)).await.expect("all go");
    for n in 1..=14 {
        assert_eq!(running(&on_b, &format!("worker-{n}")).await.pid.node, *b.id());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leave_may_take_for_ever() {
    let [(a, on_a), (b, on_b)] = opened("s").await;
    for n in 0..3 {
        on_a.register(format!("worker-{n}"), Unhurried { stopping_ms: 0 }).on(a.id()).await.expect("free");
    }
    a.leave_within(Duration::MAX).await.expect("all go");
    for n in 0..3 {
        assert_eq!(running(&on_b, &format!("worker-{n}")).await.pid.node, *b.id());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_handed_over_in_time_is_taken_from_where_it_is_parked() {
    let [(a, on_a), (b, on_b)] = opened("s").await;
    for name in ["goes", "stays-1", "stays-2"] {
        let worker = on_a.register(name, Unhurried { stopping_ms: 0 }).on(a.id()).await.expect("free");
        if name != "goes" {
            worker.cast(Hold).await.expect("it runs");
            HELD.acquire().await.expect("it is open").forget();
        }
    }
    // Those that are busy do not give their states.
    let left = a.leave_within(Duration::from_secs(1)).await;
    assert!(matches!(left, Err(Error::Leave(LeaveError::NotSaved { workers: 2 }))), "{left:?}");
    for name in ["goes", "stays-1", "stays-2"] {
        assert_eq!(running(&on_b, name).await.pid.node, *b.id());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leave_that_leaves_workers_behind_says_how_many() {
    let network = MemoryNetwork::new();
    let (a, b) = (node(&network, "a").await, node(&network, "b").await);
    let (on_a, on_b) = (a.sworm("s").await.expect("it opens"), b.sworm("s").await.expect("it opens"));
    eventually("the other", || async { (on_a.nodes().len() == 2 && on_b.nodes().len() == 2).then_some(()) }).await;
    for n in 0..3 {
        on_a.register(format!("worker-{n}"), Unhurried { stopping_ms: 0 }).on(a.id()).await.expect("free");
    }
    // b is not known to be gone before 5 s are over.
    network.cut("a", "b");
    match a.leave_within(Duration::from_millis(500)).await {
        Err(Error::Leave(LeaveError::NotHandedOver { parked: 3 })) => {}
        other => panic!("{other:?}"),
    }
}
