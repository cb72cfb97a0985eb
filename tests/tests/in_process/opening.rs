//! Opening a sworm again, after it was refused or with other settings.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::core::ids::Peer;
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{Incarnation, OpenError, Rendezvous, Temporary};
use sworm_tests::{eventually, holds_for};

use super::{Room, gone, log, moved, node, running};

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

/// Ends when it is told to.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "opening.guest", handles(Go))]
struct Guest;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "opening.go")]
struct Go;

impl Handler<Go> for Guest {
    async fn handle(&mut self, _: Go, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_strategies_differ_a_name_keeps_its_distribution_and_its_node_says_how_it_is_restarted() {
    log::keep();
    let network = MemoryNetwork::new();
    let (a, b) = (node(&network, "a").await, node(&network, "b").await);
    let spec = |restart, distribution| SwormSpec::new("differs").restart(restart).distribution(distribution);
    let on_a = a.sworm(spec("temporary", "local-first")).await.expect("it opens");
    let on_b = b.sworm(spec("permanent", "ring")).await.expect("these may differ");
    let alike = || SwormSpec::new("alike").restart("temporary");
    let alike = [a.sworm(alike()).await.expect("it opens"), b.sworm(alike()).await.expect("it opens")];
    for sworm in [&on_a, &on_b].into_iter().chain(&alike) {
        eventually("each other", || async { (sworm.nodes().len() == 2).then_some(()) }).await;
    }
    for name in ["stays", "moves"] {
        let guest = on_a.register_name(name, Guest).await.expect("free");
        assert_eq!(guest.pid().node, *a.id(), "local-first, as a has it");
        running(&on_b, name).await;
        assert_eq!(&*on_b.explain(name).await.strategy, "local-first");
    }
    on_b.register_name("from b", Guest).await.expect("free");
    running(&on_a, "from b").await;
    assert_eq!(&*on_a.explain("from b").await.strategy, "ring");
    let there = moved(&on_a, "moves", b.id()).await;
    assert_eq!(&*on_b.explain("moves").await.strategy, "local-first");
    for name in ["stays", "moves"] {
        let guest = on_b.whereis_name::<Guest>(name).expect("it runs");
        guest.call(Go).await.expect("it runs");
    }
    gone(&on_b, "stays").await;
    let again = || async { on_a.whereis("moves").filter(|found| found.pid.epoch > there.epoch) };
    assert_eq!(eventually("another start", again).await.pid.node, *b.id(), "permanent, as b has it");
    let others = "other strategies for workers whose type names none";
    let line = |node: &str, theirs: &str, ours: &str| {
        let quoted = |said: &str| said.replace('"', "\\\"");
        ["WARN", others, "sworm=\"differs\""]
            .map(str::to_owned)
            .into_iter()
            .chain([
                format!("node=\"{node}\""),
                format!("theirs=\"{}\"", quoted(theirs)),
                format!("ours=\"{}\"", quoted(ours)),
            ])
            .collect::<Vec<_>>()
    };
    let (of_a, of_b, of_c) = (
        r#"restart = "temporary", distribution = "local-first""#,
        r#"restart = "permanent", distribution = "ring""#,
        "the usual ones",
    );
    is_said_once(&line("b", of_b, of_a)).await;
    is_said_once(&line("a", of_a, of_b)).await;
    let c = node(&network, "c").await;
    let _on_c = c.sworm(SwormSpec::new("differs")).await.expect("these may differ");
    for (node, theirs, ours) in [("c", of_c, of_a), ("c", of_c, of_b), ("a", of_a, of_c), ("b", of_b, of_c)] {
        is_said_once(&line(node, theirs, ours)).await;
    }
    assert_eq!((log::count(&[others, "sworm=\"differs\""]), log::count(&[others, "sworm=\"alike\""])), (6, 0));
}

async fn is_said_once(what: &[String]) {
    let what: Vec<&str> = what.iter().map(String::as_str).collect();
    log::has(1, &what).await;
    assert_eq!(log::count(&what), 1, "{what:?}");
}
