//! Names whose workers run nowhere, and what is asked for in vain meanwhile, or is not.

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{BoxError, Event, MoveError};
use sworm_tests::eventually;

use super::{Brittle, Count, break_for_good, has_failed};
use crate::{node, opened, opened_on};

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_is_refused_leaves_a_failed_name_and_its_state() {
    let [(a, on_a), (b, on_b)] = opened("s").await;
    for (count, name) in (1..).zip(["x", "y", "z"]) {
        let worker = on_a.register(name, Brittle { count }).on(a.id()).await.expect("free");
        on_a.join("group", &worker).await.expect("it is there");
        worker.call(Count).await.expect("it runs");
        break_for_good::<Brittle>(&on_a, name).await;
    }
    let all_failed = |sworm: &Sworm| ["x", "y", "z"].iter().all(|name| has_failed(sworm, name).is_some());
    for sworm in [&on_a, &on_b] {
        eventually("the news", || async { all_failed(sworm).then_some(()) }).await;
    }
    b.drain().await.expect("it has nothing");
    for name in ["x", "y", "z"] {
        for sworm in [&on_a, &on_b] {
            match sworm.register(name, Brittle { count: 70 }).on("nobody").await {
                Err(RegisterError::NoCandidate { why }) => assert!(why.contains("nobody is not there"), "{why}"),
                other => panic!("{other:?}"),
            }
        }
        match on_b.attach_name::<Count>(name).await {
            Err(RegisterError::NoCandidate { why }) => assert!(why.contains("b is being emptied"), "{why}"),
            other => panic!("{:?}", other.err()),
        }
        assert!(all_failed(&on_a) && all_failed(&on_b), "{name}");
    }
    b.undrain();
    for (count, name) in (1..).zip(["x", "y", "z"]) {
        on_b.restart_name(name).await.expect("it can run");
        let worker = on_b.whereis_name::<Brittle>(name).expect("it runs");
        assert_eq!(worker.call(Count).await, Ok(count + 2));
    }
    assert_eq!(on_b.members("group").len(), 3);
}

/// Does not start on b.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "picky", handles(Count), lifecycle, handoff)]
struct Picky {
    count: u32,
}

impl Lifecycle for Picky {
    async fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), BoxError> {
        if &**ctx.node() == "b" { Err("not on b".into()) } else { Ok(()) }
    }
}

impl Handler<Count> for Picky {
    async fn handle(&mut self, _: Count, ctx: &mut Context<Self>) -> u32 {
        self.count += 1;
        ctx.checkpoint().await.expect("it saves its state");
        self.count
    }
}

/// Node b, which has a worker "x" with a count of one since its node is gone, and cannot start it.
async fn in_vain(network: &MemoryNetwork) -> (Node, Sworm) {
    let [(a, on_a), (b, on_b)] = opened_on(network, "s").await;
    let worker = on_a.register("x", Picky::default()).on(a.id()).await.expect("free");
    assert_eq!(worker.call(Count).await, Ok(1));
    let mut events = on_b.events();
    drop((a, on_a, worker));
    while !matches!(events.next().await.expect("the node runs"), Event::StartFailed { .. }) {}
    (b, on_b)
}

/// Another node, which b sees.
async fn joins(network: &MemoryNetwork, on_b: &Sworm) -> (Node, Sworm) {
    let node = node(network, "c").await;
    let sworm = node.sworm("s").await.expect("it opens");
    for sworm in [&sworm, on_b] {
        eventually("the other", || async { (sworm.nodes().len() == 2).then_some(()) }).await;
    }
    (node, sworm)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_emptied_gives_a_worker_away_that_it_cannot_start() {
    let network = MemoryNetwork::new();
    let (b, on_b) = in_vain(&network).await;
    // As long as nobody else may run it, it stays.
    let drained = b.drain().await.expect("in time");
    assert_eq!((drained.moved, drained.stays.len()), (0, 1), "{drained:?}");
    b.undrain();
    let (c, on_c) = joins(&network, &on_b).await;
    let planned = on_c.plan_drain(b.id()).await.expect("it is there");
    assert!(planned.iter().all(|planned| planned.to == Ok(c.id().clone())), "{planned:?}");
    let drained = b.drain().await.expect("in time");
    assert_eq!((drained.moved, drained.stays), (1, Vec::new()));
    assert_eq!(on_c.whereis_name::<Picky>("x").expect("it runs").call(Count).await, Ok(2));
    assert_eq!(on_c.whereis("x").expect("it runs").pid.node, *c.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_its_node_cannot_start_is_moved_with_its_state() {
    let network = MemoryNetwork::new();
    let (b, on_b) = in_vain(&network).await;
    let refused = on_b.move_name("x", "nobody").await;
    assert!(matches!(refused, Err(MoveError::NoCandidate { .. })), "{refused:?}");
    let (c, on_c) = joins(&network, &on_b).await;
    let pid = on_c.move_name("x", c.id()).await.expect("it can run there");
    assert_eq!(pid.node, *c.id());
    assert_eq!(on_b.whereis_name::<Picky>("x").expect("it runs").call(Count).await, Ok(2));
    drop(b);
}
