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

/// Is saved whole.
#[derive(Worker, Serialize, Deserialize)]
#[worker(handoff)]
struct Whole {
    items: Vec<u8>,
}

impl Handoff<Vec<u8>> for Whole {
    fn save(&self) -> Vec<u8> {
        self.items.clone()
    }

    fn restore(&mut self, items: Vec<u8>) {
        self.items = items;
    }
}

/// Says that another part of it is saved.
#[derive(Worker, Serialize, Deserialize)]
#[worker(handoff = u32, snapshot = "1s")]
struct Other {
    items: Vec<u8>,
}

impl Handoff<u32> for Other {
    fn save(&self) -> u32 {
        0
    }

    fn restore(&mut self, _count: u32) {}
}

impl Handoff<String> for Other {
    fn save(&self) -> String {
        String::new()
    }

    fn restore(&mut self, _text: String) {}
}

fn main() {}
