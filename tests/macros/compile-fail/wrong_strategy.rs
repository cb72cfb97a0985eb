use serde::{Deserialize, Serialize};
use sworm::prelude::*;

struct Mine;

#[derive(Worker, Serialize, Deserialize)]
#[worker(restart = Mine)]
struct A;

#[derive(Worker, Serialize, Deserialize)]
#[worker(distribution = sworm::Temporary)]
struct B;

fn random() -> sworm::Temporary {
    sworm::Temporary
}

#[derive(Worker, Serialize, Deserialize)]
#[worker(restart = random())]
struct C;

#[derive(Sworm)]
#[sworm(restart = Mine)]
struct D;

fn main() {}
