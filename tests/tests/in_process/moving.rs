//! Names that are moved on purpose: one, all of a node, and for balance.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{MoveError, NodeId, Rebalance, RegisterError};
use sworm_tests::{eventually, holds_for};

use crate::{moved, node, opened, running};

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "moving-counter", handles(Add), handoff)]
struct Counter {
    total: u32,
}

#[derive(Message, Serialize, Deserialize)]
#[message(reply = u32, id = "moving-add")]
struct Add(u32);

impl Handler<Add> for Counter {
    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> u32 {
        self.total += n;
        self.total
    }
}

#[derive(Message, Serialize, Deserialize)]
#[message(id = "moving-ping")]
struct Ping;

/// Longer than the members must be the same before anything moves by itself.
const CALM: Duration = Duration::from_secs(8);

fn id(node: &str) -> NodeId {
    NodeId::new(node).expect("valid")
}

/// Counters with a total of their own number.
async fn counters(sworm: &Sworm, count: u32, on: Option<&Node>) -> Vec<Ref<Counter>> {
    let mut all = Vec::new();
    for n in 0..count {
        let registering = sworm.register(format!("counter-{n:03}"), Counter::default());
        let registering = match on {
            Some(node) => registering.on(node.id()),
            None => registering,
        };
        let counter = registering.await.expect("free");
        assert_eq!(counter.call(Add(n)).await, Ok(n));
        all.push(counter);
    }
    all
}

/// Each has the total that it should have.
async fn have_their_totals(counters: &[Ref<Counter>]) {
    for (n, counter) in (0..).zip(counters) {
        assert_eq!(counter.call(Add(0)).await, Ok(n), "{counter:?}");
    }
}

