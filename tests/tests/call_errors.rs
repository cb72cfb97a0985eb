//! Every call ends, with its reply or an error that says whether it may have been handled. All of it from the worker's
//! node and from another one.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::{BoxError, CallError};
use sworm_tests::{eventually, fresh_cluster, fresh_host, holds_for};
use tokio::sync::Semaphore;

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "narrow", mailbox = 1, handles(Count, Sleep, Hold, Crash, Keep, Measure))]
struct Narrow {
    count: i64,
}

#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "sluggish", lifecycle, start_timeout = "100s", handles(Count))]
struct Sluggish {
    /// Whether it starts only when [`MAY_START`] opens.
    waits: bool,
}

static MAY_START: Semaphore = Semaphore::const_new(0);

impl Lifecycle for Sluggish {
    async fn started(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        if self.waits {
            MAY_START.acquire().await?.forget();
        }
        Ok(())
    }
}

#[derive(Message, Serialize, Deserialize)]
#[message(reply = i64)]
struct Count;

#[derive(Message, Serialize, Deserialize)]
#[message(reply = i64)]
struct Sleep {
    ms: u64,
}

/// Keeps the worker busy until [`GATE`] opens.
#[derive(Message, Serialize, Deserialize)]
struct Hold;

static GATE: Semaphore = Semaphore::const_new(0);
static ENTERED: AtomicUsize = AtomicUsize::new(0);

#[derive(Message, Serialize, Deserialize)]
struct Crash;

/// Asks for a checkpoint of a worker that has no handoff.
#[derive(Message, Serialize, Deserialize)]
#[message(reply = String)]
struct Keep;

#[derive(Message, Serialize, Deserialize)]
#[message(reply = usize)]
struct Measure {
    text: String,
}

impl Handler<Count> for Narrow {
    async fn handle(&mut self, _: Count, _: &mut Context<Self>) -> i64 {
        self.count += 1;
        self.count
    }
}

impl Handler<Count> for Sluggish {
    async fn handle(&mut self, _: Count, _: &mut Context<Self>) -> i64 {
        1
    }
}

impl Handler<Sleep> for Narrow {
    async fn handle(&mut self, Sleep { ms }: Sleep, _: &mut Context<Self>) -> i64 {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        self.count += 1;
        self.count
    }
}

impl Handler<Hold> for Narrow {
    async fn handle(&mut self, _: Hold, _: &mut Context<Self>) {
        ENTERED.fetch_add(1, Relaxed);
        GATE.acquire().await.expect("it is never closed").forget();
    }
}

impl Handler<Crash> for Narrow {
    async fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        panic!("told to crash")
    }
}

impl Handler<Keep> for Narrow {
    async fn handle(&mut self, _: Keep, ctx: &mut Context<Self>) -> String {
        ctx.checkpoint().await.map_or_else(|error| error.to_string(), |()| "kept".into())
    }
}

impl Handler<Measure> for Narrow {
    async fn handle(&mut self, Measure { text }: Measure, _: &mut Context<Self>) -> usize {
        text.len()
    }
}

/// Two nodes in this process; workers are put on the second, and called through each.
struct Pair {
    nodes: [Node; 2],
    sworms: [Sworm; 2],
}

impl Pair {
    async fn start() -> Self {
        let (cluster, listen) = (fresh_cluster(), format!("tcp/{}:0", fresh_host()));
        let build = |id: &str| Node::builder(id).cluster(&cluster).listen(&listen).in_memory();
        let a = build("a").start().await.expect("it starts");
        let b = build("b").join(a.endpoints()).start().await.expect("it starts");
        let sworms = [a.sworm("s").await.expect("it opens"), b.sworm("s").await.expect("it opens")];
        for sworm in &sworms {
            eventually("both taking part", || async { (sworm.nodes().len() == 2).then_some(()) }).await;
        }
        Self { nodes: [a, b], sworms }
    }

    /// References to a new worker on the second node, from the first and from the second.
    async fn narrow(&self, name: &str) -> [Ref<Narrow>; 2] {
        let far = self.sworms[0].register(name, Narrow::default()).on(self.nodes[1].id()).await.expect("free");
        let near = eventually("the name", || async { self.sworms[1].whereis_name(name) }).await;
        assert_eq!(far.pid().node, *self.nodes[1].id());
        [far, near]
    }

