//! Where names run, and why: weights, labels, and the explanation.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{Error, Explanation, NodeBuilder, Pinned, RegisterError, StartError};
use sworm_tests::eventually;

use crate::{Room, running};

/// Runs on fast disks only.
#[derive(Worker, Serialize, Deserialize)]
#[worker(distribution = Pinned::to("disk", "fast"))]
struct Index;

/// Runs where it is asked for.
#[derive(Worker, Serialize, Deserialize)]
#[worker(distribution = "local-first")]
struct Desk;

/// Saves its state wherever a node may take it over.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "placing.kept", handles(Save), handoff)]
struct Kept;

/// The same, and runs on fast disks only.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "placing.fast", handles(Save), handoff, distribution = Pinned::to("disk", "fast"))]
struct KeptFast;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "placing.save")]
struct Save;

impl Handler<Save> for Kept {
    async fn handle(&mut self, _: Save, ctx: &mut Context<Self>) {
        ctx.checkpoint().await.expect("it saves its state");
    }
}

impl Handler<Save> for KeptFast {
    async fn handle(&mut self, _: Save, ctx: &mut Context<Self>) {
        ctx.checkpoint().await.expect("it saves its state");
    }
}

/// Saves a worker of node a. Gives the other node that has its state then.
async fn copied_to<W>(all: &[(Node, Sworm)], name: &str, value: W) -> String
where
    W: sworm::Lifecycle + Handler<Save>,
    Save: sworm::Request<W>,
{
    let worker = all[0].1.register(name, value).on(all[0].0.id()).await.expect("free");
    worker.call(Save).await.expect("it is saved");
    let mut other = None;
    // Whoever starts it next knows that, too.
    for (_, sworm) in all {
        let holders = eventually("its holders", || async {
            let holders = running(sworm, name).await.holders;
            (holders.len() == 2).then_some(holders)
        });
        other = holders.await.into_iter().find(|node| *node != *all[0].0.id());
    }
    other.expect("two hold it").to_string()
}

/// Nodes a, b and so on, as the function makes them.
async fn nodes(count: usize, make: impl Fn(&str, NodeBuilder) -> NodeBuilder) -> Vec<(Node, Sworm)> {
    let network = MemoryNetwork::new();
    let mut all = Vec::new();
    for id in ["a", "b", "c"].into_iter().take(count) {
        let builder = Node::builder(id).in_memory().memory_network(&network);
        let node = make(id, builder).start().await.expect("it starts");
        let sworm = node.sworm("s").await.expect("it opens");
        all.push((node, sworm));
    }
    for (_, sworm) in &all {
        eventually("the others", || async { (sworm.nodes().len() == count).then_some(()) }).await;
    }
    all
}

/// The ids of those that a name may run on.
fn able(explained: &Explanation) -> Vec<&str> {
    let able = explained.candidates.iter().filter(|candidate| candidate.excluded.is_none());
    able.map(|candidate| candidate.candidate.node.as_str()).collect()
}

#[tokio::test]
async fn a_node_of_weight_three_gets_three_of_four_names() {
    let all = nodes(2, |id, builder| builder.weight(if id == "a" { 3 } else { 1 })).await;
    let mut on_a = 0;
    for n in 0..400 {
        let room = all[n % 2].1.register_name(format!("room-{n}"), Room).await.expect("free");
        on_a += usize::from(room.pid().node.as_str() == "a");
    }
    assert!((270..330).contains(&on_a), "{on_a} of 400");
}

