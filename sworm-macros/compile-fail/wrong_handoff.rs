use serde::{Deserialize, Serialize};
use sworm::prelude::*;

#[derive(Worker, Serialize, Deserialize)]
#[worker(handoff = Vec<u8>)]
struct Cart {
    items: Vec<u8>,
}

struct Part;

#[derive(Worker, Serialize, Deserialize)]
#[worker(handoff = Part)]
struct List {
    items: Vec<u8>,
}

impl Handoff<Part> for List {
    fn save(&self) -> Part {
        Part
    }

    fn restore(&mut self, _part: Part) {}
}

fn main() {}
