use serde::{Deserialize, Serialize};
use sworm::prelude::*;

mod other {
    #[derive(sworm::Message, serde::Serialize, serde::Deserialize)]
    pub struct Reset;
}

#[derive(Worker, Serialize, Deserialize)]
#[worker(handles(Get, other::Reset))]
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

async fn ask(counter: Ref<Counter>) {
    let _ = counter.call(other::Reset).await;
}

fn main() {}
