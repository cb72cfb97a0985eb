//! Names that are attached to tasks, of which nobody knows any more.

use std::time::Duration;

use futures_util::poll;
use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::{RegisterError, RegistrationState, score};
use sworm_tests::{eventually, holds_for};
use tokio::time::timeout;

use crate::{MemoryNetwork, opened, opened_on, running};

#[derive(Message, Serialize, Deserialize)]
#[message(id = "attached.ping", reply = ())]
struct Ping;

/// Names about which node b decides, where there are a and b.
fn decided_by_b() -> impl Iterator<Item = String> {
    (0..).map(|n| format!("task-{n}")).filter(|name| score(name, "b") > score(name, "a"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_whose_attaching_was_given_up_is_free_again() {
    let [(_a, on_a), (_b, on_b)] = opened("s").await;
    let name = decided_by_b().next().expect("there are many");
    let mut given_up = Box::pin(on_a.attach_name::<Ping>(&name));
    assert!(poll!(&mut given_up).is_pending(), "it has asked, and b has not answered");
    drop(given_up);
    // It comes all the same, before what is asked for later.
    let inbox = eventually("the name", || async {
        match on_a.attach_name::<Ping>(&name).await {
            Err(RegisterError::AlreadyRegistered { .. }) => None,
            attached => Some(attached.expect("it is free")),
        }
    });
    let inbox = inbox.await;
    assert_eq!(running(&on_b, &name).await.pid, *inbox.pid());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_inbox_takes_its_name_away_though_whoever_decides_is_not_heard() {
    let network = MemoryNetwork::new();
    let [(_a, on_a), (_b, on_b)] = opened_on(&network, "s").await;
    // Where the machine stands still for so long that a does not reckon with b any more, it decides by itself, which shows
    // nothing.
    let mut names = decided_by_b();
    eventually("the end of a name while b counts", || {
        let name = names.next().expect("there are many");
        async {
            let name = name;
            let inbox = on_a.attach_name::<Ping>(&name).await.expect("free");
            running(&on_b, &name).await;
            network.hold("a", "b");
            drop(inbox);
            eventually("its end", || async { on_a.whereis(&name).is_none().then_some(()) }).await;
            let is_shown = on_a.nodes().len() == 2;
            network.release("a", "b");
            eventually("the other node", || async { (on_a.nodes().len() == 2).then_some(()) }).await;
            eventually("the other node", || async { (on_b.nodes().len() == 2).then_some(()) }).await;
            is_shown.then_some(())
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_stays_whose_task_waits_for_it_or_has_it() {
    let network = MemoryNetwork::new();
    let [(_a, on_a), (_b, on_b)] = opened_on(&network, "s").await;
    let name = decided_by_b().next().expect("there are many");
    network.hold("a", "b");
    let attaching = tokio::spawn({
        let (on_a, name) = (on_a.clone(), name.clone());
        async move { on_a.attach_name::<Ping>(&name).await }
    });
    // b gives it to a, and does not hear that a has it: that is said after look-ups on a show it.
    let here = eventually("the name", || async {
        let asked = network.held("a", "b").len();
        let found = on_a.whereis(&name);
        if found.is_none() {
            (0..asked).for_each(|_| network.let_through("a", "b"));
        }
        found.filter(|found| found.state == RegistrationState::Running)
    });
    let pid = here.await.pid;
    let stays = || async { on_a.whereis(&name).is_some_and(|found| found.pid == pid) };
    holds_for(Duration::from_millis(2_500), "it is there", stays).await;
    assert!(!attaching.is_finished(), "its task waits");
    network.release("a", "b");
    let mut inbox = attaching.await.expect("no panic").expect("free");
    assert_eq!(*inbox.pid(), pid);
    holds_for(Duration::from_millis(2_500), "it is there", stays).await;
    running(&on_b, &name).await;
    let there = on_b.whereis_name::<Inbox<Ping>>(&name).expect("it runs");
    let (called, ()) = tokio::join!(there.call(Ping), async {
        let (Ping, reply) = inbox.recv().await.expect("it comes");
        reply.send(());
    });
    assert_eq!(called, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_has_ended_before_its_task_went_on_gives_it_an_inbox_that_has_ended() {
    let [(_a, on_a), (_b, on_b)] = opened("s").await;
    let name = decided_by_b().next().expect("there are many");
    let mut attaching = Box::pin(on_a.attach_name::<Ping>(&name));
    assert!(poll!(&mut attaching).is_pending(), "it has asked, and b has not answered");
    running(&on_b, &name).await;
    on_b.unregister_name(&name).await.expect("it is there");
    eventually("its end", || async { on_a.whereis(&name).is_none().then_some(()) }).await;
    let mut inbox = attaching.await.expect("it was given the name");
    let ended = timeout(Duration::from_secs(20), inbox.recv()).await.expect("the inbox has ended");
    assert!(ended.is_none());
    // The name can be somebody else's, whom the end of this inbox does not touch.
    let other = on_a.attach_name::<Ping>(&name).await.expect("free");
    drop(inbox);
    holds_for(Duration::from_millis(500), "it stays", || async {
        on_b.whereis(&name).is_some_and(|found| found.pid == *other.pid())
    })
    .await;
}
