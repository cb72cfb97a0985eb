//! A counter that goes on where it stopped: run it twice, and it says 1, then 2. The README shows it.
#![allow(clippy::print_stdout)]

use serde::{Deserialize, Serialize};
use sworm::prelude::*;

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(handles(Add), handoff)]
struct Counter {
    total: i64,
}

#[derive(Message, Serialize, Deserialize)]
#[message(reply = i64)]
struct Add(i64);

impl Handler<Add> for Counter {
    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> i64 {
        self.total += n;
        self.total
    }
}

#[tokio::main]
async fn main() -> sworm::Result<()> {
    let node = Node::builder("a").store("target/hello").start().await?;
    let counters = node.sworm("counters").await?;
    let alice = counters.whereis_or_register_name("alice", Counter::default).await?;
    println!("{}", alice.call(Add(1)).await?); // run it twice: 1, then 2
    node.leave().await // hand everything over, then stop
}
