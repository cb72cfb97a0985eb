//! A flood of messages to a worker that does not get on: memory is bounded, nobody else is held up, and what was taken is
//! handled in the end.
//!
//! Alone in its process: the allocator counts every byte of it.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use peak_alloc::PeakAlloc;
use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm_tests::eventually;
use tokio::sync::Semaphore;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;
/// Of each: twelve times what waits for one worker at most (32 MiB), and ten times what waits by count (10,000).
const LARGE: (usize, usize) = (64 * 1024, 6_000);
const SMALL: (usize, usize) = (16, 100_000);

/// Of these as many are in a mailbox as its bytes allow, and as many wait beside it.
const IN_MAILBOX: (usize, usize) = (256 * 1024, 1_000);

/// A message of each of so many callers.
const CALLERS: (usize, usize) = (16 * 1024, 3_000);
/// So much is sent for them at least.
const MUCH_MIB: usize = 512;

/// Has room for few messages and handles none before the gate is open.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "flood.stuck", handles(Load, Taken), mailbox = 4)]
struct Stuck {
    taken: usize,
}

/// Has room for many of them.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "flood.roomy", handles(Load, Taken), mailbox = 10_000)]
struct Roomy {
    taken: usize,
}

impl Handler<Load> for Roomy {
    async fn handle(&mut self, _: Load, _: &mut Context<Self>) {
        drop(LATER.acquire().await.expect("it is open"));
        self.taken += 1;
    }
}

impl Handler<Taken> for Roomy {
    async fn handle(&mut self, _: Taken, _: &mut Context<Self>) -> usize {
        self.taken
    }
}

/// Answers at once.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "flood.quick", handles(Ping))]
struct Quick;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "flood.load")]
struct Load(#[serde(with = "serde_bytes")] Vec<u8>);

#[derive(Message, Serialize, Deserialize)]
#[message(id = "flood.taken", reply = usize)]
struct Taken;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "flood.ping", reply = ())]
struct Ping;

static GATE: Semaphore = Semaphore::const_new(0);
static LATER: Semaphore = Semaphore::const_new(0);

impl Handler<Load> for Stuck {
    async fn handle(&mut self, _: Load, _: &mut Context<Self>) {
        drop(GATE.acquire().await.expect("it is open"));
        self.taken += 1;
    }
}

impl Handler<Taken> for Stuck {
    async fn handle(&mut self, _: Taken, _: &mut Context<Self>) -> usize {
        self.taken
    }
}

impl Handler<Ping> for Quick {
    async fn handle(&mut self, _: Ping, _: &mut Context<Self>) {}
}

// One test: no other allocates beside it.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "the harness shows it on demand: `--nocapture`")]
async fn a_flood_for_a_worker_that_does_not_get_on_takes_bounded_memory_and_holds_up_nobody() {
    let network = MemoryNetwork::new();
    let start = async |id: &str| {
        let node = Node::builder(id).memory_network(&network).in_memory().start().await.expect("it starts");
        let sworm = node.sworm("s").await.expect("it opens");
        (node, sworm)
    };
    let ((_a, on_a), (b, _on_b)) = (start("a").await, start("b").await);
    eventually("both", || async { (on_a.nodes().len() == 2).then_some(()) }).await;
    let quick = on_a.register("quick", Quick).on(b.id()).await.expect("free");
    let began = Instant::now();
    for (n, (bytes, count)) in [LARGE, SMALL].into_iter().enumerate() {
        let stuck = on_a.register(format!("stuck-{n}"), Stuck::default()).on(b.id()).await.expect("free");
        let before = HEAP.current_usage();
        HEAP.reset_peak_usage();
        for _ in 0..count / 100 {
            for _ in 0..100 {
                stuck.cast(Load(vec![7; bytes])).await.expect("it was sent");
            }
            // It goes the same way, so that the network brings no more than these at a time.
            quick.call(Ping).await.expect("it is held up by nobody");
        }
        let impatient = (0..100).map(|_| stuck.call(Taken).timeout(Duration::from_secs(1)).into_future());
        let results = join_all(impatient).await;
        // Whoever waits in line on the other node, behind what is larger, has no answer; the others are told.
        let said = |result: &Result<usize, _>| matches!(result, Err(CallError::Overloaded | CallError::Timeout { .. }));
        assert!(results.iter().all(said), "{results:?}");
        let most = HEAP.peak_usage().saturating_sub(before) / MIB;
        println!("{count} messages of {bytes} bytes: {most} MiB");
        // What waits, what the network carries at a time, and what they cost beside their payload.
        assert!(most <= 64, "{most} MiB");
    }
    unpaced_callers_take_bounded_memory(&network, &on_a, &quick).await;
    // What waits beside a mailbox is given up after 30 s, which a busy machine may have taken until here.
    let all_wait = began.elapsed() < Duration::from_secs(25);
    GATE.add_permits(1);
    for (n, at_least) in [(0, 400), (1, 9_900)].map(|(n, all)| (n, if all_wait { all } else { 4 })) {
        let stuck = on_a.whereis_name::<Stuck>(&format!("stuck-{n}")).expect("it runs");
        let taken = eventually("room", || async { stuck.call(Taken).await.ok() }).await;
        assert!((at_least..=10_010).contains(&taken), "{taken} were taken");
    }
    a_mailbox_with_room_for_many_holds_bounded_memory(&on_a, b.id(), &quick).await;
}

