//! Starts that take long.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{BoxError, Error, RegisterError, StartError};
use sworm_tests::{eventually, holds_for};
use tokio::sync::Semaphore;

use super::{Bystander, Bystanders, LONG};

/// How long others may take beside one that blocks its thread.
const PATIENCE: Duration = Duration::from_secs(20);

/// Starts when it may.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "gated", lifecycle, start_timeout = "60s")]
struct Gated;

static GATE: Semaphore = Semaphore::const_new(0);
static AT_THE_GATE: AtomicUsize = AtomicUsize::new(0);

impl Lifecycle for Gated {
    async fn started(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        AT_THE_GATE.fetch_add(1, Relaxed);
        GATE.acquire().await?.forget();
        AT_THE_GATE.fetch_sub(1, Relaxed);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn so_many_slow_starts_delay_no_other_as_a_node_makes_at_a_time() {
    let network = MemoryNetwork::new();
    let build = || Node::builder("a").in_memory().memory_network(&network);
    let none = build().concurrent_starts(0).start().await;
    let Err(Error::Start(none @ StartError::BadConcurrentStarts { starts: 0 })) = none else { panic!("{none:?}") };
    assert!(none.to_string().starts_with("`concurrent_starts` is 0; a node must start at least 1 "), "{none}");
    let node = build().concurrent_starts(8).start().await.expect("it starts");
    let sworm = node.sworm("s").await.expect("it opens");
    let mut bystanders = Bystanders::on(&sworm).await;
    // One place is left.
    let slow: Vec<_> = (0..7).map(|n| tokio::spawn(register_gated(sworm.clone(), n))).collect();
    eventually("the slow ones", || async { (AT_THE_GATE.load(Relaxed) == 7).then_some(()) }).await;
    bystanders
        .meanwhile(async {
            for n in 0..20 {
                sworm.register_name(format!("quick-{n}"), Bystander::default()).await.expect("free");
            }
        })
        .await;
    // And now none: the next one waits for its turn, however long that is.
    let last = tokio::spawn(register_gated(sworm.clone(), 7));
    eventually("the last one", || async { (AT_THE_GATE.load(Relaxed) == 8).then_some(()) }).await;
    let waiting = tokio::spawn({
        let sworm = sworm.clone();
        async move { sworm.register("waiting", Bystander::default()).timeout(LONG).await }
    });
    eventually("its turn to come", || async { sworm.whereis("waiting") }).await;
    let waits = || async { !waiting.is_finished() };
    bystanders.meanwhile(holds_for(Duration::from_millis(300), "it waits", waits)).await;
    GATE.add_permits(8);
    for started in join_all(slow.into_iter().chain([last])).await {
        started.expect("it does not panic").expect("free");
    }
    waiting.await.expect("it does not panic").expect("free");
}

/// Blocks its thread as it starts, until it is let go.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "blocks-in-started", lifecycle, start_timeout = "60s")]
struct Blocks;

static HELD: Mutex<Option<mpsc::Receiver<()>>> = Mutex::new(None);
static BLOCKS: AtomicBool = AtomicBool::new(false);

impl Lifecycle for Blocks {
    async fn started(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        let held = HELD.lock().unwrap_or_else(PoisonError::into_inner).take();
        BLOCKS.store(true, Relaxed);
        // Whoever is to let it go may be gone.
        let _ = held.map(|held| held.recv());
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_blocks_its_thread_as_it_starts_delays_no_other() {
    let (let_go, held) = mpsc::channel();
    *HELD.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
    let network = MemoryNetwork::new();
    let node = Node::builder("a").in_memory().memory_network(&network).start().await.expect("it starts");
    let sworm = node.sworm("s").await.expect("it opens");
    let blocked = tokio::spawn({
        let sworm = sworm.clone();
        async move { sworm.register("blocks", Blocks).timeout(LONG).await }
    });
    eventually("the start", || async { BLOCKS.load(Relaxed).then_some(()) }).await;
    for n in 0..20 {
        let quick = sworm.register(format!("quick-{n}"), Bystander::default()).timeout(LONG);
        tokio::time::timeout(PATIENCE, quick).await.expect("nobody waits for the one that blocks").expect("free");
    }
    drop(let_go);
    blocked.await.expect("it does not panic").expect("free");
}

async fn register_gated(sworm: Sworm, n: usize) -> Result<Ref<Gated>, RegisterError> {
    sworm.register(format!("gated-{n}"), Gated).timeout(LONG).await
}
