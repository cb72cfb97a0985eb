//! A saved state turns up that the worker of its name lacks: it is given to it, and kept until then.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{Event, Events, Mode, NodeId};
use sworm_tests::{eventually, holds_for};

use crate::{LEASE, moved, node, running};

mod saved;

/// What it was told, and the states that turned up.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "notes", handles(Note, Keep), handoff, lifecycle, distribution = "local-first")]
struct Notes {
    all: BTreeSet<String>,
}

#[derive(Message, Serialize, Deserialize)]
#[message(reply = BTreeSet<String>, id = "note")]
struct Note(String);

#[derive(Message, Serialize, Deserialize)]
#[message(id = "note-keep")]
struct Keep;

impl Handler<Note> for Notes {
    async fn handle(&mut self, Note(text): Note, _: &mut Context<Self>) -> BTreeSet<String> {
        self.all.insert(text);
        self.all.clone()
    }
}

impl Handler<Keep> for Notes {
    async fn handle(&mut self, _: Keep, ctx: &mut Context<Self>) {
        ctx.checkpoint().await.expect("it saves its state");
    }
}

/// Who was given what.
static GIVEN: Mutex<Vec<(Pid, BTreeSet<String>)>> = Mutex::new(Vec::new());

impl Lifecycle for Notes {
    async fn on_diverged(&mut self, other: Self, ctx: &mut Context<Self>) {
        GIVEN.lock().expect("nobody panics with it").push((ctx.pid().clone(), other.all.clone()));
        let fails = other.all.contains("poison") && ctx.node() == &id("a");
        assert!(!fails, "this node cannot take it");
        if other.all.contains("stuck") && ctx.node() == &id("a") {
            std::future::pending::<()>().await;
        }
        self.all.extend(other.all);
        ctx.checkpoint().await.expect("it saves its state");
    }
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).expect("valid")
}

fn given(name: &str) -> Vec<(NodeId, BTreeSet<String>)> {
    let given = GIVEN.lock().expect("nobody panics with it").clone();
    given.into_iter().filter(|(pid, _)| *pid.name == *name).map(|(pid, all)| (pid.node, all)).collect()
}

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

async fn notes(sworm: &Sworm, name: &str, text: &str) -> BTreeSet<String> {
    let ask = || async { sworm.whereis_name::<Notes>(name)?.call(Note(text.to_owned())).await.ok() };
    eventually("the notes", ask).await
}

