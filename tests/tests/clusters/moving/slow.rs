//! A node that takes nothing in holds up no traffic to others.

use std::time::{Duration, Instant};

use bytes::Bytes;
use sworm::prelude::*;
use sworm_tests::traffic::book::{Audit, Book, Pile};
use sworm_tests::{Cluster, eventually, program};

use super::traffic::beside;

/// More than the links' own buffers take, by far.
const PILES: usize = 512;
const PILE_BYTES: usize = 256 << 10;
/// How many calls to the third node are made meanwhile.
const CALLS: usize = 200;

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "how long calls took is worth a look when all is well, too")]
async fn a_process_that_stands_still_under_large_casts_holds_up_no_calls_to_others() {
    let cluster = Cluster::start(program!(), &["a", "b"]).await;
    let nodes = beside(&cluster, &["x"], 3).await;
    let sworm = &nodes[0].1;
    let on = |id: &str| NodeId::new(id).expect("valid");
    let still = sworm.register("still", Book::default()).on(on("a")).await.expect("free");
    let other = sworm.register("other", Book::default()).on(on("b")).await.expect("free");
    still.call(Audit).await.expect("it runs");
    other.call(Audit).await.expect("it runs");
    cluster["a"].freeze();
    let flood = tokio::spawn({
        let pile = Bytes::from(vec![7; PILE_BYTES]);
        async move {
            for n in 0..PILES {
                // Once its node is taken for gone nobody takes it.
                if still.cast(Pile(pile.clone())).await.is_err() {
                    return n;
                }
                tokio::task::yield_now().await;
            }
            PILES
        }
    });
    let mut took = Vec::new();
    for n in 0..CALLS {
        let started = Instant::now();
        let answer = other.call(Audit).timeout(Duration::from_secs(40)).await;
        took.push(started.elapsed());
        assert!(answer.is_ok(), "call {n} after {:?}: {:?}", took[n], answer.err());
    }
    let all: Duration = took.iter().sum();
    took.sort_unstable();
    assert!(took[CALLS / 2] < Duration::from_secs(1), "{took:?}");
    println!(
        "{CALLS} calls in {all:?}, at most {:?} each, half of them at most {:?}",
        took[CALLS - 1],
        took[CALLS / 2]
    );
    println!("{} large casts were sent", flood.await.expect("it does not panic"));
    cluster["a"].resume();
    eventually("a reply", || async { cluster["a"].members().await.contains_key("b").then_some(()) }).await;
    for (node, _) in nodes {
        node.close().await.expect("it closes");
    }
}
