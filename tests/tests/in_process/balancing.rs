//! Moves for balance: a few at a time, however long each takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::Rebalance;
use sworm::core::cell::NameState;
use sworm::core::ids::Peer;
use sworm::internals::witness;
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm_tests::{eventually, holds_for};
use tokio::sync::Semaphore;

use super::node;

const NAMES: usize = 40;
/// So many workers of a node move at a time.
const AT_A_TIME: usize = 8;

/// Is busy until it may go on: before that it cannot be moved.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "balancing.busy", handles(Wait), handoff)]
struct Busy;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "balancing.wait")]
struct Wait;

static GATE: Semaphore = Semaphore::const_new(0);

impl Handler<Wait> for Busy {
    async fn handle(&mut self, _: Wait, _: &mut Context<Self>) {
        let _ = GATE.acquire().await; // it is closed when all may go on
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_is_given_a_few_workers_at_a_time_of_each_node() {
    let network = MemoryNetwork::new();
    let spec = || SwormSpec::new("s").rebalance(Rebalance::On);
    let a = node(&network, "a").await;
    let on_a = a.sworm(spec()).await.expect("it opens");
    for n in 0..NAMES {
        let busy = on_a.register_name(format!("busy-{n}"), Busy).await.expect("free");
        busy.cast(Wait).await.expect("it runs");
    }
    let (me, going) = (Peer { node: a.id().clone(), incarnation: a.incarnation() }, Arc::new(AtomicUsize::new(0)));
    let most = going.clone();
    witness(&on_a, move |_, core| {
        let names = core.directory().lane(&me).into_iter().flat_map(|lane| lane.names());
        let now = names.filter(|(_, cell)| matches!(cell.state, NameState::Leaving { .. })).count();
        most.fetch_max(now, SeqCst);
        None
    });
    let b = node(&network, "b").await;
    let on_b = b.sworm(spec()).await.expect("it opens");
    let all_that_may = || async { (going.load(SeqCst) >= AT_A_TIME).then_some(()) };
    eventually("the first ones going", all_that_may).await;
    let no_more = || async { going.load(SeqCst) == AT_A_TIME };
    holds_for(Duration::from_secs(1), "the others wait for them", no_more).await;
    GATE.close();
    // More than could go at first, and still no more at a time.
    let given = || async {
        let on_b = on_b.registered().into_iter().filter(|found| found.pid.node == *b.id()).count();
        (on_b > AT_A_TIME).then_some(())
    };
    eventually("the next ones", given).await;
    assert_eq!(going.load(SeqCst), AT_A_TIME);
}
