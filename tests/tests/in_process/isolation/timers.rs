//! Timers whose handlers block the threads that wait for time.

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
struct Later(Duration);

#[derive(Message, Serialize, Deserialize)]
#[message(id = "isolation-timer")]
struct Block;

impl Handler<Later> for Blocking {
    async fn handle(&mut self, Later(after): Later, ctx: &mut Context<Self>) {
        ctx.send_after(after, Block);
    }
}

impl Handler<Block> for Blocking {
    async fn handle(&mut self, _: Block, _: &mut Context<Self>) {
        GATE.blocks();
    }
}

/// So many threads are blocked, of one more.
const MANY: usize = 5;

#[test]
fn timers_whose_handlers_block_their_threads_do_not_stop_all_others() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(MANY + 1).enable_all().build().expect("threads");
    let opens = GATE.opens_in_the_end();
    let (done, is_done) = mpsc::channel();
    runtime.spawn(async move {
        let node =
            Node::builder("a").in_memory().memory_network(&MemoryNetwork::new()).start().await.expect("it starts");
        let sworm = node.sworm("s").await.expect("it opens");
        // One after the other, when little else waits for time: any of them may block the thread that does it for all.
        for n in 0..MANY {
            let blocking = sworm.register_name(format!("x-{n}"), Blocking).await.expect("free");
            let after = Duration::from_millis(500) + Duration::from_millis(330) * u32::try_from(n).expect("few");
            blocking.call(Later(after)).timeout(LONG).await.expect("it runs");
        }
        while GATE.held() < MANY {
            sleep(Duration::from_millis(1_700)).await;
        }
        sleep(Duration::from_millis(100)).await;
        let _ = done.send(());
        node
    });
    // Not in the runtime, where time may stand still.
    let goes_on = is_done.recv_timeout(LONG);
    drop(opens);
    runtime.shutdown_timeout(LONG);
    goes_on.expect("the runtime stands still");
}