#[tokio::test]
async fn a_state_is_copied_to_where_its_name_would_start_next() {
    let mut all = nodes(3, |id, builder| match id {
        "a" => builder.label("disk", "fast"),
        "b" => builder.label("disk", "fast").weight(4),
        _ => builder,
    })
    .await;
    let mut copies = Vec::new();
    for n in 0..20 {
        let name = format!("fast-{n}");
        assert_eq!(copied_to(&all, &name, KeptFast).await, "b", "c cannot take it over");
        let name = format!("kept-{n}");
        copies.push((copied_to(&all, &name, Kept).await, name));
    }
    let on_b = copies.iter().filter(|(node, _)| node == "b").count();
    assert!(on_b < copies.len(), "some are on c");
    drop(all.remove(0));
    for (node, name) in copies {
        let next = eventually("it on another node", || async {
            let pid = running(&all[0].1, &name).await.pid;
            (pid.node.as_str() != "a").then_some(pid)
        });
        assert_eq!(next.await.node.as_str(), node);
        // Nor would it be elsewhere if it had no state.
        assert_eq!(all[0].1.explain(&name).await.choice.map(|node| node.to_string()), Ok(node), "{name}");
    }
}

#[tokio::test]
async fn a_weight_out_of_its_limits_is_refused() {
    for weight in [0, 101] {
        let refused = Node::builder("a").in_memory().memory_network(&MemoryNetwork::new()).weight(weight).start().await;
        assert!(matches!(refused, Err(Error::Start(StartError::BadWeight { weight: given })) if given == weight));
    }
}

#[tokio::test]
async fn labels_out_of_their_limits_are_refused() {
    let build = || Node::builder("a").in_memory().memory_network(&MemoryNetwork::new());
    let (fits, long) = ("k".repeat(255), "k".repeat(256));
    for (label, value) in [("", "a"), (&*long, "a"), ("zone", &*long)] {
        let refused = build().label(label, value).start().await;
        let Err(Error::Start(StartError::BadLabel { key, bytes })) = refused else { panic!("{refused:?}") };
        assert_eq!((key.as_str(), bytes), (label, [label.len(), value.len()]));
    }
    let many = |count: usize| (1..count).fold(build().label(&*fits, &*fits), |all, n| all.label(n.to_string(), &*fits));
    let refused = many(65).start().await;
    assert!(matches!(refused, Err(Error::Start(StartError::TooManyLabels { labels: 65 }))), "{refused:?}");
    many(64).start().await.expect("it starts").close().await.expect("it closes");
}

#[tokio::test]
async fn a_pinned_worker_runs_on_nodes_with_its_label_only() {
    let all = nodes(3, |id, builder| match id {
        "a" => builder,
        "b" => builder.label("disk", "slow"),
        _ => builder.label("disk", "fast"),
    })
    .await;
    for n in 0..12 {
        let index = all[n % 3].1.register_name(format!("index-{n}"), Index).await.expect("free");
        assert_eq!(index.pid().node.as_str(), "c");
    }
    let explained = all[0].1.explain("index-0").await;
    assert_eq!(able(&explained), ["c"]);
    let said = explained.to_string();
    assert!(said.contains("a: weight 1, 0 names, not a candidate: is left out: it has no label \"disk\""), "{said}");
    assert!(said.contains("its label \"disk\" is \"slow\", not \"fast\"") && said.ends_with("choice: c"), "{said}");
}

#[tokio::test]
async fn without_a_node_that_has_the_label_a_pinned_worker_is_refused_with_what_each_lacks() {
    let all = nodes(1, |_, builder| builder).await;
    match all[0].1.register_name("index", Index).await {
        Err(RegisterError::NoCandidate { why }) => {
            assert!(why.contains("a is left out: it has no label \"disk\""), "{why}");
        }
        other => panic!("{other:?}"),
    }
    let explained = all[0].1.explain_as::<Index>("index").await;
    assert!(explained.choice.is_err_and(|why| why.contains("no label")));
}

