//! A worker that comes back to a state that was durable before: what was saved meanwhile has taken its place.

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm_tests::eventually;

use super::{Add, AddAndCrash, Life, sum};

macro_rules! worker {
    ($worker:ident, $name:literal, $($options:tt)*) => {
        #[derive(Worker, Serialize, Deserialize, Default)]
        #[worker(name = $name, handles(Add, AddAndCrash, Keep), $($options)*)]
        struct $worker {
            total: i64,
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

        impl Handler<Keep> for $worker {
            async fn handle(&mut self, Keep(total): Keep, ctx: &mut Context<Self>) {
                self.total = total;
                ctx.checkpoint().await.expect("it saves its state");
            }
        }
    };
}

/// Sets the sum and makes that durable.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.keep", reply = ())]
struct Keep(i64);

worker!(Paced, "saving.returns-paced", snapshot = "50ms");
worker!(Moved, "saving.returns-moved", handoff);

#[tokio::test(flavor = "multi_thread")]
async fn what_was_saved_meanwhile_without_a_wait_is_not_taken_for_what_was_durable_before() {
    let life = Life::alone().await;
    let worker = life.register("x", Paced::default()).await;
    worker.call(Keep(1)).await.expect("it is durable");
    life.writes_no_more().await;
    let before = life.writes();
    assert_eq!(worker.call(Add(1)).await, Ok(2));
    life.writes_more_than(before).await;
    life.writes_no_more().await;
    worker.call(Keep(1)).await.expect("it is durable again");
    worker.call(AddAndCrash(100)).await.expect_err("it crashes");
    assert_eq!(sum(&worker).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_saved_for_a_move_that_did_not_come_about_is_not_taken_for_what_was_durable_before() {
    let [a, b] = Life::pair().await;
    let worker = a.register("x", Moved::default()).await;
    worker.call(Keep(1)).await.expect("it is durable");
    assert_eq!(worker.call(Add(1)).await, Ok(2));
    let before = a.writes();
    // It cannot make the state durable, and accepts none before.
    b.store.hold(true);
    let moved = tokio::spawn({
        let (sworm, to) = (a.sworm.clone(), b.node.id().clone());
        async move { sworm.move_name("x", &to).await }
    });
    a.writes_more_than(before).await;
    drop(b);
    eventually("its end", || async { (a.sworm.nodes().len() == 1).then_some(()) }).await;
    moved.await.expect("it does not panic").expect_err("nobody takes it");
    eventually("a checkpoint", || async { worker.call(Keep(1)).await.ok() }).await;
    worker.call(AddAndCrash(100)).await.expect_err("it crashes");
    assert_eq!(sum(&worker).await, 1);
}
