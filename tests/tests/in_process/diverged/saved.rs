//! Types that save their states while they run, and leave it at that: their hook asks for no checkpoint.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm_tests::eventually;

use super::{id, set};
use crate::{in_its_directory, node, running};

#[derive(Message, Serialize, Deserialize)]
#[message(reply = BTreeSet<String>, id = "book-write")]
struct Write(String);

#[derive(Message, Serialize, Deserialize)]
#[message(id = "book-save")]
struct Save;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "book-tear")]
struct Tear;

macro_rules! books {
    ($($book:ident, $name:literal, $($saving:ident = $when:literal),*;)*) => {$(
        #[derive(Worker, Serialize, Deserialize, Default)]
        #[worker(name = $name, handles(Write, Save, Tear), lifecycle, $($saving = $when),*)]
        struct $book {
            lines: BTreeSet<String>,
        }

        impl Handler<Write> for $book {
            async fn handle(&mut self, Write(line): Write, _: &mut Context<Self>) -> BTreeSet<String> {
                self.lines.insert(line);
                self.lines.clone()
            }
        }

        impl Handler<Save> for $book {
            async fn handle(&mut self, _: Save, ctx: &mut Context<Self>) {
                ctx.checkpoint().await.expect("it saves its state");
            }
        }

        impl Handler<Tear> for $book {
            async fn handle(&mut self, _: Tear, _: &mut Context<Self>) {
                panic!("told to")
            }
        }

        impl Lifecycle for $book {
            async fn on_diverged(&mut self, other: Self, _: &mut Context<Self>) {
                self.lines.extend(other.lines);
            }
        }
    )*};
}

books! {
    // Neither comes to that by itself.
    Timed, "timed-book", snapshot = "1d";
    Numbered, "numbered-book", every = 1_000_000;
    Eager, "eager-book", snapshot = "each";
}

async fn write<W: Lifecycle>(sworm: &Sworm, line: &str) -> BTreeSet<String>
where
    Write: Request<W>,
{
    let ask = || async { sworm.whereis_name::<W>(W::NAME)?.call(Write(line.to_owned())).await.ok() };
    eventually("a line", ask).await
}

async fn saved<W: Lifecycle>(sworm: &Sworm, line: &str)
where
    Write: Request<W>,
    Save: Request<W>,
{
    write::<W>(sworm, line).await;
    let book = sworm.whereis_name::<W>(W::NAME).expect("it runs");
    book.call(Save).await.expect("it is durable");
}

/// It is given what node a alone had, and ends at once.
async fn takes_in_and_ends<W: Lifecycle>(sworm: &Sworm)
where
    Write: Request<W>,
    Tear: Request<W>,
{
    let taken_in = || async { write::<W>(sworm, "before").await.contains("a").then_some(()) };
    eventually("what a had", taken_in).await;
    let before = running(sworm, W::NAME).await.pid;
    let book = sworm.whereis_name::<W>(W::NAME).expect("it runs");
    book.call(Tear).await.expect_err("it panics");
    let again = || async { sworm.whereis(W::NAME).filter(|found| found.pid.epoch > before.epoch) };
    eventually("its next start", again).await;
    // What it was told since may be lost.
    let mut lines = write::<W>(sworm, "after").await;
    lines.remove("before");
    assert_eq!(lines, set(&["a", "after", "both"]), "{} has lost what it was given", W::NAME);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_makes_of_a_state_that_it_lacked_is_durable_before_that_state_is_let_go_of() {
    let (network, directory) = (MemoryNetwork::new(), tempfile::tempdir().expect("a directory"));
    let start = || async {
        let node = in_its_directory(|| Node::builder("a").store(directory.path()).memory_network(&network)).await;
        let sworm = node.sworm("s").await.expect("it opens");
        (node, sworm)
    };
    let (a, on_a) = start().await;
    let b = node(&network, "b").await;
    let on_b = b.sworm("s").await.expect("it opens");
    for sworm in [&on_a, &on_b] {
        eventually("both", || async { (sworm.nodes().len() == 2).then_some(()) }).await;
    }
    on_a.register(Timed::NAME, Timed::default()).on(a.id()).await.expect("free");
    on_a.register(Numbered::NAME, Numbered::default()).on(a.id()).await.expect("free");
    on_a.register(Eager::NAME, Eager::default()).on(a.id()).await.expect("free");
    saved::<Timed>(&on_a, "both").await;
    saved::<Numbered>(&on_a, "both").await;
    saved::<Eager>(&on_a, "both").await;
    network.cut("a", "b");
    eventually("a being alone", || async { (on_a.nodes().len() == 1).then_some(()) }).await;
    saved::<Timed>(&on_a, "a").await;
    saved::<Numbered>(&on_a, "a").await;
    saved::<Eager>(&on_a, "a").await;
    a.close().await.expect("it closes");
    drop((a, on_a));
    for name in [Timed::NAME, Numbered::NAME, Eager::NAME] {
        eventually("the other side", || async { (running(&on_b, name).await.pid.node == id("b")).then_some(()) }).await;
    }
    network.heal("a", "b");
    let _a = start().await;
    takes_in_and_ends::<Timed>(&on_b).await;
    takes_in_and_ends::<Numbered>(&on_b).await;
    takes_in_and_ends::<Eager>(&on_b).await;
}
