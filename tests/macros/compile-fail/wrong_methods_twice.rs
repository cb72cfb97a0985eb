use serde::{Deserialize, Serialize};
use sworm::prelude::*;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "Counter.add")]
struct Add;

#[derive(Worker, Serialize, Deserialize)]
#[worker(handles(Add), methods)]
struct Counter;

impl Handler<Add> for Counter {
    async fn handle(&mut self, _: Add, _: &mut Context<Self>) {}
}

#[sworm::handlers]
impl Counter {
    async fn add(&self) {}
}

fn main() {}
