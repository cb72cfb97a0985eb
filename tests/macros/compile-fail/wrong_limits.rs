use serde::{Deserialize, Serialize};
use sworm::prelude::*;

#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "", handles(Get), replicas = 17, mailbox = 0, start_timeout = "0s", version = 4_294_967_296, restart = "")]
struct A;

#[derive(Worker, Serialize, Deserialize)]
#[worker(mailbox = 1_000_001, start_timeout = "61min", version = 0)]
struct B;

#[derive(Worker, Serialize, Deserialize)]
#[worker(mailbox = 99999999999999999999999999)]
struct C;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "")]
struct Get;

#[derive(Message, Serialize, Deserialize)]
#[message(
    id = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
)]
struct Long;

#[derive(Sworm)]
#[sworm(name = "", sync_interval = "0ms", distribution = "")]
struct D;

impl Handler<Get> for A {
    async fn handle(&mut self, _get: Get, _ctx: &mut Context<Self>) {}
}

fn main() {}
