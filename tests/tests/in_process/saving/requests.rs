//! With `snapshot = "each"` what a worker asks the sworm for and waits for leaves as its calls do: when what the worker was
//! before is durable, and not at all while that cannot be saved.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::{BoxError, Inbox, MoveError, Rebalance, RegisterError, RestartError, UnregisterError, VotersError};
use sworm_tests::{FaultyStore, eventually, holds_for};
use tokio::sync::{Semaphore, watch};

use super::{Add, LONG, Life};
use crate::running;

/// Asks for all that can be asked for.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "saving.clerk", handles(Add, Swell, AskAll), snapshot = "each", lifecycle)]
struct Clerk {
    total: i64,
    text: String,
}

#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.clerk.swell")]
struct Swell(usize);

/// Asks, and leaves word of what came of it: no reply leaves a worker that is too large.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.clerk.ask-all")]
struct AskAll;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.clerk.word")]
struct Word(i64);

/// What the others are made of. Some take their time to start.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "saving.clerk.thing", handles(), lifecycle)]
struct Thing {
    slow: bool,
}

impl Lifecycle for Thing {
    async fn started(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        if self.slow {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    }
}

/// Whether each of them was refused since the clerk is too large.
type Refused = [bool; 7];

/// What there is of a clerk outside of it.
struct Desk {
    refused: watch::Sender<Option<Refused>>,
    /// Lets `run` go on.
    told: Semaphore,
    /// What came of the registrations of `run`.
    ran: watch::Sender<Vec<Result<(), RegisterError>>>,
}

static DESKS: LazyLock<Mutex<HashMap<String, &'static Desk>>> = LazyLock::new(Mutex::default);

fn desk(name: &str) -> &'static Desk {
    let mut desks = DESKS.lock().expect("nobody panics with it");
    let new = || {
        let (refused, ran) = (watch::Sender::new(None), watch::Sender::new(Vec::new()));
        &*Box::leak(Box::new(Desk { refused, told: Semaphore::new(0), ran }))
    };
    desks.entry(name.to_owned()).or_insert_with(new)
}

impl Lifecycle for Clerk {
    /// Casts, and registers what takes its time; or only adds.
    async fn run(&mut self, ctx: &mut Context<Self>) -> Result<(), BoxError> {
        let desk = desk(ctx.name());
        loop {
            desk.told.acquire().await?.forget();
            self.total += 1_000;
            if ctx.name() == "run" {
                let log = ctx.sworm().whereis_name::<Inbox<Word>>("log").ok_or("no log")?;
                log.cast(Word(self.total)).await?;
                let registered = ctx.sworm().register_name("slow", Thing { slow: true }).await;
                desk.ran.send_modify(|ran| ran.push(registered.map(drop)));
            } else {
                desk.ran.send_modify(|ran| ran.push(Ok(())));
            }
        }
    }
}

impl Handler<Add> for Clerk {
    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> i64 {
        self.total += n;
        self.total
    }
}

impl Handler<Swell> for Clerk {
    async fn handle(&mut self, Swell(bytes): Swell, _: &mut Context<Self>) {
        self.text = "x".repeat(bytes);
    }
}

impl Handler<AskAll> for Clerk {
    async fn handle(&mut self, _: AskAll, ctx: &mut Context<Self>) {
        let sworm = ctx.sworm();
        let refused = [
            matches!(sworm.register_name("new", Thing::default()).await, Err(RegisterError::CallerTooLarge { .. })),
            matches!(sworm.attach_name::<Word>("mine").await, Err(RegisterError::CallerTooLarge { .. })),
            matches!(sworm.unregister_name("old").await, Err(UnregisterError::CallerTooLarge { .. })),
            matches!(sworm.restart_name("here").await, Err(RestartError::CallerTooLarge { .. })),
            matches!(sworm.move_name("here", "b").await, Err(MoveError::CallerTooLarge { .. })),
            matches!(sworm.rebalance().await, Err(MoveError::CallerTooLarge { .. })),
            matches!(sworm.add_voter(ctx.node()).await, Err(VotersError::CallerTooLarge { .. })),
        ];
        desk(ctx.name()).refused.send_replace(Some(refused));
    }
}

