//! One link is missing, and a third node is linked to both ends: all goes on over that one.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm_tests::{ensure, eventually, while_looking};
use tokio::time::{Instant, sleep};

use super::{node, running};

/// Longer than a node whose link is lost and whom nobody hears is suspect.
const LONG: Duration = Duration::from_secs(7);
/// Half as long as what a node says of another one counts.
const STANDS_STILL: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(40);

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
    // A machine that stands still makes a node silent for all others: then once more.
    for _ in 0..5 {
        match round().await {
            (Ok(()), _) => return,
            (Err(why), longest) => assert!(longest > STANDS_STILL, "{why}"),
        }
    }
    panic!("the machine stood still each time");
}

/// What is not as it should be, and for how long at most nobody looked.
async fn round() -> (Result<(), String>, Duration) {
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
    while_looking(is_gone_around(&network, &nodes, &at, &pids), async || {}).await
}

async fn is_gone_around(network: &MemoryNetwork, nodes: &[Node; 3], at: &[Sworm], pids: &[Pid]) -> Result<(), String> {
    network.cut("a", "b");
    let both = || [state("b", &nodes[0]), state("a", &nodes[1])];
    let lost = || async { both().iter().all(|state| *state != MemberState::Up).then_some(()) };
    eventually("the loss of the link", lost).await;
    let since = Instant::now();
    while since.elapsed() < LONG {
        ensure(both() == [MemberState::Suspect; 2], || format!("they are suspect and no more: {:?}", both()))?;
        sleep(Duration::from_millis(20)).await;
    }
    // From each node, to each node.
    for (from, sworm) in at.iter().enumerate() {
        for (to, node) in nodes.iter().enumerate() {
            let name = format!("{from}-{to}");
            let old = sworm.whereis_name::<Counter>(&*pids[to].name).ok_or_else(|| format!("{name}: it is gone"))?;
            let added = old.call(Add(1)).timeout(PATIENCE).await;
            ensure(added == Ok(from as u64 + 1), || format!("{name}: {added:?}"))?;
            let new = sworm.register(&name, Counter::default()).on(node.id()).timeout(PATIENCE).await;
            let new = new.map_err(|error| format!("{name}: {error}"))?;
            let added = new.call(Add(2)).timeout(PATIENCE).await;
            ensure(new.pid().node == *node.id() && added == Ok(2), || format!("{name}: {} {added:?}", new.pid()))?;
            for other in at {
                let found = running(other, &name).await.pid;
                ensure(found == new.pid(), || format!("{found}, not {}", new.pid()))?;
            }
            sworm.unregister_name(&name).await.map_err(|error| format!("{name}: {error}"))?;
        }
    }
    network.heal("a", "b");
    eventually("the link", || async { (both() == [MemberState::Up; 2]).then_some(()) }).await;
    for sworm in at {
        ensure(sworm.nodes().len() == 3, || format!("{:?}", sworm.nodes()))?;
        for pid in pids {
            let found = running(sworm, &pid.name).await.pid;
            ensure(found == *pid, || format!("its worker was disturbed: {found}, not {pid}"))?;
        }
    }
    Ok(())
}
