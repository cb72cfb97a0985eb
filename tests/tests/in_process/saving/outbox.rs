//! With `snapshot = "each"` what a handler casts waits with its reply.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::Inbox;
use sworm::prelude::*;
use sworm_tests::{eventually, holds_for};
use tokio::sync::Semaphore;

use super::{Add, LONG, Life, sum};
use crate::running;

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "saving.speaker", handles(Add, Speak, Said, Swell, Publish, Later), snapshot = "each")]
struct Speaker {
    total: i64,
    text: String,
}

/// Casts these words to the log, then one to itself that it is to hand on, and panics if it is told to.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.speak")]
struct Speak {
    words: Vec<u32>,
    crash: bool,
}

/// Casts a word to the log, and has so much text from then on.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.swell")]
struct Swell {
    word: u32,
    bytes: usize,
}

/// Publishes a word to the group of the log.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.publish", reply = usize)]
struct Publish {
    word: u32,
    crash: bool,
}

/// Sets a timer for a word that is to be handed on to the log, and joins a group.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.later")]
struct Later {
    word: u32,
    crash: bool,
}

/// A word to be handed on to the log.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.said")]
struct Said(u32);

#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.word")]
struct Word(u32);

impl Speaker {
    async fn log(ctx: &Context<Self>, word: u32) {
        Self::say(ctx.sworm(), word).await;
    }

    async fn say(sworm: &Sworm, word: u32) {
        let log = sworm.whereis_name::<Inbox<Word>>("log").expect("it is there");
        log.cast(Word(word)).await.expect("it is held back, or on its way");
    }
}

impl Handler<Speak> for Speaker {
    async fn handle(&mut self, speak: Speak, ctx: &mut Context<Self>) {
        for word in &speak.words {
            self.total += 1;
            Self::log(ctx, *word).await;
        }
        ctx.this().cast(Said(u32::MAX)).await.expect("it is held back");
        assert!(!speak.crash, "told to crash");
    }
}

impl Handler<Swell> for Speaker {
    async fn handle(&mut self, Swell { word, bytes }: Swell, ctx: &mut Context<Self>) {
        self.text = "x".repeat(bytes);
        Self::log(ctx, word).await;
    }
}

impl Handler<Publish> for Speaker {
    async fn handle(&mut self, Publish { word, crash }: Publish, ctx: &mut Context<Self>) -> usize {
        self.total += 1;
        let count = ctx.sworm().publish("logs", Word(word)).await.expect("it is held back");
        assert!(!crash, "told to crash");
        count
    }
}

/// How much later.
const LATER: Duration = Duration::from_millis(400);

impl Handler<Later> for Speaker {
    async fn handle(&mut self, Later { word, crash }: Later, ctx: &mut Context<Self>) {
        self.total += 1;
        ctx.send_after(LATER, Said(word));
        let cancelled = ctx.send_after(Duration::ZERO, Said(word + 100));
        assert!(cancelled.cancel() && !cancelled.cancel());
        ctx.join(format!("said-{word}")).await.expect("it is held back");
        assert!(!crash, "told to crash");
    }
}

impl Handler<Said> for Speaker {
    async fn handle(&mut self, Said(word): Said, ctx: &mut Context<Self>) {
        self.total += 1000;
        Self::log(ctx, word).await;
    }
}

impl Handler<Add> for Speaker {
    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> i64 {
        self.total += n;
        self.total
    }
}

fn speak(words: impl Into<Vec<u32>>) -> Speak {
    Speak { words: words.into(), crash: false }
}

async fn word(log: &mut Inbox<Word>) -> u32 {
    let word = tokio::time::timeout(Duration::from_secs(40), log.recv()).await.expect("it comes");
    word.expect("the node runs").0.0
}

async fn next(log: &mut Inbox<Word>, count: usize) -> Vec<u32> {
    let mut words = Vec::new();
    for _ in 0..count {
        words.push(word(log).await);
    }
    words
}

