//! The strategies at work: named in an attribute, found among what is linked, on nodes with labels.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{Candidate, Distribution, Rendezvous};
use sworm_zones::{ZONE, Zones};

/// The nodes and their zones.
const NODES: [(&str, &str); 4] = [("a", "east"), ("b", "east"), ("c", "east"), ("d", "west")];
/// Long enough for a slow and busy machine.
const DEADLINE: Duration = Duration::from_secs(40);

#[derive(Worker, Serialize, Deserialize)]
#[worker(distribution = "zones", restart = "budget", handles(Crash, Ask))]
struct Room;

#[derive(Message, Serialize, Deserialize)]
struct Crash;

#[derive(Message, Serialize, Deserialize)]
#[message(reply = String)]
struct Ask;

impl Handler<Crash> for Room {
    async fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        panic!("told to crash")
    }
}

impl Handler<Ask> for Room {
    async fn handle(&mut self, _: Ask, ctx: &mut Context<Self>) -> String {
        ctx.node().to_string()
    }
}

/// Nodes in this process that all take part in one sworm, which is given for each of them.
async fn nodes(of: &[(&str, &str)]) -> (Vec<Node>, Vec<Sworm>) {
    let network = MemoryNetwork::new();
    let (mut nodes, mut sworms) = (Vec::new(), Vec::new());
    for (id, zone) in of {
        let node = Node::builder(*id).memory_network(&network).in_memory().label(ZONE, *zone);
        let node = node.start().await.expect("its strategies are linked");
        sworms.push(node.sworm("rooms").await.expect("it opens"));
        nodes.push(node);
    }
    for sworm in &sworms {
        let started = Instant::now();
        while sworm.nodes().len() < of.len() {
            assert!(started.elapsed() < DEADLINE, "{:?} is all that is seen", sworm.nodes());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    (nodes, sworms)
}

async fn close(nodes: Vec<Node>) {
    for node in nodes {
        node.close().await.expect("it closes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_run_in_the_zone_and_on_the_node_that_the_labels_ask_for() {
    let (nodes, sworms) = nodes(&NODES).await;
    let candidates = NODES.map(|(id, zone)| {
        let mut candidate = Candidate::new(NodeId::new(id).expect("valid"));
        candidate.labels.insert(ZONE.to_owned(), zone.to_owned());
        candidate
    });
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut otherwise = 0;
    for n in 0..100 {
        let name = format!("room-{n}");
        let place = Zones.choose(&name, &candidates);
        let room = sworms[n % 4].register_name(&name, Room).await.expect("free");
        let runs_on = room.call(Ask).timeout(DEADLINE).await.expect("it runs");
        assert_eq!(runs_on, NODES[place].0, "{name}");
        *counts.entry(NODES[place].1).or_default() += 1;
        otherwise += usize::from(Rendezvous.choose(&name, &candidates) != place);
    }
    // Half of them on the one node of its zone, and not where they would run without zones.
    assert!((35..=65).contains(&counts["west"]), "{counts:?}");
    assert!(otherwise > 10, "the default would place them alike");
    close(nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_a_budget_is_restarted_more_often_than_the_default_allows() {
    const MORE_THAN_THREE: usize = 5;
    let (nodes, sworms) = nodes(&NODES[..2]).await;
    for round in 0.. {
        let room = sworms[0].register_name(format!("room-{round}"), Room).await.expect("free");
        let started = Instant::now();
        for crash in 1..=MORE_THAN_THREE {
            let died = room.call(Crash).timeout(DEADLINE).await.expect_err("it panics");
            assert!(died.to_string().contains("told to crash"), "crash {crash}: {died}");
        }
        room.call(Ask).timeout(DEADLINE).await.expect("it runs again");
        // Within five seconds the default allows three. A round on a machine that needs longer shows nothing.
        if started.elapsed() < Duration::from_secs(5) {
            break;
        }
        assert!(round < 5, "{MORE_THAN_THREE} restarts never take less than five seconds");
    }
    close(nodes).await;
}
