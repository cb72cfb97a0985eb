use serde::{Deserialize, Serialize};
use sworm::prelude::*;

#[derive(Worker, Serialize, Deserialize)]
#[worker(snapshot = "often", handles(Get), every = "1s", durable = "here", state_wait = "1s")]
struct A;

#[derive(Worker, Serialize, Deserialize)]
#[worker(snapshot = each, every = 0, durable = local)]
struct B;

#[derive(Worker, Serialize, Deserialize)]
#[worker(snapshot = "9ms", every = 1_000_000_001, durable)]
struct C;

#[derive(Worker, Serialize, Deserialize)]
#[worker(snapshot = "25h")]
struct D;

#[derive(Worker, Serialize, Deserialize)]
#[worker(handoff = false, snapshot = "each", every = 3)]
struct E;

#[derive(Worker, Serialize, Deserialize)]
#[worker(every = 3, handoff = false)]
struct F;

#[derive(Worker, Serialize, Deserialize)]
#[worker(handoff = false, durable = "local")]
struct G;

#[derive(Sworm)]
#[sworm(state_wait = "11years")]
struct H;

#[derive(Sworm)]
#[sworm(state_wait = 10, snapshot = "1s")]
struct I;

#[derive(Worker, Serialize, Deserialize)]
#[worker(replicas = 3, handoff = false)]
struct J;

#[derive(Worker, Serialize, Deserialize)]
#[worker(snapshot = "each", every = 100)]
struct K;

#[derive(Worker, Serialize, Deserialize)]
#[worker(handoff, durable = "local", replicas = 0)]
struct L;

#[derive(Worker, Serialize, Deserialize)]
#[worker(handoff, durable = "replicas", replicas = 0x0)]
struct M;

#[derive(Message, Serialize, Deserialize)]
struct Get;

impl Handler<Get> for A {
    async fn handle(&mut self, _get: Get, _ctx: &mut Context<Self>) {}
}

fn main() {}
