use serde::{Deserialize, Serialize};
use sworm::prelude::*;

#[derive(Worker, Serialize, Deserialize)]
#[worker(handles(Get))]
struct Counter {
    total: i64,
}

#[derive(Message, Serialize, Deserialize)]
#[message(reply = i64)]
struct Get;

#[derive(Message, Serialize, Deserialize)]
struct Reset;

impl Handler<Get> for Counter {
    async fn handle(&mut self, _get: Get, _ctx: &mut Context<Self>) -> i64 {
        self.total
    }
}

impl Handler<Reset> for Counter {
    async fn handle(&mut self, _reset: Reset, _ctx: &mut Context<Self>) {
        self.total = 0;
    }
}

async fn ask(counter: Ref<Counter>) {
    let _ = counter.call(Get).await;
    let _ = counter.call(Reset).await;
}

fn main() {}
