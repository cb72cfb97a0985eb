//! `snapshot = "each"`: what was replied to is durable.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::store::Space;
use sworm::transport::MemoryNetwork;
use sworm_tests::{FaultyStore, eventually, holds_for};

use super::{Add, AddAndCrash, LONG, Life, sum};
use crate::running;

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "saving.each", handles(Add, AddAndCrash), snapshot = "each")]
struct Each {
    total: i64,
}

impl Handler<Add> for Each {
    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> i64 {
        self.total += n;
        self.total
    }
}

impl Handler<AddAndCrash> for Each {
    async fn handle(&mut self, AddAndCrash(n): AddAndCrash, _: &mut Context<Self>) {
        self.total += n;
        panic!("told to crash");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_leaves_when_the_state_that_it_shows_is_durable() {
    let [a, b] = Life::pair().await;
    let here = a.register("x", Each::default()).await;
    running(&b.sworm, "x").await;
    let there = b.sworm.whereis_name::<Each>("x").expect("it runs");
    for caller in [here, there] {
        a.store.hold(true);
        let before = a.writes();
        let call = tokio::spawn(async move { caller.call(Add(1)).timeout(LONG).await });
        a.writes_more_than(before).await;
        holds_for(Duration::from_millis(300), "no reply leaves", || async { !call.is_finished() }).await;
        a.store.hold(false);
        assert!(call.await.expect("it does not panic").is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sync_serves_many_workers() {
    const WORKERS: usize = 64;
    let life = Life::alone().await;
    let mut workers = Vec::new();
    for n in 0..WORKERS {
        workers.push(life.register(&format!("x-{n}"), Each::default()).await);
    }
    assert_eq!(life.store.values(Space::Snapshots), 0, "nothing has changed yet");
    life.store.hold(true);
    let calls = workers.iter().map(|worker| worker.call(Add(1)).timeout(LONG));
    let calls = tokio::spawn(futures_util::future::join_all(calls.map(IntoFuture::into_future)));
    eventually("all states written", || async { (life.store.values(Space::Snapshots) == WORKERS).then_some(()) }).await;
    let before = life.store.syncs();
    life.store.hold(false);
    assert_eq!(calls.await.expect("no panic"), vec![Ok(1); WORKERS]);
    // Those that were written before the first one, and those after it.
    let syncs = life.store.syncs() - before;
    assert!(syncs <= WORKERS / 8, "{syncs} syncs for {WORKERS} states");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_changes_nothing_writes_nothing_and_waits_for_nothing() {
    let life = Life::alone().await;
    let worker = life.register("x", Each::default()).await;
    assert_eq!(worker.call(Add(1)).await, Ok(1));
    life.store.hold(true);
    let before = life.writes();
    for _ in 0..3 {
        assert_eq!(worker.call(Add(0)).await, Ok(1));
    }
    assert_eq!(life.writes(), before);
    let call = tokio::spawn(async move { worker.call(Add(1)).timeout(LONG).await });
    life.writes_more_than(before).await;
    life.store.hold(false);
    assert_eq!(call.await.expect("it does not panic"), Ok(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_panic_it_goes_on_from_what_was_last_replied_to() {
    let life = Life::alone().await;
    let worker = life.register("x", Each::default()).await;
    for total in 1..=3 {
        assert_eq!(worker.call(Add(1)).await, Ok(total));
    }
    let crashed = worker.call(AddAndCrash(100)).await;
    assert!(matches!(crashed, Err(CallError::WorkerDied { .. })), "{crashed:?}");
    assert_eq!(sum(&worker).await, 3, "what was replied to");
    assert_eq!(worker.call(Add(1)).await, Ok(4));
    worker.call(AddAndCrash(100)).await.expect_err("it crashes");
    assert_eq!(sum(&worker).await, 4, "what was replied to");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_was_replied_to_is_there_when_a_node_dies_and_when_all_do() {
    let [a, b] = Life::pair().await;
    drop(a.register("x", Each::default()).await);
    running(&b.sworm, "x").await;
    let worker = b.sworm.whereis_name::<Each>("x").expect("it runs");
    for total in 1..=5 {
        assert_eq!(worker.call(Add(1)).await, Ok(total));
    }
    drop(a);
    eventually("it on the other node", || async { (running(&b.sworm, "x").await.pid.node == *"b").then_some(()) })
        .await;
    assert_eq!(sum(&worker).await, 5, "what was replied to");
    assert_eq!(worker.call(Add(1)).await, Ok(6));
    // Of b only what was synced is left, and a had left nothing for a later start.
    let disk = b.store.next_life();
    drop((worker, b));
    let again = Life::start(&MemoryNetwork::new(), "b", disk).await;
    running(&again.sworm, "x").await;
    let worker = again.sworm.whereis_name::<Each>("x").expect("it runs");
    assert_eq!(sum(&worker).await, 6, "what was replied to");
}

/// Fails to be encoded when it has this sum.
const ODD: i64 = 13;

fn but_not_13<S: serde::Serializer>(total: &i64, to: S) -> Result<S::Ok, S::Error> {
    if *total == ODD {
        return Err(serde::ser::Error::custom("13 cannot be written"));
    }
    to.serialize_i64(*total)
}

#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "saving.each.odd", handles(Add), snapshot = "each")]
struct Odd {
    #[serde(serialize_with = "but_not_13")]
    total: i64,
}

impl Handler<Add> for Odd {
    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> i64 {
        self.total += n;
        self.total
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_cannot_be_encoded_is_replied_as_that_and_the_worker_starts_from_the_one_before() {
    let life = Life::start(&MemoryNetwork::new(), "a", FaultyStore::new()).await;
    let worker = life.register("x", Odd { total: 0 }).await;
    assert_eq!(worker.call(Add(12)).await, Ok(12));
    let failed = worker.call(Add(1)).await;
    assert!(matches!(&failed, Err(CallError::NotDurable { reason }) if reason.contains("13")), "{failed:?}");
    assert_eq!(sum(&worker).await, 12, "what was replied to");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_stands_still_on_one_node_holds_up_no_first_state_of_others() {
    let network = MemoryNetwork::new();
    let mut lives = Vec::new();
    for id in ["a", "b", "c"] {
        lives.push(Life::start(&network, id, FaultyStore::new()).await);
    }
    for life in &lives {
        eventually("all", || async { (life.sworm.nodes().len() == 3).then_some(()) }).await;
    }
    let [a, _, c] = &lives[..] else { unreachable!("there are three") };
    c.store.hold(true);
    for n in 0..4 {
        let worker = a.register(&format!("x-{n}"), Each::default()).await;
        assert_eq!(worker.call(Add(1)).timeout(LONG).await, Ok(1));
    }
    c.store.hold(false);
}
