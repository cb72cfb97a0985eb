//! Told to stop while its state is being made durable, a worker stops as it would at any other time.

use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::Exit;
use sworm::prelude::*;

use super::{Add, Life};
use crate::gone;

/// Notes what it is told when it stops.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "saving.stopped", handles(Add), snapshot = "each", lifecycle)]
struct Stopped {
    total: i64,
}

static TOLD: Mutex<Vec<Option<Exit>>> = Mutex::new(Vec::new());

impl Lifecycle for Stopped {
    async fn stopping(&mut self, ctx: &mut Context<Self>) {
        TOLD.lock().expect("no panic").push(ctx.exit().cloned());
    }
}

impl Handler<Add> for Stopped {
    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> i64 {
        self.total += n;
        self.total
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_told_to_stop_while_its_state_is_saved_runs_its_hook() {
    let a = Life::alone().await;
    let worker = a.register("x", Stopped::default()).await;
    a.store.hold(true);
    let before = a.writes();
    let call = tokio::spawn(worker.call(Add(1)).timeout(Duration::from_secs(60)).into_future());
    a.writes_more_than(before).await;
    let end = tokio::spawn({
        let sworm = a.sworm.clone();
        async move { sworm.unregister_name("x").await }
    });
    // It is told at once, and the end is acknowledged when it is durable.
    let error = call.await.expect("it does not panic").expect_err("its state is not durable");
    assert!(error.is_unknown_outcome(), "{error}");
    a.store.hold(false);
    end.await.expect("it does not panic").expect("it ran");
    gone(&a.sworm, "x").await;
    assert_eq!(*TOLD.lock().expect("no panic"), [Some(Exit::Unregistered)]);
}