/// The log on node b, known to a.
async fn log(a: &Life, b: &Life) -> Inbox<Word> {
    let log = b.sworm.attach_name::<Word>("log").await.expect("free");
    running(&a.sworm, "log").await;
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_handler_has_cast_waits_with_its_reply_and_leaves_in_order() {
    let [a, b] = Life::pair().await;
    let mut log = log(&a, &b).await;
    let speaker = a.register("x", Speaker::default()).await;
    a.store.hold(true);
    let before = a.writes();
    let call = tokio::spawn({
        let speaker = speaker.clone();
        async move { speaker.call(speak([1, 2, 3])).timeout(LONG).await }
    });
    a.writes_more_than(before).await;
    let early = tokio::time::timeout(Duration::from_millis(300), log.recv()).await;
    assert!(early.is_err() && !call.is_finished(), "the state is not durable yet");
    a.store.hold(false);
    assert_eq!(call.await.expect("it does not panic"), Ok(()));
    assert_eq!(next(&mut log, 4).await, [1, 2, 3, u32::MAX]);
    assert_eq!(sum(&speaker).await, 1003);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_handler_has_published_waits_as_what_it_has_cast_does() {
    let [a, b] = Life::pair().await;
    let mut log = log(&a, &b).await;
    b.sworm.join("logs", &log.this()).await.expect("it is there");
    eventually("the group", || async { (a.sworm.members("logs").len() == 1).then_some(()) }).await;
    let speaker = a.register("x", Speaker::default()).await;
    speaker.call(Publish { word: 1, crash: true }).await.expect_err("it crashes");
    assert_eq!(sum(&speaker).await, 0);
    a.store.hold(true);
    let before = a.writes();
    let call = tokio::spawn(async move { speaker.call(Publish { word: 2, crash: false }).timeout(LONG).await });
    a.writes_more_than(before).await;
    let early = tokio::time::timeout(Duration::from_millis(300), log.recv()).await;
    assert!(early.is_err() && !call.is_finished(), "the state is not durable yet");
    a.store.hold(false);
    assert_eq!(call.await.expect("it does not panic"), Ok(1));
    assert_eq!(word(&mut log).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_and_groups_of_a_handler_begin_when_its_state_is_durable() {
    let [a, b] = Life::pair().await;
    let mut log = log(&a, &b).await;
    let speaker = a.register("x", Speaker::default()).await;
    speaker.call(Later { word: 1, crash: true }).await.expect_err("it crashes");
    assert_eq!(sum(&speaker).await, 0);
    a.store.hold(true);
    let before = a.writes();
    let call = tokio::spawn({
        let speaker = speaker.clone();
        async move { speaker.call(Later { word: 2, crash: false }).timeout(LONG).await }
    });
    a.writes_more_than(before).await;
    let early = tokio::time::timeout(LATER + Duration::from_millis(100), log.recv()).await;
    assert!(early.is_err() && a.sworm.members("said-2").is_empty(), "the state is not durable yet");
    let released = std::time::Instant::now();
    a.store.hold(false);
    assert_eq!(call.await.expect("it does not panic"), Ok(()));
    assert_eq!(word(&mut log).await, 2);
    assert!(released.elapsed() >= LATER, "its time began only then");
    assert_eq!(a.sworm.members("said-2").len(), 1);
    assert_eq!(a.sworm.members("said-1"), []);
    assert_eq!(sum(&speaker).await, 1001, "nothing of what has crashed");
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_of_a_handler_whose_state_is_too_large_do_not_begin() {
    let [a, b] = Life::pair().await;
    let mut log = log(&a, &b).await;
    let speaker = a.register("x", Speaker::default()).await;
    let swell = |bytes| speaker.call(Swell { word: 5, bytes }).timeout(Duration::from_secs(40));
    swell(16 << 20).await.expect_err("it is too large");
    speaker.call(Later { word: 1, crash: false }).await.expect_err("it still is");
    swell(0).await.expect("it is small again");
    assert_eq!(word(&mut log).await, 5);
    speaker.call(Later { word: 2, crash: false }).await.expect("it is saved");
    assert_eq!(word(&mut log).await, 2);
    assert_eq!(sum(&speaker).await, 1002, "the first has told nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_handler_has_cast_before_it_panics_is_dropped() {
    let [a, b] = Life::pair().await;
    let mut log = log(&a, &b).await;
    let speaker = a.register("x", Speaker::default()).await;
    speaker.call(speak([1])).await.expect("it runs");
    assert_eq!(next(&mut log, 2).await, [1, u32::MAX]);
    assert_eq!(sum(&speaker).await, 1001);
    speaker.call(Speak { words: vec![2, 3], crash: true }).await.expect_err("it crashes");
    assert_eq!(sum(&speaker).await, 1001);
    speaker.call(speak([4])).await.expect("it runs again");
    assert_eq!(next(&mut log, 2).await, [4, u32::MAX]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_handler_has_cast_is_dropped_when_its_state_does_not_become_durable() {
    let [a, b] = Life::pair().await;
    let mut log = log(&a, &b).await;
    let speaker = a.register("x", Speaker::default()).await;
    speaker.call(speak([1])).await.expect("it runs");
    assert_eq!(next(&mut log, 2).await, [1, u32::MAX]);
    a.store.hold(true);
    let before = a.writes();
    let call = tokio::spawn(async move { speaker.call(speak([2, 3])).timeout(LONG).await });
    a.writes_more_than(before).await;
    a.store.fail_after(0);
    a.store.hold(false);
    let error = call.await.expect("it does not panic").expect_err("nothing is acknowledged");
    assert!(error.is_unknown_outcome(), "{error}");
    // The other node has the state or the one before, and goes on from there; what was cast is in neither.
    eventually("it on the other node", || async { (running(&b.sworm, "x").await.pid.node == *"b").then_some(()) })
        .await;
    let speaker = b.sworm.whereis_name::<Speaker>("x").expect("it runs");
    let total = sum(&speaker).await;
    assert!([1001, 1003].contains(&total), "{total}");
    speaker.call(speak([4])).await.expect("it runs");
    assert_eq!(next(&mut log, 2).await, [4, u32::MAX]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_handler_has_cast_is_dropped_when_its_state_is_too_large() {
    let [a, b] = Life::pair().await;
    let mut log = log(&a, &b).await;
    let speaker = a.register("x", Speaker::default()).await;
    let swell = |word, bytes| speaker.call(Swell { word, bytes }).timeout(Duration::from_secs(40));
    let error = swell(1, 16 << 20).await.expect_err("it is too large");
    assert!(matches!(error, CallError::StateTooLarge { .. }), "{error}");
    swell(2, 0).await.expect("it is small again");
    assert_eq!(word(&mut log).await, 2);
}

/// Has room for one message beside the one that it handles.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "saving.cramped", handles(Wait, Said), mailbox = 1)]
struct Cramped;

/// Waits until the test says so.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.wait")]
struct Wait;

static WAITS: Semaphore = Semaphore::const_new(0);
static GOES_ON: Semaphore = Semaphore::const_new(0);

impl Handler<Wait> for Cramped {
    async fn handle(&mut self, _: Wait, _: &mut Context<Self>) {
        WAITS.add_permits(1);
        GOES_ON.acquire().await.expect("it is never closed").forget();
    }
}

impl Handler<Said> for Cramped {
    async fn handle(&mut self, Said(word): Said, ctx: &mut Context<Self>) {
        Speaker::say(ctx.sworm(), word).await;
    }
}

/// Sends words on to a worker that has little room, or to itself; has little room as well.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "saving.sender", handles(Send, Said), snapshot = "each", mailbox = 2)]
struct Sender {
    sent: u32,
}

#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.send")]
struct Send {
    words: u32,
    to: Option<String>,
}

impl Handler<Send> for Sender {
    async fn handle(&mut self, Send { words, to }: Send, ctx: &mut Context<Self>) {
        self.sent += words;
        for word in 0..words {
            match &to {
                Some(to) => {
                    let to = ctx.sworm().whereis_name::<Cramped>(to).expect("it runs");
                    to.cast(Said(word)).await.expect("it is held back");
                }
                None => ctx.this().cast(Said(word)).await.expect("it is held back"),
            }
        }
    }
}

impl Handler<Said> for Sender {
    async fn handle(&mut self, Said(word): Said, ctx: &mut Context<Self>) {
        Speaker::say(ctx.sworm(), word).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_does_not_wait_for_the_room_that_what_was_cast_before_it_needs() {
    let [a, b] = Life::pair().await;
    let mut log = log(&a, &b).await;
    let cramped = a.register("cramped", Cramped).await;
    let sender = a.register("sender", Sender::default()).await;
    cramped.cast(Wait).await.expect("it runs");
    WAITS.acquire().await.expect("it is never closed").forget();
    // There is room for one of them; the next message does not wait for the others either.
    for words in [3, 0] {
        let send = Send { words, to: Some("cramped".into()) };
        let sent = sender.call(send).timeout(Duration::from_secs(3));
        sent.await.expect("where each was waited for, that would be five seconds for each");
    }
    GOES_ON.add_permits(1);
    assert_eq!(next(&mut log, 3).await, [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_cast_more_to_itself_than_its_mailbox_takes() {
    let [a, b] = Life::pair().await;
    let mut log = log(&a, &b).await;
    let sender = a.register("sender", Sender::default()).await;
    sender.call(Send { words: 20, to: None }).timeout(LONG).await.expect("it runs");
    assert_eq!(next(&mut log, 20).await, (0..20).collect::<Vec<_>>());
}

/// A worker whose states nobody saves casts at once.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "saving.shouter", handles(Shout), handoff)]
struct Shouter;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.shout")]
struct Shout;

impl Handler<Shout> for Shouter {
    async fn handle(&mut self, _: Shout, ctx: &mut Context<Self>) {
        ctx.sworm().whereis_name::<Inbox<Word>>("log").expect("it is there").cast(Word(1)).await.expect("it is sent");
        std::future::pending().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_it_what_a_handler_casts_leaves_at_once() {
    let [a, b] = Life::pair().await;
    let mut log = log(&a, &b).await;
    let shouter = a.register("x", Shouter).await;
    let call = tokio::spawn(async move { shouter.call(Shout).timeout(LONG).await });
    assert_eq!(word(&mut log).await, 1);
    holds_for(Duration::from_millis(100), "it is still in its handler", || async { !call.is_finished() }).await;
}
