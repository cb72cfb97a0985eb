//! The order of messages of one sender that does not wait for replies, while their worker moves.

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::future::{join_all, poll_immediate};
use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm_tests::eventually;
use tokio::sync::Semaphore;

use super::{moved, opened, running};

/// Keeps what comes.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "order.list", handles(Put, Wait, All), handoff)]
struct List(Vec<(usize, u32)>);

/// A sender, and its number there.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "order.put", reply = ())]
struct Put(usize, u32);

/// Waits until the test says so.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "order.wait")]
struct Wait;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "order.all", reply = Vec<(usize, u32)>)]
struct All;

static WAITS: Semaphore = Semaphore::const_new(0);
static GOES_ON: Semaphore = Semaphore::const_new(0);

impl Handler<Put> for List {
    async fn handle(&mut self, Put(sender, n): Put, _: &mut Context<Self>) {
        self.0.push((sender, n));
    }
}

impl Handler<Wait> for List {
    async fn handle(&mut self, _: Wait, _: &mut Context<Self>) {
        WAITS.add_permits(1);
        GOES_ON.acquire().await.expect("never closed").forget();
    }
}

impl Handler<All> for List {
    async fn handle(&mut self, _: All, _: &mut Context<Self>) -> Vec<(usize, u32)> {
        self.0.clone()
    }
}

const COUNT: u32 = 60;
const LONG: Duration = Duration::from_secs(60);

/// Every third message is a cast, and no reply is waited for.
fn is_cast(n: u32) -> bool {
    n.is_multiple_of(3)
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_casts_that_a_moving_worker_gives_back_keep_their_orders_and_no_call_overtakes_a_cast() {
    let nodes: [_; 3] = opened("s").await;
    let [(_, on_a), (b, on_b), (c, on_c)] = &nodes;
    let list = on_a.register("list", List::default()).on(b.id()).await.expect("free");
    for sworm in [on_a, on_b, on_c] {
        running(sworm, "list").await;
    }
    list.cast(Wait).await.expect("it is on its way");
    WAITS.acquire().await.expect("never closed").forget();
    // All of it is in the mailbox, or on its way there: of the worker's own node, of the one that it moves to, and of a third.
    let mut calls = Vec::new();
    for (sender, sworm) in [on_a, on_b, on_c].into_iter().enumerate() {
        let list = sworm.whereis_name::<List>("list").expect("it runs");
        for n in 0..COUNT {
            if is_cast(n) {
                list.cast(Put(sender, n)).await.expect("it is on its way");
            } else {
                let mut call = list.call(Put(sender, n)).timeout(LONG).into_future();
                assert_eq!(poll_immediate(&mut call).await, None, "it is sent, and waits");
                calls.push(call);
            }
        }
    }
    let moving = moved(on_a, "list", c.id());
    let goes_on = async {
        eventually("the move", || async {
            matches!(on_b.whereis("list")?.state, RegistrationState::Moving { .. }).then_some(())
        })
        .await;
        GOES_ON.add_permits(1);
    };
    let (pid, (), replies) = tokio::join!(moving, goes_on, join_all(calls));
    assert_eq!(pid.node, *c.id());
    assert!(replies.iter().all(Result::is_ok), "{replies:?}");
    let all = eventually("all of it", || async {
        let all = list.call(All).await.ok()?;
        (all.len() >= 3 * COUNT as usize).then_some(all)
    })
    .await;
    for sender in 0..3 {
        let came: Vec<u32> = all.iter().filter(|(from, _)| *from == sender).map(|(_, n)| *n).collect();
        let (casts, calls): (Vec<u32>, Vec<u32>) = came.iter().partition(|n| is_cast(**n));
        assert!(casts.iter().copied().eq((0..COUNT).filter(|n| is_cast(*n))), "casts of {sender}: {casts:?}");
        assert!(calls.iter().copied().eq((0..COUNT).filter(|n| !is_cast(*n))), "calls of {sender}: {calls:?}");
        for (at, call) in came.iter().enumerate().filter(|(_, n)| !is_cast(**n)) {
            let overtaken = came[at..].iter().any(|n| is_cast(*n) && n < call);
            assert!(!overtaken, "call {call} of {sender} has overtaken a cast: {came:?}");
        }
    }
}
