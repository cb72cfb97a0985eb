use serde::{Deserialize, Serialize};
use sworm::prelude::*;

#[derive(Worker, Serialize, Deserialize)]
#[worker(handoff, mailbox: 3)]
struct A;

#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "b", replicas 2, restart "temporary")]
struct B;

#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "c", "x", 17)]
struct C;

#[derive(Sworm)]
#[sworm(name = "d", handoff: false)]
struct D;

#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "e" handoff, mailbox = 3)]
struct E;

#[derive(Worker, Serialize, Deserialize)]
#[worker(handoff,, mailbox = 3)]
struct F;

fn main() {}
