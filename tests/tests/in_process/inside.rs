//! What a worker knows of itself and can do from inside: its groups, its timers, references to others.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::{BoxError, MoveError, NodeId, Timer};
use sworm_tests::{eventually, holds_for};
use tokio::sync::Semaphore;

use super::{opened, running};

/// Says what it knows, and keeps a friend.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "inside.worker", handles(Who, Regroup, Befriend, Introduce, Greet), handoff, lifecycle)]
struct Knowing {
    friend: Option<Ref<Knowing>>,
    greeted: u32,
    /// Whether it is in the group of those that have started.
    joins: bool,
}

impl Lifecycle for Knowing {
    async fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), BoxError> {
        if self.joins {
            ctx.join("started").await?;
        }
        Ok(())
    }
}

#[derive(Message, Serialize, Deserialize)]
#[message(id = "inside.who", reply = (String, Pid, String, String, Ref<Knowing>))]
struct Who;

impl Handler<Who> for Knowing {
    async fn handle(&mut self, _: Who, ctx: &mut Context<Self>) -> (String, Pid, String, String, Ref<Knowing>) {
        assert_eq!(ctx.epoch(), ctx.pid().epoch);
        (ctx.name().into(), ctx.pid().clone(), ctx.node().to_string(), ctx.sworm().name().into(), ctx.this())
    }
}

#[derive(Message, Serialize, Deserialize)]
#[message(id = "inside.regroup")]
struct Regroup {
    join: Vec<String>,
    leave: Vec<String>,
}

impl Handler<Regroup> for Knowing {
    async fn handle(&mut self, Regroup { join, leave }: Regroup, ctx: &mut Context<Self>) {
        for group in join {
            ctx.join(group).await.expect("it runs");
        }
        for group in leave {
            ctx.leave(group).await.expect("it runs");
        }
    }
}

/// A reference in a message, and one in its reply: the friend before.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "inside.befriend", reply = Option<Ref<Knowing>>)]
struct Befriend(Ref<Knowing>);

impl Handler<Befriend> for Knowing {
    async fn handle(&mut self, Befriend(friend): Befriend, ctx: &mut Context<Self>) -> Option<Ref<Knowing>> {
        assert!(friend.pid() == ctx.sworm().whereis(friend.name()).expect("it runs").pid);
        self.friend.replace(friend)
    }
}

/// Calls the friend; its total.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "inside.introduce", reply = Result<u32, CallError>)]
struct Introduce;

impl Handler<Introduce> for Knowing {
    async fn handle(&mut self, _: Introduce, _: &mut Context<Self>) -> Result<u32, CallError> {
        self.friend.as_ref().expect("it has one").call(Greet).await
    }
}

#[derive(Message, Serialize, Deserialize)]
#[message(id = "inside.greet", reply = u32)]
struct Greet;

impl Handler<Greet> for Knowing {
    async fn handle(&mut self, _: Greet, _: &mut Context<Self>) -> u32 {
        self.greeted += 1;
        self.greeted
    }
}

