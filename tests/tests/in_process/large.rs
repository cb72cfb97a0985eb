//! States of many chunks: they move, are copied and come back, and nothing waits behind them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{Event, MoveError};
use sworm_tests::{FaultyStore, eventually};
use xxhash_rust::xxh3::xxh3_64;

use crate::running;

/// What the largest state may have besides its load.
const REST_BYTES: usize = 100;
const LARGEST: usize = (16 << 20) - REST_BYTES;
/// What takes long where nothing is optimised and the machine is busy.
const LONG: Duration = Duration::from_secs(60);
/// What a chunk weighs, and a little less.
const CHUNK: usize = 250_000;
/// How long the reply of the small worker is, with all that is around it.
const REPLY: std::ops::Range<usize> = 5_000..6_000;

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "large.large", handles(Sum, Grow, Save), handoff)]
struct Large {
    #[serde(with = "serde_bytes")]
    load: Vec<u8>,
}

/// The checksum of the state.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "large.sum", reply = u64)]
struct Sum;

/// Changes the state and makes that durable; gives the new checksum.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "large.save", reply = u64)]
struct Save(u8);

/// Changes the state to one of that many bytes; gives the new checksum.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "large.grow", reply = u64)]
struct Grow(usize);

impl Handler<Grow> for Large {
    async fn handle(&mut self, Grow(bytes): Grow, _: &mut Context<Self>) -> u64 {
        let mut rng = fastrand::Rng::with_seed(7);
        self.load = std::iter::repeat_with(|| rng.u8(..)).take(bytes).collect();
        xxh3_64(&self.load)
    }
}

impl Handler<Sum> for Large {
    async fn handle(&mut self, _: Sum, _: &mut Context<Self>) -> u64 {
        xxh3_64(&self.load)
    }
}

impl Handler<Save> for Large {
    async fn handle(&mut self, Save(byte): Save, ctx: &mut Context<Self>) -> u64 {
        self.load.fill(byte);
        ctx.checkpoint().await.expect("it saves its state");
        xxh3_64(&self.load)
    }
}

/// Is never encoded the same way twice, and too large for that to be noticed at once.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "large.turning", handles(Turns), handoff = Turn)]
struct Turning {
    #[serde(skip)]
    turns: AtomicU8,
    #[serde(skip)]
    restored: Option<bool>,
}

#[derive(Serialize, Deserialize)]
struct Turn(#[serde(with = "serde_bytes")] Vec<u8>);

/// Whether it was made from what was encoded at one time; `None` if it was not made from anything.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "large.turns", reply = Option<bool>)]
struct Turns;

impl Handoff<Turn> for Turning {
    fn save(&self) -> Turn {
        Turn(vec![self.turns.fetch_add(1, Relaxed); 20 * CHUNK])
    }

    fn restore(&mut self, Turn(bytes): Turn) {
        self.restored = Some(bytes.len() == 20 * CHUNK && bytes.iter().all(|byte| *byte == bytes[0]));
    }
}

impl Handler<Turns> for Turning {
    async fn handle(&mut self, _: Turns, _: &mut Context<Self>) -> Option<bool> {
        self.restored
    }
}

/// Takes long to be encoded, each time.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "large.slow", handles(Turns), handoff = Load)]
struct Slow {
    #[serde(skip)]
    restored: Option<bool>,
}

#[derive(Serialize, Deserialize)]
struct Load(#[serde(with = "serde_bytes")] Vec<u8>);

const LOAD: usize = 17 * CHUNK;
const ENCODING: Duration = Duration::from_millis(300);

impl Handoff<Load> for Slow {
    fn save(&self) -> Load {
        std::thread::sleep(ENCODING);
        Load(vec![7; LOAD])
    }

    fn restore(&mut self, Load(bytes): Load) {
        self.restored = Some(bytes.len() == LOAD);
    }
}

impl Handler<Turns> for Slow {
    async fn handle(&mut self, _: Turns, _: &mut Context<Self>) -> Option<bool> {
        self.restored
    }
}

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "large.small", handles(Say))]
struct Small;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "large.say", reply = String)]
struct Say;

impl Handler<Say> for Small {
    async fn handle(&mut self, _: Say, _: &mut Context<Self>) -> String {
        "x".repeat(REPLY.start)
    }
}

async fn start(network: &MemoryNetwork, id: &str, store: Arc<FaultyStore>) -> (Node, Sworm) {
    let node = Node::builder(id).memory_network(network).store_with(store).start().await.expect("it starts");
    let sworm = node.sworm("s").await.expect("it opens");
    (node, sworm)
}

async fn pair(network: &MemoryNetwork) -> [(Node, Sworm, Arc<FaultyStore>); 2] {
    let [a, b] = [FaultyStore::new(), FaultyStore::new()];
    let (node_a, on_a) = start(network, "a", a.clone()).await;
    let (node_b, on_b) = start(network, "b", b.clone()).await;
    for sworm in [&on_a, &on_b] {
        eventually("both", || async { (sworm.nodes().len() == 2).then_some(()) }).await;
    }
    [(node_a, on_a, a), (node_b, on_b, b)]
}

async fn sum(worker: &Ref<Large>) -> u64 {
    eventually("the sum", || async { worker.call(Sum).timeout(LONG).await.ok() }).await
}

