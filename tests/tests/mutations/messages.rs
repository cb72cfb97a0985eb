//! What is so of messages to workers that move, in one thread: that is where a fault is planted.

use std::time::Duration;

use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm_tests::eventually;
use sworm_tests::traffic::{self, Load};

use crate::lanes::Law;

/// All laws.
pub(super) const LAWS: &[(&str, Law)] =
    &[("messages are handled once and in order", messages_are_handled_once_and_in_order)];

/// With the time that a call has by default: where a fault loses some of them it is waited for.
const LIMIT: Duration = Duration::from_secs(5);
const LOAD: Load =
    Load { calls: 1_000, moves: 60, workers: 4, senders: 3, together: 4, casts: true, hurry: 0, limit: LIMIT };

fn messages_are_handled_once_and_in_order() -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let (network, mut nodes) = (MemoryNetwork::new(), Vec::new());
        for id in ["a", "b", "c"] {
            let node =
                Node::builder(id).in_memory().memory_network(&network).start().await.map_err(|e| e.to_string())?;
            let sworm = node.sworm("s").await.map_err(|e| e.to_string())?;
            nodes.push((node, sworm));
        }
        for (_, sworm) in &nodes {
            eventually("the others", || async { (sworm.nodes().len() == nodes.len()).then_some(()) }).await;
        }
        traffic::run(&nodes, LOAD).await.map(drop)
    })
}

#[test]
fn it_is_so_where_no_fault_is_planted() {
    messages_are_handled_once_and_in_order().expect("no fault is planted");
}
