//! A mailbox that is full is waited for, wherever the caller is.

use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm_tests::eventually;
use tokio::sync::Semaphore;

use super::{opened, opened_on};

/// Has room for one message beside the one that it handles.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "cramped", handles(Hold, Count), mailbox = 1)]
struct Cramped {
    count: u32,
}

#[derive(Message, Serialize, Deserialize)]
#[message(id = "cramped-hold")]
struct Hold;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "cramped-count", reply = u32)]
struct Count;

/// Has as little room, and keeps what comes in its order.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "cramped-list", handles(Wait, Put, All), mailbox = 1)]
struct List(Vec<u32>);

#[derive(Message, Serialize, Deserialize)]
#[message(id = "cramped-wait")]
struct Wait;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "cramped-put", reply = ())]
struct Put(u32);

#[derive(Message, Serialize, Deserialize)]
#[message(id = "cramped-all", reply = Vec<u32>)]
struct All;

static WAITS: Semaphore = Semaphore::const_new(0);
static GOES_ON: Semaphore = Semaphore::const_new(0);

impl Handler<Wait> for List {
    async fn handle(&mut self, _: Wait, _: &mut Context<Self>) {
        WAITS.add_permits(1);
        GOES_ON.acquire().await.expect("it is open").forget();
    }
}

impl Handler<Put> for List {
    async fn handle(&mut self, Put(n): Put, _: &mut Context<Self>) {
        self.0.push(n);
    }
}

impl Handler<All> for List {
    async fn handle(&mut self, _: All, _: &mut Context<Self>) -> Vec<u32> {
        self.0.clone()
    }
}

static HOLDS: Semaphore = Semaphore::const_new(0);
static MAY_END: Semaphore = Semaphore::const_new(0);

impl Handler<Hold> for Cramped {
    async fn handle(&mut self, _: Hold, _: &mut Context<Self>) {
        HOLDS.add_permits(1);
        MAY_END.acquire().await.expect("it is open").forget();
    }
}

impl Handler<Count> for Cramped {
    async fn handle(&mut self, _: Count, _: &mut Context<Self>) -> u32 {
        self.count += 1;
        self.count
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_wait_for_room_in_a_full_mailbox_here_and_on_another_node_as_long_as_they_may() {
    let [(a, on_a), (b, on_b)] = opened("s").await;
    for (name, on) in [("near", a.id()), ("far", b.id())] {
        let worker = on_a.register(name, Cramped::default()).on(on).await.expect("free");
        on_a.join("all", &worker).await.expect("it is there");
        worker.cast(Hold).await.expect("it runs");
        HOLDS.acquire().await.expect("it is open").forget();
        let soon = Duration::from_millis(1_500);
        let impatient = join_all((0..3).map(|_| worker.call(Count).timeout(soon).into_future())).await;
        // One has the only place; it is handled later, unseen. Who is on the way when its time is over is not told either.
        let ended =
            |result: &Result<u32, CallError>| matches!(result, Err(CallError::Overloaded | CallError::Timeout { .. }));
        assert!(impatient.iter().all(ended), "{name}: {impatient:?}");
        let patient = Duration::from_secs(60);
        let calls: Vec<_> = (0..5)
            .map(|_| {
                let worker = worker.clone();
                tokio::spawn(async move { worker.call(Count).timeout(patient).await })
            })
            .collect();
        let group = tokio::spawn({
            let sworm = on_b.clone();
            async move { sworm.multi_call("all", Count).timeout(patient).await }
        });
        // They have been refused by then, and have not given up.
        let refused = || async {
            match worker.call(Count).timeout(soon).await.expect_err("it is full") {
                CallError::Timeout { .. } => None,
                other => Some(other),
            }
        };
        assert_eq!(eventually("a refusal", refused).await, CallError::Overloaded, "{name}");
        MAY_END.add_permits(1);
        let mut counts: Vec<u32> = Vec::new();
        for call in calls {
            counts.push(call.await.expect("it does not panic").expect("there is room in time"));
        }
        for (member, count) in group.await.expect("it does not panic") {
            let count = count.expect("there is room in time");
            if *member.name == *name {
                counts.push(count);
            }
        }
        counts.sort_unstable();
        assert_eq!(counts, [2, 3, 4, 5, 6, 7], "{name}: each once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_wait_for_room_on_another_node_are_handled_in_the_order_in_which_they_were_made() {
    let network = MemoryNetwork::new();
    let [(_a, on_a), (b, _on_b)] = opened_on(&network, "s").await;
    let worker = on_a.register("list", List::default()).on(b.id()).await.expect("free");
    worker.cast(Wait).await.expect("it runs");
    WAITS.acquire().await.expect("it is open").forget();
    let limit = Duration::from_secs(60);
    // One after the other is sent when they are first looked at.
    let calls = tokio::spawn(join_all((0..200).map(|n| worker.call(Put(n)).timeout(limit).into_future())));
    let sent = || async { (network.traffic("a", "b").messages > 200).then_some(()) };
    eventually("all of them on their way", sent).await;
    GOES_ON.add_permits(1);
    let replies = calls.await.expect("it does not panic");
    assert!(replies.iter().all(Result::is_ok), "{replies:?}");
    assert_eq!(worker.call(All).timeout(limit).await, Ok((0..200).collect()));
}