async fn held_by_both(sworm: &Sworm) {
    eventually("both hold it", || async { (running(sworm, "x").await.holders.len() == 2).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_of_16_mib_moves_and_a_reply_waits_behind_a_few_of_its_chunks_only() {
    let network = MemoryNetwork::new();
    let [(a, on_a, _), (b, on_b, _)] = pair(&network).await;
    let worker = on_a.register("x", Large::default()).on(a.id()).await.expect("free");
    let expected = worker.call(Grow(LARGEST)).timeout(LONG).await.expect("it runs");
    on_a.register("small", Small).on(a.id()).await.expect("free");
    let small = eventually("it is known", || async { on_b.whereis_name::<Small>("small") }).await;

    network.hold("a", "b");
    let moving = tokio::spawn({
        let (sworm, to) = (on_a.clone(), b.id().clone());
        async move { sworm.move_name("x", &to).await }
    });
    // Everything but chunks gets through, until some of them stand in the way.
    let chunks = || network.held("a", "b").into_iter().filter(|bytes| *bytes > CHUNK).count();
    eventually("chunks", || async {
        while network.held("a", "b").first().is_some_and(|next| *next < CHUNK) {
            network.let_through("a", "b");
        }
        (chunks() > 0).then_some(())
    })
    .await;
    let calling = tokio::spawn(async move { small.call(Say).timeout(LONG).await });
    let before = eventually("the reply", || async {
        let held = network.held("a", "b");
        held.iter().position(|bytes| REPLY.contains(bytes)).map(|at| held[..at].to_vec())
    })
    .await;
    let before = before.into_iter().filter(|bytes| *bytes > CHUNK).count();
    assert!((1..=4).contains(&before), "{before} chunks were sent before a call was answered");
    assert_eq!(worker.pid().node, *a.id(), "most of the state has not been sent");
    network.release("a", "b");
    assert_eq!(calling.await.expect("no panic").map(|said| said.len()), Ok(REPLY.start));
    // It may take longer than there is time to tell of it.
    let moved = moving.await.expect("no panic");
    assert!(matches!(moved, Ok(_) | Err(MoveError::Timeout { .. })), "{moved:?}");
    eventually("it there", || async { (worker.pid().node == *b.id()).then_some(()) }).await;
    assert_eq!(sum(&worker).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_never_encoded_the_same_way_twice_comes_as_it_was_at_one_time() {
    let [(a, on_a, _), (b, ..)] = pair(&MemoryNetwork::new()).await;
    let worker = on_a.register("x", Turning::default()).on(a.id()).await.expect("free");
    assert_eq!(worker.call(Turns).await, Ok(None));
    let pid = crate::moved(&on_a, "x", b.id()).await;
    assert_eq!(pid.node, *b.id());
    let restored = eventually("it runs", || async { worker.call(Turns).timeout(LONG).await.ok() }).await;
    assert_eq!(restored, Some(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn large_states_that_wait_for_each_other_when_their_node_leaves_all_come() {
    const WORKERS: usize = 52;
    let [(a, on_a, _), (b, on_b, _)] = pair(&MemoryNetwork::new()).await;
    for n in 0..WORKERS {
        on_a.register(format!("x-{n}"), Slow::default()).on(a.id()).await.expect("free");
    }
    let mut events = on_a.events();
    let in_vain = tokio::spawn(async move {
        let mut in_vain = Vec::new();
        while let Some(event) = events.next().await {
            if matches!(event, Event::SnapshotFailed { .. } | Event::Resumed { .. } | Event::Missed { .. }) {
                in_vain.push(event);
            }
        }
        in_vain
    });
    // Four at a time are saved: it takes longer than a worker has to pause, and than a receiver is waited for.
    a.leave().await.expect("in good order");
    drop((a, on_a));
    assert_eq!(in_vain.await.expect("no panic"), []);
    for n in 0..WORKERS {
        let worker = eventually("its name", || async { on_b.whereis_name::<Slow>(&format!("x-{n}")) }).await;
        let restored = eventually("it there", || async { worker.call(Turns).timeout(LONG).await.ok() }).await;
        assert_eq!((restored, &worker.pid().node), (Some(true), b.id()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_has_all_of_a_state_before_a_checkpoint_counts_and_goes_on_with_it() {
    let network = MemoryNetwork::new();
    let [(a, on_a, _), (b, on_b, _)] = pair(&network).await;
    let worker = on_a.register("x", Large::default()).on(a.id()).await.expect("free");
    worker.call(Grow(3 << 20)).timeout(LONG).await.expect("it runs");
    let expected = worker.call(Save(9)).timeout(LONG).await.expect("it is durable");
    held_by_both(&on_b).await;
    let elsewhere = eventually("it is known", || async { on_b.whereis_name::<Large>("x") }).await;
    drop((a, on_a, worker));
    eventually("it runs elsewhere", || async { (running(&on_b, "x").await.pid.node == *b.id()).then_some(()) }).await;
    assert_eq!(sum(&elsewhere).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_state_is_there_when_all_nodes_start_again() {
    let network = MemoryNetwork::new();
    let [(a, on_a, disk_a), (b, _on_b, disk_b)] = pair(&network).await;
    let worker = on_a.register("x", Large::default()).on(a.id()).await.expect("free");
    worker.call(Grow(3 << 20)).timeout(LONG).await.expect("it runs");
    worker.call(Save(1)).timeout(LONG).await.expect("it is durable");
    let expected = worker.call(Save(2)).timeout(LONG).await.expect("it is durable");
    drop(worker);
    for node in [a, b] {
        node.leave().await.expect("it leaves");
    }
    drop(on_a);
    let network = MemoryNetwork::new();
    let (_a, on_a) = start(&network, "a", disk_a.next_life()).await;
    let (_b, _on_b) = start(&network, "b", disk_b.next_life()).await;
    let worker = eventually("its name", || async { on_a.whereis_name::<Large>("x") }).await;
    assert_eq!(sum(&worker).await, expected);
}
