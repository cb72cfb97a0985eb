//! Mode "majority": only the side with a majority of the voters goes on.

use std::future::IntoFuture;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{CallError, Event, Mode, NodeId, OpenError, RegisterError, UnregisterError, VotersError};
use sworm_tests::{eventually, holds_for};
use tokio::sync::Semaphore;

use crate::{LEASE, node, running};

mod late;
mod outputs;
mod saving;

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "majority-counter", handles(Add, Hold), handoff, distribution = "local-first")]
struct Counter {
    total: u32,
}

#[derive(Message, Serialize, Deserialize)]
#[message(reply = u32, id = "majority-add")]
struct Add(u32);

impl Handler<Add> for Counter {
    async fn handle(&mut self, Add(n): Add, ctx: &mut Context<Self>) -> u32 {
        self.total += n;
        ctx.checkpoint().await.expect("it saves its state");
        self.total
    }
}

/// Handled at once, or held until it may end.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "majority-hold")]
struct Hold(bool);

/// What takes long on a busy machine, or with that lease.
const LONG: Duration = Duration::from_secs(60);

static HELD: Semaphore = Semaphore::const_new(0);
static MAY_END: Semaphore = Semaphore::const_new(0);

impl Handler<Hold> for Counter {
    async fn handle(&mut self, Hold(hold): Hold, _: &mut Context<Self>) {
        if hold {
            HELD.add_permits(1);
            MAY_END.acquire().await.expect("it is open").forget();
        }
    }
}

/// With a lease that does not end by itself where a busy machine stands still for some seconds.
fn spec(voters: usize) -> SwormSpec {
    SwormSpec::new("s").mode(Mode::Majority).expect_nodes(voters).lease(LEASE)
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).expect("valid")
}

async fn opened(network: &MemoryNetwork, names: &[&str], voters: usize) -> Vec<(Node, Sworm)> {
    let mut all = Vec::new();
    for name in names {
        let node = node(network, name).await;
        let sworm = node.sworm(spec(voters)).await.expect("it opens");
        all.push((node, sworm));
    }
    for (_, sworm) in &all {
        eventually("the voters", || async { sworm.voters().await.expect("it runs").map(drop) }).await;
    }
    all
}

/// Registers a counter, however often it must be tried.
async fn counter(sworm: &Sworm, name: &str) -> Ref<Counter> {
    let found = || async { sworm.whereis_or_register_name(name, Counter::default).await.ok() };
    eventually("its registration", found).await
}

