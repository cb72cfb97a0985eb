use serde::{Deserialize, Serialize};
use sworm::prelude::*;

// Three errors, one at each place that takes `Get` for a message: the compiler stops at none of them.
#[derive(Serialize, Deserialize)]
struct Get;

#[derive(Worker, Serialize, Deserialize)]
#[worker(handles(Get))]
struct Counter {
    total: i64,
}

impl Handler<Get> for Counter {
    async fn handle(&mut self, _get: Get, _ctx: &mut Context<Self>) {}
}

fn main() {}
