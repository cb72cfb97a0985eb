//! `version = 2`: what version 1 has stored (`fixtures/version-1.txt`, by `version_one.rs`) is read.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{BoxError, Event, Events, Older, Upgrade};
use sworm_tests::{FaultyStore, eventually, restored};

use crate::running;

const STORED: &str = include_str!("../../fixtures/version-1.txt");

/// Has counts since version 2.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "old.cart", version = 2, handles(Put, Crash), handoff)]
struct Cart {
    items: Vec<(String, u32)>,
}

/// Saves its unit, too, since version 2.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "old.tally", version = 2, handles(Count), handoff = Counted)]
struct Tally {
    first_unit: String,
    #[serde(skip)]
    counted: Option<Counted>,
}

#[derive(Serialize, Deserialize)]
struct Counted {
    count: u32,
    unit: Option<String>,
}

/// Its state is saved since version 2.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "old.greeter", version = 2, handles(Greet, Crash), snapshot = "each")]
struct Greeter {
    whom: String,
    greeted: u32,
}

/// Cannot read version 1 for a while.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "old.moody", version = 2, handles(Put), handoff, start_timeout = "1s")]
struct Moody {
    items: Vec<(String, u32)>,
}

#[derive(Deserialize)]
struct CartV1 {
    items: Vec<String>,
}

#[derive(Deserialize)]
struct TallyV1 {
    unit: String,
}

#[derive(Deserialize)]
struct CountedV1 {
    count: u32,
}

#[derive(Deserialize)]
struct GreeterV1 {
    whom: String,
}

#[derive(Message, Serialize, Deserialize)]
#[message(id = "old.put", reply = Vec<(String, u32)>)]
struct Put(Option<String>);

#[derive(Message, Serialize, Deserialize)]
#[message(id = "old.count", reply = String)]
struct Count(u32);

#[derive(Message, Serialize, Deserialize)]
#[message(id = "old.greet", reply = String)]
struct Greet;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "versions.crash")]
struct Crash;

/// How often each was read in its old form: carts, tallies and what they counted, greeters.
static READ: [AtomicU32; 4] = [const { AtomicU32::new(0) }; 4];

fn read(of: usize, older: Older<'_>) {
    assert_eq!(older.version(), 1);
    READ[of].fetch_add(1, SeqCst);
}

fn times_read() -> [u32; 4] {
    [0, 1, 2, 3].map(|of: usize| READ[of].load(SeqCst))
}

fn counted(items: Vec<String>) -> Vec<(String, u32)> {
    items.into_iter().map(|item| (item, 1)).collect()
}

impl Upgrade for Cart {
    fn upgrade(older: Older<'_>) -> Result<Self, BoxError> {
        read(0, older);
        Ok(Self { items: counted(older.read::<CartV1>()?.items) })
    }
}

impl Upgrade for Tally {
    fn upgrade(older: Older<'_>) -> Result<Self, BoxError> {
        read(1, older);
        Ok(Self { first_unit: older.read::<TallyV1>()?.unit, counted: None })
    }
}

impl Upgrade for Counted {
    fn upgrade(older: Older<'_>) -> Result<Self, BoxError> {
        read(2, older);
        Ok(Self { count: older.read::<CountedV1>()?.count, unit: None })
    }
}

impl Upgrade for Greeter {
    fn upgrade(older: Older<'_>) -> Result<Self, BoxError> {
        read(3, older);
        Ok(Self { whom: older.read::<GreeterV1>()?.whom, greeted: 0 })
    }
}

impl Handoff<Counted> for Tally {
    fn save(&self) -> Counted {
        let (count, unit) = self.counted.as_ref().map_or((0, None), |c| (c.count, c.unit.clone()));
        Counted { count, unit }
    }

    fn restore(&mut self, counted: Counted) {
        self.counted = Some(counted);
    }
}

fn put(items: &mut Vec<(String, u32)>, item: Option<String>) -> Vec<(String, u32)> {
    items.extend(item.map(|item| (item, 1)));
    items.clone()
}

impl Handler<Put> for Cart {
    async fn handle(&mut self, Put(item): Put, ctx: &mut Context<Self>) -> Vec<(String, u32)> {
        if item.is_some() {
            ctx.checkpoint().await.expect("the type has handoff");
        }
        put(&mut self.items, item)
    }
}

impl Handler<Put> for Moody {
    async fn handle(&mut self, Put(item): Put, _: &mut Context<Self>) -> Vec<(String, u32)> {
        put(&mut self.items, item)
    }
}

impl Handler<Count> for Tally {
    async fn handle(&mut self, Count(n): Count, _: &mut Context<Self>) -> String {
        let counted = self.counted.get_or_insert(Counted { count: 0, unit: None });
        counted.count += n;
        format!("{} {}", counted.count, counted.unit.as_ref().unwrap_or(&self.first_unit))
    }
}

impl Handler<Greet> for Greeter {
    async fn handle(&mut self, _: Greet, _: &mut Context<Self>) -> String {
        self.greeted += 1;
        format!("Hello, {}! Number {}", self.whom, self.greeted)
    }
}

impl Handler<Crash> for Cart {
    async fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        panic!("told to crash");
    }
}

impl Handler<Crash> for Greeter {
    async fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        panic!("told to crash");
    }
}

async fn start(store: &std::sync::Arc<FaultyStore>, sworm: &str) -> (Node, Sworm) {
    let builder = Node::builder("a").cluster("fixtures").memory_network(&MemoryNetwork::new());
    let node = builder.store_with(store.clone()).start().await.expect("it starts");
    let sworm = node.sworm(sworm).await.expect("it opens");
    (node, sworm)
}

