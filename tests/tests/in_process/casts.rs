//! A cast is handled once, wherever its worker goes before it takes it.

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm_tests::eventually;
use tokio::sync::Semaphore;

use super::{opened, running};

/// Counts; `gate` says which of the test's gates it waits at.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "counter", handles(Add, Total, Wait), handoff)]
struct Counter {
    total: u32,
    gate: usize,
}

#[derive(Message, Serialize, Deserialize)]
struct Add(u32);

#[derive(Message, Serialize, Deserialize)]
#[message(reply = u32)]
struct Total;

/// Waits until the test says so, then goes on or panics.
#[derive(Message, Serialize, Deserialize)]
struct Wait {
    panic: bool,
}

/// One for each test.
static GATES: [Semaphore; 2] = [const { Semaphore::const_new(0) }; 2];
static WAITING: [Semaphore; 2] = [const { Semaphore::const_new(0) }; 2];

impl Handler<Add> for Counter {
    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) {
        self.total += n;
    }
}

impl Handler<Total> for Counter {
    async fn handle(&mut self, _: Total, _: &mut Context<Self>) -> u32 {
        self.total
    }
}

impl Handler<Wait> for Counter {
    async fn handle(&mut self, wait: Wait, _: &mut Context<Self>) {
        WAITING[self.gate].add_permits(1);
        GATES[self.gate].acquire().await.expect("never closed").forget();
        assert!(!wait.panic, "told to panic");
    }
}

async fn counter(sworm: &Sworm, on: &Node, gate: usize) -> Ref<Counter> {
    sworm.register("counter", Counter { total: 0, gate }).on(on.id()).await.expect("free")
}

/// Waits until the total is that, and a little more: it must not rise any further.
async fn counts(counter: &Ref<Counter>, total: u32) {
    eventually("all of them", || async { (counter.call(Total).await.ok()? >= total).then_some(()) }).await;
    assert_eq!(counter.call(Total).await, Ok(total));
}

#[tokio::test(flavor = "multi_thread")]
async fn casts_are_counted_here_and_from_elsewhere() {
    let [(a, on_a), (_b, on_b)] = opened("s").await;
    let here = counter(&on_a, &a, 0).await;
    running(&on_b, "counter").await;
    let there = on_b.whereis_name::<Counter>("counter").expect("it runs");
    for _ in 0..100 {
        here.cast(Add(1)).await.expect("it is on its way");
        there.cast(Add(1000)).await.expect("it is on its way");
    }
    counts(&here, 100_100).await;
    counts(&there, 100_100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn casts_that_wait_while_their_node_leaves_are_counted_where_the_worker_goes() {
    let [(a, on_a), (_b, on_b)] = opened("s").await;
    let here = counter(&on_a, &a, 0).await;
    running(&on_b, "counter").await;
    let there = on_b.whereis_name::<Counter>("counter").expect("it runs");
    here.cast(Wait { panic: false }).await.expect("it is on its way");
    WAITING[0].acquire().await.expect("never closed").forget();
    for _ in 0..50 {
        here.cast(Add(1)).await.expect("it is on its way");
        there.cast(Add(1000)).await.expect("it is on its way");
    }
    let leaving = tokio::spawn(async move { a.leave().await });
    eventually("the move", || async {
        matches!(on_b.whereis("counter")?.state, RegistrationState::Moving { .. }).then_some(())
    })
    .await;
    GATES[0].add_permits(1);
    leaving.await.expect("it does not panic").expect("it leaves");
    counts(&there, 50_050).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn casts_that_wait_while_the_worker_crashes_are_counted_after_its_restart() {
    let [(a, on_a), (_b, on_b)] = opened("s").await;
    let here = counter(&on_a, &a, 1).await;
    running(&on_b, "counter").await;
    let there = on_b.whereis_name::<Counter>("counter").expect("it runs");
    here.cast(Wait { panic: true }).await.expect("it is on its way");
    WAITING[1].acquire().await.expect("never closed").forget();
    for _ in 0..50 {
        here.cast(Add(1)).await.expect("it is on its way");
        there.cast(Add(1000)).await.expect("it is on its way");
    }
    GATES[1].add_permits(1);
    counts(&there, 50_050).await;
}
