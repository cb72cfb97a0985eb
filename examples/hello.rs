//! A counter that goes on where it stopped: run it twice, and it says 1, then 2.

use serde::{Deserialize, Serialize};
use sworm::prelude::*;

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "counter", handles(Add), handoff)]
struct Counter {
    total: i64,
}

#[derive(Message, Serialize, Deserialize)]
#[message(reply = i64)]
struct Add {
    n: i64,
}

impl Handler<Add> for Counter {
    async fn handle(&mut self, add: Add, _ctx: &mut Context<Self>) -> i64 {
        self.total += add.n;
        self.total
    }
}

#[tokio::main]
#[allow(clippy::print_stdout)]
async fn main() -> sworm::Result<()> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let node = Node::builder("a").cluster("hello").store("target/hello/a").start().await?;
    let counters = node.sworm("counters").await?;
    let alice = counters.whereis_or_register_name("alice", Counter::default).await?;
    println!("{}", alice.call(Add { n: 1 }).await?);
    node.leave().await
}
