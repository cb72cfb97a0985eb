//! Hooks of saved states that block their threads: `restore` when a worker starts elsewhere, `save` when it is to go there.
//! There are more of them than the runtime has threads.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::{Event, Events};
use sworm_tests::eventually;

use super::{Bystanders, Gate, In};
use crate::events::next;
use crate::{opened, running};

/// Blocks in one of its hooks.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "blocking hooks", handles(Keep), handoff = Place, start_timeout = "1s")]
struct Hooked {
    at: Place,
}

/// Where it blocks, and whether that is in the second test of `restore`.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Place(In, bool);

#[derive(Message, Serialize, Deserialize)]
#[message(id = "isolation-keep", reply = bool)]
struct Keep;

static GATES: [Gate; 3] = [const { Gate::closed() }; 3];
/// How often `restore` was called.
static RESTORED: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

impl Handoff<Place> for Hooked {
    fn save(&self) -> Place {
        if self.at.0 == In::Saving {
            GATES[2].blocks();
        }
        self.at
    }

    fn restore(&mut self, Place(at, second): Place) {
        if at == In::Restoring {
            RESTORED[usize::from(second)].fetch_add(1, Relaxed);
            GATES[usize::from(second)].blocks();
        }
    }
}

impl Handler<Keep> for Hooked {
    async fn handle(&mut self, _: Keep, ctx: &mut Context<Self>) -> bool {
        self.at.0 == In::Saving || ctx.checkpoint().await.is_ok()
    }
}

const MANY: usize = 3;

/// Registers some on a node.
async fn some(sworm: &Sworm, on: &Node, at: Place) -> Vec<Ref<Hooked>> {
    let mut all = Vec::new();
    for n in 0..MANY {
        all.push(sworm.register(format!("hooked-{n}"), Hooked { at }).on(on.id()).await.expect("free"));
    }
    all
}

/// What is told of as many names as there are, each of them once.
async fn of_each(events: &mut Events, mut matches: impl FnMut(&Event) -> bool) {
    let mut names = std::collections::BTreeSet::new();
    while names.len() < MANY {
        let event = next(events).await;
        if matches(&event) {
            names.extend(event.name().cloned());
        }
    }
}

/// Each start ends when its time is over, the next ones at once, as long as `restore` has not returned; then one succeeds.
async fn restores_in_the_end(on_b: &Sworm, events: &mut Events, bystanders: &mut Bystanders, second: bool) {
    let opens = GATES[usize::from(second)].opens_in_the_end();
    let failed = |event: &Event, why: &str| matches!(event, Event::StartFailed { pid, reason, .. } if pid.node == *"b" && reason.contains(why));
    bystanders.meanwhile(of_each(events, |event| failed(event, "timed out"))).await;
    bystanders.meanwhile(of_each(events, |event| failed(event, "has not returned"))).await;
    assert_eq!(RESTORED[usize::from(second)].load(Relaxed), MANY, "no other thread was taken");
    drop(opens);
    for n in 0..MANY {
        assert_eq!(bystanders.meanwhile(running(on_b, &format!("hooked-{n}"))).await.pid.node.as_str(), "b");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_to_where_restore_never_returns_harms_no_other_and_its_start_ends_in_time() {
    let [(a, on_a), (b, on_b)] = opened("s").await;
    let mut bystanders = Bystanders::on(&on_a).await;
    let all = some(&on_a, &a, Place(In::Restoring, false)).await;
    let mut events = on_b.events();
    let moves = join_all(all.iter().map(|hooked| on_a.move_name(hooked.name(), b.id())));
    let restores = async { restores_in_the_end(&on_b, &mut events, &mut bystanders, false).await };
    futures_util::future::join(moves, restores).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_whose_restore_never_returns_harms_no_other_and_ends_in_time() {
    let [(a, on_a), (b, on_b)] = opened("s").await;
    let mut bystanders = Bystanders::at(&on_b, &[b.id().clone()]).await;
    for hooked in some(&on_a, &a, Place(In::Restoring, true)).await {
        assert_eq!(hooked.call(Keep).await, Ok(true));
        running(&on_b, hooked.name()).await;
    }
    let mut events = on_b.events();
    a.close().await.expect("it closes");
    restores_in_the_end(&on_b, &mut events, &mut bystanders, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_whose_save_never_returns_harms_no_other_and_is_given_up_in_time() {
    let [(a, on_a), (b, on_b)] = opened("s").await;
    let mut bystanders = Bystanders::on(&on_a).await;
    let all = some(&on_a, &a, Place(In::Saving, false)).await;
    let opens = GATES[2].opens_in_the_end();
    let (mut stuck, mut resumed) = (on_a.events(), on_b.events());
    let moves = join_all(all.iter().map(|hooked| on_a.move_name(hooked.name(), b.id())));
    let told = async {
        of_each(&mut stuck, |event| matches!(event, Event::Stuck { with, .. } if **with == *"saving its state")).await;
        of_each(&mut resumed, |event| matches!(event, Event::Resumed { pid } if pid.node == *a.id())).await;
    };
    let (moved, ()) = bystanders.meanwhile(futures_util::future::join(moves, told)).await;
    assert!(moved.iter().all(Result::is_err), "{moved:?}");
    drop(opens);
    for hooked in &all {
        let answers = || async { hooked.call(Keep).timeout(Duration::from_secs(2)).await.ok() };
        assert!(bystanders.meanwhile(eventually("it, going on", answers)).await);
    }
}