#[tokio::test]
async fn a_node_that_has_not_opened_the_sworm_is_told_of_as_one() {
    let network = MemoryNetwork::new();
    let mut all = Vec::new();
    for id in ["a", "b"] {
        all.push(Node::builder(id).in_memory().memory_network(&network).start().await.expect("it starts"));
    }
    let sworm = all[0].sworm("s").await.expect("it opens");
    eventually("the other", || async { all[0].members().iter().any(|m| m.id == *all[1].id()).then_some(()) }).await;
    let elsewhere = sworm.register("index", Index).await;
    let Err(RegisterError::NoCandidate { why }) = elsewhere else { panic!("{elsewhere:?}") };
    assert!(why.contains("a is left out: ") && why.contains("b has not opened the sworm"), "{why}");
    let there = sworm.register("room", Room).on(all[1].id()).await;
    let Err(RegisterError::NoCandidate { why }) = there else { panic!("{there:?}") };
    assert!(why.contains("b has not opened the sworm") && !why.contains("is not there"), "{why}");
    let explained = sworm.explain_as::<Room>("room").await.to_string();
    assert!(explained.contains("  b: weight 1, 0 names, not a candidate: has not opened the sworm"), "{explained}");
}

#[tokio::test]
async fn a_name_ends_though_a_node_that_came_later_never_opens_its_sworm() {
    let network = MemoryNetwork::new();
    let start =
        async |id: &str| Node::builder(id).in_memory().memory_network(&network).start().await.expect("it starts");
    let a = start("a").await;
    let sworm = a.sworm("s").await.expect("it opens");
    let b = start("b").await;
    eventually("the other", || async { a.members().iter().any(|m| m.id == *b.id()).then_some(()) }).await;
    for _ in 0..2 {
        sworm.register_name("room", Room).await.expect("free");
        assert_eq!(sworm.unregister_name("room").await, Ok(()), "nobody waits for who does not hear of it");
    }
}

#[tokio::test]
async fn the_last_node_leaves_at_once_though_one_that_came_later_never_opens_its_sworm() {
    // Of a node that has said nothing yet news is waited for, for a second. A busy machine may take as long, too: it may be tried
    // again, after more heartbeats.
    let mut took = Vec::new();
    for tries in 1..=6 {
        let network = MemoryNetwork::new();
        let start =
            async |id: &str| Node::builder(id).in_memory().memory_network(&network).start().await.expect("it starts");
        let a = start("a").await;
        a.sworm("s").await.expect("it opens").register_name("room", Room).await.expect("free");
        let b = start("b").await;
        eventually("the other", || async { a.members().iter().any(|m| m.id == *b.id()).then_some(()) }).await;
        tokio::time::sleep(tries * Duration::from_millis(400)).await;
        let began = Instant::now();
        a.leave().await.expect("it leaves");
        took.push(began.elapsed());
        if began.elapsed() < Duration::from_millis(900) {
            return;
        }
    }
    panic!("it took {took:?}");
}

#[tokio::test]
async fn a_worker_that_is_local_first_runs_where_it_is_asked_for() {
    let all = nodes(3, |_, builder| builder).await;
    for (node, sworm) in &all {
        for n in 0..5 {
            let name = format!("{}-{n}", node.id());
            let desk = sworm.register_name(&name, Desk).await.expect("free");
            assert_eq!(desk.pid().node, *node.id());
        }
    }
}

#[tokio::test]
async fn an_explanation_tells_what_comes_about() {
    let all = nodes(3, |_, builder| builder).await;
    for n in 0..20 {
        let name = format!("room-{n}");
        let explained = all[n % 3].1.explain_as::<Room>(&name).await;
        assert_eq!((explained.runs.as_ref(), able(&explained)), (None, vec!["a", "b", "c"]));
        let best = explained.candidates.iter().max_by_key(|candidate| candidate.score).expect("three");
        assert_eq!(explained.choice.as_ref(), Ok(&best.candidate.node), "by rendezvous the highest score wins");
        let room = all[0].1.register_name(&name, Room).await.expect("free");
        assert_eq!(Ok(room.pid().node), explained.choice);
        running(&all[1].1, &name).await;
        let again = all[1].1.explain(&name).await;
        assert_eq!((again.runs, &*again.strategy), (Some(room.pid()), "rendezvous"));
    }
}
