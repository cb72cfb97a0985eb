//! What is ready for one node travels together: packets are counted, of real nodes.

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::*;
use crate::{Handler, Node, Ref};

#[derive(crate::Worker, Serialize, Deserialize)]
#[worker(name = "way.echo", crate = crate, handles(Echo))]
struct Echoing;

#[derive(crate::Message, Serialize, Deserialize)]
#[message(reply = u64, crate = crate)]
struct Echo(u64);

impl Handler<Echo> for Echoing {
    async fn handle(&mut self, Echo(n): Echo, _: &mut crate::Context<Self>) -> u64 {
        n
    }
}

/// So many calls at a time.
const CALLS: u64 = 256;
/// So many of them share a packet at least, in the best of some rounds: a machine that is busy may let the sending thread
/// run after every single one.
const SHARE: u64 = 8;
const ROUNDS: usize = 100;

fn packets(node: &Node) -> u64 {
    node.shared().transport().and_then(|transport| transport.packets_sent()).expect("it counts them")
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_replies_and_casts_that_are_ready_together_share_packets() {
    let cluster = format!("together-{}", std::process::id());
    let build = |id: &str| Node::builder(id).cluster(&cluster).listen("tcp/127.0.0.1:0").in_memory();
    let a = build("a").start().await.expect("it starts");
    let b = build("b").join(a.endpoints()).start().await.expect("it starts");
    let (on_a, on_b) = (a.sworm("s").await.expect("it opens"), b.sworm("s").await.expect("it opens"));
    while on_a.nodes().len() < 2 || on_b.nodes().len() < 2 {
        sleep(LOOK_AGAIN).await;
    }
    let echo: Ref<Echoing> = on_a.register("echo", Echoing).on(b.id()).await.expect("free");
    let (mut calls, mut replies, mut casts) = (u64::MAX, u64::MAX, u64::MAX);
    for _ in 0..ROUNDS {
        let before = (packets(&a), packets(&b));
        let called = join_all((0..CALLS).map(|n| echo.call(Echo(n)).timeout(Duration::from_secs(60)).into_future()));
        assert!(called.await.into_iter().eq((0..CALLS).map(Ok)), "all are answered");
        calls = calls.min(packets(&a) - before.0);
        replies = replies.min(packets(&b) - before.1);
        let before = packets(&a);
        for n in 0..CALLS {
            echo.cast(Echo(n)).await.expect("it is on its way");
        }
        // It comes after them.
        echo.call(Echo(0)).timeout(Duration::from_secs(60)).await.expect("it is answered");
        casts = casts.min(packets(&a) - before);
        if calls.max(replies).max(casts) <= CALLS / SHARE {
            break;
        }
    }
    let most = CALLS / SHARE;
    assert!(calls <= most && replies <= most && casts <= most, "{calls} {replies} {casts} packets for {CALLS} each");
    for node in [a, b] {
        node.close().await.expect("it closes");
    }
}
