use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

use super::*;
use crate::core::ids::{Incarnation, NodeId};
use crate::node::order::OnItsWay;
use crate::transport::MemoryNetwork;
use crate::{Handler, Node, Ref};

#[derive(crate::Worker, Serialize, Deserialize)]
#[worker(name = "way.counter", crate = crate, handles(Count))]
struct Counter;

#[derive(crate::Message, Serialize, Deserialize)]
#[message(reply = u32, crate = crate)]
struct Count;

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Handler<Count> for Counter {
    async fn handle(&mut self, _: Count, _: &mut crate::Context<Self>) -> u32 {
        COUNT.fetch_add(1, Relaxed) + 1
    }
}

/// A worker, and something that went to another place of it and has not been answered.
async fn unsettled() -> (Node, Ref<Counter>, OnItsWay) {
    let node = Node::builder("a").in_memory().memory_network(&MemoryNetwork::new()).start().await.expect("starts");
    let sworm = node.sworm("s").await.expect("it opens");
    let counter = sworm.register_name("counter", Counter).await.expect("free");
    let elsewhere = Peer { node: NodeId::new("b").expect("valid"), incarnation: Incarnation(1) };
    let before = Stay { host: elsewhere, since: Epoch { major: 1, minor: 0 } };
    let (order, name) = (sworm.shared.order.clone(), "counter".into());
    let Turn::Now(sent) = order.ticket(&name).turn(&before, false) else { panic!("nothing is on its way") };
    (node, counter, sent)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_with_little_time_ends_unsent_and_those_behind_it_go_on_waiting_for_what_went_elsewhere() {
    let (node, counter, sent) = unsettled().await;
    let (short, long) = (Duration::from_millis(30), Duration::from_secs(60));
    let hurried = counter.call(Count).timeout(short).into_future();
    let patient = tokio::spawn(counter.call(Count).timeout(long).into_future());
    assert_eq!(hurried.await, Err(CallError::NotSent { after: short }));
    let hurried = [counter.call(Count).timeout(short).into_future(), counter.call(Count).timeout(short).into_future()];
    for call in hurried {
        assert_eq!(call.await, Err(CallError::NotSent { after: short }));
    }
    assert_eq!(COUNT.load(Relaxed), 0, "nothing was sent before its turn");
    drop(sent);
    assert_eq!(patient.await.expect("it does not panic"), Ok(1));
    node.close().await.expect("it closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cast_with_little_time_leaves_others_waiting_for_the_casts_that_went_elsewhere() {
    let network = MemoryNetwork::new();
    let start = async |id| {
        let node = Node::builder(id).in_memory().memory_network(&network).start().await.expect("starts");
        (node.sworm("s").await.expect("it opens"), node)
    };
    let ((sworm, a), (_on_b, b)) = (start("a").await, start("b").await);
    let counter = sworm.register("counter", Counter).on(a.id()).await.expect("free");
    let name: Arc<str> = "counter".into();
    let (here, there) = (Stay { host: a.shared().me.clone(), since: counter.pid().epoch }, b.shared().me.clone());
    let before = Stay { host: there, since: Epoch { major: 1, minor: 0 } };
    sworm.shared.order.passes_on(&name, &before);
    // The other node is asked, and does not get to answer.
    network.hold("a", "b");
    let limit = Duration::from_millis(30);
    assert_eq!(Way::new(&sworm, &name, None, limit).turn(true).await.err(), Some(CallError::NotSent { after: limit }));
    let mut next = sworm.shared.order.ticket(&name);
    assert!(matches!(next.turn(&here, false), Turn::Flush(at, _) if at == before), "they are still to be flushed");
    drop(next);
    network.release("a", "b");
    let turn = Way::new(&sworm, &name, None, Duration::from_secs(60)).turn(true).await;
    assert!(turn.is_ok(), "it is answered now: {:?}", turn.err());
    for node in [a, b] {
        node.close().await.expect("it closes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_come_back_to_somebody_who_does_not_look_is_not_waited_for_as_long_as_what_is_on_its_way() {
    let (node, counter, sent) = unsettled().await;
    let (sworm, name) = (node.sworm("s").await.expect("it opens"), counter.pid().name.clone());
    // What is on its way is waited for for 10 s.
    let mut way = Way::new(&sworm, &name, None, Duration::from_secs(9));
    let mut turn = std::pin::pin!(way.turn(false));
    assert!(futures_util::future::poll_immediate(&mut turn).await.is_none(), "something is on its way");
    sent.comes_back();
    let turn = turn.await;
    assert!(turn.is_ok(), "it still waits for that: {:?}", turn.err());
    node.close().await.expect("it closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_for_want_of_room_has_a_place_again_when_its_worker_is_gone() {
    let node = Node::builder("a").in_memory().memory_network(&MemoryNetwork::new()).start().await.expect("starts");
    let (sworm, name) = (node.sworm("s").await.expect("it opens"), "nobody".into());
    let mut way = Way::new(&sworm, &name, None, Duration::from_secs(60));
    way.is_sent();
    way.wait_for_room().await.expect("there is time");
    assert!(sworm.shared.order.is_idle(&name), "it holds up nobody as long as it waits for room");
    way.ticket.waits();
    assert!(!sworm.shared.order.is_idle(&name), "those behind it wait");
    drop(way);
    assert!(sworm.shared.order.is_idle(&name));
    node.close().await.expect("it closes");
}