fn cut_off(network: &MemoryNetwork, lone: &str, others: &[&str]) {
    others.iter().for_each(|other| network.cut(lone, other));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_registered_before_the_voters_have_seen_each_other() {
    let network = MemoryNetwork::new();
    let a = node(&network, "a").await;
    let on_a = a.sworm(spec(2)).await.expect("it opens");
    let early = on_a.register("early", Counter::default()).timeout(Duration::from_millis(300)).await;
    let Err(RegisterError::NoMajority { why }) = early else { panic!("{early:?}") };
    assert!(why.contains("2 nodes"), "{why}");
    assert_eq!(on_a.voters().await, Ok(None));
    let b = node(&network, "b").await;
    b.sworm(spec(2)).await.expect("it opens");
    counter(&on_a, "early").await;
    let voters = on_a.voters().await.expect("it runs").expect("founded");
    assert_eq!((voters.number, voters.nodes), (1, [id("a"), id("b")].into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_side_without_a_majority_refuses_and_parks_and_the_other_goes_on_from_what_was_acknowledged() {
    let network = MemoryNetwork::new();
    let all = opened(&network, &["a", "b", "c"], 3).await;
    let (on_a, on_c) = (&all[0].1, &all[2].1);
    let alice = counter(on_c, "alice").await;
    assert_eq!(alice.pid().node, id("c"));
    assert_eq!(alice.call(Add(5)).timeout(LONG).await, Ok(5));
    let mut events = on_c.events();
    cut_off(&network, "c", &["a", "b"]);
    while events.next().await != Some(Event::MajorityLost) {}
    let refused = on_c.register_name("bob", Counter::default()).await;
    let Err(RegisterError::NoMajority { why }) = refused else { panic!("{refused:?}") };
    assert!(why.contains("of 3 voters"), "{why}");
    let refused = on_c.unregister_name("alice").await;
    assert!(matches!(refused, Err(UnregisterError::NoMajority { .. })), "{refused:?}");
    let here = on_c.whereis_name::<Counter>("alice").expect("it is known");
    assert_eq!(here.call(Add(1)).await, Err(CallError::NoMajority));
    eventually("that it is parked", || async {
        let found = on_c.whereis("alice").expect("it is known");
        (found.state == RegistrationState::Parked).then_some(())
    })
    .await;
    let there = on_a.whereis_name::<Counter>("alice").expect("it is known");
    // What had an unknown outcome must not be repeated.
    eventually("the other side", || async { there.call(Add(0)).await.ok() }).await;
    assert_eq!(there.call(Add(1)).timeout(LONG).await, Ok(6));
    assert_ne!(running(on_a, "alice").await.pid.node, id("c"));
    network.heal("c", "a");
    network.heal("c", "b");
    while events.next().await != Some(Event::MajorityHeard) {}
    eventually("the answer", || async { here.call(Add(0)).await.ok() }).await;
    assert_eq!(here.call(Add(1)).timeout(LONG).await, Ok(7));
    counter(on_c, "bob").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_workers_go_on_where_they_were_when_nobody_has_taken_them_over() {
    let network = MemoryNetwork::new();
    let all = opened(&network, &["a", "b"], 2).await;
    let (on_a, on_b) = (&all[0].1, &all[1].1);
    let alice = counter(on_b, "alice").await;
    assert_eq!(alice.call(Add(5)).timeout(LONG).await, Ok(5));
    // Of two the first in order of ids goes on; and it hears of the other again before it may take anything over.
    let mut events = on_b.events();
    network.cut("a", "b");
    on_a.register("bob", Counter::default()).on(id("a")).timeout(LONG).await.expect("half is enough");
    while events.next().await != Some(Event::MajorityLost) {}
    network.heal("a", "b");
    eventually("the answer", || async { alice.call(Add(0)).await.ok() }).await;
    assert_eq!(alice.call(Add(1)).timeout(LONG).await, Ok(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_is_held_back_when_the_majority_was_lost_while_the_message_was_handled() {
    let network = MemoryNetwork::new();
    let all = opened(&network, &["a", "b", "c"], 3).await;
    // On the same side of the cut, and no voter.
    let d = node(&network, "d").await;
    let (on_c, on_d) = (&all[2].1, d.sworm(spec(3)).await.expect("it opens"));
    let mut events = on_c.events();
    let mut calls = Vec::new();
    for (name, from) in [("local", on_c), ("remote", &on_d)] {
        assert_eq!(counter(on_c, name).await.pid().node, id("c"));
        running(from, name).await;
        let counter = from.whereis_name::<Counter>(name).expect("it runs");
        calls.push(tokio::spawn(async move { counter.call(Hold(true)).timeout(LONG).await }));
        HELD.acquire().await.expect("it is open").forget();
    }
    cut_off(&network, "c", &["a", "b"]);
    cut_off(&network, "d", &["a", "b"]);
    while events.next().await != Some(Event::MajorityLost) {}
    // Long before they are aborted.
    MAY_END.add_permits(calls.len());
    for call in calls {
        let answer = call.await.expect("no panic");
        assert_eq!(answer, Err(CallError::MajorityLost));
        assert!(answer.is_err_and(|error| error.is_unknown_outcome()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_on_the_smaller_side_gets_no_message_any_more_and_its_answers_are_not_sent() {
    let network = MemoryNetwork::new();
    let all = opened(&network, &["a", "b", "c"], 3).await;
    // On the same side of the cut, and no voter.
    let d = node(&network, "d").await;
    let (on_c, on_d) = (&all[2].1, d.sworm(spec(3)).await.expect("it opens"));
    let mut events = on_c.events();
    let mut idle = on_c.attach_name::<Hold>("idle").await.expect("free");
    let mut busy = on_c.attach_name::<Hold>("busy").await.expect("free");
    let (mut calls, mut replies) = (Vec::new(), Vec::new());
    for from in [on_c, &on_d] {
        let mut tasks = Vec::new();
        for name in ["idle", "busy"] {
            running(from, name).await;
            tasks.push(from.whereis_name::<Inbox<Hold>>(name).expect("it runs"));
        }
        calls.push(tokio::spawn(async move {
            let calls = tasks.iter().map(|task| task.call(Hold(true)).timeout(LONG).into_future());
            futures_util::future::join_all(calls).await
        }));
        // What was sent before that, to the other one, waits there by now.
        replies.push(busy.recv().await.expect("it comes").1);
    }
    cut_off(&network, "c", &["a", "b"]);
    cut_off(&network, "d", &["a", "b"]);
    while events.next().await != Some(Event::MajorityLost) {}
    replies.into_iter().for_each(|reply| reply.send(()));
    assert!(idle.recv().await.is_none(), "what waited is not handed out");
    assert!(busy.recv().await.is_none());
    for call in calls {
        let answers = call.await.expect("no panic");
        assert_eq!(answers, [Err(CallError::NoMajority), Err(CallError::MajorityLost)]);
    }
}

/// Tells the epoch of the worker that handled it, after it has blocked the thread for so long.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "majority-block", reply = sworm::Epoch)]
struct Block(Duration);

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "majority-blocking", handles(Block))]
struct Blocking;

static HANDLED: std::sync::Mutex<Vec<sworm::Epoch>> = std::sync::Mutex::new(Vec::new());

impl Handler<Block> for Blocking {
    async fn handle(&mut self, Block(time): Block, ctx: &mut Context<Self>) -> sworm::Epoch {
        HANDLED.lock().expect("nobody panics with it").push(ctx.epoch());
        std::thread::sleep(time);
        ctx.epoch()
    }
}

// On one thread: when the worker goes on, nothing else has had the time to notice.
#[tokio::test]
async fn a_message_behind_one_that_outlasts_the_lease_is_not_handled_by_that_worker() {
    let lease = Duration::from_secs(1);
    let a = node(&MemoryNetwork::new(), "a").await;
    let sworm = a.sworm(spec(1).lease(lease)).await.expect("it opens");
    let worker = sworm.register_name("x", Blocking).await.expect("a majority of one");
    let first = worker.pid().epoch;
    let (blocked, behind) = tokio::join!(worker.call(Block(lease * 3 / 2)), worker.call(Block(Duration::ZERO)));
    assert_eq!(blocked, Err(CallError::MajorityLost));
    // Whoever sent it looks for the worker anew, and may find the next one.
    assert!(behind == Err(CallError::NoMajority) || behind.as_ref().is_ok_and(|epoch| *epoch > first), "{behind:?}");
    let handled = HANDLED.lock().expect("nobody panics with it").clone();
    assert_eq!(handled.iter().filter(|epoch| **epoch == first).count(), 1, "{handled:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn voters_are_added_and_taken_away_one_at_a_time_and_the_list_says_how_often() {
    let network = MemoryNetwork::new();
    let all = opened(&network, &["a", "b", "c"], 1).await;
    let list = |names: &[&str]| names.iter().map(|name| id(name)).collect();
    let on_c = &all[2].1;
    assert_eq!(on_c.voters().await.expect("it runs").expect("founded").nodes, list(&["a"]));
    let refused = on_c.remove_voter(&id("a")).await;
    assert_eq!(refused, Err(VotersError::LastVoter { node: id("a") }));
    let two = on_c.add_voter(&id("b")).await.expect("it is there");
    assert_eq!((two.number, two.nodes), (2, list(&["a", "b"])));
    let three = all[1].1.add_voter(&id("c")).await.expect("it is there");
    assert_eq!((three.number, three.nodes.clone()), (3, list(&["a", "b", "c"])));
    assert_eq!(on_c.add_voter(&id("c")).await, Ok(three), "again changes nothing");
    let two = on_c.remove_voter(&id("a")).await.expect("majorities are there");
    assert_eq!((two.number, two.nodes), (4, list(&["b", "c"])));
    let available = all[0].0.sworm("other").await.expect("it opens");
    let refused = available.add_voter(&id("b")).await;
    assert_eq!(refused, Err(VotersError::NotMajority { sworm: "other".into() }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_longer_lease_waits_longer_for_a_silent_node() {
    let network = MemoryNetwork::new();
    let long = spec(2).lease(Duration::from_secs(30));
    let mut all = Vec::new();
    for name in ["a", "b"] {
        let node = node(&network, name).await;
        let sworm = node.sworm(long.clone()).await.expect("it opens");
        all.push((node, sworm));
    }
    let alice = counter(&all[1].1, "alice").await;
    assert_eq!(alice.pid().node, id("b"));
    network.cut("a", "b");
    // With the lease that there is by default it would be over after 3 s.
    holds_for(Duration::from_secs(8), "b goes on and a takes nothing over", || async {
        alice.call(Hold(false)).timeout(LONG).await == Ok(())
            && all[0].1.whereis("alice").is_some_and(|found| found.pid.node == id("b"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_do_not_fit_the_mode_are_refused_when_the_sworm_is_opened() {
    let network = MemoryNetwork::new();
    let a = node(&network, "a").await;
    let second = Duration::from_secs(1);
    for (wrong, why) in [
        (SwormSpec::new("s").mode(Mode::Majority), "needs expect_nodes"),
        (SwormSpec::new("s").mode(Mode::Majority).expect_nodes(0), "1 to 99"),
        (SwormSpec::new("s").mode(Mode::Majority).expect_nodes(100), "1 to 99"),
        (SwormSpec::new("s").expect_nodes(3), "mode \"majority\" only"),
        (SwormSpec::new("s").lease(second), "mode \"majority\" only"),
        (spec(1).lease(second / 2), "1 s to 60 s"),
        (spec(1).lease(second).sync_interval(second), "five times"),
    ] {
        let refused = a.sworm(wrong).await;
        let Err(OpenError::BadSetting { what, .. }) = refused else { panic!("{why}: {refused:?}") };
        assert!(what.contains(why), "{what}");
    }
    a.sworm(spec(1)).await.expect("it opens");
    let b = node(&network, "b").await;
    let other = b.sworm(spec(2)).await;
    assert!(matches!(&other, Err(OpenError::Disagreed { theirs, .. }) if theirs.contains("majority")), "{other:?}");
}
