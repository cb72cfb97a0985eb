//! No worker harms another one: whatever one does, the calls of the others are answered meanwhile, and none of them is
//! started again.

mod conflicts;
mod hooks;
mod panics;
mod starts;
mod stuck;
mod timers;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::join;
use serde::{Deserialize, Serialize};
use sworm::NodeId;
use sworm::prelude::*;

/// What is held up by the test, or by a busy machine, may take.
const LONG: Duration = Duration::from_secs(60);

/// Counts.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "bystander", handles(Count))]
struct Bystander {
    count: u32,
}

#[derive(Message, Serialize, Deserialize)]
#[message(reply = u32, id = "bystander-count")]
struct Count;

impl Handler<Count> for Bystander {
    async fn handle(&mut self, _: Count, _: &mut Context<Self>) -> u32 {
        self.count += 1;
        self.count
    }
}

/// Workers on every node that must not notice anything.
struct Bystanders {
    all: Vec<Ref<Bystander>>,
    count: u32,
}

impl Bystanders {
    async fn on(sworm: &Sworm) -> Self {
        Self::at(sworm, &sworm.nodes()).await
    }

    async fn at(sworm: &Sworm, nodes: &[NodeId]) -> Self {
        let mut all = Vec::new();
        for node in nodes {
            for n in 0..3 {
                let name = format!("bystander-{node}-{n}");
                all.push(sworm.register(name, Bystander::default()).on(node).await.expect("free"));
            }
        }
        Self { all, count: 0 }
    }

    /// Calls all of them again and again while something happens.
    async fn meanwhile<T>(&mut self, happens: impl Future<Output = T>) -> T {
        let over = AtomicBool::new(false);
        let happens = async {
            let result = happens.await;
            over.store(true, Relaxed);
            result
        };
        let calls = async {
            while !over.load(Relaxed) {
                self.answer().await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let (result, ()) = join(happens, calls).await;
        self.answer().await;
        result
    }

    /// Each has counted every call: it was never started again.
    async fn answer(&mut self) {
        self.count += 1;
        for bystander in &self.all {
            assert_eq!(bystander.call(Count).timeout(LONG).await, Ok(self.count), "{bystander:?}");
        }
    }
}

/// Where a worker does what it should not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum In {
    Started,
    Run,
    Handler,
    Stopping,
    Saving,
    Restoring,
    Dropping,
}

/// Where threads are blocked until they may go on.
struct Gate(AtomicBool, AtomicUsize);

impl Gate {
    const fn closed() -> Self {
        Self(AtomicBool::new(false), AtomicUsize::new(0))
    }

    /// How many were blocked by it.
    fn held(&self) -> usize {
        self.1.load(Relaxed)
    }

    fn blocks(&self) {
        self.1.fetch_add(1, Relaxed);
        while !self.0.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Lets them go on in the end, also when the test has failed: the runtime waits for its threads.
    fn opens_in_the_end(&'static self) -> Opens {
        Opens(self)
    }
}

struct Opens(&'static Gate);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.0.store(true, Relaxed);
    }
}
