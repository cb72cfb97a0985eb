//! `durable = "local"`: a checkpoint waits for the worker's own disk, and for no other.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sworm::Event;
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm_tests::{FaultyStore, eventually, holds_for};

use super::{Add, LONG, Life, sum};
use crate::running;

/// How long a replica that does not answer is waited for, and a little less.
const LEFT_OUT: Duration = Duration::from_millis(1_900);

macro_rules! worker {
    ($name:literal, $worker:ident, $($option:tt)*) => {
        #[derive(Worker, Serialize, Deserialize, Default)]
        #[worker(name = $name, handles(Add), $($option)*)]
        struct $worker {
            total: i64,
        }

        impl Handler<Add> for $worker {
            async fn handle(&mut self, Add(n): Add, ctx: &mut Context<Self>) -> i64 {
                self.total += n;
                ctx.checkpoint().await.expect("it saves its state");
                self.total
            }
        }
    };
}

worker!("saving.local", Local, handoff, durable = "local");
worker!("saving.local.each", LocalEach, snapshot = "each", durable = "local");
worker!("saving.replicated", Replicated, handoff);
worker!("saving.replicated.each", ReplicatedEach, snapshot = "each", durable = "replicas");

async fn took<W: Handler<Add>>(worker: &Ref<W>) -> Duration
where
    Add: Request<W>,
{
    let asked = Instant::now();
    worker.call(Add(1)).timeout(LONG).await.expect("it is durable here");
    asked.elapsed()
}

async fn held_by_both(life: &Life, name: &str) {
    eventually("both hold it", || async { (running(&life.sworm, name).await.holders.len() == 2).then_some(()) }).await;
}