/// Of large messages a mailbox holds fewer than it has room for.
#[expect(clippy::print_stdout, reason = "the harness shows it on demand: `--nocapture`")]
async fn a_mailbox_with_room_for_many_holds_bounded_memory(on_a: &Sworm, on: &NodeId, quick: &Ref<Quick>) {
    let (bytes, count) = IN_MAILBOX;
    let roomy = on_a.register("roomy", Roomy::default()).on(on).await.expect("free");
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    for _ in 0..count {
        roomy.cast(Load(vec![7; bytes])).await.expect("it was sent");
        // Few are on their way at a time.
        quick.call(Ping).timeout(Duration::from_secs(60)).await.expect("it is held up by nobody");
    }
    let most = HEAP.peak_usage().saturating_sub(before) / MIB;
    println!("{count} messages of {bytes} bytes to a mailbox that has room for them: {most} MiB");
    assert!((30..=128).contains(&most), "{most} MiB");
    LATER.add_permits(1);
    // What was in the mailbox, and what waited beside it for less than 30 s: 128 are 32 MiB.
    let taken = eventually("room", || async { roomy.call(Taken).await.ok() }).await;
    assert!((120..=258).contains(&taken), "{taken} were taken");
}

/// Each of many callers waits for room within its time, and sends its message again and again. What is refused is not kept:
/// much more is sent than there is memory for.
#[expect(clippy::print_stdout, reason = "the harness shows it on demand: `--nocapture`")]
async fn unpaced_callers_take_bounded_memory(network: &MemoryNetwork, on_a: &Sworm, quick: &Ref<Quick>) {
    let stuck = on_a.whereis_name::<Stuck>("stuck-0").expect("it runs");
    let (bytes, callers) = CALLERS;
    let sent = || usize::try_from(network.traffic("a", "b").bytes).expect("it fits") / MIB;
    let (heap, traffic) = (HEAP.current_usage(), sent());
    HEAP.reset_peak_usage();
    let calls = (0..callers).map(|_| {
        let call = stuck.call(Load(vec![7; bytes])).timeout(Duration::from_secs(600));
        tokio::spawn(call.into_future())
    });
    let calls: Vec<_> = calls.collect();
    for _ in 0..20 {
        quick.call(Ping).timeout(Duration::from_secs(60)).await.expect("it is held up by nobody");
    }
    let much = || async { (sent() - traffic > MUCH_MIB).then_some(()) };
    eventually("much more than there is memory for", much).await;
    for call in calls {
        call.abort();
        let ended = call.await;
        assert!(ended.as_ref().is_err_and(|end| end.is_cancelled()), "it waits for room: {ended:?}");
    }
    let (most, sent) = (HEAP.peak_usage().saturating_sub(heap) / MIB, sent() - traffic);
    println!("{callers} callers of {bytes} bytes: {most} MiB for {sent} MiB that were sent");
    // Each caller's message, what of them waits on the other node, and what is on its way or refused at a time.
    assert!(most <= 192, "{most} MiB for {sent} MiB");
}
