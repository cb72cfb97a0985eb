//! What is left at each setting when the power of all nodes fails: their disks keep what was synced, and nothing else.

use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm_tests::eventually;

use super::counters::{Checkpoints, Each, Every, HandsOver, LocalCheckpoints, LocalEach, Nothing, Often};
use super::{Add, LONG, Life, sum};
use crate::running;

/// How a message is saved.
enum Saves {
    Never,
    /// Before its reply.
    First,
    Later,
}

/// Adds 1, which becomes durable if it ever does, and 10, which is written and not synced; gives what is there when the power
/// is back.
async fn left_of<W: Lifecycle + Handler<Add> + Default + Sync>(saves: Saves) -> i64
where
    Add: Request<W>,
{
    let life = Life::alone().await;
    let worker = life.register("x", W::default()).await;
    let before = life.writes();
    assert_eq!(worker.call(Add(1)).timeout(LONG).await, Ok(1));
    if let Saves::Later = saves {
        life.writes_more_than(before).await;
    }
    eventually("all of it on the disk", || async { (life.store.unsynced() == 0).then_some(()) }).await;
    life.store.hold(true);
    let before = life.writes();
    let call = tokio::spawn({
        let worker = worker.clone();
        async move { worker.call(Add(10)).timeout(LONG).await }
    });
    match saves {
        Saves::First => {
            life.writes_more_than(before).await;
            assert!(!call.is_finished(), "nobody is told what is not durable");
        }
        Saves::Later => {
            assert_eq!(call.await.expect("it does not panic"), Ok(11));
            life.writes_more_than(before).await;
        }
        Saves::Never => assert_eq!(call.await.expect("it does not panic"), Ok(11)),
    }
    let disk = life.store.next_life();
    drop((worker, life));
    let again = Life::start(&MemoryNetwork::new(), "a", disk).await;
    running(&again.sworm, "x").await;
    sum(&again.sworm.whereis_name::<W>("x").expect("it runs")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_saved_starts_from_its_registered_value() {
    assert_eq!(left_of::<Nothing>(Saves::Never).await, 0);
    assert_eq!(left_of::<HandsOver>(Saves::Never).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_replied_to_is_there_where_the_reply_waited_for_the_disk() {
    assert_eq!(left_of::<Checkpoints>(Saves::First).await, 1);
    assert_eq!(left_of::<LocalCheckpoints>(Saves::First).await, 1);
    assert_eq!(left_of::<Each>(Saves::First).await, 1);
    assert_eq!(left_of::<LocalEach>(Saves::First).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_saved_in_the_background_is_there_as_far_as_it_was_synced() {
    assert_eq!(left_of::<Often>(Saves::Later).await, 1);
    assert_eq!(left_of::<Every>(Saves::Later).await, 1);
}
