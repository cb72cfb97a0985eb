//! `ack`: whether a registration is acknowledged before it is on the disk.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{Ack, OpenError};
use sworm_tests::{FaultyStore, eventually, holds_for};

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "tally", handles(Add), handoff)]
struct Tally {
    total: i64,
}

/// Adds and makes that durable.
#[derive(Message, Serialize, Deserialize)]
#[message(reply = i64)]
struct Add;

impl Handler<Add> for Tally {
    async fn handle(&mut self, _: Add, ctx: &mut Context<Self>) -> i64 {
        self.total += 1;
        ctx.checkpoint().await.expect("the type has handoff");
        self.total
    }
}

#[derive(Sworm)]
#[sworm(name = "quick", ack = "memory")]
struct Quick;

/// How long the test may hold something up.
const LONG: Duration = Duration::from_secs(60);

/// Does something in a task of its own, and checks that it has not come to an end after a while.
async fn waits<T: Send + 'static>(what: impl Future<Output = T> + Send + 'static) -> tokio::task::JoinHandle<T> {
    let task = tokio::spawn(what);
    holds_for(Duration::from_millis(300), "it waits for the disk", || async { !task.is_finished() }).await;
    task
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_registration_on_a_sworm_with_ack_in_memory_is_answered_before_the_sync() {
    let store = FaultyStore::new();
    let node = Node::builder("a").memory_network(&MemoryNetwork::new()).store_with(store.clone());
    let node = node.start().await.expect("it starts");
    let quick = node.open(Quick).await.expect("it opens");
    let durable = node.sworm("durable").await.expect("it opens");
    store.hold(true);
    let tally = quick.register_name("in memory", Tally::default()).await.expect("it does not wait");
    assert!(quick.register_name("in memory", Tally::default()).await.is_err(), "it is taken");
    let inbox = quick.attach_name::<Add>("task").await.expect("it does not wait");
    // Everything else does wait.
    let registering =
        waits(async move { durable.register("on disk", Tally::default()).timeout(LONG).await.map(drop) }).await;
    let calling = waits({
        let tally = tally.clone();
        async move { tally.call(Add).timeout(LONG).await }
    })
    .await;
    let joining = waits({
        let (quick, tally) = (quick.clone(), tally.clone());
        async move { quick.join("group", &tally).await }
    })
    .await;
    let ending = waits({
        let quick = quick.clone();
        async move { quick.unregister_name("task").await }
    })
    .await;
    store.hold(false);
    registering.await.expect("no panic").expect("it is on the disk");
    assert_eq!(calling.await.expect("no panic"), Ok(1));
    joining.await.expect("no panic").expect("it is on the disk");
    ending.await.expect("no panic").expect("it is on the disk");
    drop(inbox);
    node.close().await.expect("it closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_in_memory_goes_on_elsewhere_when_another_node_heard_of_it() {
    let network = MemoryNetwork::new();
    let stores = [FaultyStore::new(), FaultyStore::new()];
    let mut nodes = Vec::new();
    for (id, store) in ["a", "b"].into_iter().zip(&stores) {
        let node =
            Node::builder(id).memory_network(&network).store_with(store.clone()).start().await.expect("it starts");
        nodes.push((node.open(Quick).await.expect("it opens"), node));
    }
    let [(at_a, a), (_, b)] = &nodes[..] else { panic!("two nodes") };
    eventually("both in the sworm", || async { (at_a.nodes().len() == 2).then_some(()) }).await;
    stores[1].hold(true);
    at_a.register("tally", Tally::default()).on(b.id()).await.expect("it does not wait");
    stores[1].fail_after(0);
    stores[1].hold(false);
    b.stopped().await.expect("its store failed");
    eventually("it running again", || async {
        let found = at_a.whereis("tally").expect("it was heard of");
        (found.state == RegistrationState::Running && found.pid.node == *a.id()).then_some(())
    })
    .await;
    let tally = at_a.whereis_name::<Tally>("tally").expect("it was heard of");
    assert_eq!(tally.call(Add).await, Ok(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_do_not_agree_on_it_are_told() {
    let network = MemoryNetwork::new();
    let start = |id| Node::builder(id).memory_network(&network).in_memory().start();
    let (a, b) = (start("a").await.expect("it starts"), start("b").await.expect("it starts"));
    a.open(Quick).await.expect("the first one decides");
    let error = b.sworm("quick").await.expect_err("the default is another");
    assert!(matches!(&error, OpenError::Disagreed { node, .. } if *node == *a.id()), "{error}");
    let text = error.to_string();
    assert!(text.contains("ack = memory") && text.contains("ack = durable"), "{text}");
    b.sworm(SwormSpec::new("quick").ack(Ack::Memory)).await.expect("now they agree");
}
