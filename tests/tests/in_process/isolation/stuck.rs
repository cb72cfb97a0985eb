//! Workers that do not return, and workers that block their threads.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::{BoxError, UnregisterError};
use sworm_tests::{eventually, holds_for};
use tokio::task::JoinHandle;

use super::{Bystanders, Gate, In, LONG};
use crate::{ended, gone, log, opened, running};

static GATE: Gate = Gate::closed();

/// Does not return from where it is told to stay.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "staying", handles(Stay, Block), lifecycle)]
struct Staying {
    place: Option<In>,
    #[serde(skip)]
    alive: Option<Alive>,
}

/// Waits for ever.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "isolation-stay")]
struct Stay;

/// Blocks its thread until it may go on.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "isolation-block")]
struct Block;

/// Held by each of them, with how many there are under its name.
struct Alive(Arc<AtomicUsize>);

static ALIVE: Mutex<BTreeMap<String, Arc<AtomicUsize>>> = Mutex::new(BTreeMap::new());

fn alive(name: &str) -> Arc<AtomicUsize> {
    ALIVE.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default().clone()
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Lifecycle for Staying {
    async fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), BoxError> {
        let count = alive(ctx.name());
        assert_eq!(count.fetch_add(1, Relaxed), 0, "two workers of one name");
        self.alive = Some(Alive(count));
        Ok(())
    }

    async fn run(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        if self.place == Some(In::Run) {
            GATE.blocks();
        }
        pending().await
    }

    async fn stopping(&mut self, _: &mut Context<Self>) {
        if self.place == Some(In::Stopping) {
            pending().await
        }
    }
}

impl Handler<Stay> for Staying {
    async fn handle(&mut self, _: Stay, _: &mut Context<Self>) {
        pending().await
    }
}

impl Handler<Block> for Staying {
    async fn handle(&mut self, _: Block, _: &mut Context<Self>) {
        GATE.blocks();
    }
}

async fn staying(sworm: &Sworm, name: &str, place: Option<In>) -> Ref<Staying> {
    let worker = sworm.register(name, Staying { place, alive: None }).on(&sworm.nodes()[0]).await;
    worker.expect("free")
}

