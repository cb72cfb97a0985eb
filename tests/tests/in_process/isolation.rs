//! No worker harms another one: whatever one does, the calls of the others are answered meanwhile, and none of them is
//! started again.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{join, join_all};
use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{
    BoxError, CallError, Error, Event, Events, Exit, RegisterError, Restart, RestartDecision, RestartHistory,
    StartError, UnregisterError,
};
use sworm_tests::{eventually, holds_for};
use tokio::sync::Semaphore;

use super::events::next;
use super::{ended, gone, log, opened, running};

/// What is held up by the test, or by a busy machine, may take.
const LONG: Duration = Duration::from_secs(60);

/// Counts.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "bystander", handles(Count))]
struct Bystander {
    count: u32,
}

#[derive(Message, Serialize, Deserialize)]
#[message(reply = u32, id = "bystander-count")]
struct Count;

impl Handler<Count> for Bystander {
    async fn handle(&mut self, _: Count, _: &mut Context<Self>) -> u32 {
        self.count += 1;
        self.count
    }
}

/// Workers on every node that must not notice anything.
struct Bystanders {
    all: Vec<Ref<Bystander>>,
    count: u32,
}

impl Bystanders {
    async fn on(sworm: &Sworm) -> Self {
        let mut all = Vec::new();
        for node in sworm.nodes() {
            for n in 0..3 {
                let name = format!("bystander-{node}-{n}");
                all.push(sworm.register(name, Bystander::default()).on(&node).await.expect("free"));
            }
        }
        Self { all, count: 0 }
    }

