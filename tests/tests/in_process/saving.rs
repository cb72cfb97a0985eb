//! When states are saved, what waits for that, and what is left of them afterwards.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::store::Space;
use sworm::transport::MemoryNetwork;
use sworm_tests::{FaultyStore, eventually, holds_for};

mod asking;
mod background;
mod counters;
mod each;
mod flooding;
mod hanging;
mod hooks;
mod limits;
mod local;
mod outbox;
mod power;
mod power_of_one;
mod reading;
mod requests;
mod returning;
mod running;
mod stopping;
mod unsaved;
mod versions;
mod waiting;

/// What the test holds up, or what takes long on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// Adds, and gives the sum.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.add", reply = i64)]
struct Add(i64);

/// Adds and panics.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.add-and-crash")]
struct AddAndCrash(i64);

/// A node whose disk can be held up, and what it knows of the sworm.
struct Life {
    node: Node,
    sworm: Sworm,
    store: Arc<FaultyStore>,
}

impl Life {
    async fn start(network: &MemoryNetwork, id: &str, store: Arc<FaultyStore>) -> Self {
        Self::start_with(network, id, store, SwormSpec::new("s")).await
    }

    async fn start_with(network: &MemoryNetwork, id: &str, store: Arc<FaultyStore>, spec: SwormSpec) -> Self {
        let builder = Node::builder(id).memory_network(network).store_with(store.clone());
        let node = builder.start().await.expect("it starts");
        let sworm = node.sworm(spec).await.expect("it opens");
        Self { node, sworm, store }
    }

    /// Nodes a and b, each with an empty disk, that see each other.
    async fn pair() -> [Self; 2] {
        let network = MemoryNetwork::new();
        let a = Self::start(&network, "a", FaultyStore::new()).await;
        let b = Self::start(&network, "b", FaultyStore::new()).await;
        for life in [&a, &b] {
            eventually("both", || async { (life.sworm.nodes().len() == 2).then_some(()) }).await;
        }
        [a, b]
    }

    async fn alone() -> Self {
        Self::start(&MemoryNetwork::new(), "a", FaultyStore::new()).await
    }

    /// Registers a worker here.
    async fn register<W: Lifecycle>(&self, name: &str, value: W) -> Ref<W> {
        self.sworm.register(name, value).on(self.node.id()).timeout(LONG).await.expect("free")
    }

    /// How often states were written.
    fn writes(&self) -> usize {
        self.store.puts(Space::Snapshots)
    }

    async fn writes_more_than(&self, before: usize) {
        eventually("a saved state", || async { (self.writes() > before).then_some(()) }).await;
    }

    /// Nothing more is saved for a time in which much would have been.
    async fn writes_no_more(&self) {
        let before = self.writes();
        holds_for(Duration::from_millis(500), "nothing is saved", || async { self.writes() == before }).await;
    }
}

/// The sum, wherever the worker is by now.
async fn sum<W: Handler<Add>>(worker: &Ref<W>) -> i64
where
    Add: Request<W>,
{
    eventually("the sum", || async { worker.call(Add(0)).await.ok() }).await
}
