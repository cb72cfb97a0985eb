//! Calls whose futures nobody polls, while their worker moves: of those that select among several, or take replies one by one.

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::poll_immediate;
use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm_tests::eventually;
use tokio::sync::Semaphore;

use super::{moved, opened, running};

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "unpolled.sum", handles(Add, Wait), handoff)]
struct Sum(u64);

#[derive(Message, Serialize, Deserialize)]
#[message(id = "unpolled.add", reply = u64)]
struct Add(u64);

/// Waits until the test says so.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "unpolled.wait")]
struct Wait;

static WAITS: Semaphore = Semaphore::const_new(0);
static GOES_ON: Semaphore = Semaphore::const_new(0);

impl Handler<Add> for Sum {
    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> u64 {
        self.0 += n;
        self.0
    }
}

impl Handler<Wait> for Sum {
    async fn handle(&mut self, _: Wait, _: &mut Context<Self>) {
        WAITS.add_permits(1);
        GOES_ON.acquire().await.expect("never closed").forget();
    }
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_nobody_looks_at_holds_up_nobody_when_its_worker_moves() {
    let nodes: [_; 3] = opened("s").await;
    let [(_, on_a), (b, on_b), (c, on_c)] = &nodes;
    let sum = on_a.register("sum", Sum::default()).on(b.id()).await.expect("free");
    for sworm in [on_a, on_b, on_c] {
        running(sworm, "sum").await;
    }
    let (mut answered, mut given_back) = (Vec::new(), Vec::new());
    // One of another node, and one of the worker's own.
    for (sworm, n) in [(on_a, 1), (on_b, 10)] {
        let sum = sworm.whereis_name::<Sum>("sum").expect("it runs");
        let mut call = sum.call(Add(n)).timeout(LONG).into_future();
        assert_eq!(poll_immediate(&mut call).await, None, "it is sent");
        answered.push(call);
    }
    eventually("both to be answered", || async { (sum.call(Add(0)).await == Ok(11)).then_some(()) }).await;
    sum.cast(Wait).await.expect("it is on its way");
    WAITS.acquire().await.expect("never closed").forget();
    for (sworm, n) in [(on_a, 100), (on_b, 1_000)] {
        let sum = sworm.whereis_name::<Sum>("sum").expect("it runs");
        let mut call = sum.call(Add(n)).timeout(LONG).into_future();
        assert_eq!(poll_immediate(&mut call).await, None, "it waits behind the one that takes long");
        given_back.push(call);
    }
    let goes_on = async {
        eventually("the move", || async {
            matches!(on_b.whereis("sum")?.state, RegistrationState::Moving { .. }).then_some(())
        })
        .await;
        GOES_ON.add_permits(1);
    };
    let (pid, ()) = tokio::join!(moved(on_a, "sum", c.id()), goes_on);
    assert_eq!(pid.node, *c.id());
    // As long as a call takes that says nothing else, 5 s; what went to the old place would be waited for for 10 s.
    for sworm in [on_a, on_b] {
        running(sworm, "sum").await;
        let sum = sworm.whereis_name::<Sum>("sum").expect("it runs");
        assert_eq!(sum.call(Add(0)).await, Ok(11));
    }
    for call in answered {
        assert!(matches!(call.await, Ok(1 | 10 | 11)));
    }
    for call in given_back {
        assert!(matches!(call.await, Ok(111 | 1_011 | 1_111)));
    }
    assert_eq!(sum.call(Add(0)).await, Ok(1_111), "each was handled once");
}
