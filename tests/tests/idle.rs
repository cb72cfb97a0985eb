//! What nodes send to each other when nothing happens: one heartbeat of one size per interval, however many names.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use sworm::SwormSpec;
use sworm::prelude::*;
use sworm::transport::{MemoryNetwork, Traffic};
use sworm_tests::{eventually, fresh_cluster};

const IDS: [&str; 3] = ["a", "b", "c"];
const LINKS: [(&str, &str); 6] = [("a", "b"), ("a", "c"), ("b", "a"), ("b", "c"), ("c", "a"), ("c", "b")];
const INTERVAL: Duration = Duration::from_millis(50);

#[derive(Worker, Serialize, Deserialize)]
struct Idler;

/// The most heartbeats that are due since then; cores count in milliseconds, which may make it one more.
fn due(since: Instant, interval: Duration) -> u128 {
    since.elapsed().as_millis() / interval.as_millis() + 2
}

/// Nodes in this process, all of which have opened the sworm.
struct Nodes {
    network: MemoryNetwork,
    nodes: Vec<Node>,
    sworms: Vec<Sworm>,
}

impl Nodes {
    async fn start(interval: Duration) -> Self {
        let (network, cluster) = (MemoryNetwork::new(), fresh_cluster());
        let (mut nodes, mut sworms) = (Vec::new(), Vec::new());
        for id in IDS {
            let node = Node::builder(id).cluster(cluster.as_str()).in_memory().memory_network(&network).start().await;
            let node = node.expect("it starts");
            let open = node.open(SwormSpec::new("s").sync_interval(interval)).await;
            sworms.push(open.expect("it opens"));
            nodes.push(node);
        }
        Self { network, nodes, sworms }
    }

    async fn register(&self, names: usize) {
        for first in (0..names).step_by(500) {
            let registrations =
                (first..names.min(first + 500)).map(|n| self.sworms[n % 3].register_name(format!("name-{n}"), Idler));
            try_join_all(registrations).await.expect("all are free");
        }
        for sworm in &self.sworms {
            eventually("all names", || async { (sworm.registered().len() == names).then_some(()) }).await;
        }
    }

    /// What all links have carried so far.
    fn traffic(&self) -> [Traffic; 6] {
        LINKS.map(|(from, to)| self.network.traffic(from, to))
    }

    /// What all links carry from now on, until each has carried so many messages.
    async fn next(&self, messages: u64) -> [Traffic; 6] {
        let before = self.traffic();
        let since = |link: usize, now: Traffic| Traffic {
            messages: now.messages - before[link].messages,
            bytes: now.bytes - before[link].bytes,
        };
        eventually("messages on every link", || async {
            let mut link = 0..;
            let carried = self.traffic().map(|now| since(link.next().expect("endless"), now));
            carried.iter().all(|carried| carried.messages >= messages).then_some(carried)
        })
        .await
    }

    /// The size of what is sent at rest.
    async fn size_at_rest(&self) -> u64 {
        eventually("rest", || async {
            let carried = self.next(10).await;
            let size = carried[0].bytes / carried[0].messages;
            carried.iter().all(|carried| carried.bytes == carried.messages * size).then_some(size)
        })
        .await
    }

    async fn close(self) {
        for node in self.nodes {
            node.close().await.expect("it closes");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_link_carries_heartbeats_of_one_size_however_many_names_there_are() {
    let nodes = Nodes::start(INTERVAL).await;
    let without = nodes.size_at_rest().await;
    nodes.register(2_000).await;
    let with = nodes.size_at_rest().await;
    assert_eq!(without, with);
    assert!(with < 136, "{with} bytes");
    // Nothing but these, and no more of them than one per interval.
    let started = Instant::now();
    let carried = nodes.next(20).await;
    let most = due(started, INTERVAL);
    for link in carried {
        assert_eq!(link.bytes, link.messages * with);
        assert!(u128::from(link.messages) <= most, "{link:?}; at most {most} messages");
    }
    nodes.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sync_interval_is_the_time_between_two_heartbeats() {
    let slow_interval = 8 * INTERVAL;
    let (fast, slow) = (Nodes::start(INTERVAL).await, Nodes::start(slow_interval).await);
    let (size, same) = (fast.size_at_rest().await, slow.size_at_rest().await);
    assert_eq!(size, same);
    let (started, fast_before, slow_before) = (Instant::now(), fast.traffic(), slow.traffic());
    slow.next(4).await;
    // Eight times as many are due; a busy machine may keep some of them waiting.
    eventually("more heartbeats", || async {
        let sent = |nodes: &Nodes, before: &[Traffic; 6]| {
            let sent = nodes.traffic().into_iter().zip(before).map(|(now, before)| now.messages - before.messages);
            (sent.clone().min().expect("six links"), u128::from(sent.max().expect("six links")))
        };
        let (fewest, _) = sent(&fast, &fast_before);
        let (_, most) = sent(&slow, &slow_before);
        assert!(most <= due(started, slow_interval), "{most} heartbeats");
        (u128::from(fewest) > 4 * most).then_some(())
    })
    .await;
    fast.close().await;
    slow.close().await;
}
