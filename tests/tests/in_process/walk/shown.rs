//! What some options and attributes do, that nothing else shows.

use std::fs;
use std::future::pending;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{Ack, BoxError, Candidate, Distribution, Mode, Rebalance, RegisterError, Temporary};

use crate::{Room, opened, running};

#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "walk.worker", handles(Asked))]
struct RustCallsItOtherwise;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "walk.message", reply = String)]
struct Asked;

impl Handler<Asked> for RustCallsItOtherwise {
    async fn handle(&mut self, _: Asked, _: &mut Context<Self>) -> String {
        "an answer".into()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn types_and_messages_go_by_the_names_that_their_attributes_give_them() {
    let [(_a, on_a), (b, on_b)] = opened("s").await;
    let worker = on_a.register("x", RustCallsItOtherwise).on(b.id()).await.expect("free");
    assert_eq!(&*running(&on_b, "x").await.worker_type, "walk.worker");
    assert_eq!(worker.call(Asked).await, Ok("an answer".to_owned()));
    let _inbox = on_a.attach_name::<Asked>("task").await.expect("free");
    assert_eq!(&*running(&on_b, "task").await.worker_type, "inbox:walk.message");
    let taken = on_a.register_name("x", Room).await;
    assert!(matches!(taken, Err(RegisterError::AlreadyRegistered { worker_type, .. }) if worker_type == "walk.worker"));
}

/// Loses a part of itself on the wire, and so does its reply.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "walk.forgetful", handles(Forgets))]
struct Forgetful;

#[derive(Message, Serialize, Deserialize, Debug, PartialEq)]
#[message(id = "walk.forgets", reply = Forgets)]
struct Forgets {
    kept: u32,
    #[serde(skip)]
    lost: u32,
}

impl Handler<Forgets> for Forgetful {
    async fn handle(&mut self, Forgets { kept, lost }: Forgets, _: &mut Context<Self>) -> Forgets {
        Forgets { kept: kept + 10 * lost, lost: 7 }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_does_not_survive_its_encoding_is_found_by_local_calls_that_are_encoded() {
    for (encode, back) in [(false, Forgets { kept: 21, lost: 7 }), (true, Forgets { kept: 1, lost: 0 })] {
        let network = MemoryNetwork::new();
        let builder = Node::builder("a").in_memory().memory_network(&network).encode_local_calls(encode);
        let node = builder.start().await.expect("it starts");
        let sworm = node.sworm("s").await.expect("it opens");
        let forgetful = sworm.register_name("x", Forgetful).await.expect("free");
        assert_eq!(forgetful.call(Forgets { kept: 1, lost: 2 }).await, Ok(back));
        // Messages to a group always are.
        sworm.join("all", &forgetful).await.expect("it runs");
        let there = sworm.multi_call("all", Forgets { kept: 1, lost: 2 }).await.remove(0).1.expect("it runs");
        assert_eq!(there.kept, 1);
        forgetful.cast(Forgets { kept: 1, lost: 2 }).await.expect("it is on its way");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_memory_only_is_gone_with_the_last_node() {
    let directory = tempfile::tempdir().expect("a directory");
    for in_memory in [true, false] {
        for life in 1..=2 {
            let builder = Node::builder("a").memory_network(&MemoryNetwork::new()).store(directory.path());
            let builder = if in_memory { builder.in_memory() } else { builder };
            let node = builder.start().await.expect("it starts");
            let sworm = node.sworm("s").await.expect("it opens");
            let kept = sworm.whereis("x").is_some();
            assert_eq!(kept, life == 2 && !in_memory);
            if life == 1 {
                sworm.register_name("x", RustCallsItOtherwise).await.expect("free");
            }
            node.leave().await.expect("it leaves");
            assert_eq!(fs::read_dir(directory.path()).expect("it is there").count() > 0, !in_memory);
        }
    }
}

/// Does not come to start.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "walk.slow", lifecycle)]
struct Slow;

impl Lifecycle for Slow {
    async fn started(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        pending().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_is_waited_for_as_long_as_its_timeout() {
    let [(_a, sworm)] = opened("s").await;
    let after = Duration::from_millis(150);
    let late = sworm.register("x", Slow).timeout(after).await;
    assert!(matches!(late, Err(RegisterError::Timeout { after: waited }) if waited == after), "{late:?}");
}

#[derive(Sworm)]
#[sworm(name = "walk", restart = Temporary, distribution = "ring", handoff, mode = "majority", expect_nodes = 5)]
#[sworm(lease = "7s", ack = "memory", rebalance = "manual", sync_interval = "70ms", state_wait = "90s")]
struct Derived;

#[derive(Sworm)]
#[sworm(name = "walk", restart = "temporary", distribution = First, handoff = false, mode = "available")]
#[sworm(ack = "durable", rebalance = "off")]
struct Other;

struct First;

impl Distribution for First {
    fn choose(&self, _: &str, _: &[Candidate]) -> usize {
        0
    }
}

#[derive(Sworm)]
struct Walk;

/// What each setting of a spec does is shown elsewhere; here, that each attribute is that setting.
#[test]
fn what_a_derived_sworm_says_is_what_a_spec_says() {
    let said = |spec: SwormSpec| format!("{spec:?}");
    let steps: [fn(SwormSpec) -> SwormSpec; 10] = [
        |spec| spec.restart_value(&Temporary),
        |spec| spec.distribution("ring"),
        |spec| spec.handoff(true),
        |spec| spec.ack(Ack::Memory),
        |spec| spec.rebalance(Rebalance::Manual),
        |spec| spec.sync_interval(Duration::from_millis(70)),
        |spec| spec.mode(Mode::Majority),
        |spec| spec.expect_nodes(5),
        |spec| spec.lease(Duration::from_secs(7)),
        |spec| spec.state_wait(Duration::from_secs(90)),
    ];
    let whole = |but: Option<usize>| {
        let chosen = steps.iter().enumerate().filter(|(n, _)| Some(*n) != but);
        said(chosen.fold(SwormSpec::new("walk"), |spec, (_, step)| step(spec)))
    };
    assert_eq!(said(Derived.into()), whole(None));
    assert!((0..steps.len()).all(|n| whole(Some(n)) != whole(None)), "each of them is seen");
    let other = SwormSpec::new("walk").restart("temporary").distribution_value(&First).handoff(false);
    assert_eq!(said(Other.into()), said(other), "what is given by its default is that");
    assert_eq!(said(Walk.into()), said(SwormSpec::new("Walk")));
}
