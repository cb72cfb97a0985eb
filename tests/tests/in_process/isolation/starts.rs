//! Starts that take long.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{BoxError, Error, RegisterError, StartError};
use sworm_tests::eventually;
use tokio::sync::Semaphore;

use super::{Bystander, Bystanders, LONG};

/// How long others may take beside those that start for long, which may take much longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Starts when it may.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "gated", lifecycle, start_timeout = "10m")]
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
async fn starts_that_hang_make_way_for_others_however_many_they_are() {
    let network = MemoryNetwork::new();
    let build = || Node::builder("a").in_memory().memory_network(&network);
    let none = build().concurrent_starts(0).start().await;
    let Err(Error::Start(none @ StartError::BadConcurrentStarts { starts: 0 })) = none else { panic!("{none:?}") };
    assert!(none.to_string().starts_with("`concurrent_starts` is 0; a node must start at least 1 "), "{none}");
    let node = build().concurrent_starts(2).start().await.expect("it starts");
    let sworm = node.sworm("s").await.expect("it opens");
    let mut bystanders = Bystanders::on(&sworm).await;
    // One place is left.
    let mut slow = vec![tokio::spawn(register_gated(sworm.clone(), 0))];
    eventually("the slow one", || async { (AT_THE_GATE.load(Relaxed) == 1).then_some(()) }).await;
    bystanders.meanwhile(register_quick(&sworm, 0..20)).await;
    // Now there are more of them than places. The first one counts no more, and the next two do not make way before their time.
    let began = Instant::now();
    slow.extend((1..6).map(|n| tokio::spawn(register_gated(sworm.clone(), n))));
    let all_hang = eventually("all of them", || async { (AT_THE_GATE.load(Relaxed) == 6).then_some(()) });
    bystanders.meanwhile(all_hang).await;
    assert!(began.elapsed() >= Duration::from_secs(1), "they have all begun within {:?}", began.elapsed());
    bystanders.meanwhile(register_quick(&sworm, 20..40)).await;
    assert_eq!(AT_THE_GATE.load(Relaxed), 6, "none of them has started, or has been given up");
    GATE.add_permits(6);
    for started in join_all(slow).await {
        started.expect("it does not panic").expect("free");
    }
}

async fn register_quick(sworm: &Sworm, numbers: Range<u32>) {
    for n in numbers {
        let quick = sworm.register(format!("quick-{n}"), Bystander::default()).timeout(LONG);
        tokio::time::timeout(PATIENCE, quick).await.expect("nobody waits for the slow ones").expect("free");
    }
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
    // There is no place for anybody else until it makes way, which it cannot say itself.
    let node = Node::builder("a").in_memory().memory_network(&network).concurrent_starts(1).start().await;
    let node = node.expect("it starts");
    let sworm = node.sworm("s").await.expect("it opens");
    let blocked = tokio::spawn({
        let sworm = sworm.clone();
        async move { sworm.register("blocks", Blocks).timeout(LONG).await }
    });
    eventually("the start", || async { BLOCKS.load(Relaxed).then_some(()) }).await;
    register_quick(&sworm, 0..20).await;
    drop(let_go);
    blocked.await.expect("it does not panic").expect("free");
}

async fn register_gated(sworm: Sworm, n: usize) -> Result<Ref<Gated>, RegisterError> {
    sworm.register(format!("gated-{n}"), Gated).timeout(LONG).await
}
