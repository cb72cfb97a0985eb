use serde::{Deserialize, Serialize};
use sworm::prelude::*;

struct Total(i64);

#[derive(Worker, Serialize, Deserialize)]
#[worker(handles(Get))]
struct Counter {
    total: i64,
}

#[derive(Message, Serialize, Deserialize)]
#[message(reply = Total)]
struct Get;

impl Handler<Get> for Counter {
    async fn handle(&mut self, _get: Get, _ctx: &mut Context<Self>) -> Total {
        Total(self.total)
    }
}

fn main() {}
