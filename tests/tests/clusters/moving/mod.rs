//! Workers that are moved on purpose between real processes: one, all of a node, and for balance; their states go along,
//! whoever calls them meanwhile and whichever process dies in the midst.

mod balance;
mod calls;
mod deaths;
mod drain;
mod flapping;
mod points;
mod slow;
mod traffic;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::join_all;
use sworm_tests::protocol::{Failure, Kind, Say};
use sworm_tests::{Cluster, Process};
use tokio::task::JoinHandle;

/// What came of additions of 1 to a worker.
#[derive(Debug, Default)]
struct Added {
    answered: Vec<i64>,
    unknown: i64,
    refused: Vec<Failure>,
}

/// Tasks that go on adding until they are told to stop.
struct Adding {
    stop: Arc<AtomicBool>,
    tasks: Vec<(String, JoinHandle<Added>)>,
}

impl Adding {
    /// Each of these nodes calls each of these workers.
    fn start(nodes: &[Arc<Process>], workers: &[(Kind, String)], say: Say) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let pairs = nodes.iter().flat_map(|node| workers.iter().map(move |worker| (node.clone(), worker.clone())));
        let tasks = pairs
            .map(|(node, (kind, name))| (name.clone(), tokio::spawn(keep_adding(node, kind, name, say, stop.clone()))));
        Self { tasks: tasks.collect(), stop }
    }

    /// What came of all calls, by name.
    async fn stop(self) -> Vec<(String, Added)> {
        self.stop.store(true, Relaxed);
        let ended =
            join_all(self.tasks.into_iter().map(|(name, task)| async { (name, task.await.expect("it ended")) }));
        ended.await
    }
}

async fn keep_adding(node: Arc<Process>, kind: Kind, name: String, say: Say, stop: Arc<AtomicBool>) -> Added {
    let mut added = Added::default();
    while !stop.load(Relaxed) {
        match node.call(kind, &name, say).await {
            Ok(total) => added.answered.push(total),
            Err(failure) if failure.unknown => added.unknown += 1,
            Err(failure) => added.refused.push(failure),
        }
        tokio::time::sleep(Duration::from_millis(5)).await; // others want to run, too
    }
    added
}

/// A worker that was registered with `base` and now answers `total` has had each of these additions once, or, where the
/// caller was told that it does not know, at most once.
fn check(name: &str, base: i64, total: i64, added: &[(String, Added)]) {
    let of_name = || added.iter().filter(|(other, _)| other == name).map(|(_, added)| added);
    let mut answered: Vec<i64> = of_name().flat_map(|added| &added.answered).map(|answer| answer - base).collect();
    let unknown: i64 = of_name().map(|added| added.unknown).sum();
    answered.sort_unstable();
    let count = i64::try_from(answered.len()).expect("few");
    assert!(count > 0, "nobody reached {name}: {added:?}");
    assert!(answered.is_sorted_by(|one, next| one < next), "{name} has answered something twice: {answered:?}");
    let least = answered.last().copied().unwrap_or_default().max(count);
    assert!(
        (least..=count + unknown).contains(&(total - base)),
        "{name} is not exact: {total} of {least} to {count} + {unknown}"
    );
}

/// Registers these workers on the nodes in turn.
async fn register(cluster: &Cluster, workers: &[(Kind, String)], base: i64, on: &[&str]) {
    let first = cluster.nodes().next().expect("one lives");
    let registered = workers.iter().enumerate().map(|(n, (kind, name))| async move {
        first.register_on(*kind, name, base, on[n % on.len()]).await.expect("free");
    });
    join_all(registered).await;
}
