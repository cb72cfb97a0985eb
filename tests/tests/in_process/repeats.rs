//! A network that brings everything twice: nothing is handled twice, and nobody is answered twice.

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm_tests::{eventually, holds_for};
use tokio::sync::Semaphore;

use super::{moved, node, running};

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "repeats.counter", handles(Count, Wait), handoff)]
struct Counter {
    count: u32,
}

#[derive(Message, Serialize, Deserialize)]
#[message(id = "repeats.count", reply = u32)]
struct Count(u32);

impl Handler<Count> for Counter {
    async fn handle(&mut self, Count(n): Count, _: &mut Context<Self>) -> u32 {
        self.count += n;
        self.count
    }
}

/// Waits until the test says so.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "repeats.wait")]
struct Wait;

static WAITING: Semaphore = Semaphore::const_new(0);
static GATE: Semaphore = Semaphore::const_new(0);

impl Handler<Wait> for Counter {
    async fn handle(&mut self, _: Wait, _: &mut Context<Self>) {
        WAITING.add_permits(1);
        GATE.acquire().await.expect("never closed").forget();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_network_brings_twice_is_handled_once() {
    let network = MemoryNetwork::new();
    let mut nodes = Vec::new();
    for id in ["a", "b", "c"] {
        let node = node(&network, id).await;
        nodes.push((node.sworm("s").await.expect("it opens"), node));
    }
    let [(on_a, _), (_, b), (on_c, c)] = &nodes[..] else { unreachable!("there are three") };
    for (sworm, _) in &nodes {
        eventually("the others", || async { (sworm.nodes().len() == 3).then_some(()) }).await;
    }
    network.repeat(true);
    let counter = on_a.register("x", Counter::default()).on(b.id()).await.expect("free");
    for n in 1..=20 {
        assert_eq!(counter.call(Count(1)).await, Ok(n), "each reply is that of its own call");
    }
    for _ in 0..20 {
        counter.cast(Count(100)).await.expect("it is on its way");
    }
    assert_eq!(counter.call(Count(0)).await, Ok(2_020), "casts come in order");
    on_a.join("all", &counter).await.expect("it runs");
    eventually("the group", || async { (on_a.members("all").len() == 1).then_some(()) }).await;
    for n in 1..=20 {
        assert_eq!(on_a.multi_call("all", Count(1)).await[0].1, Ok(2_020 + n));
        assert_eq!(on_a.publish("all", Count(0)).await, Ok(1));
    }
    // What waits when the worker leaves is sent on, or sent again by its caller: once.
    counter.cast(Wait).await.expect("it is on its way");
    WAITING.acquire().await.expect("never closed").forget();
    for _ in 0..20 {
        counter.cast(Count(1_000)).await.expect("it is on its way");
        on_a.publish("all", Count(1_000)).await.expect("it leaves");
    }
    let call = tokio::spawn({
        let counter = counter.clone();
        async move { counter.call(Count(1)).timeout(std::time::Duration::from_secs(60)).await }
    });
    let moving = tokio::spawn({
        let (on_c, c) = (on_c.clone(), c.id().clone());
        async move { moved(&on_c, "x", &c).await }
    });
    eventually("the move", || async {
        matches!(on_a.whereis("x")?.state, RegistrationState::Moving { .. }).then_some(())
    })
    .await;
    GATE.add_permits(1);
    moving.await.expect("it does not panic");
    call.await.expect("it does not panic").expect("it is waited for");
    assert_eq!(running(on_a, "x").await.pid.node, *c.id());
    let all = 2_040 + 1 + 40_000;
    eventually("all of it", || async { (counter.call(Count(0)).await == Ok(all)).then_some(()) }).await;
    let nothing_more = async || counter.call(Count(0)).await == Ok(all);
    holds_for(std::time::Duration::from_millis(300), "nothing twice", nothing_more).await;
}
