//! How often a message is encoded: once for other nodes, however often it has to be sent, and never for this one, unless the
//! switch for tests says so.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm_tests::eventually;
use tokio::sync::Semaphore;

use super::{moved, running};

/// Has room for one message beside the one that it handles.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "encoding.worker", handles(Traced, Hold, Slow), handoff, mailbox = 1)]
struct Cramped;

/// Tells when it is encoded, and its reply as well.
#[derive(Message, Deserialize)]
#[message(id = "encoding.traced", reply = Traced)]
struct Traced(u32);

/// Waits until the test says so.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "encoding.hold")]
struct Hold;

/// Takes longer to be encoded than a call of it has.
#[derive(Message, Deserialize)]
#[message(id = "encoding.slow")]
struct Slow;

const SLOW_LIMIT: Duration = Duration::from_millis(50);

impl Serialize for Slow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        std::thread::sleep(SLOW_LIMIT);
        serializer.serialize_unit_struct("Slow")
    }
}

/// Its casts are held back until its state is durable.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "encoding.careful", handles(PassOn), snapshot = "each")]
struct Careful;

/// Casts the message to these.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "encoding.pass-on")]
struct PassOn {
    to: Vec<String>,
    first: u32,
}

impl Handler<PassOn> for Careful {
    async fn handle(&mut self, PassOn { to, first }: PassOn, ctx: &mut Context<Self>) {
        for (n, to) in (first..).zip(to) {
            let worker = ctx.sworm().whereis_name::<Cramped>(to).expect("it runs");
            worker.cast(Traced(n)).await.expect("it is held back");
        }
    }
}

static HOLDS: Semaphore = Semaphore::const_new(0);
static GOES_ON: Semaphore = Semaphore::const_new(0);
/// How often each was encoded.
static ENCODED: Mutex<BTreeMap<u32, u32>> = Mutex::new(BTreeMap::new());
/// Added to a message's number in its reply.
const REPLY: u32 = 1_000;

impl Serialize for Traced {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        *ENCODED.lock().expect("no panic").entry(self.0).or_default() += 1;
        serializer.serialize_newtype_struct("Traced", &self.0)
    }
}

impl Handler<Traced> for Cramped {
    async fn handle(&mut self, Traced(n): Traced, _: &mut Context<Self>) -> Traced {
        Traced(n + REPLY)
    }
}

impl Handler<Slow> for Cramped {
    async fn handle(&mut self, _: Slow, _: &mut Context<Self>) {
        unreachable!("it is too late to be sent");
    }
}

impl Handler<Hold> for Cramped {
    async fn handle(&mut self, _: Hold, _: &mut Context<Self>) {
        HOLDS.add_permits(1);
        GOES_ON.acquire().await.expect("never closed").forget();
    }
}

/// How often a message was encoded, and its reply.
fn encoded(n: u32) -> [u32; 2] {
    let encoded = ENCODED.lock().expect("no panic");
    [n, n + REPLY].map(|n| encoded.get(&n).copied().unwrap_or_default())
}