    async fn close(self) {
        for node in self.nodes {
            node.close().await.expect("it closes");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_outlives_its_time_has_an_unknown_outcome() {
    let pair = Pair::start().await;
    for to in pair.narrow("narrow").await {
        let before = to.call(Count).await.expect("it runs");
        let limit = Duration::from_millis(100);
        let late = to.call(Sleep { ms: 400 }).timeout(limit).await.expect_err("it takes longer");
        assert_eq!(late, CallError::Timeout { after: limit });
        assert!(late.is_unknown_outcome());
        // It was handled, in this case.
        assert_eq!(to.call(Count).await, Ok(before + 2));
    }
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_mailbox_refuses_and_what_it_refused_was_not_handled() {
    let pair = Pair::start().await;
    for to in pair.narrow("narrow").await {
        let before = to.call(Count).await.expect("it runs");
        let entered = ENTERED.load(Relaxed);
        let held = tokio::spawn({
            let to = to.clone();
            async move { to.call(Hold).timeout(Duration::from_secs(40)).await }
        });
        eventually("it being busy", || async { (ENTERED.load(Relaxed) > entered).then_some(()) }).await;
        // One waits in the mailbox, and there is no room for another.
        let waiting = tokio::spawn({
            let to = to.clone();
            async move { to.call(Count).timeout(Duration::from_secs(40)).await }
        });
        // Whichever comes first waits; if it is this one it is handled later, unseen.
        let (limit, mut unseen) = (Duration::from_secs(3), 0);
        let refused = loop {
            match to.call(Count).timeout(limit).await.expect_err("it is busy") {
                CallError::Timeout { .. } => unseen += 1,
                other => break other,
            }
        };
        assert_eq!(refused, CallError::Overloaded);
        assert!(!refused.is_unknown_outcome() && unseen <= 1);
        GATE.add_permits(1);
        held.await.expect("it does not panic").expect("the gate is open");
        let waited = waiting.await.expect("it does not panic");
        assert!(waited.is_ok(), "it had time: {waited:?}");
        let total = to.call(Count).timeout(Duration::from_secs(40)).await.expect("there is room");
        assert_eq!(total, before + unseen + 2, "what was refused was not handled");
    }
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_panics_while_handling_says_so_and_why() {
    let pair = Pair::start().await;
    for to in pair.narrow("narrow").await {
        let died = to.call(Crash).await.expect_err("it panics");
        assert!(matches!(&died, CallError::WorkerDied { reason } if reason.contains("told to crash")), "{died}");
        assert!(died.is_unknown_outcome());
        assert_eq!(to.call(Count).await, Ok(1), "it starts anew");
    }
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_has_a_limit_in_size_and_below_it_arrives_whole() {
    let pair = Pair::start().await;
    let [far, near] = pair.narrow("narrow").await;
    let large = || Measure { text: "x".repeat(17 << 20) };
    let refused = far.call(large()).await.expect_err("over 16 MiB");
    assert!(matches!(refused, CallError::TooLarge { limit: 16_777_216, .. }) && !refused.is_unknown_outcome());
    assert!(refused.to_string().contains("16777216"), "{refused}");
    assert!(matches!(far.cast(large()).await, Err(CallError::TooLarge { .. })));
    for to in [&far, &near] {
        let text = "x".repeat(3 << 20);
        assert_eq!(to.call(Measure { text }).timeout(Duration::from_secs(20)).await, Ok(3 << 20));
    }
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_gone_or_has_another_type_is_not_called() {
    let pair = Pair::start().await;
    let refs = pair.narrow("narrow").await;
    pair.sworms[0].unregister_name("narrow").await.expect("it runs");
    for to in &refs {
        let gone = eventually("its end", || async { to.call(Count).await.err() }).await;
        assert_eq!(gone, CallError::NotRegistered { name: "narrow".into() });
        assert!(!gone.is_unknown_outcome());
        assert_eq!(to.cast(Count).await, Err(gone));
    }
    let sluggish = pair.sworms[1].register_name("narrow", Sluggish { waits: false }).await.expect("free");
    for to in &refs {
        let found = "sluggish".to_owned();
        let expected = Some(CallError::WrongType { name: "narrow".into(), found });
        let wrong = || async { Some(to.call(Count).await.err()).filter(|error| *error == expected) };
        eventually("the other type", wrong).await;
    }
    assert_eq!(sluggish.call(Count).await, Ok(1));
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_a_name_that_is_starting_waits_and_says_that_it_was_not_sent() {
    let pair = Pair::start().await;
    let starting = tokio::spawn({
        let sworm = pair.sworms[0].clone();
        async move { sworm.register("sluggish", Sluggish { waits: true }).timeout(Duration::from_secs(100)).await }
    });
    for sworm in &pair.sworms {
        let to = eventually("the name", || async { sworm.whereis_name::<Sluggish>("sluggish") }).await;
        let limit = Duration::from_millis(50);
        let unsent = to.call(Count).timeout(limit).await.expect_err("it is not there yet");
        assert_eq!(unsent, CallError::NotSent { after: limit });
        assert!(!unsent.is_unknown_outcome());
    }
    let to = pair.sworms[1].whereis_name::<Sluggish>("sluggish").expect("seen");
    let waiting = tokio::spawn(async move { to.call(Count).timeout(Duration::from_secs(60)).await });
    holds_for(Duration::from_millis(300), "it waits for the start", || async { !waiting.is_finished() }).await;
    MAY_START.add_permits(1);
    assert_eq!(waiting.await.expect("it does not panic"), Ok(1));
    starting.await.expect("it does not panic").expect("free");
    pair.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_without_handoff_says_what_to_add() {
    let pair = Pair::start().await;
    for to in pair.narrow("narrow").await {
        let said = to.call(Keep).await.expect("it runs");
        assert!(said.contains("\"narrow\"") && said.contains("`handoff`"), "{said}");
    }
    pair.close().await;
}
