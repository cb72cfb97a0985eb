//! With `snapshot = "each"` what hooks send waits for their state as what handlers send does.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{BoxError, Event, Inbox, Mode};
use sworm_tests::{FaultyStore, eventually, holds_for};
use tokio::sync::{Semaphore, watch};

use super::{Add, LONG, Life, sum};
use crate::{LEASE, running};

/// What a start, a turn of `run` and an end add to the sum.
const START: i64 = 1_000_000;
const TURN: i64 = 1_000;
const END: i64 = 1_000_000_000;

/// Adds in every hook that is on, and casts the sum.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "saving.hooks", handles(Add, Turn, AskAround, Tick, Swell, Crash, End), snapshot = "each", lifecycle)]
struct Hooked {
    total: i64,
    on: On,
    text: String,
}

#[derive(Serialize, Deserialize, Default, Clone, Copy, PartialEq, Eq, Debug)]
enum On {
    #[default]
    Nothing,
    Started,
    Stopping,
    Diverged,
    /// `run` casts when it was told to.
    Run,
    /// `run` adds when it was told to, and casts nothing.
    SilentRun,
    /// `run` casts whenever it is called.
    EachRun,
    /// `run` casts, and adds what a slow worker replies.
    CallingRun,
}

/// Casts the sum from a timer.
#[derive(Message, Serialize, Deserialize, Clone)]
#[message(id = "saving.hooks.tick")]
struct Tick;

/// Switches hooks on.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.hooks.turn")]
struct Turn(On);

/// Calls the one who listens.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.hooks.ask", reply = Result<(), CallError>)]
struct AskAround;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.hooks.swell")]
struct Swell(usize);

#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.hooks.crash")]
struct Crash;

/// Ends the worker.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.hooks.end")]
struct End;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.hooks.word")]
struct Word(i64);

/// Takes its time, and says how often it was called.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "saving.hooks.slow", handles(Slowly))]
struct Slow {
    calls: i64,
}

#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.hooks.slowly", reply = i64)]
struct Slowly(Duration);

impl Handler<Slowly> for Slow {
    async fn handle(&mut self, Slowly(time): Slowly, _: &mut Context<Self>) -> i64 {
        self.calls += 1;
        tokio::time::sleep(time).await;
        self.calls
    }
}

/// Tells the `run` of a name to do something, as often as there are permits, and who waits how often it was called.
struct Runs {
    told: Semaphore,
    done: watch::Sender<u64>,
}

static RUNS: LazyLock<Mutex<HashMap<String, &'static Runs>>> = LazyLock::new(Mutex::default);

fn runs(name: &str) -> &'static Runs {
    let mut runs = RUNS.lock().expect("nobody panics with it");
    let new = || &*Box::leak(Box::new(Runs { told: Semaphore::new(0), done: watch::Sender::new(0) }));
    runs.entry(name.to_owned()).or_insert_with(new)
}

impl Hooked {
    async fn tell(&mut self, ctx: &Context<Self>, more: i64) {
        self.total += more;
        let log = ctx.sworm().whereis_name::<Inbox<Word>>("log").expect("it is there");
        log.cast(Word(self.total)).await.expect("it is held back");
    }
}

impl Lifecycle for Hooked {
    async fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), BoxError> {
        if self.on == On::Started {
            self.tell(ctx, START).await;
            ctx.sworm().publish("logs", Word(-self.total)).await?;
            ctx.join(format!("started-{}", self.total)).await?;
            ctx.send_after(Duration::ZERO, Tick);
        }
        Ok(())
    }

    async fn run(&mut self, ctx: &mut Context<Self>) -> Result<(), BoxError> {
        let runs = runs(ctx.name());
        loop {
            if self.on == On::EachRun {
                self.tell(ctx, 0).await;
            }
            runs.told.acquire().await?.forget();
            match self.on {
                On::Run => self.tell(ctx, TURN).await,
                On::SilentRun => self.total += TURN,
                On::CallingRun => {
                    self.tell(ctx, TURN).await;
                    let slow = ctx.sworm().whereis_name::<Slow>("slow").expect("it is there");
                    self.total += slow.call(Slowly(Duration::from_millis(500))).await?;
                }
                _ => {}
            }
            runs.done.send_modify(|done| *done += 1);
        }
    }

    async fn stopping(&mut self, ctx: &mut Context<Self>) {
        if self.on == On::Stopping {
            self.tell(ctx, END).await;
        }
    }

    async fn on_diverged(&mut self, other: Self, ctx: &mut Context<Self>) {
        self.tell(ctx, other.total).await;
    }
}

impl Handler<Add> for Hooked {
    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> i64 {
        self.total += n;
        self.total
    }
}

