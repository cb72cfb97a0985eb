//! What those who watch are told, on which nodes, in which order.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{BoxError, Event, Events, Gone};
use sworm_tests::eventually;
use tokio::time::timeout;

use super::{Room, ended, node, opened, running};

/// Crashes when it is told to, and can be made durable.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "watched", handles(Crash, Save), handoff, replicas = 0)]
struct Watched;

/// Gives up at once.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "fragile", handles(Crash), restart = GivesUp)]
struct Fragile;

/// Cannot start as long as `UNWELL`.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "moody", lifecycle)]
struct Moody;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "watched-crash")]
struct Crash;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "watched-save")]
struct Save;

struct GivesUp;

impl sworm::Restart for GivesUp {
    fn decide(&self, _: &sworm::Exit, _: &sworm::RestartHistory) -> sworm::RestartDecision {
        sworm::RestartDecision::GiveUp
    }
}

impl Handler<Crash> for Watched {
    async fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        panic!("told to crash");
    }
}

impl Handler<Save> for Watched {
    async fn handle(&mut self, _: Save, ctx: &mut Context<Self>) {
        ctx.checkpoint().await.expect("the type has handoff");
    }
}

impl Handler<Crash> for Fragile {
    async fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        panic!("told to crash");
    }
}

/// Ends when it is told to.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "fleeting", handles(End))]
struct Fleeting;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "watched-end")]
struct End;

impl Handler<End> for Fleeting {
    async fn handle(&mut self, _: End, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

/// Cannot start.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "unable", lifecycle)]
struct Unable;

impl Lifecycle for Unable {
    async fn started(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        Err("never".into())
    }
}

/// Does not answer.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "silent", handles(Wait))]
struct Silent;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "watched-wait")]
struct Wait;

impl Handler<Wait> for Silent {
    async fn handle(&mut self, _: Wait, _: &mut Context<Self>) {
        pending().await
    }
}

static UNWELL: AtomicBool = AtomicBool::new(false);

impl Lifecycle for Moody {
    async fn started(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        if UNWELL.load(SeqCst) { Err("not today".into()) } else { Ok(()) }
    }
}

/// An event without its name and epochs.
fn brief(event: &Event) -> String {
    if event.name().is_some() {
        assert!(event.pid().is_some() && event.reason().is_some_and(|reason| !reason.is_empty()), "{event:?}");
    }
    match event {
        Event::NodeUp { node, .. } => format!("{node} is up"),
        Event::NodeSuspect { node, .. } => format!("{node} is suspect"),
        Event::NodeLeaving { node, .. } => format!("{node} leaves"),
        Event::NodeDown { node, .. } => format!("{node} is down"),
        Event::Registered { pid, worker_type } => format!("registered as {worker_type} on {}", pid.node),
        Event::Started { pid } => format!("started on {}", pid.node),
        Event::Handoff { pid, to } => format!("handed from {} to {to}", pid.node),
        Event::Moved { from, pid, cause } => format!("moved from {} to {}: {cause:?}", from.node, pid.node),
        Event::Restarted { from, pid, cause, .. } => {
            assert!(from.node == pid.node && from.epoch < pid.epoch, "{from} and {pid}");
            format!("restarted on {}: {cause:?}", pid.node)
        }
        Event::Recovering { pid } => format!("recovering from {}", pid.node),
        Event::Parked { pid } => format!("parked on {}", pid.node),
        Event::Resumed { pid } => format!("resumed on {}", pid.node),
        Event::Failed { reason, .. } => format!("failed: {reason}"),
        Event::Unregistered { pid, .. } => format!("unregistered on {}", pid.node),
        Event::Exited { pid, reason } => format!("exited on {}: {reason}", pid.node),
        Event::StartFailed { pid, reason, .. } => format!("not started on {}: {reason}", pid.node),
        Event::Conflict { pid, winner } => format!("lost on {} against {}", pid.node, winner.node),
        Event::RestoredOlder { .. } => "restored older".into(),
        Event::NoCandidate { .. } => "no candidate".into(),
        other => format!("{other:?}"),
    }
}

pub(super) async fn next(events: &mut Events) -> Event {
    timeout(Duration::from_secs(40), events.next()).await.expect("an event in time").expect("the node runs")
}

/// What is told of a name, up to the event that is given, which comes.
async fn told(events: &mut Events, name: &str, last: &str) -> Vec<String> {
    let mut all = Vec::new();
    while all.last().is_none_or(|told| told != last) {
        let event = next(events).await;
        if event.name().is_some_and(|of| **of == *name) {
            all.push(brief(&event));
        }
        assert!(all.len() < 20, "{last:?} is not among {all:?}");
    }
    all
}

