//! Names whose states are where nobody is.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{Event, Events, OpenError};
use sworm_tests::{FaultyStore, eventually, holds_for};

use super::{Add, Life, sum};
use crate::running;

/// Only its own node has its state.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "saving.lone", handles(Add), snapshot = "each", replicas = 0)]
struct Lone {
    total: i64,
}

impl Handler<Add> for Lone {
    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> i64 {
        self.total += n;
        self.total
    }
}

async fn next(events: &mut Events, matching: impl Fn(&Event) -> bool) -> Event {
    let told = async {
        loop {
            match events.next().await {
                Some(event) if matching(&event) => return event,
                Some(_) => {}
                None => panic!("the node runs"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(40), told).await.expect("it is told")
}

/// A worker on node b that had 5, and is gone with its node. Gives a, b's disk, and what a tells.
async fn gone(network: &MemoryNetwork, spec: SwormSpec) -> (Life, std::sync::Arc<FaultyStore>, Events) {
    let a = Life::start_with(network, "a", FaultyStore::new(), spec.clone()).await;
    let b = Life::start_with(network, "b", FaultyStore::new(), spec).await;
    for life in [&a, &b] {
        eventually("both", || async { (life.sworm.nodes().len() == 2).then_some(()) }).await;
    }
    let worker = b.register("x", Lone { total: 1 }).await;
    assert_eq!(worker.call(Add(4)).await, Ok(5));
    let held_there = || async { running(&a.sworm, "x").await.holders.iter().eq([b.node.id()]).then_some(()) };
    eventually("that only b has it", held_there).await;
    let events = a.sworm.events();
    let disk = b.store.next_life();
    drop((worker, b));
    (a, disk, events)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_starts_from_what_there_is_when_its_sworm_says_so() {
    let spec = SwormSpec::new("s").state_wait(Duration::from_millis(300));
    let (a, _, mut events) = gone(&MemoryNetwork::new(), spec).await;
    let Event::RestoredOlder { name, pid, reason } = next(&mut events, |event| {
        event.name().is_some_and(|n| **n == *"x") && matches!(event, Event::RestoredOlder { .. })
    })
    .await
    else {
        unreachable!("it matches")
    };
    assert_eq!((&*name, &*pid.name, pid.node.as_str()), ("x", "x", "a"));
    assert!(reason.contains("its newest state is on b"), "{reason}");
    eventually("it here", || async { (running(&a.sworm, "x").await.pid.node == *"a").then_some(()) }).await;
    assert_eq!(sum(&a.sworm.whereis_name::<Lone>("x").expect("it runs")).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_replied_only_what_is_durable_waits_for_the_node_that_has_its_state() {
    let network = MemoryNetwork::new();
    let (a, disk, mut events) = gone(&network, SwormSpec::new("s")).await;
    let told =
        next(&mut events, |event| matches!(event, Event::StateAwaited { .. } | Event::RestoredOlder { .. })).await;
    let Event::StateAwaited { name, holders, .. } = told else { panic!("it was not waited for") };
    assert!(&*name == "x" && holders.iter().eq([&NodeId::new("b").expect("valid")]), "{holders:?}");
    holds_for(Duration::from_secs(1), "it runs nowhere", || async {
        a.sworm.whereis("x").is_some_and(|found| found.state != RegistrationState::Running || found.pid.node == *"b")
    })
    .await;
    let b = Life::start(&network, "b", disk).await;
    let worker = eventually("it, back", || async { b.sworm.whereis_name::<Lone>("x") }).await;
    assert_eq!(sum(&worker).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_of_more_than_ten_years_is_refused() {
    let node = Life::alone().await.node;
    let year = Duration::from_secs(365 * 86_400);
    node.sworm(SwormSpec::new("long").state_wait(10 * year)).await.expect("it opens");
    let refused = node.sworm(SwormSpec::new("longer").state_wait(10 * year + Duration::from_secs(1))).await;
    let Err(OpenError::BadSetting { what, .. }) = refused else { panic!("it is refused: {refused:?}") };
    assert!(what.contains("state_wait"), "{what}");
}
