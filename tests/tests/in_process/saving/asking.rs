//! `ctx.checkpoint().await`: what waits for it, and what does not.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::ready;
use serde::{Deserialize, Serialize};
use sworm::Inbox;
use sworm::prelude::*;
use sworm_tests::{eventually, holds_for};

use super::{Add, LONG, Life, sum};

/// Adds, and asks for checkpoints.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "saving.asking", handles(Add, Keep, KeepAndPanic, KeepAndTell), handoff)]
struct Asking {
    total: i64,
}

/// Makes the sum durable.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.asking.keep", reply = Result<i64, String>)]
struct Keep;

/// Asks for that, and panics then.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.asking.panic", reply = Result<i64, String>)]
struct KeepAndPanic;

/// Asks for that, and sends the sum then.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.asking.tell", reply = Result<i64, String>)]
struct KeepAndTell;

/// The sum.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.asking.sum")]
struct Sum(i64);

/// Whether the code after the await has run.
static WENT_ON: AtomicBool = AtomicBool::new(false);

impl Handler<Add> for Asking {
    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> i64 {
        self.total += n;
        self.total
    }
}

impl Handler<Keep> for Asking {
    async fn handle(&mut self, _: Keep, ctx: &mut Context<Self>) -> Result<i64, String> {
        ctx.checkpoint().await.map_err(|error| error.to_string())?;
        // The state is what is left behind.
        self.total += 10;
        Ok(self.total)
    }
}

impl Handler<KeepAndPanic> for Asking {
    async fn handle(&mut self, _: KeepAndPanic, ctx: &mut Context<Self>) -> Result<i64, String> {
        ctx.checkpoint().await.map_err(|error| error.to_string())?;
        panic!("told to panic");
    }
}

impl Handler<KeepAndTell> for Asking {
    async fn handle(&mut self, _: KeepAndTell, ctx: &mut Context<Self>) -> Result<i64, String> {
        ctx.checkpoint().await.map_err(|error| error.to_string())?;
        WENT_ON.store(true, Relaxed);
        let log = ctx.sworm().whereis_name::<Inbox<Sum>>("log").expect("it is there");
        log.cast(Sum(self.total)).await.expect("it is there");
        Ok(self.total)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_panics_after_it_has_asked_for_a_checkpoint_saves_nothing() {
    let life = Life::alone().await;
    let asking = life.register("x", Asking { total: 1 }).await;
    assert_eq!(asking.call(Add(1)).await, Ok(2));
    // There was none before: it starts again from what was registered.
    for kept in [1, 15] {
        let died = asking.call(KeepAndPanic).timeout(LONG).await.expect_err("it panics");
        assert!(matches!(&died, CallError::WorkerDied { reason } if reason == "told to panic"), "{died}");
        assert_eq!(sum(&asking).await, kept, "what was durable before");
        if kept == 1 {
            assert_eq!(asking.call(Add(4)).await, Ok(5));
            assert_eq!(asking.call(Keep).timeout(LONG).await, Ok(Ok(15)));
            assert_eq!(asking.call(Add(100)).await, Ok(115));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reply_alone_waits_for_the_checkpoint_that_its_handler_has_asked_for() {
    let life = Life::alone().await;
    let mut log = life.sworm.attach_name::<Sum>("log").await.expect("free");
    let asking = life.register("x", Asking { total: 7 }).await;
    let before = life.writes();
    life.store.hold(true);
    let told = tokio::spawn({
        let asking = asking.clone();
        async move { asking.call(KeepAndTell).timeout(LONG).await }
    });
    // The disk is held up: nothing is durable.
    eventually("the code after the await", || ready(WENT_ON.load(Relaxed).then_some(()))).await;
    let Sum(sent) = tokio::time::timeout(LONG, log.recv()).await.expect("it comes").expect("the node runs").0;
    assert_eq!(sent, 7, "what it casts does not wait");
    life.writes_more_than(before).await;
    holds_for(Duration::from_millis(300), "the reply waits", || ready(!told.is_finished())).await;
    life.store.hold(false);
    assert_eq!(told.await.expect("it does not panic"), Ok(Ok(7)));
}
