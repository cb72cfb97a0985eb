//! What a worker asks for inside `run` is done without any message.

use std::future::pending;

use serde::{Deserialize, Serialize};
use sworm::BoxError;
use sworm::prelude::*;
use sworm_tests::eventually;

use super::{gone, opened, running};

/// What `run` does once.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum Asks {
    ToStop,
    ForACheckpoint,
    ForACheckpointAndEnds,
    ForACheckpointAndFails,
}

#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "runner", handles(Done, Crash), lifecycle, handoff, restart = "permanent")]
struct Runner {
    asks: Asks,
    done: bool,
    starts: u32,
}

/// Whether `run` has done it, and how often the state was started.
#[derive(Message, Serialize, Deserialize)]
#[message(reply = (bool, u32))]
struct Done;

#[derive(Message, Serialize, Deserialize)]
struct Crash;

impl Lifecycle for Runner {
    async fn started(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        self.starts += 1;
        Ok(())
    }

    async fn run(&mut self, ctx: &mut Context<Self>) -> Result<(), BoxError> {
        if self.done {
            return pending().await;
        }
        self.done = true;
        match self.asks {
            Asks::ToStop => ctx.stop(),
            _ => ctx.checkpoint().await?,
        }
        match self.asks {
            Asks::ToStop | Asks::ForACheckpoint => pending().await,
            Asks::ForACheckpointAndEnds => Ok(()),
            Asks::ForACheckpointAndFails => Err("as asked".into()),
        }
    }
}

impl Handler<Done> for Runner {
    async fn handle(&mut self, _: Done, _: &mut Context<Self>) -> (bool, u32) {
        (self.done, self.starts)
    }
}

impl Handler<Crash> for Runner {
    async fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        panic!("told to crash");
    }
}

/// Stops itself as soon as it runs; its name goes then.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "stopper", lifecycle)]
struct Stopper;

impl Lifecycle for Stopper {
    async fn run(&mut self, ctx: &mut Context<Self>) -> Result<(), BoxError> {
        ctx.stop();
        pending().await
    }
}

async fn register(sworm: &Sworm, asks: Asks) -> Ref<Runner> {
    sworm.register_name("runner", Runner { asks, done: false, starts: 0 }).await.expect("free")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_inside_run_ends_the_worker_without_any_message() {
    let [(_node, sworm)] = opened("s").await;
    sworm.register_name("stopper", Stopper).await.expect("free");
    gone(&sworm, "stopper").await;
    // With another strategy it is what the strategy says of a normal end: here a few restarts.
    register(&sworm, Asks::ToStop).await;
    let reason = eventually("the end of its restarts", || async {
        match sworm.whereis("runner").expect("it stays").state {
            RegistrationState::Failed { reason } => Some(reason),
            _ => None,
        }
    });
    assert_eq!(reason.await, "ended normally");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_inside_run_is_made_without_any_message() {
    let [(_node, sworm)] = opened("s").await;
    let runner = register(&sworm, Asks::ForACheckpoint).await;
    eventually("the checkpoint", || async { (!running(&sworm, "runner").await.holders.is_empty()).then_some(()) })
        .await;
    runner.call(Crash).await.expect_err("it panics");
    assert_eq!(runner.call(Done).await, Ok((true, 2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_just_before_run_ends_is_what_the_worker_restarts_from() {
    for asks in [Asks::ForACheckpointAndEnds, Asks::ForACheckpointAndFails] {
        let [(_node, sworm)] = opened("s").await;
        let runner = register(&sworm, asks).await;
        eventually("a restart", || async { (runner.call(Done).await == Ok((true, 2))).then_some(()) }).await;
        assert!(!running(&sworm, "runner").await.holders.is_empty(), "it was made durable");
    }
}
