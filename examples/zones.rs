//! Placement by zone and restarts with a budget, out of a plugin crate: three nodes in two zones run a worker for each
//! of a thousand rooms, and each zone gets half of them.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm_zones as _; // brings its strategies along; a crate that is never named contributes nothing

#[derive(Worker, Serialize, Deserialize)]
#[worker(distribution = "zones", restart = "budget")]
struct Room;

#[tokio::main]
async fn main() -> sworm::Result<()> {
    let cluster = format!("zones-{}", std::process::id());
    let node = |id: &str, zone: &str| Node::builder(id).cluster(&cluster).in_memory().label("zone", zone);
    let a = node("a", "east").start().await?;
    let b = node("b", "east").join(a.endpoints()).start().await?;
    let c = node("c", "west").join(a.endpoints()).start().await?;
    let rooms = a.sworm("rooms").await?;
    b.sworm("rooms").await?;
    c.sworm("rooms").await?;
    let all_there = async {
        while rooms.nodes().len() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all_there).await.expect("the nodes find each other");
    for n in 0..1_000 {
        rooms.register_name(format!("room-{n}"), Room).await?;
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for room in rooms.registered() {
        *counts.entry(room.pid.node.to_string()).or_default() += 1;
    }
    let [in_a, in_b, in_c] = ["a", "b", "c"].map(|id| counts.get(id).copied().unwrap_or(0));
    println!("east: a runs {in_a}, b runs {in_b}; west: c runs {in_c}");
    assert_eq!(in_a + in_b + in_c, 1_000);
    assert!((450..=550).contains(&in_c), "a zone gets half, whatever its size");
    assert!((200..=300).contains(&in_a), "and its nodes share that");
    for node in [a, b, c] {
        node.close().await?;
    }
    Ok(())
}
