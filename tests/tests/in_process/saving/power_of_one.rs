//! What is left at each setting when the power of one node fails: its disk keeps what was synced, and nothing else; the others
//! go on with what they have, and it comes back. Then the power of all of them fails.

use std::pin::Pin;

use futures_util::future::join_all;
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm_tests::{FaultyStore, eventually};

use super::counters::{Checkpoints, Each, Every, HandsOver, LocalCheckpoints, LocalEach, Nothing, Often};
use super::{Add, LONG, Life, sum};
use crate::running;

/// How the first message is saved.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Saves {
    Never,
    /// When its worker moves, which it does.
    Moves,
    /// Before its reply, with the replica.
    First,
    /// It is waited for that the replica has it.
    Later,
}

/// What there is of a worker that had 1, saved so, and 10 that nobody was told to be durable: where it goes on when the power of
/// its node fails, when that node is back, and when the power of both has failed.
async fn left_of<W: Lifecycle + Handler<Add> + Default + Sync>(saves: Saves) -> [i64; 3]
where
    Add: Request<W>,
{
    let network = MemoryNetwork::new();
    let a = Life::start(&network, "a", FaultyStore::new()).await;
    let b = Life::start(&network, "b", FaultyStore::new()).await;
    for life in [&a, &b] {
        eventually("both", || async { (life.sworm.nodes().len() == 2).then_some(()) }).await;
    }
    let worker = a.register("x", W::default()).await;
    assert_eq!(worker.call(Add(1)).timeout(LONG).await, Ok(1));
    if saves == Saves::Moves {
        for life in [&b, &a] {
            crate::moved(&a.sworm, "x", life.node.id()).await;
        }
    }
    // Of what was replied to when it was with the replica, nothing more is waited for.
    if matches!(saves, Saves::Moves | Saves::Later) {
        eventually("two holders", || async { (running(&a.sworm, "x").await.holders.len() == 2).then_some(()) }).await;
    }
    if saves != Saves::First {
        for life in [&a, &b] {
            eventually("all of it on the disk", || async { (life.store.unsynced() == 0).then_some(()) }).await;
        }
    }
    running(&b.sworm, "x").await;
    a.store.hold(true);
    let before = a.writes();
    let call = tokio::spawn({
        let worker = worker.clone();
        async move { worker.call(Add(10)).timeout(LONG).await }
    });
    match saves {
        Saves::Never | Saves::Moves => assert_eq!(call.await.expect("it does not panic"), Ok(11)),
        Saves::First | Saves::Later => a.writes_more_than(before).await,
    }
    let disk = a.store.next_life();
    drop((worker, a));
    eventually("it on b", || async { (running(&b.sworm, "x").await.pid.node == *"b").then_some(()) }).await;
    let on_b = sum(&b.sworm.whereis_name::<W>("x").expect("it runs")).await;

    let a = Life::start(&network, "a", disk).await;
    for life in [&a, &b] {
        eventually("both", || async { (life.sworm.nodes().len() == 2).then_some(()) }).await;
    }
    running(&a.sworm, "x").await;
    let back = sum(&a.sworm.whereis_name::<W>("x").expect("it runs")).await;

    let disks = [&a, &b].map(|life| (life.node.id().to_string(), life.store.next_life()));
    drop((a, b));
    let (network, mut lives) = (MemoryNetwork::new(), Vec::new());
    for (id, disk) in disks {
        lives.push(Life::start(&network, &id, disk).await);
    }
    running(&lives[0].sworm, "x").await;
    let all = sum(&lives[0].sworm.whereis_name::<W>("x").expect("it runs")).await;
    [on_b, back, all]
}

type Left = Pin<Box<dyn Future<Output = [i64; 3]> + Send>>;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_saved_as_its_setting_says_is_there_when_the_power_of_its_node_fails_and_when_that_of_all_does() {
    // What was acknowledged is there; what the replica was sent, and nobody was told of, may be.
    let table: [(&str, &[i64], Left); 9] = [
        ("none", &[0], Box::pin(left_of::<Nothing>(Saves::Never))),
        ("handoff", &[0], Box::pin(left_of::<HandsOver>(Saves::Never))),
        ("handoff, moved", &[1], Box::pin(left_of::<HandsOver>(Saves::Moves))),
        ("handoff and checkpoints", &[1, 11], Box::pin(left_of::<Checkpoints>(Saves::First))),
        ("checkpoints, local", &[1, 11], Box::pin(left_of::<LocalCheckpoints>(Saves::Later))),
        ("snapshot = 10ms", &[1, 11], Box::pin(left_of::<Often>(Saves::Later))),
        ("every = 1", &[1, 11], Box::pin(left_of::<Every>(Saves::Later))),
        ("each", &[1, 11], Box::pin(left_of::<Each>(Saves::First))),
        ("each, local", &[1, 11], Box::pin(left_of::<LocalEach>(Saves::Later))),
    ];
    let lines = table.map(|(setting, may, left)| async move { (setting, may, left.await) });
    for (setting, may, [on_b, back, all]) in join_all(lines).await {
        assert!(may.contains(&on_b), "{setting}: {on_b} is left, and not one of {may:?}: something was lost");
        assert_eq!([back, all], [on_b; 2], "{setting}: it goes on from what it was, or that was lost");
    }
}
