//! States that cannot be saved.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{Error, Event, Events, LeaveError, MAX_SNAPSHOT_LIMIT, MoveError, StartError};

use super::{Add, AddAndCrash, Life, sum};

const LIMIT: usize = 16 << 20;

/// The sum, and as much text as is asked for.
macro_rules! worker {
    ($name:literal, $worker:ident, $($option:tt)*) => {
        #[derive(Worker, Serialize, Deserialize, Default)]
        #[worker(name = $name, handles(Add, AddAndCrash, Text), $($option)*)]
        struct $worker {
            #[serde(serialize_with = "known")]
            total: i64,
            text: String,
        }

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

        impl Handler<Text> for $worker {
            async fn handle(&mut self, Text { bytes, save }: Text, ctx: &mut Context<Self>) -> usize {
                self.text = "x".repeat(bytes);
                if save {
                    ctx.checkpoint().await.expect("it saves its state");
                }
                bytes
            }
        }
    };
}

worker!("saving.large.each", Each, snapshot = "each");
worker!("saving.large.asked", Asked, handoff);
worker!("saving.large.paced", Paced, snapshot = "50ms");

/// Sets the text, and asks for a checkpoint or not.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.text", reply = usize)]
struct Text {
    bytes: usize,
    save: bool,
}

/// The sums that cannot be written.
const FAILS: i64 = 13;
const PANICS: i64 = 14;

fn known<S: serde::Serializer>(total: &i64, to: S) -> Result<S::Ok, S::Error> {
    assert!(*total != PANICS, "it panics with 14");
    if *total == FAILS {
        return Err(serde::ser::Error::custom("13 cannot be written"));
    }
    to.serialize_i64(*total)
}

#[track_caller]
fn is_too_large(result: Result<usize, CallError>) {
    let Err(error) = result else { panic!("it is too large") };
    assert!(error.is_unknown_outcome(), "{error}");
    assert!(matches!(error, CallError::StateTooLarge { bytes, limit: LIMIT } if bytes > LIMIT), "{error}");
}