/// Ends a name; that is acknowledged when its worker has stopped.
async fn has_stopped(sworm: &Sworm, name: &str) {
    let told = ended(sworm, name).await;
    let stopped = || alive(name).load(Relaxed) == 0;
    assert!(!told || stopped(), "it is acknowledged when it has stopped");
    eventually("its end", || async { stopped().then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_that_does_not_return_is_reported_again_and_again_and_can_be_stopped() {
    log::keep();
    let [(_a, on_a), (_b, on_b)] = opened("s").await;
    let mut bystanders = Bystanders::on(&on_a).await;
    let stuck = staying(&on_a, "does not return", None).await;
    stuck.cast(Stay).await.expect("it runs");
    let waiting = tokio::spawn({
        let stuck = stuck.clone();
        async move { stuck.call(Stay).timeout(Duration::from_secs(40)).await }
    });
    // After five seconds, and after ten.
    let line = ["WARN", "is stuck", "\"does not return\"", "isolation-stay"];
    bystanders.meanwhile(log::has(2, &line)).await;
    // Its time to stop is over after eight.
    bystanders.meanwhile(has_stopped(&on_b, "does not return")).await;
    gone(&on_a, "does not return").await;
    assert!(waiting.await.expect("it does not panic").is_err());
    staying(&on_a, "does not return", Some(In::Stopping)).await;
    // Nor does it return when it stops.
    bystanders.meanwhile(has_stopped(&on_b, "does not return")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_has_sent_something_from_another_node_to_a_worker_that_is_aborted_is_answered() {
    log::keep();
    let [(_a, on_a), (_b, on_b)] = opened("s").await;
    staying(&on_a, "is aborted", None).await;
    running(&on_b, "is aborted").await;
    let far = on_b.whereis_name::<Staying>("is aborted").expect("it runs");
    let calls = [(); 2].map(|()| tokio::spawn(far.call(Stay).timeout(Duration::from_secs(600)).into_future()));
    let error =
        async |call: JoinHandle<Result<(), CallError>>| call.await.expect("it does not panic").expect_err("it ends");
    log::has(1, &["WARN", "is stuck", "\"is aborted\"", "isolation-stay"]).await;
    has_stopped(&on_b, "is aborted").await;
    let [first, second] = calls;
    let mut errors = [error(first).await, error(second).await];
    // One was being handled, and the other one was not.
    errors.sort_by_key(CallError::is_unknown_outcome);
    assert!(matches!(errors[0], CallError::NotRegistered { .. }), "{errors:?}");
    assert!(matches!(&errors[1], CallError::WorkerDied { reason } if reason.contains("aborted")), "{errors:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_that_blocks_its_thread_keeps_its_name_from_others_until_it_has_ended() {
    log::keep();
    let [(_a, on_a), (_b, on_b)] = opened("s").await;
    let mut bystanders = Bystanders::on(&on_a).await;
    let blocking = staying(&on_a, "blocks", None).await;
    let goes_on = GATE.opens_in_the_end();
    blocking.cast(Block).await.expect("it runs");
    // Its registration is answered, though it blocks as soon as it has started.
    staying(&on_a, "blocks at once", Some(In::Run)).await;
    bystanders.meanwhile(log::has(1, &["is stuck", "\"blocks\"", "isolation-block"])).await;
    bystanders.meanwhile(log::has(1, &["is stuck", "\"blocks at once\"", "`run`"])).await;
    // Nobody can end it. Its name goes, and whoever wants it waits.
    let unknown = bystanders.meanwhile(on_b.unregister_name("blocks")).await;
    assert!(matches!(unknown, Err(UnregisterError::Timeout { .. })), "{unknown:?}");
    assert_eq!(alive("blocks").load(Relaxed), 1);
    bystanders.meanwhile(log::has(1, &["ERROR", "blocks its thread", "\"blocks\""])).await;
    gone(&on_b, "blocks").await;
    let anew = tokio::spawn({
        let on_b = on_b.clone();
        async move { on_b.register("blocks", Staying { place: None, alive: None }).timeout(LONG).await }
    });
    let waits = || async { !anew.is_finished() && alive("blocks").load(Relaxed) == 1 };
    bystanders.meanwhile(holds_for(Duration::from_secs(1), "it waits", waits)).await;
    drop(goes_on);
    bystanders.meanwhile(anew).await.expect("it does not panic").expect("free");
    running(&on_a, "blocks").await;
    assert_eq!(alive("blocks").load(Relaxed), 1);
}

static SAVED: Gate = Gate::closed();

/// Is saved aside after each message, and blocks its thread in the next one.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "staying saved", handles(StepLater, Step, Block), every = 1)]
struct Saved {
    steps: u32,
}

/// Is followed by a step when all is quiet.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "isolation-step-later")]
struct StepLater;

/// Is followed by what blocks.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "isolation-step")]
struct Step;

impl Handler<StepLater> for Saved {
    async fn handle(&mut self, _: StepLater, ctx: &mut Context<Self>) {
        ctx.send_after(Duration::from_millis(700), Step);
    }
}

impl Handler<Step> for Saved {
    async fn handle(&mut self, _: Step, ctx: &mut Context<Self>) {
        self.steps += 1;
        ctx.this().cast(Block).await.expect("it runs");
    }
}

impl Handler<Block> for Saved {
    async fn handle(&mut self, _: Block, _: &mut Context<Self>) {
        SAVED.blocks();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_that_blocks_its_thread_as_soon_as_it_is_saved_is_reported_and_harms_no_other() {
    log::keep();
    let [(a, on_a), (_b, on_b)] = opened("s").await;
    let mut bystanders = Bystanders::on(&on_a).await;
    let saved = on_a.register("blocks when saved", Saved::default()).on(a.id()).await.expect("free");
    let goes_on = SAVED.opens_in_the_end();
    saved.call(StepLater).timeout(LONG).await.expect("it runs");
    eventually("that it blocks", || async { (SAVED.held() > 0).then_some(()) }).await;
    bystanders.meanwhile(log::has(1, &["is stuck", "\"blocks when saved\"", "isolation-block"])).await;
    let other = on_a.register("another", Saved::default()).on(a.id()).timeout(LONG);
    bystanders.meanwhile(other).await.expect("its node does its work");
    running(&on_b, "another").await;
    drop(goes_on);
    bystanders.meanwhile(eventually("its end", || async { saved.call(Block).await.ok() })).await;
}
