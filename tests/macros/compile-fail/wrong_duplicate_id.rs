use serde::{Deserialize, Serialize};
use sworm::prelude::*;

mod other {
    #[derive(sworm::Message, serde::Serialize, serde::Deserialize)]
    pub struct Get;
}

#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "counter", handles(Get, other::Get))]
struct Counter;

#[derive(Message, Serialize, Deserialize)]
struct Get;

impl Handler<Get> for Counter {
    async fn handle(&mut self, _get: Get, _ctx: &mut Context<Self>) {}
}

impl Handler<other::Get> for Counter {
    async fn handle(&mut self, _get: other::Get, _ctx: &mut Context<Self>) {}
}

#[derive(Worker, Serialize, Deserialize)]
#[worker(handles(Get, Get))]
struct Twice;

impl Handler<Get> for Twice {
    async fn handle(&mut self, _get: Get, _ctx: &mut Context<Self>) {}
}

fn main() {}
