use serde::{Deserialize, Serialize};
use sworm::prelude::*;

#[derive(Worker, Serialize, Deserialize)]
#[worker(handoff, lifecycle)]
struct Silent;

#[derive(Worker, Serialize, Deserialize)]
struct Unasked;

impl Lifecycle for Unasked {
    async fn stopping(&mut self, _ctx: &mut Context<Self>) {}
}

fn main() {}
