//! How nodes come and go.

use std::collections::BTreeSet;
use std::time::Instant;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_closes_goes_down_at_the_others_after_its_last_message() {
    // No more than can be sent in the time that closing takes at most.
    const MESSAGES: u32 = 100;
    let long = |n: u32| Bytes::from(n.to_be_bytes().repeat(512));
    // They may have been sent by chance before it closes; but not in every round.
    for _ in 0..8 {
        let (a, mut b) = Node::pair("closing").await;
        for n in 0..MESSAGES {
            a.transport.send(&b.me, Class::Important, long(n));
        }
        a.transport.close().await;
        for n in 0..MESSAGES {
            assert!(b.next().await == TransportEvent::Message(long(n)), "message {n}");
        }
        assert_eq!(b.next().await, TransportEvent::LinkDown(a.me.clone()));
        assert_eq!(b.transport.dial(&a.transport.endpoints()[0]).await, Dialed::Refused);
        // Nothing hangs when it is used or closed once more.
        a.transport.broadcast(Class::Important, text("too late"));
        a.transport.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_dropped_goes_down_at_the_others() {
    let (a, mut b) = Node::pair("dropped").await;
    let Node { me, transport, .. } = a;
    drop(transport);
    b.until(&TransportEvent::LinkDown(me)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_endpoint_delays_nothing_and_is_linked_to_when_it_appears() {
    let later = reserve(&["tcp/127.0.0.1:0".into()]).await.expect("a free port").endpoints()[0].clone();
    let started = Instant::now();
    let mut a = Node::open("absent", "a", std::slice::from_ref(&later)).await;
    assert!(started.elapsed() < Duration::from_secs(20), "it waited: {:?}", started.elapsed());
    assert_eq!(a.transport.dial(&later).await, Dialed::Refused);
    let mut b = Node::open_at("absent", "b", &later, &[]).await;
    a.until(&TransportEvent::LinkUp(b.me.clone())).await;
    b.until(&TransportEvent::LinkUp(a.me.clone())).await;
    assert_eq!(a.transport.dial(&later).await, Dialed::Answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_back_is_linked_to_again() {
    let mut a = Node::open("again", "a", &[]).await;
    let b = Node::open("again", "b", &a.transport.endpoints()).await;
    let at = b.transport.endpoints()[0].clone();
    for _ in 0..3 {
        let mut c = Node::open("again", "c", &[a.transport.endpoints(), vec![at.clone()]].concat()).await;
        a.until(&TransportEvent::LinkUp(c.me.clone())).await;
        c.until(&TransportEvent::LinkUp(a.me.clone())).await;
        a.transport.send(&c.me, Class::Important, text("hello"));
        assert_eq!(c.message().await, text("hello"));
        c.transport.close().await;
        a.until(&TransportEvent::LinkDown(c.me.clone())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_of_a_machine_that_start_at_once_find_each_other() {
    use crate::transport::local::{announce_in, discover_in};

    let base = tempfile::tempdir().expect("a directory");
    let start = |id: &'static str| {
        let base = base.path().to_owned();
        async move {
            let reserved = reserve(&["tcp/127.0.0.1:0".into()]).await.expect("a free port");
            let announcement = announce_in(&base, "machine", &peer(id), reserved.endpoints());
            let found = discover_in(&base, "machine", &peer(id));
            (Node::open_at("machine", id, &reserved.endpoints()[0], &found).await, reserved, announcement)
        }
    };
    let nodes = tokio::join!(start("a"), start("b"), start("c"));
    for (mut node, ..) in [nodes.0, nodes.1, nodes.2] {
        let mut missing: BTreeSet<Peer> = ["a", "b", "c"].map(peer).into();
        missing.remove(&node.me);
        while !missing.is_empty() {
            if let TransportEvent::LinkUp(other) = node.next().await {
                missing.remove(&other);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_one_member_before_joining_is_told_of_all() {
    let (a, b) = Node::pair("probe").await;
    let all = [a.transport.endpoints(), b.transport.endpoints()].concat();
    a.transport.know(all.clone());
    assert_eq!(probe("probe", a.transport.endpoints()).await, Ok(all.into_iter().collect()));
    // A node of another cluster at that endpoint tells nothing.
    assert_eq!(probe("another", a.transport.endpoints()).await, Ok(std::collections::BTreeSet::new()));
}
