use serde::{Deserialize, Serialize};
use sworm::Node;
use sworm::prelude::*;

#[derive(Worker, Serialize, Deserialize)]
#[worker(nam = "a", handles(Get), restart = "temporary", handoff, restart = "transient")]
#[worker(handoff = false, mailbox: 3, "x")]
struct A;

#[derive(Message, Serialize, Deserialize)]
#[message(replies = Result<i64, String>, id = "get", id = "got")]
struct Get;

#[derive(Sworm)]
#[sworm(name = "b", distributed, handoff)]
struct B;

#[derive(Worker, Serialize, Deserialize)]
#[worker]
struct C;

#[derive(Sworm)]
#[sworm = "d"]
struct D;

#[derive(Worker, Serialize, Deserialize)]
struct E {
    #[worker(name = "e")]
    total: i64,
}

#[derive(Message, Serialize, Deserialize)]
enum F {
    #[message(id = "one")]
    One,
}

impl Handler<Get> for A {
    async fn handle(&mut self, _get: Get, _ctx: &mut Context<Self>) {}
}

async fn ask(a: Ref<A>, node: Node) {
    let _ = a.call(Get).await;
    let _ = node.open(B).await;
}

fn main() {}
