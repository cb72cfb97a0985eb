//! Calls that come to nothing, each with an error that says whether the message may have been handled.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sworm::CallError;
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm_tests::eventually;
use tokio::sync::Semaphore;

use super::{node, opened, running};

/// Counts what it handles.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "refusals.counter", handles(Grow, Odd, Unreadable, Hang, Counted), mailbox = 1, handoff, lifecycle)]
struct Counter {
    count: u32,
    /// How long it takes to stop.
    stopping_ms: u64,
}

impl Lifecycle for Counter {
    async fn stopping(&mut self, _: &mut Context<Self>) {
        if self.stopping_ms > 0 {
            STOPPING.add_permits(1);
        }
        tokio::time::sleep(Duration::from_millis(self.stopping_ms)).await;
    }
}

static STOPPING: Semaphore = Semaphore::const_new(0);

/// Answers so many bytes, and how many messages were handled.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "refusals.grow", reply = (u32, serde_bytes::ByteBuf))]
struct Grow(usize);

/// Cannot be decoded.
#[derive(Message, Serialize)]
#[message(id = "reply to everybody", reply = ())]
struct Odd {
    panics: bool,
}

impl<'de> Deserialize<'de> for Odd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let odd: BTreeMap<String, bool> = Deserialize::deserialize(deserializer)?;
        assert!(!odd["panics"], "told to panic");
        Err(serde::de::Error::custom("told to fail"))
    }
}

/// Has an answer that cannot be encoded, or that cannot be decoded.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "refusals.unreadable", reply = Answer)]
struct Unreadable {
    encoded: bool,
}

struct Answer {
    encoded: bool,
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.encoded { serializer.serialize_unit() } else { Err(serde::ser::Error::custom("told to fail")) }
    }
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("told to fail"))
    }
}

/// Waits at a gate of its test.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "refusals.hang", reply = ())]
struct Hang {
    gate: usize,
}

static HANGING: [Semaphore; 3] = [const { Semaphore::const_new(0) }; 3];
static GATES: [Semaphore; 3] = [const { Semaphore::const_new(0) }; 3];

/// Waits until a worker hangs at that gate.
async fn hangs(gate: usize) {
    HANGING[gate].acquire().await.expect("it is never closed").forget();
}

/// Knows how often those of its test were encoded.
#[derive(Message, Deserialize)]
#[message(id = "refusals.counted", reply = u32)]
struct Counted {
    bytes: serde_bytes::ByteBuf,
    counts: bool,
}

static ENCODED: AtomicUsize = AtomicUsize::new(0);
const COUNTED_BYTES: usize = 10_000;

impl Counted {
    fn new() -> Self {
        Self { bytes: vec![7; COUNTED_BYTES].into(), counts: false }
    }
}

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ENCODED.fetch_add(usize::from(self.counts), Relaxed);
        let mut fields = serializer.serialize_struct("Counted", 2)?;
        fields.serialize_field("bytes", &self.bytes)?;
        fields.serialize_field("counts", &self.counts)?;
        fields.end()
    }
}

impl Handler<Grow> for Counter {
    async fn handle(&mut self, Grow(bytes): Grow, _: &mut Context<Self>) -> (u32, serde_bytes::ByteBuf) {
        self.count += 1;
        (self.count, vec![7; bytes].into())
    }
}

impl Handler<Odd> for Counter {
    async fn handle(&mut self, _: Odd, _: &mut Context<Self>) {
        self.count += 1;
    }
}

impl Handler<Unreadable> for Counter {
    async fn handle(&mut self, Unreadable { encoded }: Unreadable, _: &mut Context<Self>) -> Answer {
        self.count += 1;
        Answer { encoded }
    }
}

impl Handler<Hang> for Counter {
    async fn handle(&mut self, Hang { gate }: Hang, _: &mut Context<Self>) {
        HANGING[gate].add_permits(1);
        GATES[gate].acquire().await.expect("it is never closed").forget();
    }
}

impl Handler<Counted> for Counter {
    async fn handle(&mut self, _: Counted, _: &mut Context<Self>) -> u32 {
        self.count += 1;
        self.count
    }
}

