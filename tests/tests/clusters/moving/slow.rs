//! A node that takes nothing in holds up no traffic to others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use sworm::prelude::*;
use sworm_tests::traffic::book::{Audit, Book, Pile};
use sworm_tests::{Cluster, eventually, program};

use super::traffic::beside;

/// Links that are given up long after everybody here has lost patience: what waits for one waits for as long.
const PATIENT: &str = "{scouting: {multicast: {enabled: false}}, transport: {link: {tx: {lease: 300000, \
                       queue: {congestion_control: {block: {wait_before_close: 300000000}}}}}}}";
/// How long a call waits: not for that.
const LIMIT: Duration = Duration::from_secs(60);
/// So much is cast, and so much of it at least before the first call: more than the links' own buffers take, by far.
const PILES: usize = 500;
const PILES_BEFORE: usize = 250;
const PILE_BYTES: usize = 256 << 10;
/// How many calls to the third node are made meanwhile.
const CALLS: usize = 200;
/// So many at a time: one that is alone on its way leaves otherwise than those that are not.
const TOGETHER: usize = 4;

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "how long calls took is worth a look when all is well, too")]
async fn a_process_that_stands_still_under_large_casts_holds_up_no_calls_to_others() {
    let cluster = Cluster::new(program!()).with_zenoh(PATIENT).started(&["a", "b"]).await;
    let nodes = beside(&cluster, &["x"], 3).await;
    let (node, sworm) = &nodes[0];
    let on = |id: &str| NodeId::new(id).expect("valid");
    let still = sworm.register("still", Book::default()).on(on("a")).await.expect("free");
    let other = sworm.register("other", Book::default()).on(on("b")).await.expect("free");
    still.call(Audit).timeout(LIMIT).await.expect("it runs");
    other.call(Audit).timeout(LIMIT).await.expect("it runs");
    cluster["a"].freeze();
    let cast = Arc::new(AtomicUsize::new(0));
    let flood = tokio::spawn({
        let (pile, cast) = (Bytes::from(vec![7; PILE_BYTES]), cast.clone());
        async move {
            for _ in 0..PILES {
                still.cast(Pile(pile.clone())).await.expect("it waits for the link");
                cast.fetch_add(1, Relaxed);
                tokio::task::yield_now().await;
            }
        }
    });
    eventually("more than a link holds", || async { (cast.load(Relaxed) >= PILES_BEFORE).then_some(()) }).await;
    let mut took = Vec::new();
    for _ in 0..CALLS / TOGETHER {
        let started = Instant::now();
        let calls = (0..TOGETHER).map(|_| other.call(Audit).timeout(LIMIT));
        let answers = join_all(calls).await;
        took.push(started.elapsed());
        let held_up: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
        assert!(held_up.is_empty(), "after {took:?}: {held_up:?}");
    }
    flood.await.expect("no cast is held up either, or refused");
    let is_linked = |member: &Member| member.id == on("a") && member.state == MemberState::Up;
    assert!(node.members().iter().any(is_linked), "its link has been full all the time");
    took.sort_unstable();
    println!(
        "{TOGETHER} calls at a time, at most {:?} for them, half at most {:?}",
        took[took.len() - 1],
        took[took.len() / 2]
    );
    cluster["a"].resume();
    eventually("a reply", || async { cluster["a"].members().await.contains_key("b").then_some(()) }).await;
    for (node, _) in nodes {
        node.close().await.expect("it closes");
    }
}
