//! Panics, wherever there is a place for one, and crash loops.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::{BoxError, CallError, Event, Events, Exit, RegisterError, Restart, RestartDecision, RestartHistory};
use sworm_tests::eventually;

use super::{Bystanders, In};
use crate::events::next;
use crate::{gone, opened, running};

/// Starts a worker again at once, whatever happens.
struct AtOnce;

impl Restart for AtOnce {
    fn decide(&self, _: &Exit, _: &RestartHistory) -> RestartDecision {
        RestartDecision::Restart { after: Duration::ZERO }
    }
}

/// Panics at one place.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "panicking", handles(Act), lifecycle, handoff = Part, restart = AtOnce)]
struct Panicking {
    at: In,
    #[serde(skip)]
    has_started: bool,
}

#[derive(Message, Serialize, Deserialize)]
#[message(id = "isolation-act")]
struct Act;

#[derive(Serialize, Deserialize)]
struct Part(In);

/// How often each was started.
static STARTED: Counts = Mutex::new(BTreeMap::new());
/// How often each has panicked.
static PANICS: Counts = Mutex::new(BTreeMap::new());

type Counts = Mutex<BTreeMap<In, usize>>;

fn add_one(counts: &Counts, at: In) {
    *counts.lock().unwrap_or_else(PoisonError::into_inner).entry(at).or_default() += 1;
}

fn count(counts: &Counts, at: In) -> usize {
    counts.lock().unwrap_or_else(PoisonError::into_inner).get(&at).copied().unwrap_or_default()
}

impl Panicking {
    fn is_at(&self, place: In) {
        if self.at == place {
            add_one(&PANICS, place);
            panic!("told to panic");
        }
    }
}

impl Handoff<Part> for Panicking {
    fn save(&self) -> Part {
        self.is_at(In::Saving);
        Part(self.at)
    }

    fn restore(&mut self, _: Part) {
        self.is_at(In::Restoring);
    }
}

impl Lifecycle for Panicking {
    async fn started(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        add_one(&STARTED, self.at);
        self.is_at(In::Started);
        self.has_started = true;
        Ok(())
    }

    async fn run(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        self.is_at(In::Run);
        pending().await
    }

    async fn stopping(&mut self, _: &mut Context<Self>) {
        self.is_at(In::Stopping);
    }
}

impl Handler<Act> for Panicking {
    async fn handle(&mut self, _: Act, ctx: &mut Context<Self>) {
        self.is_at(In::Handler);
        if self.at == In::Saving {
            ctx.checkpoint().await.expect("it has handoff");
        }
    }
}

impl Drop for Panicking {
    fn drop(&mut self) {
        if self.has_started && !std::thread::panicking() {
            self.is_at(In::Dropping);
        }
    }
}

/// Has it moved to the other node, until that is told which shows that it could not be.
async fn cannot_move(name: &str, here: &Sworm, mut events: Events, shows: impl Fn(&Event) -> bool) {
    let moving = tokio::spawn({
        let (here, name, to) = (here.clone(), name.to_owned(), here.nodes()[1].clone());
        async move { here.move_name(name, &to).await }
    });
    while !shows(&next(&mut events).await) {}
    moving.abort();
    if let Ok(moved) = moving.await {
        moved.expect_err("it cannot be moved");
    }
}

/// Registers one on the first node, makes it panic, and ends it.
async fn panics(at: In, [here, there]: [&Sworm; 2]) {
    let name = format!("{at:?}");
    let registered = here.register(&name, Panicking { at, has_started: false }).on(&here.nodes()[0]).await;
    let worker = match (at, registered) {
        (In::Started, Err(RegisterError::StartFailed { reason })) => {
            return assert!(reason.contains("told to panic"), "{reason}");
        }
        (_, registered) => registered.expect("free"),
    };
    let starts = || count(&STARTED, at);
    match at {
        // A crash loop without a pause.
        In::Run => eventually("many starts", || async { (starts() > 100).then_some(()) }).await,
        In::Handler => {
            assert!(matches!(worker.call(Act).await, Err(CallError::WorkerDied { .. })));
            eventually("another start", || async { (starts() > 1).then_some(()) }).await;
        }
        In::Saving => {
            let refused = worker.call(Act).await;
            assert!(matches!(&refused, Err(CallError::NotDurable { reason }) if reason.contains("told to panic")));
            eventually("another start", || async { (starts() > 1).then_some(()) }).await;
            let stays = running(here, &name).await.pid;
            // Nothing is given away without its state: it was to go, and goes on.
            let resumed = |event: &Event| matches!(event, Event::Resumed { pid } if *pid == stays);
            cannot_move(&name, here, here.events(), resumed).await;
            assert_eq!(here.whereis(&name).map(|found| found.pid), Some(stays));
        }
        In::Restoring => {
            let to = here.nodes()[1].clone();
            let failed = |event: &Event| {
                matches!(event, Event::StartFailed { pid, reason, .. }
                    if *pid.name == *name && pid.node == to && reason.contains("told to panic"))
            };
            cannot_move(&name, here, there.events(), failed).await;
            let found = || async { here.whereis(&name).filter(|found| found.pid.node == to) };
            assert_eq!(eventually("a start elsewhere", found).await.state, RegistrationState::Starting);
        }
        In::Started | In::Stopping | In::Dropping => {}
    }
    here.unregister_name(&name).await.expect("it is there");
    gone(here, &name).await;
    eventually(&format!("a panic in {at:?}"), || async { (count(&PANICS, at) > 0).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_that_panics_wherever_it_can_harms_no_other_and_neither_does_a_crash_loop() {
    let [(a, on_a), (b, on_b)] = opened("s").await;
    let mut bystanders = Bystanders::on(&on_a).await;
    for at in [In::Started, In::Run, In::Handler, In::Stopping, In::Saving, In::Restoring, In::Dropping] {
        bystanders.meanwhile(panics(at, [&on_a, &on_b])).await;
    }
    assert_eq!((a.failure(), b.failure()), (None, None));
}
