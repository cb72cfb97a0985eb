//! A store that panics when a state is read: that state cannot be read, and whoever waits for it goes on.

use serde::{Deserialize, Serialize};
use sworm::prelude::*;

use super::{Add, AddAndCrash, LONG, Life, sum};

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "saving.reading", handles(Add, AddAndCrash), snapshot = "each")]
struct Reading {
    total: i64,
}

impl Handler<Add> for Reading {
    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> i64 {
        self.total += n;
        self.total
    }
}

impl Handler<AddAndCrash> for Reading {
    async fn handle(&mut self, AddAndCrash(n): AddAndCrash, _: &mut Context<Self>) {
        self.total += n;
        panic!("told to crash");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_state_its_store_panics_at_starts_from_another_nodes_copy() {
    let [a, _b] = Life::pair().await;
    let worker = a.register("x", Reading::default()).await;
    assert_eq!(worker.call(Add(5)).timeout(LONG).await, Ok(5));
    a.store.panic_once();
    worker.call(AddAndCrash(1)).await.expect_err("it crashes");
    assert_eq!(sum(&worker).await, 5);
    assert!(!a.store.is_to_panic(), "the state was read");
    assert_eq!(a.sworm.whereis("x").expect("it runs").pid.node, *a.node.id());
}