    /// Calls all of them again and again while something happens.
    async fn meanwhile<T>(&mut self, happens: impl Future<Output = T>) -> T {
        let over = AtomicBool::new(false);
        let happens = async {
            let result = happens.await;
            over.store(true, Relaxed);
            result
        };
        let calls = async {
            while !over.load(Relaxed) {
                self.answer().await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let (result, ()) = join(happens, calls).await;
        self.answer().await;
        result
    }

    /// Each has counted every call: it was never started again.
    async fn answer(&mut self) {
        self.count += 1;
        for bystander in &self.all {
            assert_eq!(bystander.call(Count).timeout(LONG).await, Ok(self.count), "{bystander:?}");
        }
    }
}

/// Starts a worker again at once, whatever happens.
struct AtOnce;

impl Restart for AtOnce {
    fn decide(&self, _: &Exit, _: &RestartHistory) -> RestartDecision {
        RestartDecision::Restart { after: Duration::ZERO }
    }
}

/// Where a worker does what it should not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum In {
    Started,
    Run,
    Handler,
    Stopping,
    Saving,
    Restoring,
    Dropping,
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

/// Starts when it may.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "gated", lifecycle, start_timeout = "60s")]
struct Gated;

static GATE: Semaphore = Semaphore::const_new(0);
static AT_THE_GATE: AtomicUsize = AtomicUsize::new(0);

impl Lifecycle for Gated {
    async fn started(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        AT_THE_GATE.fetch_add(1, Relaxed);
        GATE.acquire().await?.forget();
        AT_THE_GATE.fetch_sub(1, Relaxed);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn so_many_slow_starts_delay_no_other_as_a_node_makes_at_a_time() {
    let network = MemoryNetwork::new();
    let build = || Node::builder("a").in_memory().memory_network(&network);
    let none = build().concurrent_starts(0).start().await;
    assert!(matches!(none, Err(Error::Start(StartError::BadConcurrentStarts { starts: 0 }))));
    let node = build().concurrent_starts(8).start().await.expect("it starts");
    let sworm = node.sworm("s").await.expect("it opens");
    let mut bystanders = Bystanders::on(&sworm).await;
    // One place is left.
    let slow: Vec<_> = (0..7).map(|n| tokio::spawn(register_gated(sworm.clone(), n))).collect();
    eventually("the slow ones", || async { (AT_THE_GATE.load(Relaxed) == 7).then_some(()) }).await;
    bystanders
        .meanwhile(async {
            for n in 0..20 {
                sworm.register_name(format!("quick-{n}"), Bystander::default()).await.expect("free");
            }
        })
        .await;
    // And now none: the next one waits for its turn, however long that is.
    let last = tokio::spawn(register_gated(sworm.clone(), 7));
    eventually("the last one", || async { (AT_THE_GATE.load(Relaxed) == 8).then_some(()) }).await;
    let waiting = tokio::spawn({
        let sworm = sworm.clone();
        async move { sworm.register("waiting", Bystander::default()).timeout(LONG).await }
    });
    eventually("its turn to come", || async { sworm.whereis("waiting") }).await;
    let waits = || async { !waiting.is_finished() };
    bystanders.meanwhile(holds_for(Duration::from_millis(300), "it waits", waits)).await;
    GATE.add_permits(8);
    for started in join_all(slow.into_iter().chain([last])).await {
        started.expect("it does not panic").expect("free");
    }
    waiting.await.expect("it does not panic").expect("free");
}

async fn register_gated(sworm: Sworm, n: usize) -> Result<Ref<Gated>, RegisterError> {
    sworm.register(format!("gated-{n}"), Gated).timeout(LONG).await
}

/// Does not return from where it is told to stay.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "staying", handles(Stay, Block), lifecycle)]
struct Staying {
    place: Option<In>,
    #[serde(skip)]
    alive: Option<Alive>,
}

/// Waits for ever.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "isolation-stay")]
struct Stay;

/// Blocks its thread until it may go on.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "isolation-block")]
struct Block;

static MAY_GO_ON: AtomicBool = AtomicBool::new(false);

/// Lets it go on, also when the test has failed: the runtime waits for its threads.
struct GoesOn;

impl Drop for GoesOn {
    fn drop(&mut self) {
        MAY_GO_ON.store(true, Relaxed);
    }
}

/// Held by each of them, with how many there are under its name.
struct Alive(Arc<AtomicUsize>);

static ALIVE: Mutex<BTreeMap<String, Arc<AtomicUsize>>> = Mutex::new(BTreeMap::new());

fn alive(name: &str) -> Arc<AtomicUsize> {
    ALIVE.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default().clone()
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Lifecycle for Staying {
    async fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), BoxError> {
        let count = alive(ctx.name());
        assert_eq!(count.fetch_add(1, Relaxed), 0, "two workers of one name");
        self.alive = Some(Alive(count));
        Ok(())
    }

    async fn run(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        if self.place == Some(In::Run) {
            blocks();
        }
        pending().await
    }

    async fn stopping(&mut self, _: &mut Context<Self>) {
        if self.place == Some(In::Stopping) {
            pending().await
        }
    }
}

impl Handler<Stay> for Staying {
    async fn handle(&mut self, _: Stay, _: &mut Context<Self>) {
        pending().await
    }
}

impl Handler<Block> for Staying {
    async fn handle(&mut self, _: Block, _: &mut Context<Self>) {
        blocks();
    }
}

fn blocks() {
    while !MAY_GO_ON.load(Relaxed) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

async fn staying(sworm: &Sworm, name: &str, place: Option<In>) -> Ref<Staying> {
    let worker = sworm.register(name, Staying { place, alive: None }).on(&sworm.nodes()[0]).await;
    worker.expect("free")
}

/// Ends a name; that is acknowledged when its worker has stopped.
async fn has_stopped(sworm: &Sworm, name: &str) {
    let told = ended(sworm, name).await;
    let stopped = || alive(name).load(Relaxed) == 0;
    assert!(!told || stopped(), "it is acknowledged when it has stopped");
    eventually("its end", || async { stopped().then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_that_does_not_return_is_reported_again_and_again_and_can_be_stopped() {
    log::keep();
    let [(_a, on_a), (_b, on_b)] = opened("s").await;
    let mut bystanders = Bystanders::on(&on_a).await;
    let stuck = staying(&on_a, "does not return", None).await;
    stuck.cast(Stay).await.expect("it runs");
    let waiting = tokio::spawn({
        let stuck = stuck.clone();
        async move { stuck.call(Stay).timeout(Duration::from_secs(40)).await }
    });
    // After five seconds, and after ten.
    let line = ["WARN", "is stuck", "\"does not return\"", "isolation-stay"];
    bystanders.meanwhile(log::has(2, &line)).await;
    // Its time to stop is over after eight.
    bystanders.meanwhile(has_stopped(&on_b, "does not return")).await;
    gone(&on_a, "does not return").await;
    assert!(waiting.await.expect("it does not panic").is_err());
    staying(&on_a, "does not return", Some(In::Stopping)).await;
    // Nor does it return when it stops.
    bystanders.meanwhile(has_stopped(&on_b, "does not return")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_that_blocks_its_thread_keeps_its_name_from_others_until_it_has_ended() {
    log::keep();
    let [(_a, on_a), (_b, on_b)] = opened("s").await;
    let mut bystanders = Bystanders::on(&on_a).await;
    let blocking = staying(&on_a, "blocks", None).await;
    let goes_on = GoesOn;
    blocking.cast(Block).await.expect("it runs");
    // Its registration is answered, though it blocks as soon as it has started.
    staying(&on_a, "blocks at once", Some(In::Run)).await;
    bystanders.meanwhile(log::has(1, &["is stuck", "\"blocks\"", "isolation-block"])).await;
    bystanders.meanwhile(log::has(1, &["is stuck", "\"blocks at once\"", "`run`"])).await;
    // Nobody can end it. Its name goes, and whoever wants it waits.
    let unknown = bystanders.meanwhile(on_b.unregister_name("blocks")).await;
    assert!(matches!(unknown, Err(UnregisterError::Timeout { .. })), "{unknown:?}");
    assert_eq!(alive("blocks").load(Relaxed), 1);
    bystanders.meanwhile(log::has(1, &["ERROR", "blocks its thread", "\"blocks\""])).await;
    gone(&on_b, "blocks").await;
    let anew = tokio::spawn({
        let on_b = on_b.clone();
        async move { on_b.register("blocks", Staying { place: None, alive: None }).timeout(LONG).await }
    });
    let waits = || async { !anew.is_finished() && alive("blocks").load(Relaxed) == 1 };
    bystanders.meanwhile(holds_for(Duration::from_secs(1), "it waits", waits)).await;
    drop(goes_on);
    bystanders.meanwhile(anew).await.expect("it does not panic").expect("free");
    running(&on_a, "blocks").await;
    assert_eq!(alive("blocks").load(Relaxed), 1);
}