/// The reason of the next event that says that a state was not saved.
async fn not_saved(events: &mut Events) -> (Pid, Arc<str>) {
    let told = async {
        loop {
            if let Some(Event::SnapshotFailed { pid, reason }) = events.next().await {
                return (pid, reason);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(40), told).await.expect("it is told")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_too_large_for_a_reply_is_said_and_the_worker_goes_on() {
    let [a, b] = Life::pair().await;
    let each = a.register("each", Each::default()).await;
    let asked = a.register("asked", Asked::default()).await;
    drop(a.register("there", Each::default()).await);
    crate::running(&b.sworm, "there").await;
    let there = b.sworm.whereis_name::<Each>("there").expect("it runs");
    let too_large = || Text { bytes: LIMIT, save: true };
    let small = || Text { bytes: 1 << 10, save: true };
    for each in [each, there] {
        let pid = each.pid();
        is_too_large(each.call(too_large()).timeout(Duration::from_secs(40)).await);
        is_too_large(each.call(Text { bytes: LIMIT + 1, save: false }).timeout(Duration::from_secs(40)).await);
        assert_eq!(each.call(small()).await, Ok(1 << 10));
        assert_eq!(each.call(Add(5)).await, Ok(5));
        assert_eq!(each.pid(), pid, "it has run on");
        each.call(AddAndCrash(100)).await.expect_err("it crashes");
        assert_eq!(sum(&each).await, 5);
    }
    let pid = asked.pid();
    is_too_large(asked.call(too_large()).timeout(Duration::from_secs(40)).await);
    assert_eq!(asked.call(Add(5)).await, Ok(5));
    assert_eq!(asked.call(small()).await, Ok(1 << 10));
    assert_eq!(asked.pid(), pid, "it has run on");
    asked.call(AddAndCrash(100)).await.expect_err("it crashes");
    assert_eq!(sum(&asked).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_cannot_be_saved_in_the_background_is_an_event_and_the_worker_goes_on() {
    let life = Life::alone().await;
    let mut events = life.sworm.events();
    let worker = life.register("x", Paced::default()).await;
    life.writes_more_than(0).await;
    let pid = worker.pid();
    worker.call(Text { bytes: LIMIT, save: false }).await.expect("nothing waits for the state");
    let (of, reason) = not_saved(&mut events).await;
    assert!(of == pid && reason.contains("16777216"), "{reason}");
    worker.call(Text { bytes: 0, save: false }).await.expect("nothing waits for the state");
    let mut now = 0;
    for (total, text, after) in [(FAILS, "13 cannot be written", 1), (PANICS, "it panics with 14", 2)] {
        assert_eq!(worker.call(Add(total - now)).await, Ok(total));
        let (of, reason) = not_saved(&mut events).await;
        assert!(of == pid && reason.contains(text), "{reason}");
        let before = life.writes();
        assert_eq!(worker.call(Add(after - total)).await, Ok(after));
        life.writes_more_than(before).await;
        now = after;
    }
    assert_eq!(worker.pid(), pid, "it has run on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_state_cannot_be_saved_does_not_move_and_who_asked_is_told_why_at_once() {
    let [a, b] = Life::pair().await;
    let mut events = a.sworm.events();
    let worker = a.register("x", Asked::default()).await;
    assert_eq!(worker.call(Add(5)).await, Ok(5));
    worker.call(Text { bytes: LIMIT, save: false }).await.expect("nothing is saved");
    let pid = worker.pid();
    let refused = a.sworm.move_name("x", "b").await;
    let Err(MoveError::NotSaved { why }) = &refused else { panic!("{refused:?}") };
    assert!(why.contains("at most 16777216"), "{why}");
    let (of, reason) = not_saved(&mut events).await;
    assert!(of == pid && reason.contains("at most 16777216"), "{reason}");
    assert_eq!(worker.call(Add(0)).await, Ok(5), "it goes on with what it has");
    assert_eq!(worker.pid(), pid);
    worker.call(Text { bytes: 10, save: false }).await.expect("nothing is saved");
    let moved = a.sworm.move_name("x", "b").await.expect("now it can be saved");
    assert_eq!(moved.node, *b.node.id());
    assert_eq!(sum(&worker).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_says_how_many_states_could_not_be_saved() {
    // Alone, and with one that could take it.
    let [a, b] = Life::pair().await;
    for (life, others) in [(Life::alone().await, None), (a, Some(b))] {
        let mut events = life.sworm.events();
        let worker = life.register("x", Asked::default()).await;
        drop(life.register("small", Asked::default()).await);
        worker.call(Text { bytes: 10, save: true }).await.expect("it is small");
        assert_eq!(worker.call(Add(5)).await, Ok(5));
        worker.call(Text { bytes: LIMIT, save: false }).await.expect("nothing is saved");
        let left = life.node.leave_within(Duration::from_secs(2)).await;
        assert!(matches!(left, Err(Error::Leave(LeaveError::NotSaved { workers: 1 }))), "{left:?}");
        let (_, reason) = not_saved(&mut events).await;
        assert!(reason.contains("at most 16777216"), "{reason}");
        if let Some(other) = others {
            crate::running(&other.sworm, "x").await;
            let after = other.sworm.whereis_name::<Asked>("x").expect("it runs");
            assert_eq!(sum(&after).await, 0, "it starts from its last checkpoint");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_how_large_a_state_may_be() {
    let build = || Node::builder("a").in_memory().memory_network(&MemoryNetwork::new());
    for bytes in [0, MAX_SNAPSHOT_LIMIT + 1] {
        let refused = build().snapshot_limit(bytes).start().await;
        assert!(matches!(refused, Err(Error::Start(StartError::BadSnapshotLimit { bytes: given })) if given == bytes));
    }
    for (limit, bytes) in [(1_000, 900), (LIMIT + (1 << 20), LIMIT)] {
        let node = build().snapshot_limit(limit).start().await.expect("it starts");
        let sworm = node.sworm("s").await.expect("it opens");
        let worker = sworm.register_name("x", Each::default()).await.expect("free");
        let text = |bytes| worker.call(Text { bytes, save: true }).timeout(Duration::from_secs(40));
        assert_eq!(text(bytes).await, Ok(bytes));
        let refused = text(limit).await;
        assert!(matches!(refused, Err(CallError::StateTooLarge { limit: said, .. }) if said == limit), "{refused:?}");
        assert_eq!(text(bytes).await, Ok(bytes), "it goes on");
    }
}
