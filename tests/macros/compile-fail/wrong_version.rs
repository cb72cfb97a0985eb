use serde::{Deserialize, Serialize};
use sworm::prelude::*;

/// Nobody says how version 1 is read.
#[derive(Worker, Serialize, Deserialize)]
#[worker(version = 2, handoff)]
struct Cart {
    items: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Part;

/// The values of version 1 can be read, its states cannot.
#[derive(Worker, Serialize, Deserialize)]
#[worker(version = 2, handoff = Part)]
struct List {
    items: Vec<u8>,
}

impl Upgrade for List {
    fn upgrade(older: Older<'_>) -> Result<Self, sworm::BoxError> {
        Ok(Self { items: older.read()? })
    }
}

impl Handoff<Part> for List {
    fn save(&self) -> Part {
        Part
    }

    fn restore(&mut self, _part: Part) {}
}

fn main() {}
