//! A node whose directory is held up, as by its disk, takes no more in than its transport allows.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use serde::{Deserialize, Serialize};
use sworm::internals::witness;
use sworm::prelude::*;
use sworm::score;
use sworm_tests::eventually;
use tokio::task::block_in_place;

use crate::{MemoryNetwork, opened_on, running};

/// How many there are, and how large they are.
const BULKS: usize = 20;
const BYTES: usize = 50_000;

#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "unread.bulk")]
struct Bulk(String);

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_directory_that_is_held_up_counts_as_unread() {
    let network = MemoryNetwork::new();
    let [(a, on_a), (_b, on_b)] = opened_on(&network, "s").await;
    // What a decides about and runs needs nothing of b, once b has agreed to who takes part.
    let mut names = (0..).map(|n| format!("bulk-{n}")).filter(|name| score(name, "a") > score(name, "b"));
    let first = names.next().expect("there are many");
    on_a.register(&first, Bulk(String::new())).on(a.id()).await.expect("free");
    running(&on_b, &first).await;
    let (gate, held) = channel::<()>();
    let held = Mutex::new(held);
    witness(&on_b, move |_, _| {
        let _ = block_in_place(|| held.lock().expect("whole").recv());
        None
    });
    let names: Vec<String> = names.take(BULKS).collect();
    for name in &names {
        on_a.register(name, Bulk("x".repeat(BYTES))).on(a.id()).await.expect("free");
    }
    eventually("the messages", || async { (network.unread("b") >= BULKS * BYTES / 2).then_some(()) }).await;
    drop(gate);
    for name in &names {
        running(&on_b, name).await;
    }
    eventually("the last one", || async { (network.unread("b") == 0).then_some(()) }).await;
}
