use serde::{Deserialize, Serialize};
use sworm::prelude::*;

#[derive(Worker, Serialize, Deserialize)]
#[worker(snapshot = "1s", handles(Get))]
struct A;

#[derive(Worker, Serialize, Deserialize)]
#[worker(every = "1s", durable = "local", state_wait)]
struct B;

#[derive(Message, Serialize, Deserialize)]
struct Get;

impl Handler<Get> for A {
    async fn handle(&mut self, _get: Get, _ctx: &mut Context<Self>) {}
}

fn main() {}
