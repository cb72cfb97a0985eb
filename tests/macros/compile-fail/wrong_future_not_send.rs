use serde::{Deserialize, Serialize};
use sworm::prelude::*;

use std::rc::Rc;

#[derive(Worker, Serialize, Deserialize)]
#[worker(handles(Get))]
struct Counter {
    total: i64,
}

#[derive(Message, Serialize, Deserialize)]
#[message(reply = i64)]
struct Get;

async fn elsewhere() {}

impl Handler<Get> for Counter {
    async fn handle(&mut self, _get: Get, _ctx: &mut Context<Self>) -> i64 {
        let total = Rc::new(self.total);
        elsewhere().await;
        *total
    }
}

fn main() {}
