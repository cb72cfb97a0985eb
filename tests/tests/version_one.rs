//! What version 1 of some worker types has stored, in `tests/fixtures/version-1.txt`: it can be read by these types here,
//! and by their version 2 elsewhere (`in_process/saving/versions.rs`).
//!
//! `cargo test -p sworm-tests --test version_one -- --ignored` writes it anew, as today's code does. What is kept there was
//! written once; that newer code can still read it is what it is for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm_tests::{FaultyStore, dump, eventually, restored};

/// Saved whole.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "old.cart", handles(Put), handoff)]
struct Cart {
    items: Vec<String>,
}

/// Saved in part.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "old.tally", handles(Count), handoff = Counted)]
struct Tally {
    unit: String,
    #[serde(skip)]
    count: u32,
}

#[derive(Serialize, Deserialize)]
struct Counted {
    count: u32,
}

/// Not saved.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "old.greeter", handles(Greet))]
struct Greeter {
    whom: String,
}

/// Its version 2 has its troubles with this.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "old.moody", handles(Put), handoff)]
struct Moody {
    items: Vec<String>,
}

/// Puts something in, and saves that if it can. Gives all that is in.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "old.put", reply = Vec<String>)]
struct Put(Option<String>);

#[derive(Message, Serialize, Deserialize)]
#[message(id = "old.count", reply = String)]
struct Count(u32);

#[derive(Message, Serialize, Deserialize)]
#[message(id = "old.greet", reply = String)]
struct Greet;

impl Handler<Put> for Cart {
    async fn handle(&mut self, Put(item): Put, ctx: &mut Context<Self>) -> Vec<String> {
        self.items.extend(item);
        ctx.checkpoint().await.expect("the type has handoff");
        self.items.clone()
    }
}

impl Handler<Put> for Moody {
    async fn handle(&mut self, Put(item): Put, ctx: &mut Context<Self>) -> Vec<String> {
        self.items.extend(item);
        ctx.checkpoint().await.expect("the type has handoff");
        self.items.clone()
    }
}

impl Handler<Count> for Tally {
    async fn handle(&mut self, Count(n): Count, ctx: &mut Context<Self>) -> String {
        self.count += n;
        ctx.checkpoint().await.expect("the type has handoff");
        format!("{} {}", self.count, self.unit)
    }
}

impl Handler<Greet> for Greeter {
    async fn handle(&mut self, _: Greet, _: &mut Context<Self>) -> String {
        format!("Hello, {}!", self.whom)
    }
}

impl Handoff<Counted> for Tally {
    fn save(&self) -> Counted {
        Counted { count: self.count }
    }

    fn restore(&mut self, Counted { count }: Counted) {
        self.count = count;
    }
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/version-1.txt")
}

async fn start(store: Arc<FaultyStore>) -> (Node, [Sworm; 2]) {
    let builder = Node::builder("a").cluster("fixtures").memory_network(&MemoryNetwork::new());
    let node = builder.store_with(store).start().await.expect("it starts");
    let sworms = [node.sworm("s").await.expect("it opens"), node.sworm("moody").await.expect("it opens")];
    (node, sworms)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it writes what is kept beside the tests"]
async fn write_what_version_one_stores() {
    let store = FaultyStore::new();
    let (node, [s, m]) = start(store.clone()).await;
    let cart = s.register_name("cart", Cart::default()).await.expect("free");
    for item in ["apple", "pear"] {
        cart.call(Put(Some(item.into()))).await.expect("it runs");
    }
    s.register_name("fresh", Cart { items: vec!["melon".into()] }).await.expect("free");
    let tally = s.register_name("tally", Tally { unit: "sheep".into(), count: 0 }).await.expect("free");
    tally.call(Count(7)).await.expect("it runs");
    s.register_name("greeter", Greeter { whom: "Ada".into() }).await.expect("free");
    let moody = m.register_name("moody", Moody::default()).await.expect("free");
    moody.call(Put(Some("plum".into()))).await.expect("it runs");
    drop((cart, tally, moody, s, m));
    node.close().await.expect("it closes");
    std::fs::create_dir_all(fixture().parent().expect("it is in a folder")).expect("it can be made");
    std::fs::write(fixture(), dump(&*store.next_life())).expect("it can be written");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_version_one_has_stored_is_read_by_version_one() {
    let text = std::fs::read_to_string(fixture()).expect("it is there");
    let (_node, [s, m]) = start(FaultyStore::on(restored(&text))).await;
    let items = |sworm: Sworm, name: &'static str| async move {
        eventually(name, || async { sworm.whereis_name::<Cart>(name)?.call(Put(None)).await.ok() }).await
    };
    assert_eq!(items(s.clone(), "cart").await, ["apple", "pear"]);
    assert_eq!(items(s.clone(), "fresh").await, ["melon"]);
    let counted = || async { s.whereis_name::<Tally>("tally")?.call(Count(1)).await.ok() };
    assert_eq!(eventually("the tally", counted).await, "8 sheep");
    let greeted = || async { s.whereis_name::<Greeter>("greeter")?.call(Greet).await.ok() };
    assert_eq!(eventually("the greeter", greeted).await, "Hello, Ada!");
    let moody = || async { m.whereis_name::<Moody>("moody")?.call(Put(None)).await.ok() };
    assert_eq!(eventually("the moody one", moody).await, ["plum"]);
}
