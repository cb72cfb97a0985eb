//! What look-ups find, answers that never come, clients, and the end of a node whose last handle is dropped.

use std::collections::HashSet;
use std::future::IntoFuture;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{CallError, RegisterError};
use sworm_tests::eventually;

use super::{Room, node, opened, running};

#[derive(Message, Serialize, Deserialize)]
#[message(reply = u32)]
struct Ping;

#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "echo", handles(Ping))]
struct Echo;

impl Handler<Ping> for Echo {
    async fn handle(&mut self, _: Ping, _: &mut Context<Self>) -> u32 {
        1
    }
}

fn names(found: Vec<Registration>) -> Vec<String> {
    found.into_iter().map(|registration| registration.name.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_found_by_prefix_node_and_type() {
    let [(a, on_a), (b, on_b)] = opened("s").await;
    for (name, on) in [("x/2", &a), ("x/1", &b), ("y/1", &b)] {
        on_a.register(name, Room).on(on.id()).await.expect("free");
    }
    on_b.register("x/3", Echo).on(b.id()).await.expect("free");
    let _inbox = on_b.attach_name::<Ping>("x").await.expect("free");
    for sworm in [&on_a, &on_b] {
        eventually("all of them", || async { (sworm.registered().len() == 5).then_some(()) }).await;
        assert_eq!(names(sworm.registered()), ["x", "x/1", "x/2", "x/3", "y/1"]);
        assert_eq!(names(sworm.registered_with_prefix("x/")), ["x/1", "x/2", "x/3"]);
        assert_eq!(names(sworm.registered_with_prefix("")).len(), 5);
        assert!(sworm.registered_with_prefix("z").is_empty());
        assert_eq!(names(sworm.registered_on(a.id())), ["x/2"]);
        assert_eq!(names(sworm.registered_on(b.id())), ["x", "x/1", "x/3", "y/1"]);
        assert_eq!(names(sworm.registered_of_type::<Room>()), ["x/1", "x/2", "y/1"]);
        assert_eq!(names(sworm.registered_of_type::<Echo>()), ["x/3"]);
        assert_eq!(names(sworm.registered_of_type::<Inbox<Ping>>()), ["x"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::mutable_key_type, reason = "what is hashed and compared of a reference never changes")]
async fn references_to_one_name_are_one_key_of_a_map() {
    let [(_a, on_a), (b, on_b)] = opened("s").await;
    let echo = on_a.register("echo", Echo).on(b.id()).await.expect("free");
    running(&on_a, "echo").await;
    let other = on_a.register_name("other", Echo).await.expect("free");
    let found = [&on_a, &on_b].map(|sworm| sworm.whereis_name::<Echo>("echo").expect("it runs"));
    let keys: HashSet<Ref<Echo>> = found.into_iter().chain([echo, other]).collect();
    assert_eq!(keys.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_calls_a_task_that_drops_the_answer_is_told() {
    let [(_a, on_a), (_b, on_b)] = opened("s").await;
    let mut inbox = on_a.attach_name::<Ping>("task").await.expect("free");
    running(&on_b, "task").await;
    for sworm in [&on_a, &on_b] {
        let task = sworm.whereis_name::<Inbox<Ping>>("task").expect("it is there");
        let (answer, ()) = tokio::join!(task.call(Ping).into_future(), async {
            drop(inbox.recv().await.expect("the call"));
        });
        let error = answer.expect_err("nobody answers");
        assert!(matches!(error, CallError::WorkerDied { .. }) && error.is_unknown_outcome(), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_runs_nothing_and_says_so() {
    let network = MemoryNetwork::new();
    let client = Node::builder("c").client().in_memory().memory_network(&network).start().await.expect("it starts");
    let sworm = client.sworm("s").await.expect("it opens");
    match sworm.register_name("room", Room).await {
        Err(RegisterError::NoCandidate { why }) => assert!(why.contains("c is a client"), "{why}"),
        other => panic!("{other:?}"),
    }
    let host = node(&network, "h").await;
    let on_host = host.sworm("s").await.expect("it opens");
    eventually("the host", || async { (sworm.nodes().len() == 2 && on_host.nodes().len() == 2).then_some(()) }).await;
    let room = sworm.register_name("room", Room).await.expect("there is a host now");
    assert_eq!(room.pid().node, *host.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drop_of_a_nodes_last_handle_ends_it_as_a_crash_would() {
    let [(a, on_a), (b, on_b)] = opened("s").await;
    let echo = on_a.register("echo", Echo).on(a.id()).await.expect("free");
    running(&on_b, "echo").await;
    let clone = a.clone();
    drop(a);
    assert_eq!(echo.call(Ping).await, Ok(1), "a clone keeps it");
    clone.sworm("s").await.expect("it runs");
    let found = on_a.whereis_name::<Echo>("echo").expect("it is there");
    let pid = found.pid();
    drop(clone);
    // Handles to sworms and workers do not.
    assert_eq!(on_a.register_name("room", Room).await, Err(RegisterError::Stopped));
    for worker in [&echo, &found] {
        assert_eq!(worker.call(Ping).await, Err(CallError::Stopped));
    }
    // Nor do those keep these.
    drop(on_a);
    for worker in [&echo, &found] {
        assert_eq!(worker.call(Ping).await, Err(CallError::Stopped));
        assert_eq!(worker.cast(Ping).await, Err(CallError::Stopped));
        assert_eq!((worker.pid(), worker), (pid.clone(), &echo));
    }
    eventually("its start on the other node", || async {
        (running(&on_b, "echo").await.pid.node == *b.id()).then_some(())
    })
    .await;
    let echo = on_b.whereis_name::<Echo>("echo").expect("it runs");
    assert_eq!(echo.call(Ping).await, Ok(1));
}