/// What a worker answers, once it runs.
async fn asked<W: Handler<M>, M: Message + Request<W>>(sworm: &Sworm, name: &str, message: impl Fn() -> M) -> M::Reply {
    eventually(name, || async {
        if sworm.whereis(name)?.state != RegistrationState::Running {
            return None;
        }
        sworm.whereis_name::<W>(name)?.call(message()).await.ok()
    })
    .await
}

fn items(names: &[&str]) -> Vec<(String, u32)> {
    counted(names.iter().map(|name| (*name).to_owned()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_version_has_stored_is_read_once_and_replaced() {
    let store = FaultyStore::on(restored(STORED));
    let (node, sworm) = start(&store, "s").await;
    assert_eq!(asked::<Cart, _>(&sworm, "cart", || Put(None)).await, items(&["apple", "pear"]));
    assert_eq!(asked::<Cart, _>(&sworm, "fresh", || Put(None)).await, items(&["melon"]));
    assert_eq!(asked::<Tally, _>(&sworm, "tally", || Count(0)).await, "7 sheep");
    assert_eq!(asked::<Greeter, _>(&sworm, "greeter", || Greet).await, "Hello, Ada! Number 1");
    // Two carts' values, and one's state.
    assert_eq!(times_read(), [3, 1, 1, 1]);
    // What was registered is of version 2 now, and so is what is saved.
    let fresh = running(&sworm, "fresh").await.pid;
    sworm.whereis_name::<Cart>("fresh").expect("it runs").call(Crash).await.expect_err("it crashes");
    eventually("its next start", || async { (running(&sworm, "fresh").await.pid != fresh).then_some(()) }).await;
    assert_eq!(asked::<Cart, _>(&sworm, "fresh", || Put(Some("fig".into()))).await, items(&["melon", "fig"]));
    assert_eq!(times_read(), [3, 1, 1, 1]);
    node.leave().await.expect("it leaves");
    let (_node, sworm) = start(&store.next_life(), "s").await;
    assert_eq!(asked::<Cart, _>(&sworm, "cart", || Put(None)).await, items(&["apple", "pear"]));
    assert_eq!(asked::<Cart, _>(&sworm, "fresh", || Put(None)).await, items(&["melon", "fig"]));
    assert_eq!(asked::<Tally, _>(&sworm, "tally", || Count(1)).await, "8 sheep");
    // It was registered without a saved state. Since version 2 there is one, which counts after a crash, too.
    assert_eq!(asked::<Greeter, _>(&sworm, "greeter", || Greet).await, "Hello, Ada! Number 2");
    let greeter = running(&sworm, "greeter").await.pid;
    sworm.whereis_name::<Greeter>("greeter").expect("it runs").call(Crash).await.expect_err("it crashes");
    eventually("its next start", || async { (running(&sworm, "greeter").await.pid != greeter).then_some(()) }).await;
    assert_eq!(asked::<Greeter, _>(&sworm, "greeter", || Greet).await, "Hello, Ada! Number 3");
    assert_eq!(times_read(), [3, 1, 1, 1]);
}

/// What the upgrade of moody workers does: fails, panics, blocks its thread until that has changed, or succeeds.
static MOOD: AtomicU32 = AtomicU32::new(0);

impl Upgrade for Moody {
    fn upgrade(older: Older<'_>) -> Result<Self, BoxError> {
        match MOOD.load(SeqCst) {
            0 => Err("it is not in the mood".into()),
            1 => panic!("it is in a bad mood"),
            3 => {
                BLOCKED.fetch_add(1, SeqCst);
                while MOOD.load(SeqCst) == 3 {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err("it was blocked".into())
            }
            _ => Ok(Self { items: counted(older.read::<CartV1>()?.items) }),
        }
    }
}

static BLOCKED: AtomicU32 = AtomicU32::new(0);

/// Changes the mood in the end, also when the test has failed: the runtime waits for its threads.
struct CheersUp;

impl Drop for CheersUp {
    fn drop(&mut self) {
        MOOD.store(2, SeqCst);
    }
}

/// Waits until a start fails for that reason.
async fn fails(events: &mut Events, why: &str) {
    let failed = async {
        loop {
            match events.next().await {
                Some(Event::StartFailed { reason, .. } | Event::Exited { reason, .. }) if reason.contains(why) => break,
                Some(_) => {}
                None => panic!("the node runs"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(40), failed).await.expect(why);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_whose_upgrade_fails_panics_or_never_returns_is_tried_again_and_nothing_is_lost() {
    let mut store = FaultyStore::on(restored(STORED));
    for (mood, told) in [(0, "it is not in the mood"), (1, "it is in a bad mood")] {
        MOOD.store(mood, SeqCst);
        let (node, sworm) = start(&store, "moody").await;
        let mut events = sworm.events();
        fails(&mut events, told).await;
        drop((node, sworm));
        store = store.next_life();
    }
    MOOD.store(3, SeqCst);
    let cheers_up = CheersUp;
    let (_node, sworm) = start(&store, "moody").await;
    let mut events = sworm.events();
    fails(&mut events, "timed out").await;
    fails(&mut events, "has not returned").await;
    assert_eq!(BLOCKED.load(SeqCst), 1, "no other thread was taken");
    eventually("the name", || async { sworm.whereis("moody") }).await;
    drop(cheers_up);
    assert_eq!(asked::<Moody, _>(&sworm, "moody", || Put(None)).await, items(&["plum"]));
}
