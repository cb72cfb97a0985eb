//! Losers of a conflict whose hook panics, or does not return.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{BoxError, Event};
use sworm_tests::eventually;

use super::Bystanders;
use crate::events::next;
use crate::{node, running};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum How {
    Panics,
    Hangs,
}

/// Does not take it well when it has lost.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "bad loser", lifecycle)]
struct BadLoser {
    how: How,
    #[serde(skip)]
    has_started: bool,
}

/// How many there are, on all nodes.
static ALIVE: AtomicUsize = AtomicUsize::new(0);

impl Lifecycle for BadLoser {
    async fn started(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        ALIVE.fetch_add(1, Relaxed);
        self.has_started = true;
        Ok(())
    }

    async fn on_conflict(&mut self, _: Pid, _: &mut Context<Self>) {
        match self.how {
            How::Panics => panic!("told to panic"),
            How::Hangs => pending().await,
        }
    }
}

impl Drop for BadLoser {
    fn drop(&mut self) {
        ALIVE.fetch_sub(usize::from(self.has_started), Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_loser_whose_hook_panics_or_never_returns_harms_no_other_and_ends_in_time() {
    let network = MemoryNetwork::new();
    let (a, b) = (node(&network, "a").await, node(&network, "b").await);
    let (on_a, on_b) = (a.sworm("s").await.expect("it opens"), b.sworm("s").await.expect("it opens"));
    eventually("both", || async { (on_a.nodes().len() == 2 && on_b.nodes().len() == 2).then_some(()) }).await;
    let names = [How::Panics, How::Hangs].map(|how| (how, format!("{how:?}")));
    for (how, name) in &names {
        on_a.register(name, BadLoser { how: *how, has_started: false }).on(a.id()).await.expect("free");
        running(&on_b, name).await;
    }
    network.cut("a", "b");
    let runs_on = |sworm: &Sworm, name: &str, node: &Node| {
        let found = sworm.whereis(name).filter(|found| found.state == RegistrationState::Running);
        found.is_some_and(|found| found.pid.node == *node.id())
    };
    for (_, name) in &names {
        eventually("its own worker", || async { runs_on(&on_b, name, &b).then_some(()) }).await;
    }
    assert_eq!(ALIVE.load(Relaxed), 4);
    eventually("b alone", || async { (on_b.nodes().len() == 1).then_some(()) }).await;
    let mut bystanders = Bystanders::at(&on_b, &[b.id().clone()]).await;
    let mut events = on_b.events();
    network.heal("a", "b");
    let mut told = Vec::new();
    let both_are_told = async {
        while told.len() < 2 {
            if let event @ Event::HookFailed { .. } = next(&mut events).await {
                told.push(event);
            }
        }
    };
    bystanders.meanwhile(both_are_told).await;
    for ((_, name), why) in names.iter().zip(["`on_conflict`: it panicked: told to panic", "did not return in 5s"]) {
        let event = told.iter().find(|event| event.name().is_some_and(|n| **n == **name)).expect("it is told");
        assert_eq!(event.pid().expect("it has one").node, *b.id(), "{event:?}");
        assert!(event.reason().is_some_and(|reason| reason.contains(why)), "{event:?}");
        // The winner was not disturbed, and the loser is no more.
        for sworm in [&on_a, &on_b] {
            eventually("the winner", || async { runs_on(sworm, name, &a).then_some(()) }).await;
        }
    }
    bystanders.meanwhile(eventually("their ends", || async { (ALIVE.load(Relaxed) == 2).then_some(()) })).await;
}
