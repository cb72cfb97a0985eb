use serde::{Deserialize, Serialize};
use sworm::prelude::*;

#[derive(Serialize, Deserialize)]
struct Counter {
    total: i64,
}

#[derive(Message, Serialize, Deserialize)]
#[message(reply = i64)]
struct Get;

impl Handler<Get> for Counter {
    async fn handle(&mut self, _get: Get, _ctx: &mut Context<Self>) -> i64 {
        self.total
    }
}

fn main() {}
