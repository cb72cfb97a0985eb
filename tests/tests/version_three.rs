//! What version 1 of some worker types has stored is read by their version 3, from a sled store: nobody has started version
//! 2 in between. (Their version 2 is in `in_process/saving/versions.rs`.)

use std::ops::ControlFlow;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::store::{Batch, SledStore, Space, Store};
use sworm::transport::MemoryNetwork;
use sworm::{BoxError, Older, Upgrade};
use sworm_tests::{eventually, restored};

/// Has counts since version 2, and prices since version 3.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "old.cart", version = 3, handles(Put), handoff)]
struct Cart {
    items: Vec<(String, u32, u64)>,
}

#[derive(Deserialize)]
struct CartV1 {
    items: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct CartV2 {
    items: Vec<(String, u32)>,
}

/// Saves its unit, too, since version 2, and counts by the dozen since version 3.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "old.tally", version = 3, handles(Count), handoff = Counted)]
struct Tally {
    unit: String,
    #[serde(skip)]
    counted: Counted,
}

#[derive(Serialize, Deserialize, Default)]
struct Counted {
    dozens: u32,
    more: u32,
}

#[derive(Deserialize)]
struct TallyV1 {
    unit: String,
}

#[derive(Deserialize)]
struct CountedV1 {
    count: u32,
}

#[derive(Message, Serialize, Deserialize)]
#[message(id = "old.put", reply = Vec<(String, u32, u64)>)]
struct Put(Option<String>);

#[derive(Message, Serialize, Deserialize)]
#[message(id = "old.count", reply = String)]
struct Count(u32);

impl Upgrade for Cart {
    fn upgrade(older: Older<'_>) -> Result<Self, BoxError> {
        let two = match older.version() {
            1 => CartV2 { items: older.read::<CartV1>()?.items.into_iter().map(|item| (item, 1)).collect() },
            2 => older.read()?,
            other => return Err(format!("there was no version {other}").into()),
        };
        Ok(Self { items: two.items.into_iter().map(|(item, count)| (item, count, 0)).collect() })
    }
}

impl Upgrade for Tally {
    fn upgrade(older: Older<'_>) -> Result<Self, BoxError> {
        assert_eq!(older.version(), 1);
        Ok(Self { unit: older.read::<TallyV1>()?.unit, counted: Counted::default() })
    }
}

impl Upgrade for Counted {
    fn upgrade(older: Older<'_>) -> Result<Self, BoxError> {
        assert_eq!(older.version(), 1);
        let CountedV1 { count } = older.read()?;
        Ok(Self { dozens: count / 12, more: count % 12 })
    }
}

impl Handoff<Counted> for Tally {
    fn save(&self) -> Counted {
        let Counted { dozens, more } = self.counted;
        Counted { dozens, more }
    }

    fn restore(&mut self, counted: Counted) {
        self.counted = counted;
    }
}

impl Handler<Put> for Cart {
    async fn handle(&mut self, Put(item): Put, ctx: &mut Context<Self>) -> Vec<(String, u32, u64)> {
        self.items.extend(item.map(|item| (item, 1, 5)));
        ctx.checkpoint().await.expect("the type has handoff");
        self.items.clone()
    }
}

impl Handler<Count> for Tally {
    async fn handle(&mut self, Count(n): Count, ctx: &mut Context<Self>) -> String {
        let count = self.counted.dozens * 12 + self.counted.more + n;
        self.counted = Counted { dozens: count / 12, more: count % 12 };
        ctx.checkpoint().await.expect("the type has handoff");
        format!("{} dozen and {} {}", self.counted.dozens, self.counted.more, self.unit)
    }
}

/// A directory with a sled store that holds what version 1 has stored.
async fn version_one(directory: &Path) {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/version-1.txt"));
    let stored = restored(&text.expect("it is there"));
    let mut all = Batch::new();
    for space in [Space::Meta, Space::Lanes, Space::Snapshots] {
        let scanned = stored.scan(space, b"", &mut |key, value| {
            all.put(space, key, value.to_vec());
            ControlFlow::Continue(())
        });
        scanned.expect("it can be read");
    }
    let sled = SledStore::open(directory).expect("it opens");
    sled.write(all).expect("it can be written");
    sled.close().await.expect("it closes");
}

async fn start(directory: &Path) -> (Node, Sworm) {
    let builder = Node::builder("a").cluster("fixtures").memory_network(&MemoryNetwork::new());
    let node = builder.store(directory).start().await.expect("it starts");
    let sworm = node.sworm("s").await.expect("it opens");
    (node, sworm)
}

async fn put(sworm: &Sworm, name: &str, item: Option<&str>) -> Vec<(String, u32, u64)> {
    let put = || async { sworm.whereis_name::<Cart>(name)?.call(Put(item.map(Into::into))).await.ok() };
    eventually(name, put).await
}

async fn count(sworm: &Sworm, n: u32) -> String {
    eventually("the tally", || async { sworm.whereis_name::<Tally>("tally")?.call(Count(n)).await.ok() }).await
}

fn items(all: &[(&str, u32, u64)]) -> Vec<(String, u32, u64)> {
    all.iter().map(|(item, count, price)| ((*item).to_owned(), *count, *price)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_version_one_has_stored_is_read_by_version_three_and_stored_as_that() {
    let directory = tempfile::tempdir().expect("a directory");
    version_one(directory.path()).await;
    let (node, sworm) = start(directory.path()).await;
    assert_eq!(put(&sworm, "cart", None).await, items(&[("apple", 1, 0), ("pear", 1, 0)]), "a state");
    assert_eq!(put(&sworm, "fresh", None).await, items(&[("melon", 1, 0)]), "a registered value");
    assert_eq!(count(&sworm, 0).await, "0 dozen and 7 sheep");
    // What it stores now is of version 3: of that it has other items than version 1 could read.
    let all = items(&[("apple", 1, 0), ("pear", 1, 0), ("plum", 1, 5)]);
    assert_eq!(put(&sworm, "cart", Some("plum")).await, all);
    assert_eq!(count(&sworm, 6).await, "1 dozen and 1 sheep");
    drop(sworm);
    node.close().await.expect("it closes");
    let (_node, sworm) = start(directory.path()).await;
    assert_eq!(put(&sworm, "cart", None).await, all);
    assert_eq!(count(&sworm, 0).await, "1 dozen and 1 sheep");
}