async fn diverged(events: &mut Events) -> (Pid, NodeId) {
    let told = async {
        loop {
            if let Some(Event::StateDiverged { pid, node, .. }) = events.next().await {
                return (pid, node);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(40), told).await.expect("it is told")
}

/// Nodes a, b and c in mode "majority".
async fn three(network: &MemoryNetwork) -> Vec<(Node, Sworm)> {
    let spec = || SwormSpec::new("s").mode(Mode::Majority).expect_nodes(3).lease(LEASE);
    let mut all = Vec::new();
    for name in ["a", "b", "c"] {
        let node = node(network, name).await;
        let sworm = node.sworm(spec()).await.expect("it opens");
        all.push((node, sworm));
    }
    for (_, sworm) in &all {
        eventually("the voters", || async { sworm.voters().await.expect("it runs").map(drop) }).await;
    }
    all
}

/// A name that has saved "saved" and knows `lost`, and whose node c is cut off until the others have started it.
async fn parked(network: &MemoryNetwork, all: &[(Node, Sworm)], name: &str, lost: &str) {
    let (on_a, on_c) = (&all[0].1, &all[2].1);
    let found = || async { on_c.whereis_or_register_name(name, Notes::default).await.ok() };
    let worker = eventually("its registration", found).await;
    worker.call(Note("saved".to_owned())).await.expect("it runs");
    worker.call(Keep).await.expect("it is durable");
    worker.call(Note(lost.to_owned())).await.expect("it runs");
    network.cut("c", "a");
    network.cut("c", "b");
    eventually("that it is parked", || async {
        (on_c.whereis(name)?.state == RegistrationState::Parked).then_some(())
    })
    .await;
    assert_eq!(notes(on_a, name, "other").await, set(&["other", "saved"]), "what was durable");
}

fn heal(network: &MemoryNetwork) {
    network.heal("c", "a");
    network.heal("c", "b");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_parked_worker_had_is_given_once_to_the_one_that_was_started_elsewhere() {
    let network = MemoryNetwork::new();
    let all = three(&network).await;
    parked(&network, &all, "alice", "lost").await;
    let [(_, on_a), (_, on_b), (_, on_c)] = &all[..] else { unreachable!("there are three") };
    let winner = running(on_a, "alice").await.pid;
    let (host, other) = if winner.node == *"a" { (on_a, on_b) } else { (on_b, on_a) };
    let mut events = host.events();
    heal(&network);
    assert_eq!(diverged(&mut events).await, (winner.clone(), id("c")));
    eventually("the merged notes", || async {
        (notes(on_c, "alice", "other").await == set(&["lost", "other", "saved"])).then_some(())
    })
    .await;
    assert_eq!(running(other, "alice").await.pid, winner, "it has run on");
    let told = [(winner.node, set(&["lost", "saved"]))];
    assert_eq!(given("alice"), told);
    // Wherever it goes, it has that, and is not given it again; not even where it was kept.
    for to in ["c", "a", "b"] {
        moved(on_b, "alice", &id(to)).await;
        assert_eq!(notes(on_b, "alice", "other").await, set(&["lost", "other", "saved"]));
    }
    holds_for(Duration::from_secs(2), "it was given once", || async { given("alice") == told }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_a_worker_panics_with_is_kept_for_one_on_another_node() {
    let network = MemoryNetwork::new();
    let all = three(&network).await;
    parked(&network, &all, "bob", "poison").await;
    let on_b = &all[1].1;
    if running(on_b, "bob").await.pid.node != *"a" {
        moved(on_b, "bob", &id("a")).await;
    }
    let mut events = all[0].1.events();
    heal(&network);
    assert_eq!(diverged(&mut events).await.0.node, id("a"));
    while !matches!(events.next().await, Some(Event::Started { .. })) {}
    assert_eq!(given("bob"), [(id("a"), set(&["poison", "saved"]))]);
    // It was started again, and is not given that again.
    holds_for(Duration::from_secs(3), "it was given once", || async { given("bob").len() == 1 }).await;
    moved(on_b, "bob", &id("b")).await;
    eventually("the state", || async { notes(on_b, "bob", "other").await.contains("poison").then_some(()) }).await;
    assert_eq!(given("bob")[1..], [(id("b"), set(&["poison", "saved"]))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_does_not_come_back_from_a_state_goes_on_without_it() {
    let network = MemoryNetwork::new();
    let all = three(&network).await;
    parked(&network, &all, "dave", "stuck").await;
    let on_b = &all[1].1;
    if running(on_b, "dave").await.pid.node != *"a" {
        moved(on_b, "dave", &id("a")).await;
    }
    let mut events = all[0].1.events();
    heal(&network);
    let (pid, _) = diverged(&mut events).await;
    assert_eq!(notes(on_b, "dave", "after").await, set(&["after", "other", "saved"]));
    assert_eq!(running(on_b, "dave").await.pid, pid, "it has run on");
    moved(on_b, "dave", &id("b")).await;
    eventually("the state", || async { notes(on_b, "dave", "other").await.contains("stuck").then_some(()) }).await;
    assert_eq!(given("dave"), [(id("a"), set(&["saved", "stuck"])), (id("b"), set(&["saved", "stuck"]))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_down_gives_what_it_had_saved_alone_to_the_worker_of_the_others() {
    let (network, directory) = (MemoryNetwork::new(), tempfile::tempdir().expect("a directory"));
    let start = || async {
        let node = Node::builder("a").store(directory.path()).memory_network(&network).start().await;
        let node = node.expect("it starts");
        let sworm = node.sworm("s").await.expect("it opens");
        (node, sworm)
    };
    let (a, on_a) = start().await;
    let b = node(&network, "b").await;
    let on_b = b.sworm("s").await.expect("it opens");
    for sworm in [&on_a, &on_b] {
        eventually("both", || async { (sworm.nodes().len() == 2).then_some(()) }).await;
    }
    let worker = on_a.register_name("carol", Notes::default()).await.expect("free");
    worker.call(Note("saved".to_owned())).await.expect("it runs");
    worker.call(Keep).await.expect("it is durable");
    network.cut("a", "b");
    eventually("a is alone", || async { (on_a.nodes().len() == 1).then_some(()) }).await;
    notes(&on_a, "carol", "alone").await;
    worker.call(Keep).await.expect("it is durable");
    a.close().await.expect("it closes");
    drop((a, on_a));
    eventually("the other side", || async { (running(&on_b, "carol").await.pid.node == *"b").then_some(()) }).await;
    assert_eq!(notes(&on_b, "carol", "other").await, set(&["other", "saved"]));
    let mut events = on_b.events();
    network.heal("a", "b");
    let (_a, on_a) = start().await;
    let (pid, holder) = diverged(&mut events).await;
    assert_eq!((pid, holder), (running(&on_b, "carol").await.pid, id("a")));
    eventually("the merged notes", || async {
        (notes(&on_a, "carol", "other").await == set(&["alone", "other", "saved"])).then_some(())
    })
    .await;
    assert_eq!(given("carol"), [(id("b"), set(&["alone", "saved"]))]);
}