/// How many names each node runs, as one of them sees it.
fn spread(sworm: &Sworm) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for found in sworm.registered() {
        *counts.entry(found.pid.node.to_string()).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn a_name_is_moved_with_its_state_to_the_node_that_was_asked_for_and_stays_there() {
    let [(_a, on_a), (_b, on_b), (_c, on_c)] = opened("s").await;
    let counter = on_a.register("one", Counter::default()).on(id("a")).await.expect("free");
    assert_eq!(counter.call(Add(5)).await, Ok(5));
    for (sworm, to) in [(&on_b, "c"), (&on_c, "b"), (&on_a, "a")] {
        let before = running(sworm, "one").await.pid;
        let pid = moved(sworm, "one", &id(to)).await;
        assert_eq!(pid.node, id(to));
        assert_ne!(pid.epoch, before.epoch, "another start of the worker");
        assert_eq!(sworm.move_name("one", &id(to)).await, Ok(pid.clone()), "it is there already");
        assert_eq!(counter.call(Add(0)).await, Ok(5));
        assert_eq!(sworm.whereis("one").expect("registered").pid, pid);
    }
}

#[tokio::test]
async fn what_cannot_be_moved_says_why_and_goes_on() {
    let [(_a, on_a), (_b, on_b)] = opened("s").await;
    let counter = on_a.register("one", Counter::default()).on(id("a")).await.expect("free");
    match on_b.move_name("one", &id("nobody")).await {
        Err(MoveError::NoCandidate { why }) => {
            assert!(why.starts_with("node nobody cannot") && why.ends_with(": nobody is not there"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    let nobody = on_b.plan_drain("nobody").await;
    assert_eq!(nobody, Err(MoveError::NoCandidate { why: "nobody is not there".into() }));
    assert_eq!(counter.call(Add(1)).await, Ok(1));
    let gone = on_b.move_name("nothing", &id("a")).await;
    assert_eq!(gone, Err(MoveError::NotRegistered { name: "nothing".into() }));
    let _inbox = on_a.attach_name::<Ping>("task").await.expect("free");
    running(&on_b, "task").await;
    match on_b.move_name("task", &id("b")).await {
        Err(MoveError::NoCandidate { why }) => assert!(why.contains("stays where it is"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_drained_node_gives_all_away_and_takes_nothing_until_it_is_undrained() {
    let [(a, on_a), (_b, on_b), (_c, _on_c)] = opened("s").await;
    let all = counters(&on_b, 60, None).await;
    let _inbox = on_a.attach_name::<Ping>("task").await.expect("free");
    let here = on_a.registered_on(a.id()).len() as u64 - 1;
    assert!(here > 5, "{:?}", spread(&on_a));
    let mut planned = on_b.plan_drain(a.id()).await.expect("it runs");
    planned.sort_by(|x, y| x.name.cmp(&y.name));
    assert_eq!(planned.len() as u64, here + 1);
    assert!(planned.iter().all(|planned| planned.to.is_ok() == (*planned.name != *"task")), "{planned:?}");

    let drained = a.drain().await.expect("in time");
    assert_eq!(drained.moved, here);
    let stays: Vec<(&str, &str)> = drained.stays.iter().map(|stays| (&*stays.name, &*stays.sworm)).collect();
    assert_eq!(stays, [("task", "s")]);
    have_their_totals(&all).await;
    for planned in planned {
        let runs_on = on_a.whereis(&planned.name).expect("registered").pid.node;
        assert_eq!(runs_on, planned.to.unwrap_or_else(|_| id("a")), "as it was planned");
    }
    match on_b.register("more", Counter::default()).on(a.id()).await {
        Err(RegisterError::NoCandidate { why }) => assert!(why.contains("a is being emptied"), "{why}"),
        other => panic!("{other:?}"),
    }
    for n in 0..30 {
        let counter = on_a.register_name(format!("other-{n}"), Counter::default()).await.expect("free");
        assert_ne!(counter.pid().node, *a.id());
    }
    a.undrain();
    let back = eventually("it taking part again", || async {
        on_b.register("more", Counter::default()).on(a.id()).await.ok()
    });
    assert_eq!(back.await.pid().node, *a.id());
}

#[tokio::test]
async fn a_node_alone_says_what_it_cannot_give_away() {
    let [(a, on_a)] = opened("s").await;
    let all = counters(&on_a, 3, None).await;
    let drained = a.drain().await.expect("in time");
    assert_eq!((drained.moved, drained.stays.len()), (0, 3));
    assert!(drained.stays[0].why.contains("a is being emptied"), "{drained:?}");
    have_their_totals(&all).await;
}

/// Two nodes with so many counters, then a third.
async fn joined(spec: SwormSpec, count: u32) -> (Vec<(Node, Sworm)>, Vec<Ref<Counter>>) {
    let network = MemoryNetwork::new();
    let mut all = Vec::new();
    for id in ["a", "b"] {
        let node = node(&network, id).await;
        let sworm = node.sworm(spec.clone()).await.expect("it opens");
        all.push((node, sworm));
    }
    eventually("the other", || async { (all[0].1.nodes().len() == 2).then_some(()) }).await;
    let counters = counters(&all[0].1, count, None).await;
    let third = node(&network, "c").await;
    let sworm = third.sworm(spec).await.expect("it opens");
    all.push((third, sworm));
    for (_, sworm) in &all {
        eventually("the others", || async { (sworm.nodes().len() == 3).then_some(()) }).await;
    }
    (all, counters)
}

/// Waits until the third node has its share, and nobody more than that.
async fn is_balanced(sworm: &Sworm, count: usize) {
    eventually("balance", || async {
        let plan = sworm.plan_rebalance().await.expect("it runs");
        let settled = sworm.registered().iter().all(|found| found.state == RegistrationState::Running);
        (plan.is_empty() && settled).then_some(())
    })
    .await;
    let counts = spread(sworm);
    let share = count.div_ceil(3);
    assert!(counts["c"] * 10 <= share * 11 && counts["c"] * 10 >= share * 7, "{counts:?}");
}

#[tokio::test]
async fn a_join_moves_nothing_by_itself_unless_told_to() {
    let (all, counters) = joined(SwormSpec::new("s"), 30).await;
    let before = spread(&all[0].1);
    assert!(!all[0].1.plan_rebalance().await.expect("it runs").is_empty(), "there would be something to move");
    // Where it is on, it begins when the members have been the same for 5 s.
    holds_for(CALM, "nothing moves by itself", || async { spread(&all[0].1) == before }).await;
    let refused = all[0].1.rebalance().await;
    assert_eq!(refused, Err(MoveError::RebalanceIsOff { sworm: "s".into() }));
    have_their_totals(&counters).await;
    assert_eq!(spread(&all[0].1), before);
    assert!(!all[0].1.plan_rebalance().await.expect("it runs").is_empty(), "there would be something to move");
}

#[tokio::test]
async fn balance_by_hand_moves_what_was_planned_and_nothing_else() {
    const COUNT: usize = 120;
    let (all, counters) = joined(SwormSpec::new("s").rebalance(Rebalance::Manual), COUNT as u32).await;
    let pids: Vec<_> = counters.iter().map(|counter| (counter.name().to_owned(), counter.pid())).collect();
    let plan = all[1].1.rebalance().await.expect("it is allowed");
    assert!(plan.iter().all(|planned| planned.to == Ok(id("c"))), "{plan:?}");
    let planned: BTreeSet<&str> = plan.iter().map(|planned| &*planned.name).collect();
    eventually("the planned moves", || async {
        let there = all[2].1.registered_on(id("c"));
        let there = there.iter().filter(|found| found.state == RegistrationState::Running);
        (there.count() == planned.len()).then_some(())
    })
    .await;
    have_their_totals(&counters).await;
    for (name, pid) in &pids {
        let now = running(&all[0].1, name).await.pid;
        let moved = now != *pid;
        assert_eq!(moved, planned.contains(&**name), "{name} was {pid} and is {now}");
        assert!(!moved || now.node == id("c"), "{name} was {pid} and is {now}");
    }
    let share = COUNT / 3;
    assert!(planned.len() * 10 <= share * 11 && planned.len() * 10 >= share * 7, "{} of {COUNT}", planned.len());
}

#[tokio::test]
async fn balance_comes_by_itself_when_the_members_are_the_same_for_a_while() {
    let (all, counters) = joined(SwormSpec::new("s").rebalance(Rebalance::On), 60).await;
    is_balanced(&all[1].1, 60).await;
    have_their_totals(&counters).await;
}