async fn pair() -> [Life; 2] {
    let network = sworm::transport::MemoryNetwork::new();
    let spec = || SwormSpec::new("s").rebalance(Rebalance::Manual);
    let a = Life::start_with(&network, "a", FaultyStore::new(), spec()).await;
    let b = Life::start_with(&network, "b", FaultyStore::new(), spec()).await;
    for life in [&a, &b] {
        eventually("both", || async { (life.sworm.nodes().len() == 2).then_some(()) }).await;
    }
    [a, b]
}

/// What came of asking for everything.
async fn refused(clerk: &Ref<Clerk>) -> Refused {
    let mut told = desk(clerk.name()).refused.subscribe();
    told.mark_unchanged();
    let _ = clerk.call(AskAll).timeout(LONG).await;
    tokio::time::timeout(LONG, told.changed()).await.expect("it has asked").expect("the desk stays");
    told.borrow().expect("it has asked")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_state_is_too_large_to_be_saved_asks_the_sworm_for_nothing() {
    let [a, b] = pair().await;
    let clerk = a.register("clerk", Clerk::default()).await;
    for name in ["old", "here"] {
        a.register(name, Thing::default()).await;
    }
    let here = running(&a.sworm, "here").await.pid;
    let too_large = clerk.call(Swell(16 << 20)).timeout(LONG).await.expect_err("it is too large");
    assert!(matches!(too_large, CallError::StateTooLarge { .. }), "{too_large}");
    assert_eq!(refused(&clerk).await, [true; 7]);
    assert!(["new", "mine"].iter().all(|name| a.sworm.whereis(name).is_none()), "nothing was registered");
    assert_eq!(
        (running(&a.sworm, "old").await.state, running(&a.sworm, "here").await.pid),
        (RegistrationState::Running, here.clone())
    );
    assert_eq!(clerk.call(Swell(0)).timeout(LONG).await, Ok(()), "it is small again");
    assert_eq!(refused(&clerk).await, [false; 7]);
    running(&a.sworm, "new").await;
    crate::gone(&a.sworm, "old").await;
    eventually("the move", || async { (running(&b.sworm, "here").await.pid.node == *"b").then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_registers_only_when_what_run_has_changed_before_is_durable() {
    let [a, _b] = pair().await;
    let clerk = a.register("silent", Clerk::default()).await;
    assert_eq!(clerk.call(Add(1)).await, Ok(1));
    for name in ["old", "here"] {
        a.register(name, Thing::default()).await;
    }
    a.store.hold(true);
    let mut ran = desk("silent").ran.subscribe();
    desk("silent").told.add_permits(1);
    tokio::time::timeout(LONG, ran.wait_for(|ran| ran.len() == 1)).await.expect("it runs").expect("the desk stays");
    let before = a.writes();
    let asks = tokio::spawn(async move { refused(&clerk).await });
    a.writes_more_than(before).await;
    holds_for(Duration::from_millis(300), "nothing is registered", || async { a.sworm.whereis("new").is_none() }).await;
    a.store.hold(false);
    assert_eq!(asks.await.expect("it does not panic"), [false; 7]);
    running(&a.sworm, "new").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_for_a_registration_gets_it_before_its_state_is_taken() {
    let [a, b] = pair().await;
    let mut log = b.sworm.attach_name::<Word>("log").await.expect("free");
    running(&a.sworm, "log").await;
    drop(a.register("run", Clerk::default()).await);
    let mut ran = desk("run").ran.subscribe();
    desk("run").told.add_permits(1);
    let ran = tokio::time::timeout(LONG, ran.wait_for(|ran| !ran.is_empty())).await.expect("it runs");
    assert_eq!(*ran.expect("the desk stays"), [Ok(())], "it asked once");
    let Word(sum) = tokio::time::timeout(LONG, log.recv()).await.expect("it comes").expect("the node runs").0;
    assert_eq!(sum, 1_000);
}
