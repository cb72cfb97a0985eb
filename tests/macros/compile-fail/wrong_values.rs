use serde::{Deserialize, Serialize};
use sworm::prelude::*;

#[derive(Worker, Serialize, Deserialize)]
#[worker(name = 5, version = "1", handles = Get, restart, distribution = , replicas = -1, mailbox = "many")]
struct A;

#[derive(Worker, Serialize, Deserialize)]
#[worker(handoff = "yes", start_timeout = 3s, lifecycle = true, crate = "sworm", name)]
struct B;

#[derive(Worker, Serialize, Deserialize)]
#[worker(handles("Get", Pot), start_timeout = "3 parsecs", restart = if, mailbox == 3)]
struct C;

#[derive(Message, Serialize, Deserialize)]
#[message(reply = "i64", id = get)]
struct Get;

#[derive(Message, Serialize, Deserialize)]
#[message(reply(i64))]
struct Put;

#[derive(Message, Serialize, Deserialize)]
#[message(reply = Vec<, id = "pot")]
struct Pot;

#[derive(Sworm)]
#[sworm(name = d, handoff = Get, mode = available, sync_interval = 100)]
struct D;

#[derive(Sworm)]
#[sworm(mode = "quick", ack = "soon")]
struct E;

#[derive(Sworm)]
#[sworm(ack = memory)]
struct F;

#[derive(Sworm)]
#[sworm(mode = "majority", expect_nodes = 0)]
struct G;

#[derive(Sworm)]
#[sworm(expect_nodes = 3, lease = "1m")]
struct H;

impl Handler<Pot> for C {
    async fn handle(&mut self, _pot: Pot, _ctx: &mut Context<Self>) {}
}

async fn ask(c: Ref<C>) {
    let _ = c.call(Pot).await;
}

fn main() {}
