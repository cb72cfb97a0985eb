//! A timer whose handler blocks the thread that waits for time.

use std::sync::mpsc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use tokio::time::sleep;

use super::{Gate, LONG};

static GATE: Gate = Gate::closed();

/// Blocks its thread after a while.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "blocking later", handles(Later, Block))]
struct Blocking;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "isolation-later")]
struct Later;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "isolation-timer")]
struct Block;

impl Handler<Later> for Blocking {
    async fn handle(&mut self, _: Later, ctx: &mut Context<Self>) {
        ctx.send_after(Duration::from_millis(500), Block);
    }
}

impl Handler<Block> for Blocking {
    async fn handle(&mut self, _: Block, _: &mut Context<Self>) {
        GATE.blocks();
    }
}

#[test]
fn a_timer_whose_handler_blocks_its_thread_does_not_stop_all_others() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().expect("threads");
    let opens = GATE.opens_in_the_end();
    let (done, is_done) = mpsc::channel();
    runtime.spawn(async move {
        let node =
            Node::builder("a").in_memory().memory_network(&MemoryNetwork::new()).start().await.expect("it starts");
        let sworm = node.sworm("s").await.expect("it opens");
        let blocking = sworm.register_name("x", Blocking).await.expect("free");
        blocking.call(Later).timeout(LONG).await.expect("it runs");
        while !GATE.holds() {
            sleep(Duration::from_millis(10)).await;
        }
        // What waits for time goes on.
        for _ in 0..10 {
            sleep(Duration::from_millis(100)).await;
        }
        let _ = done.send(());
        node
    });
    // Not in the runtime, where time may stand still.
    let goes_on = is_done.recv_timeout(LONG);
    drop(opens);
    runtime.shutdown_timeout(LONG);
    goes_on.expect("the runtime stands still");
}