async fn started(network: &MemoryNetwork, id: &str, encode: bool) -> (Node, Sworm) {
    let builder = Node::builder(id).in_memory().memory_network(network).encode_local_calls(encode);
    let node = builder.start().await.expect("it starts");
    let sworm = node.sworm("s").await.expect("it opens");
    (node, sworm)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_encoded_once_for_another_node_and_for_this_one_only_where_that_is_switched_on() {
    let network = MemoryNetwork::new();
    let (a, on_a) = started(&network, "a", false).await;
    let (b, on_b) = started(&network, "b", true).await;
    for sworm in [&on_a, &on_b] {
        eventually("both", || async { (sworm.nodes().len() == 2).then_some(()) }).await;
    }
    for (name, node) in [("on-a", &a), ("on-b", &b)] {
        on_a.register(name, Cramped).on(node.id()).await.expect("free");
        running(&on_a, name).await;
        running(&on_b, name).await;
    }
    let calls = [(&on_a, "on-a", 0), (&on_a, "on-b", 1), (&on_b, "on-a", 1), (&on_b, "on-b", 1)];
    for (n, (from, to, times)) in (0..).zip(calls) {
        let worker = from.whereis_name::<Cramped>(to).expect("it runs");
        let reply = worker.call(Traced(n)).timeout(Duration::from_secs(60)).await.expect("it runs");
        assert_eq!((reply.0, encoded(n)), (n + REPLY, [times; 2]), "to {to}");
        worker.cast(Traced(10 + n)).await.expect("it is on its way");
        // It is behind the cast.
        worker.call(Traced(20 + n)).timeout(Duration::from_secs(60)).await.expect("it runs");
        assert_eq!(encoded(10 + n)[0], times, "cast to {to}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_has_to_be_sent_again_is_not_encoded_again() {
    let network = MemoryNetwork::new();
    let (_a, on_a) = started(&network, "a", false).await;
    let (b, on_b) = started(&network, "b", false).await;
    let (c, on_c) = started(&network, "c", false).await;
    for sworm in [&on_a, &on_b, &on_c] {
        eventually("all", || async { (sworm.nodes().len() == 3).then_some(()) }).await;
    }
    let worker = on_a.register("x", Cramped).on(b.id()).await.expect("free");
    worker.cast(Hold).await.expect("it is on its way");
    HOLDS.acquire().await.expect("never closed").forget();
    // One is in the mailbox and the others wait beside it; when their worker moves they come back and are sent to where it is.
    let calls: Vec<_> = (100..110)
        .map(|n| tokio::spawn(worker.call(Traced(n)).timeout(Duration::from_secs(60)).into_future()))
        .collect();
    eventually("all on their way", || async { (100..110).all(|n| encoded(n) == [1, 0]).then_some(()) }).await;
    let moving = tokio::spawn({
        let (on_a, c) = (on_a.clone(), c.id().clone());
        async move { moved(&on_a, "x", &c).await }
    });
    eventually("the move", || async {
        matches!(on_b.whereis("x")?.state, RegistrationState::Moving { .. }).then_some(())
    })
    .await;
    GOES_ON.add_permits(1);
    moving.await.expect("it can run there");
    for call in calls {
        call.await.expect("it does not panic").expect("it is waited for");
    }
    for n in 100..110 {
        assert_eq!(encoded(n), [1, 1], "it and its reply");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_back_until_a_state_is_durable_is_encoded_once_as_well() {
    let network = MemoryNetwork::new();
    let (a, on_a) = started(&network, "a", false).await;
    let (b, on_b) = started(&network, "b", false).await;
    for sworm in [&on_a, &on_b] {
        eventually("both", || async { (sworm.nodes().len() == 2).then_some(()) }).await;
    }
    on_a.register("there", Cramped).on(b.id()).await.expect("free");
    running(&on_a, "there").await;
    let careful = on_a.register("careful", Careful).on(a.id()).await.expect("free");
    let pass_on = PassOn { to: vec!["there".into(), "there".into()], first: 200 };
    careful.call(pass_on).timeout(Duration::from_secs(60)).await.expect("it runs");
    // Its casts are before what others send once it has replied.
    let there = on_a.whereis_name::<Cramped>("there").expect("it runs");
    there.call(Traced(202)).timeout(Duration::from_secs(60)).await.expect("it runs");
    for n in [200, 201, 202] {
        assert_eq!(encoded(n)[0], 1, "{n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_time_is_over_when_it_is_encoded_is_not_sent() {
    let network = MemoryNetwork::new();
    let (_a, on_a) = started(&network, "a", false).await;
    let (b, on_b) = started(&network, "b", false).await;
    for sworm in [&on_a, &on_b] {
        eventually("both", || async { (sworm.nodes().len() == 2).then_some(()) }).await;
    }
    let worker = on_a.register("slow", Cramped).on(b.id()).await.expect("free");
    let error = worker.call(Slow).timeout(SLOW_LIMIT).await.expect_err("it has no time left");
    assert!(matches!(error, CallError::NotSent { after } if after == SLOW_LIMIT), "{error:?}");
    worker.call(Traced(300)).timeout(Duration::from_secs(60)).await.expect("it was not handled, and goes on");
}

/// What is about messages, calls and groups, once more with that switch on: in a process of its own, of this very program.
#[tokio::test(flavor = "multi_thread")]
async fn messages_calls_and_groups_are_as_promised_where_local_calls_are_encoded() {
    const ABOUT: [&str; 10] = [
        "casts::",
        "full::",
        "groups::",
        "inside::",
        "methods::",
        "moving::",
        "order::",
        "refusals::a_reply_that_is_too_long",
        "repeats::",
        "traffic::",
    ];
    let program = std::env::current_exe().expect("it has a path");
    let mut tests = tokio::process::Command::new(program);
    tests.args(ABOUT).env("SWORM_ENCODE_LOCAL_CALLS", "1").env("RUST_TEST_THREADS", "2");
    let output = tests.stdin(Stdio::null()).kill_on_drop(true).output().await.expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    // What those tests say must not be taken for what this one says.
    let quoted: String = said.lines().map(|line| format!("  | {line}\n")).collect();
    assert!(output.status.success(), "\n{quoted}\n{}", String::from_utf8_lossy(&output.stderr));
    for about in ABOUT {
        assert!(said.contains(&format!("test {about}")), "{about} has tests: {said}");
    }
}
