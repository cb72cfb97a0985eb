//! `snapshot = "100ms"` and `every = 3`: states are saved while nothing waits for that.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::BoxError;
use sworm::prelude::*;
use sworm_tests::{eventually, holds_for};
use tokio::sync::Semaphore;

use super::{Add, AddAndCrash, Life, sum};
use crate::running;

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "saving.paced", handles(Add, AddAndCrash), snapshot = "50ms")]
struct Paced {
    total: i64,
}

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "saving.counted", handles(Add, AddAndCrash), every = 3)]
struct Counted {
    total: i64,
}

/// Adds by itself, once for each permit.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "saving.runner", handles(Add, AddAndCrash), snapshot = "50ms", lifecycle)]
struct Runner {
    total: i64,
}

static PERMITS: Semaphore = Semaphore::const_new(0);

impl Lifecycle for Runner {
    async fn run(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        loop {
            PERMITS.acquire().await.expect("never closed").forget();
            self.total += 1;
        }
    }
}

macro_rules! adds {
    ($($worker:ident)*) => {$(
        impl Handler<Add> for $worker {
            async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> i64 {
                self.total += n;
                self.total
            }
        }

        impl Handler<AddAndCrash> for $worker {
            async fn handle(&mut self, AddAndCrash(n): AddAndCrash, _: &mut Context<Self>) {
                self.total += n;
                panic!("told to crash");
            }
        }
    )*};
}

adds!(Paced Counted Runner);

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_saved_once_in_a_period_and_no_reply_waits_for_it() {
    let life = Life::alone().await;
    let worker = life.register("x", Paced::default()).await;
    life.writes_more_than(0).await;
    // The first one is on the disk, too: the next is not begun before.
    life.writes_no_more().await;
    life.store.hold(true);
    let before = life.writes();
    assert_eq!(worker.call(Add(7)).await, Ok(7));
    life.writes_more_than(before).await;
    assert_eq!(worker.call(Add(1)).await, Ok(8));
    life.store.hold(false);
    life.writes_more_than(before + 1).await;
    worker.call(AddAndCrash(100)).await.expect_err("it crashes");
    assert_eq!(sum(&worker).await, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_changed_is_not_saved_again() {
    let life = Life::alone().await;
    let worker = life.register("x", Paced::default()).await;
    life.writes_more_than(0).await;
    life.writes_no_more().await;
    let before = life.writes();
    holds_for(Duration::from_millis(500), "nothing is saved", || async {
        worker.call(Add(0)).await == Ok(0) && life.writes() == before
    })
    .await;
    worker.call(Add(1)).await.expect("it runs");
    life.writes_more_than(before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_run_has_changed_is_saved() {
    let life = Life::alone().await;
    let worker = life.register("x", Runner::default()).await;
    life.writes_more_than(0).await;
    for _ in 0..2 {
        life.writes_no_more().await;
        let before = life.writes();
        PERMITS.add_permits(1);
        life.writes_more_than(before).await;
    }
    worker.call(AddAndCrash(100)).await.expect_err("it crashes");
    assert_eq!(sum(&worker).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_saved_after_so_many_messages_and_no_reply_waits_for_it() {
    let life = Life::alone().await;
    let worker = life.register("x", Counted::default()).await;
    for round in 0..2 {
        let before = life.writes();
        life.store.hold(true);
        for n in 1..=2 {
            assert_eq!(worker.call(Add(1)).await, Ok(3 * round + n));
        }
        life.writes_no_more().await;
        assert_eq!(worker.call(Add(1)).await, Ok(3 * round + 3));
        life.writes_more_than(before).await;
        life.store.hold(false);
        eventually("it is on the disk", || async { (life.store.unsynced() == 0).then_some(()) }).await;
    }
    assert_eq!(worker.call(Add(1)).await, Ok(7));
    worker.call(AddAndCrash(100)).await.expect_err("it crashes");
    assert_eq!(sum(&worker).await, 6);
}

/// Has a state of several chunks.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "saving.heavy", handles(Add, AddAndCrash), every = 1)]
struct Heavy {
    total: i64,
    #[serde(with = "serde_bytes")]
    load: Vec<u8>,
}

adds!(Heavy);

#[tokio::test(flavor = "multi_thread")]
async fn while_the_disk_stands_still_one_state_is_on_its_way_and_then_the_newest_is() {
    let life = Life::alone().await;
    let worker = life.register("x", Heavy { total: 0, load: vec![7; 1_000_000] }).await;
    life.store.hold(true);
    let (before, unsynced) = (life.writes(), life.store.unsynced());
    assert_eq!(worker.call(Add(1)).await, Ok(1));
    life.writes_more_than(before).await;
    life.writes_no_more().await;
    let (one, written) = (life.writes() - before, life.store.unsynced());
    assert!(written > unsynced, "it is written, and not on the disk");
    for total in 2..=40 {
        assert_eq!(worker.call(Add(1)).await, Ok(total));
    }
    life.writes_no_more().await;
    assert_eq!(life.writes() - before, one, "what is changed meanwhile waits in the worker alone");
    life.store.hold(false);
    life.writes_more_than(before + one).await;
    life.writes_no_more().await;
    assert_eq!(life.writes() - before, 2 * one, "only the newest was saved");
    worker.call(AddAndCrash(100)).await.expect_err("it crashes");
    assert_eq!(sum(&worker).await, 40);
}

/// Changes all the time.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "saving.busy", handles(Add, AddAndCrash), snapshot = "10ms", lifecycle)]
struct Busy {
    total: i64,
}

adds!(Busy);

impl Lifecycle for Busy {
    async fn run(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        loop {
            self.total += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_changes_faster_than_the_disk_takes_it_in_starts_again_and_has_its_replicas() {
    let [a, b] = Life::pair().await;
    a.store.slow_down(Duration::from_millis(200));
    let worker = a.register("x", Busy::default()).await;
    let holders = || async { running(&b.sworm, "x").await.holders };
    eventually("both hold a state", || async { (holders().await.len() == 2).then_some(()) }).await;
    let before = worker.pid();
    worker.call(AddAndCrash(0)).await.expect_err("it crashes");
    eventually("its next start", || async { (running(&b.sworm, "x").await.pid != before).then_some(()) }).await;
    assert!(sum(&worker).await > 0);
}