impl Handler<Turn> for Hooked {
    async fn handle(&mut self, Turn(on): Turn, ctx: &mut Context<Self>) {
        self.on = on;
        if on == On::SilentRun {
            runs(ctx.name()).told.add_permits(1);
        }
    }
}

impl Handler<Tick> for Hooked {
    async fn handle(&mut self, _: Tick, ctx: &mut Context<Self>) {
        self.tell(ctx, 1).await;
    }
}

impl Handler<AskAround> for Hooked {
    async fn handle(&mut self, _: AskAround, ctx: &mut Context<Self>) -> Result<(), CallError> {
        let log = ctx.sworm().whereis_name::<Slow>("slow").expect("it is there");
        log.call(Slowly(Duration::ZERO)).await.map(drop)?;
        let all = ctx.sworm().multi_call("slow ones", Slowly(Duration::ZERO)).await;
        all.into_iter().try_for_each(|(_, result)| result.map(drop))
    }
}

impl Handler<Swell> for Hooked {
    async fn handle(&mut self, Swell(bytes): Swell, _: &mut Context<Self>) {
        self.text = "x".repeat(bytes);
    }
}

impl Handler<Crash> for Hooked {
    async fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        panic!("told to crash");
    }
}

impl Handler<End> for Hooked {
    async fn handle(&mut self, _: End, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

/// Nodes a and b, and the log on b, which is in the group of logs.
async fn pair() -> (Life, Life, Inbox<Word>) {
    let [a, b] = Life::pair().await;
    let log = b.sworm.attach_name::<Word>("log").await.expect("free");
    b.sworm.join("logs", &log.this()).await.expect("it is there");
    running(&a.sworm, "log").await;
    eventually("the group", || async { (a.sworm.members("logs").len() == 1).then_some(()) }).await;
    (a, b, log)
}

async fn hooked(a: &Life, name: &str, on: On) -> Ref<Hooked> {
    a.register(name, Hooked { on, ..Hooked::default() }).await
}

async fn word(log: &mut Inbox<Word>) -> i64 {
    let word = tokio::time::timeout(Duration::from_secs(40), log.recv()).await.expect("it comes");
    word.expect("the node runs").0.0
}

/// Nothing comes for a time in which it would have come.
async fn is_silent(log: &mut Inbox<Word>) {
    let early = tokio::time::timeout(Duration::from_millis(400), log.recv()).await;
    assert!(early.is_err(), "the state is not durable yet: {:?}", early.map(|word| word.map(|word| word.0.0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_started_sends_waits_for_the_state_that_it_leaves() {
    let (a, _b, mut log) = pair().await;
    let hooked = hooked(&a, "x", On::Nothing).await;
    hooked.call(Turn(On::Started)).await.expect("it runs");
    a.store.hold(true);
    let (before, pid) = (a.writes(), hooked.pid());
    hooked.call(Crash).timeout(LONG).await.expect_err("it crashes");
    a.writes_more_than(before).await;
    is_silent(&mut log).await;
    assert_eq!(a.sworm.members(format!("started-{START}")), []);
    a.store.hold(false);
    assert_eq!([word(&mut log).await, word(&mut log).await, word(&mut log).await], [START, -START, START + 1]);
    assert_eq!(a.sworm.members(format!("started-{START}")).len(), 1);
    assert!(sum(&hooked).await == START + 1 && hooked.pid() != pid, "that is what was saved");
    hooked.call(Crash).await.expect_err("it crashes");
    let words = [word(&mut log).await, word(&mut log).await, word(&mut log).await];
    assert_eq!(words, [2 * START + 1, -2 * START - 1, 2 * START + 2], "it goes on from what it has shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_run_sends_waits_for_the_state_at_its_next_wait() {
    let (a, _b, mut log) = pair().await;
    let hooked = hooked(&a, "run", On::Run).await;
    assert_eq!(sum(&hooked).await, 0);
    a.store.hold(true);
    let before = a.writes();
    runs("run").told.add_permits(1);
    a.writes_more_than(before).await;
    is_silent(&mut log).await;
    a.store.hold(false);
    assert_eq!(word(&mut log).await, TURN);
    for turn in 2..=4 {
        runs("run").told.add_permits(1);
        assert_eq!(word(&mut log).await, turn * TURN, "nobody sends it a message");
    }
    hooked.call(Crash).await.expect_err("it crashes");
    assert_eq!(sum(&hooked).await, 4 * TURN);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_run_has_sent_is_dropped_when_its_state_does_not_become_durable() {
    let (a, b, mut log) = pair().await;
    let hooked = hooked(&a, "lost-run", On::Run).await;
    assert_eq!(sum(&hooked).await, 0);
    a.store.hold(true);
    let before = a.writes();
    runs("lost-run").told.add_permits(1);
    a.writes_more_than(before).await;
    a.store.fail_after(0);
    a.store.hold(false);
    eventually("it on the other node", || async {
        (running(&b.sworm, "lost-run").await.pid.node == *"b").then_some(())
    })
    .await;
    let hooked = b.sworm.whereis_name::<Hooked>("lost-run").expect("it runs");
    let total = sum(&hooked).await;
    assert!([0, TURN].contains(&total), "{total}");
    // So that no later word says what the first one said.
    assert_eq!(hooked.call(Add(7)).timeout(LONG).await, Ok(total + 7));
    runs("lost-run").told.add_permits(1);
    assert_eq!(word(&mut log).await, total + 7 + TURN, "the first word is lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_run_has_sent_is_dropped_when_its_state_is_too_large() {
    let (a, _b, mut log) = pair().await;
    let mut events = a.sworm.events();
    let hooked = hooked(&a, "large-run", On::Run).await;
    let swell = |bytes| hooked.call(Swell(bytes)).timeout(LONG);
    swell(16 << 20).await.expect_err("it is too large");
    runs("large-run").told.add_permits(1);
    let told = async { while !matches!(events.next().await, Some(Event::SnapshotFailed { .. })) {} };
    tokio::time::timeout(LONG, told).await.expect("it is told");
    swell(0).await.expect("it is small again");
    runs("large-run").told.add_permits(1);
    assert_eq!(word(&mut log).await, 2 * TURN, "the first word is lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_sends_whenever_it_is_called_does_so_after_messages_alone() {
    let (a, _b, mut log) = pair().await;
    let hooked = hooked(&a, "each-run", On::EachRun).await;
    assert_eq!(word(&mut log).await, 0);
    for _ in 0..3 {
        is_silent(&mut log).await;
        assert_eq!(hooked.call(Add(0)).timeout(Duration::from_secs(60)).await, Ok(0));
        assert_eq!(word(&mut log).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_for_a_reply_gets_it_before_its_state_is_taken() {
    let (a, _b, mut log) = pair().await;
    a.register("slow", Slow::default()).await;
    let hooked = hooked(&a, "calling-run", On::CallingRun).await;
    runs("calling-run").told.add_permits(1);
    let mut done = runs("calling-run").done.subscribe();
    tokio::time::timeout(Duration::from_secs(40), done.wait_for(|done| *done == 1))
        .await
        .expect("it is done")
        .expect("it runs");
    assert_eq!(word(&mut log).await, TURN);
    assert_eq!(sum(&hooked).await, TURN + 1, "it called once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stopping_sends_waits_until_the_next_worker_has_the_state() {
    let (a, b, mut log) = pair().await;
    let hooked = hooked(&a, "x", On::Stopping).await;
    assert_eq!(hooked.call(Add(5)).await, Ok(5));
    running(&b.sworm, "x").await;
    a.store.hold(true);
    let before = a.writes();
    let moved = tokio::spawn({
        let (sworm, to) = (a.sworm.clone(), b.node.id().clone());
        async move { sworm.move_name("x", &to).await }
    });
    a.writes_more_than(before).await;
    is_silent(&mut log).await;
    a.store.hold(false);
    moved.await.expect("it does not panic").expect("it moves");
    assert_eq!(word(&mut log).await, END + 5);
    assert_eq!(sum(&b.sworm.whereis_name::<Hooked>("x").expect("it runs")).await, END + 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stopping_sends_at_the_end_of_a_worker_waits_for_its_state() {
    let (a, _b, mut log) = pair().await;
    let hooked = hooked(&a, "x", On::Stopping).await;
    assert_eq!(hooked.call(Add(5)).await, Ok(5));
    hooked.call(End).await.expect("it ends after this");
    assert_eq!(word(&mut log).await, END + 5);
    crate::gone(&a.sworm, "x").await;
    let hooked = self::hooked(&a, "y", On::Stopping).await;
    assert_eq!(hooked.call(Add(5)).await, Ok(5));
    // Nothing changes by its last message, so that its reply waits for nothing.
    a.store.hold(true);
    let before = a.writes();
    hooked.call(End).timeout(LONG).await.expect("it ends after this");
    a.writes_more_than(before).await;
    is_silent(&mut log).await;
    a.store.hold(false);
    assert_eq!(word(&mut log).await, END + 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_timers_handler_sends_waits_as_that_of_any_other_does() {
    let (a, _b, mut log) = pair().await;
    let hooked = hooked(&a, "x", On::Started).await;
    assert_eq!([word(&mut log).await, word(&mut log).await, word(&mut log).await], [START, -START, START + 1]);
    a.store.hold(true);
    let before = a.writes();
    hooked.cast(Tick).await.expect("it runs");
    a.writes_more_than(before).await;
    is_silent(&mut log).await;
    a.store.hold(false);
    assert_eq!(word(&mut log).await, START + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_calls_only_when_what_run_has_changed_before_is_durable() {
    let (a, b, _log) = pair().await;
    let slow = b.register("slow", Slow::default()).await;
    running(&a.sworm, "slow").await;
    let hooked = hooked(&a, "silent-run", On::Nothing).await;
    assert_eq!(hooked.call(AskAround).await, Ok(Ok(())));
    let mut done = runs("silent-run").done.subscribe();
    hooked.call(Turn(On::SilentRun)).await.expect("it runs");
    a.store.hold(true);
    tokio::time::timeout(Duration::from_secs(40), done.wait_for(|done| *done == 1))
        .await
        .expect("it is done")
        .expect("it runs");
    let before = a.writes();
    let asks = tokio::spawn(async move { hooked.call(AskAround).timeout(LONG).await });
    a.writes_more_than(before).await;
    holds_for(Duration::from_millis(300), "nobody is called", || async { !asks.is_finished() }).await;
    assert_eq!(slow.call(Slowly(Duration::ZERO)).timeout(LONG).await, Ok(2), "only the first time");
    a.store.hold(false);
    assert_eq!(asks.await.expect("it does not panic"), Ok(Ok(())));
    assert_eq!(slow.call(Slowly(Duration::ZERO)).await, Ok(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_state_is_too_large_to_be_saved_calls_nobody() {
    let (a, _b, _log) = pair().await;
    let slow = a.register("slow", Slow::default()).await;
    a.sworm.join("slow ones", &slow).await.expect("it is there");
    let hooked = hooked(&a, "x", On::Nothing).await;
    assert_eq!(hooked.call(AskAround).await, Ok(Ok(())));
    assert_eq!(slow.call(Slowly(Duration::ZERO)).await, Ok(3));
    let too_large = hooked.call(Swell(16 << 20)).timeout(LONG).await.expect_err("it is too large");
    assert!(matches!(too_large, CallError::StateTooLarge { .. }), "{too_large}");
    hooked.call(AskAround).timeout(LONG).await.expect_err("it still is");
    assert_eq!(slow.call(Slowly(Duration::ZERO)).await, Ok(4), "nobody was called in between");
    assert_eq!(hooked.call(Swell(0)).timeout(LONG).await, Ok(()));
    assert_eq!(hooked.call(AskAround).await, Ok(Ok(())));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_on_diverged_sends_waits_for_the_state_that_it_leaves() {
    let network = MemoryNetwork::new();
    let spec = SwormSpec::new("s").mode(Mode::Majority).expect_nodes(3).lease(LEASE);
    let mut all = Vec::new();
    for id in ["a", "b", "c"] {
        all.push(Life::start_with(&network, id, FaultyStore::new(), spec.clone()).await);
    }
    for life in &all {
        eventually("the voters", || async { life.sworm.voters().await.expect("it runs").map(drop) }).await;
    }
    let [a, b, c] = &all[..] else { unreachable!("there are three") };
    let mut log = a.sworm.attach_name::<Word>("log").await.expect("free");
    running(&c.sworm, "log").await;
    // What it adds in `run` is saved when it is parked, and at no other time.
    let worker = c.register("parts", Hooked { on: On::SilentRun, ..Hooked::default() }).await;
    assert_eq!(worker.call(Add(5)).await, Ok(5));
    network.cut("c", "a");
    network.cut("c", "b");
    let mut done = runs("parts").done.subscribe();
    runs("parts").told.add_permits(1);
    tokio::time::timeout(Duration::from_secs(40), done.wait_for(|done| *done == 1))
        .await
        .expect("it is done")
        .expect("it runs");
    let parked = || async { (c.sworm.whereis("parts")?.state == RegistrationState::Parked).then_some(()) };
    eventually("that it is parked", parked).await;
    let winner = eventually("it", || async { a.sworm.whereis_name::<Hooked>("parts") }).await;
    assert_eq!(sum(&winner).await, 5);
    let host = if winner.pid().node == *"a" { a } else { b };
    running(&b.sworm, "log").await;
    host.store.hold(true);
    let before = host.writes();
    network.heal("c", "a");
    network.heal("c", "b");
    host.writes_more_than(before).await;
    is_silent(&mut log).await;
    host.store.hold(false);
    assert_eq!(word(&mut log).await, 5 + 5 + TURN);
    assert_eq!(sum(&winner).await, 10 + TURN);
}
