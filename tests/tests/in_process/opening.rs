//! Opening a sworm again, after it was refused or with other settings.

use std::time::Duration;

use sworm::core::ids::Peer;
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{Incarnation, OpenError, Rendezvous, Temporary};
use sworm_tests::{eventually, holds_for};

use super::{Room, node, running};

#[tokio::test(flavor = "multi_thread")]
async fn a_sworm_that_was_refused_is_gone_and_can_be_opened_as_the_others_have_it() {
    let network = MemoryNetwork::new();
    let (a, b) = (node(&network, "a").await, node(&network, "b").await);
    let on_a = a.sworm(SwormSpec::new("s").handoff(true)).await.expect("it opens");
    for _ in 0..2 {
        let quick = SwormSpec::new("s").sync_interval(Duration::from_millis(20));
        let refused = b.sworm(quick).await.expect_err("they disagree");
        assert!(matches!(&refused, OpenError::Disagreed { node, .. } if node == a.id()), "{refused}");
    }
    // For as long as fifty heartbeats take: a refused one that lived on would be far ahead of its successor.
    holds_for(Duration::from_secs(1), "it stays out", || async { on_a.nodes() == [a.id().clone()] }).await;
    let on_b = b.sworm(SwormSpec::new("s").handoff(true)).await.expect("they agree");
    for sworm in [&on_a, &on_b] {
        eventually("each other", || async { (sworm.nodes().len() == 2).then_some(()) }).await;
    }
    for (sworm, other, name) in [(&on_a, &b, "from a"), (&on_b, &a, "from b")] {
        let room = sworm.register(name, Room).on(other.id()).await.expect("free");
        for sworm in [&on_a, &on_b] {
            assert_eq!(running(sworm, name).await.pid, room.pid());
        }
    }
    // A third node is not disturbed by what was refused.
    let c = node(&network, "c").await;
    c.sworm(SwormSpec::new("s").handoff(true)).await.expect("they agree");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sworm_is_opened_a_second_time_with_the_same_settings_only() {
    let network = MemoryNetwork::new();
    let node = node(&network, "a").await;
    let spec = || SwormSpec::new("s").restart("temporary").sync_interval(Duration::from_millis(100));
    let sworm = node.sworm(spec()).await.expect("it opens");
    sworm.register_name("room", Room).await.expect("free");
    // What is said by default is the same as what is left out.
    for same in [spec(), spec().handoff(false), spec().distribution("rendezvous")] {
        assert!(node.sworm(same).await.expect("open already").whereis("room").is_some());
    }
    let others = [
        (SwormSpec::new("s"), "restart = \"transient\""),
        (spec().restart("permanent"), "restart = \"permanent\""),
        (spec().restart_value(&Temporary), "restart = <value>"),
        (spec().distribution_value(&Rendezvous), "distribution = <value>"),
        (spec().handoff(true), "handoff = on"),
        (spec().sync_interval(Duration::from_millis(101)), "sync_interval = 101ms"),
    ];
    for (other, ours_says) in others {
        match node.sworm(other).await {
            Err(OpenError::Disagreed { node, theirs, ours, .. }) => {
                assert_eq!(&*node, "a");
                assert!(ours.contains(ours_says), "{ours}");
                assert!(theirs.contains("restart = \"temporary\"") && theirs.contains("= 100ms"), "{theirs}");
            }
            other => panic!("{ours_says}: {other:?}"),
        }
    }
    sworm.unregister_name("room").await.expect("it is open as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_come_once_in_a_sync_interval() {
    let watched = async |ms: u64| {
        let network = MemoryNetwork::new();
        let node = node(&network, "a").await;
        let sworm = node.sworm(SwormSpec::new("s").sync_interval(Duration::from_millis(ms))).await.expect("it opens");
        let observer = Peer { node: NodeId::new("observer").expect("valid"), incarnation: Incarnation(1) };
        let (events, received) = tokio::sync::mpsc::unbounded_channel();
        let transport = network.connect("default", observer, events);
        (node, sworm, transport, received)
    };
    let (_a, _on_a, _quick, mut quick) = watched(20).await;
    let (_b, _on_b, _slow, slow) = watched(2_000).await;
    for _ in 0..100 {
        quick.recv().await.expect("its node runs");
    }
    assert!(slow.len() < 50, "{}", slow.len());
}