/// Some calls, of which one at least does not happen to be slow.
async fn waits_for_no_replica<W: Handler<Add>>(worker: &Ref<W>)
where
    Add: Request<W>,
{
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        fastest = fastest.min(took(worker).await);
    }
    assert!(fastest < LEFT_OUT, "each waited for the replica, at least {fastest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_checkpoint_does_not_wait_for_a_replica_which_gets_it_all_the_same() {
    let [a, b] = Life::pair().await;
    let worker = a.register("x", Local::default()).await;
    let each = a.register("y", LocalEach::default()).await;
    b.store.hold(true);
    waits_for_no_replica(&worker).await;
    waits_for_no_replica(&each).await;
    // But for its own disk it does.
    a.store.hold(true);
    let before = a.writes();
    let call = tokio::spawn({
        let worker = worker.clone();
        async move { worker.call(Add(1)).timeout(LONG).await }
    });
    a.writes_more_than(before).await;
    holds_for(Duration::from_millis(300), "it is not durable here", || async { !call.is_finished() }).await;
    a.store.hold(false);
    assert_eq!(call.await.expect("it does not panic"), Ok(6));
    b.store.hold(false);
    // A copy that was left out meanwhile is made up for with the next one.
    assert_eq!((sum(&worker).await, sum(&each).await), (6, 5));
    worker.call(Add(1)).await.expect("it runs");
    each.call(Add(1)).await.expect("it runs");
    held_by_both(&a, "x").await;
    held_by_both(&a, "y").await;
    drop((worker, each, a));
    eventually("both on the other node", || async {
        let (x, y) = (running(&b.sworm, "x").await.pid, running(&b.sworm, "y").await.pid);
        (x.node == *"b" && y.node == *"b").then_some(())
    })
    .await;
    assert_eq!(sum(&b.sworm.whereis_name::<Local>("x").expect("it runs")).await, 7);
    assert_eq!(sum(&b.sworm.whereis_name::<LocalEach>("y").expect("it runs")).await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_checkpoint_waits_until_the_replica_has_it_or_is_left_out() {
    let [a, b] = Life::pair().await;
    let worker = a.register("x", Replicated::default()).await;
    let each = a.register("y", ReplicatedEach::default()).await;
    b.store.hold(true);
    let (worker_took, each_took) = tokio::join!(took(&worker), took(&each));
    assert!(worker_took >= LEFT_OUT && each_took >= LEFT_OUT, "{worker_took:?}, {each_took:?}");
    assert_eq!(running(&a.sworm, "x").await.holders.len(), 1, "it is known that only one has it");
    b.store.hold(false);
    worker.call(Add(1)).await.expect("it runs");
    held_by_both(&a, "x").await;
}

/// Merges the states that it lacks, if its name says so.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "saving.local.merges", handles(Add), snapshot = "each", durable = "local", lifecycle)]
struct Merges {
    total: i64,
}

/// What they were given.
static GIVEN: Mutex<Vec<(String, i64)>> = Mutex::new(Vec::new());

impl Lifecycle for Merges {
    async fn on_diverged(&mut self, other: Self, ctx: &mut Context<Self>) {
        GIVEN.lock().expect("nobody panics with it").push((ctx.name().to_owned(), other.total));
        if ctx.name() == "merges" {
            self.total += other.total;
            ctx.checkpoint().await.expect("it saves its state");
        }
    }
}

impl Handler<Add> for Merges {
    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> i64 {
        self.total += n;
        self.total
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_replica_had_is_given_to_the_worker_that_went_on_without_it_when_its_node_is_back() {
    let network = MemoryNetwork::new();
    let a = Life::start(&network, "a", FaultyStore::new()).await;
    let b = Life::start(&network, "b", FaultyStore::new()).await;
    for life in [&a, &b] {
        eventually("both", || async { (life.sworm.nodes().len() == 2).then_some(()) }).await;
    }
    let names = ["merges", "drops"];
    for name in names {
        let worker = a.register(name, Merges::default()).await;
        assert_eq!(worker.call(Add(1)).timeout(LONG).await, Ok(1));
        held_by_both(&a, name).await;
        held_by_both(&b, name).await;
    }
    // The replica gets nothing of it, and the reply waits for none.
    network.cut("a", "b");
    for name in names {
        let worker = a.sworm.whereis_name::<Merges>(name).expect("it runs");
        assert_eq!(worker.call(Add(10)).timeout(LONG).await, Ok(11));
    }
    let disk = a.store.next_life();
    drop(a);
    for name in names {
        eventually("it on b", || async { (running(&b.sworm, name).await.pid.node == *"b").then_some(()) }).await;
        let worker = b.sworm.whereis_name::<Merges>(name).expect("it runs");
        assert_eq!(sum(&worker).await, 1, "what the replica has");
        assert_eq!(worker.call(Add(100)).timeout(LONG).await, Ok(101));
    }
    let mut events = b.sworm.events();
    network.heal("a", "b");
    let a = Life::start(&network, "a", disk).await;
    let told = async {
        let mut told = Vec::new();
        while told.len() < names.len() {
            match events.next().await.expect("the node runs") {
                Event::StateDiverged { pid, node, .. } => told.push((pid.name.to_string(), node.to_string())),
                Event::RestoredOlder { name, .. } => panic!("{name} was started anew"),
                _ => {}
            }
        }
        told.sort();
        told
    };
    let told = tokio::time::timeout(LONG, told).await.expect("it is told");
    assert_eq!(told, [("drops".to_owned(), "a".to_owned()), ("merges".to_owned(), "a".to_owned())]);
    for (name, total) in [("merges", 112), ("drops", 101)] {
        running(&a.sworm, name).await;
        let worker = a.sworm.whereis_name::<Merges>(name).expect("it runs");
        eventually("what it makes of it", || async { (worker.call(Add(0)).await == Ok(total)).then_some(()) }).await;
        assert_eq!(running(&a.sworm, name).await.pid.node, *"b", "it has run on");
        // At least once, and never anything else.
        let given = || GIVEN.lock().expect("nobody panics with it").iter().filter(|(of, _)| of == name).count();
        eventually("that it was given", || async { (given() > 0).then_some(()) }).await;
    }
    assert!(GIVEN.lock().expect("nobody panics with it").iter().all(|(_, total)| *total == 11));
}