async fn handled(counter: &Ref<Counter>) -> u32 {
    counter.call(Grow(0)).await.expect("it is short").0 - 1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_is_too_long_for_another_node_says_that_the_message_was_handled() {
    let [(_a, on_a), (b, on_b)] = opened("s").await;
    let far = on_a.register("counter", Counter::default()).on(b.id()).await.expect("free");
    let error = far.call(Grow(17 << 20)).await.expect_err("over 16 MiB");
    assert!(matches!(error, CallError::ReplyTooLarge { bytes, limit } if bytes > 17 << 20 && limit == 16 << 20));
    assert!(error.is_unknown_outcome(), "it was handled: to send it again would do so twice");
    assert_eq!(handled(&far).await, 1);
    let near = on_b.whereis_name::<Counter>("counter").expect("it runs here");
    if std::env::var_os("SWORM_ENCODE_LOCAL_CALLS").is_none() {
        assert_eq!(near.call(Grow(17 << 20)).await.map(|(_, bytes)| bytes.len()), Ok(17 << 20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decoded_says_whether_it_was_the_message_or_the_reply_whatever_the_message_is_called() {
    let [(_a, on_a), (b, _on_b)] = opened("s").await;
    let far = on_a.register("counter", Counter::default()).on(b.id()).await.expect("free");
    let pid = far.pid();
    for (panics, reason) in [(false, "told to fail"), (true, "told to panic")] {
        let error = far.call(Odd { panics }).await.expect_err("it cannot be decoded");
        let said = matches!(&error, CallError::Undecodable { what, why } if what == "reply to everybody" && why.contains(reason));
        assert!(said && !error.is_unknown_outcome(), "{error}");
    }
    assert_eq!(handled(&far).await, 0);
    assert_eq!(running(&on_a, "counter").await.pid, pid, "its worker lives on");
    for encoded in [false, true] {
        let before = handled(&far).await;
        let error = far.call(Unreadable { encoded }).await.err().expect("its reply cannot be read");
        let said = matches!(&error, CallError::UndecodableReply { message, .. } if message == "refusals.unreadable");
        assert!(said && error.is_unknown_outcome(), "{error}");
        assert_eq!(handled(&far).await, before + 2, "it was handled, as was the question");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_workers_node_goes_down_ends_at_once_with_an_unknown_outcome() {
    let [(_a, on_a), (b, on_b)] = opened("s").await;
    let far = on_a.register("hanging", Counter::default()).on(b.id()).await.expect("free");
    let call = tokio::spawn(far.call(Hang { gate: 0 }).timeout(Duration::from_secs(600)).into_future());
    hangs(0).await;
    // A drop is a crash.
    drop((b, on_b));
    let error = call.await.expect("it does not panic").expect_err("nobody answers");
    assert_eq!(error, CallError::NodeDown);
    assert!(error.is_unknown_outcome());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_a_node_that_leaves_says_so_if_it_could_not_be_sent() {
    let [(a, on_a)] = opened("s").await;
    let worker = Counter { count: 0, stopping_ms: 3_000 };
    let counter = on_a.register_name("counter", worker).await.expect("free");
    let leaving = tokio::spawn(async move { a.leave().await });
    STOPPING.acquire().await.expect("it is never closed").forget();
    let call = counter.call(Counted::new()).timeout(Duration::from_secs(600));
    let error = call.await.expect_err("there is nobody to give it to");
    assert_eq!(error, CallError::Draining);
    assert!(!error.is_unknown_outcome());
    leaving.await.expect("it does not panic").expect("it leaves");
    assert_eq!(counter.call(Counted::new()).await, Err(CallError::Stopped), "this one came late");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_a_node_that_leaves_reaches_the_workers_next_place() {
    let [(a, on_a), (_b, on_b)] = opened("s").await;
    on_a.register("counter", Counter::default()).on(a.id()).await.expect("free");
    running(&on_b, "counter").await;
    let counter = on_b.whereis_name::<Counter>("counter").expect("it runs");
    let held = tokio::spawn(counter.call(Hang { gate: 1 }).timeout(Duration::from_secs(60)).into_future());
    hangs(1).await;
    let leaving = tokio::spawn(async move { a.leave().await });
    eventually("the move", || async {
        matches!(on_b.whereis("counter")?.state, RegistrationState::Moving { .. }).then_some(())
    })
    .await;
    GATES[1].add_permits(1);
    held.await.expect("it does not panic").expect("the gate is open");
    assert_eq!(counter.call(Counted::new()).timeout(Duration::from_secs(60)).await, Ok(1));
    leaving.await.expect("it does not panic").expect("it leaves");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_links_do_not_take_is_refused_at_once_and_is_not_handled() {
    let network = MemoryNetwork::new();
    let (a, b) = (node(&network, "a").await, node(&network, "b").await);
    let (on_a, on_b) = (a.sworm("s").await.expect("it opens"), b.sworm("s").await.expect("it opens"));
    eventually("both", || async { (on_a.nodes().len() == 2 && on_b.nodes().len() == 2).then_some(()) }).await;
    let far = on_a.register("counter", Counter::default()).on(b.id()).await.expect("free");
    on_a.join("all", &far).await.expect("it runs");
    eventually("the group", || async { (on_a.members("all").len() == 1).then_some(()) }).await;
    network.fill("a", true);
    // A call that waited for its reply would not end.
    let limit = Duration::from_secs(600);
    let error = far.call(Counted::new()).timeout(limit).await.expect_err("it is not sent");
    assert_eq!(error, CallError::Overloaded);
    assert!(!error.is_unknown_outcome());
    assert_eq!(far.cast(Counted::new()).await, Err(CallError::Overloaded));
    assert_eq!(on_a.publish("all", Counted::new()).await, Err(CallError::Overloaded));
    let called = on_a.multi_call("all", Counted::new()).timeout(limit).await;
    assert!(called.iter().all(|(_, result)| *result == Err(CallError::Overloaded)), "{called:?}");
    network.fill("a", false);
    assert_eq!(far.call(Counted::new()).await, Ok(1), "the others were not handled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_encoded_once_however_often_it_is_sent() {
    let network = MemoryNetwork::new();
    let mut nodes = Vec::new();
    for id in ["a", "b", "c"] {
        let node = node(&network, id).await;
        nodes.push((node.sworm("s").await.expect("it opens"), node));
    }
    let [(on_a, _), (_, b), (_, c)] = &nodes[..] else { unreachable!("there are three") };
    for (sworm, _) in &nodes {
        eventually("the others", || async { (sworm.nodes().len() == 3).then_some(()) }).await;
    }
    let far = on_a.register("counter", Counter::default()).on(b.id()).await.expect("free");
    let limit = Duration::from_secs(600);
    let sent = |to: &str| usize::try_from(network.traffic("a", to).bytes).expect("few") / COUNTED_BYTES;
    let hold = || tokio::spawn(far.call(Hang { gate: 2 }).timeout(limit).into_future());
    let counted = || Counted { counts: true, ..Counted::new() };
    let call = || tokio::spawn(far.call(counted()).timeout(limit).into_future());

    // One is being handled, one waits, and for the third there is no room: it is sent again and again.
    let before = ENCODED.load(Relaxed);
    let held = hold();
    hangs(2).await;
    let calls = [call(), call()];
    eventually("some repetitions", || async { (sent("b") >= 6).then_some(()) }).await;
    assert_eq!(ENCODED.load(Relaxed), before + 2);
    GATES[2].add_permits(1);
    for call in calls {
        call.await.expect("it does not panic").expect("there is room");
    }
    held.await.expect("it does not panic").expect("the gate is open");

    // It waits in the mailbox when the worker moves, and is sent after it.
    let (before, there) = (ENCODED.load(Relaxed), sent("b"));
    let held = hold();
    hangs(2).await;
    let waiting = call();
    eventually("its arrival", || async { (sent("b") > there).then_some(()) }).await;
    let moved = tokio::spawn({
        let (on_a, c) = (on_a.clone(), c.id().clone());
        async move { on_a.move_name("counter", &c).await }
    });
    eventually("the move", || async {
        matches!(on_a.whereis("counter")?.state, RegistrationState::Moving { .. }).then_some(())
    })
    .await;
    GATES[2].add_permits(1);
    assert_eq!(waiting.await.expect("it does not panic"), Ok(3));
    held.await.expect("it does not panic").expect("the gate is open");
    moved.await.expect("it does not panic").expect("it can run there");
    assert!(sent("c") > 0, "it was sent there, too");
    assert_eq!(ENCODED.load(Relaxed), before + 1);
}