async fn moved(sworm: &Sworm, name: &str, to: &NodeId) {
    // Somebody else may have asked just before.
    eventually("the move", || async {
        match sworm.move_name(name, to).await {
            Ok(_) => Some(()),
            Err(MoveError::NotRegistered { .. }) => panic!("{name} is gone"),
            Err(_) => None,
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_knows_who_it_is_and_joins_and_leaves_groups() {
    let [(a, on_a), (b, on_b)] = opened("s").await;
    let worker = on_a.register("x", Knowing { joins: true, ..Knowing::default() }).on(b.id()).await.expect("free");
    let (name, pid, node, sworm, this) = worker.call(Who).await.expect("it runs");
    assert_eq!((name.as_str(), node.as_str(), sworm.as_str()), ("x", "b", "s"));
    assert_eq!(pid, running(&on_a, "x").await.pid);
    assert_eq!(this, worker);
    let groups = async || running(&on_a, "x").await.groups.iter().map(|group| group.to_string()).collect::<Vec<_>>();
    eventually("its first group", || async { (groups().await == ["started"]).then_some(()) }).await;
    let join = vec!["one".into(), "two".into(), "one".into()];
    worker.call(Regroup { join, leave: vec!["started".into(), "none".into()] }).await.expect("it runs");
    eventually("its groups", || async { (groups().await == ["one", "two"]).then_some(()) }).await;
    moved(&on_b, "x", a.id()).await;
    eventually("its groups", || async { (groups().await == ["one", "started", "two"]).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn references_are_usable_wherever_they_arrive_in_messages_replies_and_states() {
    let [(a, on_a), (b, on_b)] = opened("s").await;
    let one = on_a.register("one", Knowing::default()).on(a.id()).await.expect("free");
    let two = on_a.register("two", Knowing::default()).on(b.id()).await.expect("free");
    // In a registered value, which is decoded where the worker starts.
    let value = Knowing { friend: Some(one.clone()), ..Knowing::default() };
    let three = on_a.register("three", value).on(b.id()).await.expect("free");
    assert_eq!(three.call(Introduce).await, Ok(Ok(1)));
    // To the same node, and to the other one; and back in the replies.
    assert_eq!(one.call(Befriend(two.clone())).await, Ok(None));
    assert_eq!(two.call(Befriend(one.clone())).await, Ok(None));
    assert_eq!(one.call(Introduce).await, Ok(Ok(1)));
    assert_eq!(two.call(Introduce).await, Ok(Ok(2)));
    let back = two.call(Befriend(three.clone())).await.expect("it runs").expect("it had one");
    assert_eq!(back, one);
    assert_eq!(back.call(Greet).await, Ok(3));
    // In a state that moves, to workers that move.
    for to in [a.id(), b.id()] {
        for name in ["one", "two", "three"] {
            moved(&on_b, name, to).await;
        }
        let before = three.call(Greet).await.expect("it runs");
        assert_eq!(two.call(Introduce).await, Ok(Ok(before + 1)));
    }
}

/// Holds a reference into another sworm.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "inside.holder", handles(Hold))]
struct Holder;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "inside.hold", reply = Pid)]
struct Hold(Ref<Knowing>);

impl Handler<Hold> for Holder {
    async fn handle(&mut self, Hold(held): Hold, _: &mut Context<Self>) -> Pid {
        held.pid()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_that_cannot_be_used_where_it_arrives_is_an_error_that_says_why() {
    let [(a, on_a), (b, on_b)] = opened("s").await;
    let others = a.sworm("others").await.expect("it opens");
    let other = others.register_name("other", Knowing::default()).await.expect("free");
    let holder = on_a.register("holder", Holder).on(b.id()).await.expect("free");
    let error = holder.call(Hold(other.clone())).await.expect_err("b has not opened it");
    match &error {
        CallError::Undecodable { what, why } => {
            assert_eq!(what, "inside.hold");
            assert!(why.contains("is not open on node b") && why.contains("others"), "{why}");
        }
        error => panic!("{error}"),
    }
    assert!(!error.is_unknown_outcome());
    b.sworm("others").await.expect("it opens");
    assert_eq!(holder.call(Hold(other.clone())).await, Ok(other.pid()));
    // A message on this node is not encoded.
    moved(&on_b, "holder", a.id()).await;
    assert_eq!(holder.call(Hold(other.clone())).await, Ok(other.pid()));
    let text = serde_json::to_string(&other).expect("it is a pid");
    assert_eq!(serde_json::from_str::<Pid>(&text).expect("it is a pid"), other.pid());
    let outside = serde_json::from_str::<Ref<Knowing>>(&text).expect_err("no node decodes it");
    assert!(outside.to_string().contains("is decoded by a node"), "{outside}");
}

/// Ticks ten times a second from when it has started.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "inside.clock", handles(Tick, Ticks, Late), handoff, lifecycle)]
struct Clock {
    ticks: u32,
    late: u32,
    /// Whether it waits until the test says so before it stops.
    gated: bool,
    #[serde(skip)]
    timer: Option<Timer>,
}

static GATE: Semaphore = Semaphore::const_new(0);

impl Lifecycle for Clock {
    async fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), BoxError> {
        self.timer = Some(ctx.send_every(Duration::from_millis(100), Tick));
        Ok(())
    }

    async fn stopping(&mut self, _: &mut Context<Self>) {
        if self.gated {
            GATE.acquire().await.expect("never closed").forget();
        }
    }
}

#[derive(Message, Serialize, Deserialize, Clone)]
#[message(id = "inside.tick")]
struct Tick;

impl Handler<Tick> for Clock {
    async fn handle(&mut self, _: Tick, _: &mut Context<Self>) {
        self.ticks += 1;
    }
}

/// Is sent by the worker to itself after that time, if it is there still.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "inside.late")]
struct Late {
    after_ms: Option<u64>,
}

impl Handler<Late> for Clock {
    async fn handle(&mut self, Late { after_ms }: Late, ctx: &mut Context<Self>) {
        match after_ms {
            Some(ms) => drop(ctx.send_after(Duration::from_millis(ms), Late { after_ms: None })),
            None => self.late += 1,
        }
    }
}

/// How many there were; with `stop` the timer is cancelled.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "inside.ticks", reply = (u32, u32))]
struct Ticks {
    stop: bool,
}

impl Handler<Ticks> for Clock {
    async fn handle(&mut self, Ticks { stop }: Ticks, _: &mut Context<Self>) -> (u32, u32) {
        if stop {
            assert!(self.timer.take().expect("it was set").cancel());
        }
        (self.ticks, self.late)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_stay_behind_when_their_worker_moves_and_start_anew_where_it_goes() {
    let [(a, on_a), (b, _on_b)] = opened("s").await;
    let clock = on_a.register("clock", Clock::default()).on(a.id()).await.expect("free");
    let ticks = async |stop| clock.call(Ticks { stop }).await.expect("it runs");
    // It moves long before this one is due.
    let set = Instant::now();
    clock.call(Late { after_ms: Some(10_000) }).await.expect("it runs");
    moved(&on_a, "clock", b.id()).await;
    let (after_move, _) = ticks(false).await;
    eventually("ticks there", || async { (ticks(false).await.0 >= after_move + 5).then_some(()) }).await;
    // Of those that were set there nothing comes.
    tokio::time::sleep_until((set + Duration::from_millis(10_500)).into()).await;
    let (_, late) = ticks(false).await;
    assert_eq!(late, 0);
    clock.call(Late { after_ms: Some(300) }).await.expect("it runs");
    eventually("the late one", || async { (ticks(false).await.1 == 1).then_some(()) }).await;
    let (last, _) = ticks(true).await;
    holds_for(Duration::from_millis(300), "there is no second timer", || async { ticks(false).await.0 == last }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_does_not_move_after_all_has_its_timers_once() {
    let [(a, on_a), (b, _on_b)] = opened("s").await;
    let clock = on_a.register("clock", Clock { gated: true, ..Clock::default() }).on(a.id()).await.expect("free");
    let moved = tokio::spawn({
        let (on_a, b) = (on_a.clone(), b.id().clone());
        async move { on_a.move_name("clock", &b).await }
    });
    eventually("the move", || async {
        matches!(on_a.whereis("clock")?.state, RegistrationState::Moving { .. }).then_some(())
    })
    .await;
    b.close().await.expect("it runs");
    eventually("its end", || async { (on_a.nodes().len() == 1).then_some(()) }).await;
    GATE.add_permits(100);
    let ticks = async |stop| clock.call(Ticks { stop }).timeout(Duration::from_secs(40)).await.expect("it runs");
    let (before, _) = ticks(false).await;
    assert_eq!(running(&on_a, "clock").await.pid.node, *a.id());
    eventually("ticks again", || async { (ticks(false).await.0 >= before + 3).then_some(()) }).await;
    let (last, _) = ticks(true).await;
    holds_for(Duration::from_millis(300), "there is no second timer", || async { ticks(false).await.0 == last }).await;
    drop(moved.await.expect("it does not panic"));
}
