//! One link is missing, and a third node is linked to both ends: all goes on over that one.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm_tests::{eventually, holds_for};

use super::{node, running};

/// Longer than a node whose link is lost and whom nobody hears is suspect.
const LONG: Duration = Duration::from_secs(7);

/// Counts.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "relayed counter", handles(Add))]
struct Counter {
    total: u64,
}

#[derive(Message, Serialize, Deserialize)]
#[message(reply = u64)]
struct Add(u64);

impl Handler<Add> for Counter {
    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> u64 {
        self.total += n;
        self.total
    }
}

fn state(of: &str, at: &Node) -> MemberState {
    at.members().into_iter().find(|member| *member.id == *of).expect("it was met").state
}

#[tokio::test(flavor = "multi_thread")]
async fn while_one_link_is_missing_calls_and_registrations_go_over_a_third_node() {
    let network = MemoryNetwork::new();
    let nodes = [node(&network, "a").await, node(&network, "b").await, node(&network, "c").await];
    let mut at = Vec::new();
    for node in &nodes {
        at.push(node.sworm("counters").await.expect("it opens"));
    }
    eventually("all three", || async { at.iter().all(|sworm| sworm.nodes().len() == 3).then_some(()) }).await;
    let mut pids = Vec::new();
    for node in &nodes {
        let registering = at[0].register(format!("on-{}", node.id()), Counter::default()).on(node.id());
        pids.push(registering.await.expect("free").pid());
    }
    for sworm in &at {
        for pid in &pids {
            running(sworm, &pid.name).await;
        }
    }
    network.cut("a", "b");
    let suspect = || async {
        let both = [state("b", &nodes[0]), state("a", &nodes[1])];
        (both == [MemberState::Suspect; 2]).then_some(())
    };
    eventually("the loss of the link", suspect).await;
    holds_for(LONG, "they are suspect and no more", || async { suspect().await.is_some() }).await;
    // From each node, to each node.
    for (from, sworm) in at.iter().enumerate() {
        for (to, node) in nodes.iter().enumerate() {
            let old = sworm.whereis_name::<Counter>(&*pids[to].name).expect("it runs");
            assert_eq!(old.call(Add(1)).await, Ok(from as u64 + 1));
            let name = format!("{from}-{to}");
            let new = sworm.register(&name, Counter::default()).on(node.id()).await.expect("it is placed");
            assert_eq!((new.pid().node, new.call(Add(2)).await), (node.id().clone(), Ok(2)));
            for other in &at {
                assert_eq!(running(other, &name).await.pid, new.pid());
            }
            sworm.unregister_name(&name).await.expect("it runs");
        }
    }
    network.heal("a", "b");
    eventually("the link", || async {
        (state("b", &nodes[0]) == MemberState::Up && state("a", &nodes[1]) == MemberState::Up).then_some(())
    })
    .await;
    for sworm in &at {
        assert_eq!(sworm.nodes().len(), 3);
        for pid in &pids {
            assert_eq!(running(sworm, &pid.name).await.pid, *pid, "its worker was not disturbed");
        }
    }
}