/// What is told of the other nodes, up to that.
async fn told_of_nodes(events: &mut Events, last: &str) -> Vec<String> {
    let mut all = Vec::new();
    while all.last().is_none_or(|told| told != last) {
        let event = next(events).await;
        if event.name().is_none() {
            all.push(brief(&event));
        }
    }
    all
}

/// A node that runs nothing, and its handle.
async fn client(network: &MemoryNetwork) -> (Node, Sworm) {
    let client = Node::builder("c").client().in_memory().memory_network(network).start().await.expect("it starts");
    let sworm = client.sworm("s").await.expect("it opens");
    (client, sworm)
}

async fn both(on_a: &Sworm, on_b: &Sworm) {
    for sworm in [on_a, on_b] {
        eventually("each other", || async { (sworm.nodes().len() == 2).then_some(()) }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_is_told_of_a_names_whole_life_and_its_host_why_it_ended() {
    let [(a, on_a), (b, on_b)] = opened("s").await;
    let mut watches = [on_a.events(), on_b.events()];
    let worker = on_a.register("x", Watched).on(a.id()).await.expect("free");
    for events in &mut watches {
        assert_eq!(told(events, "x", "started on a").await, ["registered as watched on a", "started on a"]);
    }
    on_b.move_name("x", b.id()).await.expect("it goes");
    for events in &mut watches {
        let all = told(events, "x", "started on b").await;
        assert_eq!(all, ["handed from a to b", "moved from a to b: Handoff", "started on b"]);
    }
    worker.call(Crash).await.expect_err("it panics");
    let on_host = told(&mut watches[1], "x", "started on b").await;
    assert!(on_host[0].starts_with("exited on b") && on_host[0].contains("told to crash"), "{on_host:?}");
    let all = ["restarted on b: Exit", "started on b"];
    assert_eq!(on_host[1..], all);
    assert_eq!(told(&mut watches[0], "x", "started on b").await, all);
    on_a.unregister_name("x").await.expect("it is there");
    for events in &mut watches {
        assert_eq!(told(events, "x", "unregistered on b").await, ["unregistered on b"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_restarts_is_told_with_its_reason() {
    let [(_a, on_a), (b, on_b)] = opened("s").await;
    let mut events = on_a.events();
    let fragile = on_b.register("x", Fragile).on(b.id()).await.expect("free");
    fragile.call(Crash).await.expect_err("it panics");
    let mut last = next(&mut events).await;
    while !matches!(last, Event::Failed { .. }) {
        last = next(&mut events).await;
    }
    assert!(
        matches!(&last, Event::Failed { pid, reason } if *pid == fragile.pid() && reason.contains("told to crash"))
    );
    // A new registration takes its place.
    on_a.register("x", Fragile).on(b.id()).await.expect("it has failed");
    let all = told(&mut events, "x", "started on b").await;
    assert_eq!(all, ["unregistered on b", "registered as fragile on b", "started on b"]);
}

/// Why a name is gone, as a node is told.
async fn why_gone(events: &mut Events, name: &str) -> Gone {
    loop {
        match next(events).await {
            Event::Unregistered { pid, why } if *pid.name == *name => return why,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_worker_is_restarted_is_told_where_it_is_known() {
    let [(_a, on_a), (b, on_b)] = opened("s").await;
    let mut watches = [on_a.events(), on_b.events()];
    let worker = on_a.register("x", Watched).on(b.id()).await.expect("free");
    worker.call(Crash).await.expect_err("it panics");
    let mut reasons = Vec::new();
    for events in &mut watches {
        reasons.push(loop {
            if let Event::Restarted { reason, .. } = next(events).await {
                break reason;
            }
        });
    }
    assert_eq!(reasons[0], None, "only its host knows");
    assert!(reasons[1].as_ref().is_some_and(|reason| reason.contains("told to crash")), "{reasons:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_name_is_gone_is_told_as_far_as_it_is_known() {
    let [(a, on_a), (b, on_b)] = opened("s").await;
    let (mut at_a, mut at_b) = (on_a.events(), on_b.events());
    // Two of two know what was asked for.
    on_a.register("asked", Room).on(b.id()).await.expect("free");
    running(&on_a, "asked").await;
    on_a.unregister_name("asked").await.expect("it is there");
    assert_eq!(why_gone(&mut at_a, "asked").await, Gone::Unregistered);
    assert_eq!(why_gone(&mut at_b, "asked").await, Gone::Unregistered);
    // Of what happens to a worker its host knows.
    let fleeting = on_a.register("ended", Fleeting).on(b.id()).await.expect("free");
    running(&on_a, "ended").await;
    fleeting.call(End).await.expect("it ends afterwards");
    assert_eq!(why_gone(&mut at_b, "ended").await, Gone::Exited { reason: "ended normally".into() });
    assert_eq!(why_gone(&mut at_a, "ended").await, Gone::Unknown);
    on_a.register("unable", Unable).on(b.id()).await.expect_err("it cannot start");
    let reason = "start failed: never".into();
    assert_eq!(why_gone(&mut at_b, "unable").await, Gone::StartFailed { reason });
    // A failed one is replaced: who decides knows.
    let fragile = on_a.register("failed", Fragile).on(b.id()).await.expect("free");
    fragile.call(Crash).await.expect_err("it panics");
    eventually("the news", || async {
        let failed = |found: Registration| matches!(found.state, RegistrationState::Failed { .. });
        [&on_a, &on_b].into_iter().all(|sworm| sworm.whereis("failed").is_some_and(failed)).then_some(())
    })
    .await;
    on_a.register_name("failed", Room).await.expect("it has failed");
    let replaced = [why_gone(&mut at_a, "failed").await, why_gone(&mut at_b, "failed").await];
    assert!(replaced.contains(&Gone::Replaced) && !replaced.contains(&Gone::Unregistered), "{replaced:?}");
    // A task goes with its node.
    let _inbox = on_a.attach_name::<End>("task").await.expect("free");
    running(&on_b, "task").await;
    a.leave().await.expect("it leaves");
    assert_eq!(why_gone(&mut at_b, "task").await, Gone::NodeGone);
    assert_eq!(why_gone(&mut at_a, "task").await, Gone::NodeGone);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_is_told_from_the_loss_of_the_node_to_the_new_start() {
    let [(a, on_a), (_b, on_b)] = opened("s").await;
    on_a.register("x", Moody).on(a.id()).await.expect("free");
    running(&on_b, "x").await;
    let (mut events, mut of_nodes) = (on_b.events(), on_b.events());
    UNWELL.store(true, SeqCst);
    a.close().await.expect("it closes");
    let before = told(&mut events, "x", "not started on b: start failed: not today").await;
    assert_eq!(before[..2], ["recovering from a", "moved from a to b: NodeDown"], "{before:?}");
    UNWELL.store(false, SeqCst);
    let after = told(&mut events, "x", "started on b").await;
    assert!(after[..after.len() - 1].iter().all(|told| told.starts_with("not started on b")), "{after:?}");
    assert_eq!(told_of_nodes(&mut of_nodes, "a is down").await, ["a is suspect", "a is down"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_is_told_and_what_becomes_of_it() {
    let network = MemoryNetwork::new();
    let (client, on_client) = client(&network).await;
    let host = node(&network, "a").await;
    let on_host = host.sworm("s").await.expect("it opens");
    both(&on_client, &on_host).await;
    let (mut events, mut of_nodes, mut of_host) = (on_client.events(), on_client.events(), on_host.events());
    on_client.register_name("x", Watched).await.expect("there is a host");
    for events in [&mut events, &mut of_host] {
        told(events, "x", "started on a").await;
    }
    host.leave().await.expect("it leaves");
    assert_eq!(told(&mut of_host, "x", "parked on a").await, ["parked on a"]);
    // The client decides, and has no place for it.
    assert_eq!(told(&mut events, "x", "no candidate").await, ["parked on a", "no candidate"]);
    let host = node(&network, "a").await;
    host.sworm("s").await.expect("it opens");
    assert_eq!(told(&mut events, "x", "started on a").await, ["restarted on a: Parked", "started on a"]);
    let all = told_of_nodes(&mut of_nodes, "a is up").await;
    assert_eq!(all, ["a leaves", "a is down", "a is up"]);
    drop(client);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_taken_for_gone_resumes_its_names() {
    let network = MemoryNetwork::new();
    let (_client, on_client) = client(&network).await;
    let host = node(&network, "a").await;
    let on_host = host.sworm("s").await.expect("it opens");
    both(&on_client, &on_host).await;
    let (mut events, mut of_nodes) = (on_client.events(), on_client.events());
    on_client.register_name("x", Room).await.expect("there is a host");
    told(&mut events, "x", "started on a").await;
    network.cut("a", "c");
    assert_eq!(told_of_nodes(&mut of_nodes, "a is down").await, ["a is suspect", "a is down"]);
    assert_eq!(told(&mut events, "x", "no candidate").await, ["recovering from a", "no candidate"]);
    network.heal("a", "c");
    assert_eq!(told_of_nodes(&mut of_nodes, "a is up").await, ["a is up"]);
    assert_eq!(told(&mut events, "x", "resumed on a").await, ["resumed on a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_told_where_its_worker_lost() {
    let (network, nodes, sides) = cut_in_two().await;
    let mut watches = [sides[0].events(), sides[1].events()];
    network.heal("a", "b");
    let winner = eventually("one worker", || async {
        let pids = [sides[0].whereis("x")?.pid, sides[1].whereis("x")?.pid];
        (pids[0] == pids[1]).then(|| pids[0].node.clone())
    })
    .await;
    let (loser, events) = match winner == *nodes[0].id() {
        true => ("b", &mut watches[1]),
        false => ("a", &mut watches[0]),
    };
    let last = format!("lost on {loser} against {winner}");
    let all = told(events, "x", &last).await;
    assert_eq!(all, [format!("moved from {loser} to {winner}: Conflict"), format!("started on {winner}"), last]);
}

/// Two nodes that each run `x`, and do not see each other.
async fn cut_in_two() -> (MemoryNetwork, [Node; 2], [Sworm; 2]) {
    let network = MemoryNetwork::new();
    let nodes = [node(&network, "a").await, node(&network, "b").await];
    let sides = [nodes[0].sworm("s").await.expect("it opens"), nodes[1].sworm("s").await.expect("it opens")];
    both(&sides[0], &sides[1]).await;
    sides[0].register_name("x", Room).await.expect("free");
    network.cut("a", "b");
    for (side, node) in sides.iter().zip(&nodes) {
        let here = || async { side.whereis("x").filter(|found| found.pid.node == *node.id()) };
        eventually("its own worker", here).await;
        running(side, "x").await;
    }
    (network, nodes, sides)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_that_a_state_is_missed() {
    let [(a, on_a), (_b, on_b)] = opened("s").await;
    let worker = on_a.register("x", Watched).on(a.id()).await.expect("free");
    worker.call(Save).await.expect("it is saved");
    eventually("what holds it", || async { (!on_b.whereis("x")?.holders.is_empty()).then_some(()) }).await;
    let mut events = on_b.events();
    a.close().await.expect("it closes");
    let all = told(&mut events, "x", "started on b").await;
    assert_eq!(all.first().map(String::as_str), Some("recovering from a"));
    assert!(all.contains(&"restored older".to_owned()), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_has_no_node_is_told_once_also_after_it_was_waited_for_its_state() {
    let network = MemoryNetwork::new();
    let (_client, on_client) = client(&network).await;
    let host = node(&network, "a").await;
    let on_host = host.sworm("s").await.expect("it opens");
    both(&on_client, &on_host).await;
    let mut events = on_client.events();
    let worker = on_client.register_name("x", Watched).await.expect("there is a host");
    worker.call(Save).await.expect("it is saved");
    eventually("what holds it", || async { (!on_client.whereis("x")?.holders.is_empty()).then_some(()) }).await;
    host.close().await.expect("it closes");
    told(&mut events, "x", "no candidate").await;
    // It is tried again and again, and said once: the next that is told is that it runs.
    let host = node(&network, "b").await;
    host.sworm("s").await.expect("it opens");
    let all = told(&mut events, "x", "started on b").await;
    assert!(all.iter().filter(|told| *told == "restored older").count() <= 1, "{all:?}");
    assert!(!all.contains(&"no candidate".to_owned()), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_stuck_is_told_on_its_node_with_what_it_does_and_for_how_long() {
    let [(_a, on_a), (b, on_b)] = opened("s").await;
    let (mut elsewhere, mut events) = (on_a.events(), on_b.events());
    let silent = on_a.register("x", Silent).on(b.id()).await.expect("free");
    told(&mut events, "x", "started on b").await;
    let called = Instant::now();
    silent.cast(Wait).await.expect("it runs");
    for least in [5, 10].map(Duration::from_secs) {
        match next(&mut events).await {
            Event::Stuck { pid, with, busy } => {
                assert_eq!((&pid, &*with), (&silent.pid(), "watched-wait"));
                assert!(least <= busy && busy <= called.elapsed(), "{busy:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    ended(&on_a, "x").await;
    let all = told(&mut elsewhere, "x", "unregistered on b").await;
    assert_eq!(all, ["registered as silent on b", "started on b", "unregistered on b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_lost_its_name_and_has_it_back_is_told_on_its_node() {
    let [(_a, on_a), (b, on_b)] = opened("s").await;
    let (mut elsewhere, mut events) = (on_a.events(), on_b.events());
    let worker = on_a.register("x", Watched).on(b.id()).await.expect("free");
    for events in [&mut elsewhere, &mut events] {
        told(events, "x", "started on b").await;
    }
    sworm::internals::lose_name(&on_b, "x");
    // If it is not given back at once, its end and its return are told as well.
    let lost = Event::NameLost { pid: worker.pid() };
    while next(&mut events).await != lost {}
    for sworm in [&on_a, &on_b] {
        assert_eq!(running(sworm, "x").await.pid, worker.pid(), "it runs on");
    }
    on_a.unregister_name("x").await.expect("it is there");
    let all = [told(&mut elsewhere, "x", "unregistered on b").await, told(&mut events, "x", "unregistered on b").await];
    assert!(!all.iter().flatten().any(|told| told.contains("NameLost")), "once, and there only: {all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_is_told_how_many_it_missed_and_reads_on() {
    let [(_a, sworm)] = opened("s").await;
    let (mut slow, mut dropped) = (sworm.events(), sworm.events());
    let names: Vec<String> = (0..Events::CAPACITY / 2 + 100).map(|n| format!("room-{n:04}")).collect();
    let register = |name: &String| sworm.register(name, Room).timeout(Duration::from_secs(40)).into_future();
    for room in join_all(names.iter().map(register)).await {
        room.expect("free");
    }
    let last = "the last one";
    sworm.register_name(last, Room).await.expect("free");
    assert!(matches!(next(&mut dropped).await, Event::Missed { .. }));
    drop(dropped);
    let (mut missed, mut told) = (0, 0);
    loop {
        match next(&mut slow).await {
            Event::Missed { events } => missed += events,
            event => {
                told += 1;
                if event.name().is_some_and(|name| **name == *last) && matches!(event, Event::Started { .. }) {
                    break;
                }
            }
        }
    }
    assert_eq!(told, Events::CAPACITY as u64, "what is kept");
    assert_eq!(missed + told, 2 * (names.len() as u64 + 1), "two events for each name");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_joins_is_not_told_of_what_was_there() {
    let network = MemoryNetwork::new();
    let first = node(&network, "a").await;
    let on_first = first.sworm("s").await.expect("it opens");
    for n in 0..200 {
        on_first.register(format!("room-{n}"), Room).on(first.id()).await.expect("free");
    }
    let second = node(&network, "b").await;
    let on_second = second.sworm("s").await.expect("it opens");
    let mut events = on_second.events();
    assert_eq!(on_second.registered().len(), 200);
    both(&on_first, &on_second).await;
    on_first.register("new", Room).on(first.id()).await.expect("free");
    let mut told = Vec::new();
    while told.len() < 2 {
        let event = next(&mut events).await;
        told.extend(event.name().map(|name| format!("{name} {}", brief(&event))));
    }
    assert_eq!(told, ["new registered as room on a", "new started on a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_first_and_looks_then_misses_nothing() {
    let [(_a, sworm)] = opened("s").await;
    let registering = tokio::spawn({
        let sworm = sworm.clone();
        async move {
            for n in 0..300 {
                sworm.register_name(format!("room-{n}"), Room).await.expect("free");
            }
        }
    });
    let mut readers = Vec::new();
    while !registering.is_finished() {
        let events = sworm.events();
        let known: BTreeSet<String> = sworm.registered().iter().map(|found| found.name.to_string()).collect();
        readers.push((events, known));
        tokio::task::yield_now().await;
        readers.truncate(500);
    }
    registering.await.expect("it does not panic");
    assert!(readers.len() > 10, "{}", readers.len());
    sworm.register_name("the last one", Room).await.expect("free");
    for (mut events, mut known) in readers {
        while !known.contains("the last one") {
            known.extend(next(&mut events).await.name().map(|name| name.to_string()));
        }
        assert_eq!(known.len(), 301);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_ends_with_the_node() {
    let [(node, sworm)] = opened("s").await;
    let mut events = sworm.events();
    sworm.register_name("x", Room).await.expect("free");
    node.close().await.expect("it closes");
    // It is a stream as any other.
    let all: Vec<String> = (&mut events).map(|event| brief(&event)).collect().await;
    assert_eq!(all, ["registered as room on a", "started on a"]);
    assert_eq!(events.next().await, None);
    assert_eq!(sworm.events().next().await, None);
}
