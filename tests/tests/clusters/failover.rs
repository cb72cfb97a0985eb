//! Many workers on a node that is killed, or that leaves in good order: all their names run again, once each, and no other
//! worker is touched.
//!
//! There are 10,000 of them; `SWORM_FAILOVER_NAMES=1000` is faster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use sworm::Pid;
use sworm_tests::protocol::Kind;
use sworm_tests::{Cluster, Process, program};

const IDS: [&str; 3] = ["a", "b", "c"];
const VICTIM: &str = "b";
const NAMES: usize = 10_000;
/// Names that one command is about: a command has a minute.
const AT_A_TIME: usize = 500;
/// One of so many is of the type that holds a lock: each lock is an open file.
const LOCKS: usize = 20;
const SHOWN: usize = 10;

/// The type of a name's worker.
fn kind(n: usize) -> Kind {
    if n.is_multiple_of(LOCKS) { Kind::Held } else { Kind::Counter }
}

fn names() -> Vec<String> {
    let count = std::env::var("SWORM_FAILOVER_NAMES").map_or(NAMES, |count| count.parse().expect("a number"));
    (0..count).map(|n| format!("name-{n}")).collect()
}

/// The worker of each name, as that node sees it.
async fn registered(node: &Process) -> BTreeMap<String, Pid> {
    node.registered().await.into_iter().map(|found| (found.name, found.pid)).collect()
}

/// Waits until every node knows these many names, all of them run, and what the nodes say is what lives in them.
async fn settled(cluster: &Cluster, count: usize) -> BTreeMap<String, Pid> {
    cluster.all_run(count).await;
    registered(&cluster["a"]).await
}

/// Deals the names out to all nodes, by worker type and a command's worth at a time, and lets each node do something with its
/// share.
async fn on_all<T>(
    cluster: &Cluster,
    names: &[String],
    each: impl AsyncFn(&Arc<Process>, Kind, Vec<String>) -> Vec<T>,
) -> Vec<T> {
    let nodes: Vec<_> = cluster.nodes().collect();
    let dealt = (0..nodes.len()).map(|at| {
        let (node, each, count) = (nodes[at], &each, nodes.len());
        async move {
            let mut done = Vec::new();
            for wanted in [Kind::Held, Kind::Counter] {
                let of_kind =
                    names.iter().enumerate().filter(|(n, _)| kind(*n) == wanted).map(|(_, name)| name.clone());
                let share: Vec<String> = of_kind.skip(at).step_by(count).collect();
                for names in share.chunks(AT_A_TIME) {
                    done.extend(each(node, wanted, names.to_vec()).await);
                }
            }
            done
        }
    });
    join_all(dealt).await.into_iter().flatten().collect()
}

/// Adds 1 to each of these, and gives the totals.
async fn add_all(cluster: &Cluster, names: &[String]) -> BTreeMap<String, i64> {
    let totals = on_all(cluster, names, async |node, kind, names| {
        let totals = node.add_all(kind, names, 1).await.expect("it lives");
        let total = |(name, total): (String, Result<i64, _>)| match total {
            Ok(total) => (name, total),
            Err(failure) => panic!("{name}: {failure}"),
        };
        totals.into_iter().map(total).collect()
    });
    totals.await.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "the measured times are worth knowing, and are no condition")]
async fn thousands_of_names_run_again_after_a_kill_and_no_other_worker_is_touched() {
    let mut cluster = Cluster::start(program!(), &IDS).await;
    let names = names();
    let began = Instant::now();
    let failed =
        on_all(&cluster, &names, async |node, kind, names| node.register_all(kind, names).await.expect("it lives"));
    assert_eq!(failed.await, []);
    let registered_after = began.elapsed();
    let before = settled(&cluster, names.len()).await;
    assert_eq!(before.keys().collect::<BTreeSet<_>>(), names.iter().collect());
    let on_victim = before.values().filter(|pid| *pid.node == *VICTIM).count();
    assert!(on_victim * 5 > names.len(), "it runs a good part: {on_victim}");
    assert!(add_all(&cluster, &names).await.values().all(|total| *total == 1));

    let killed = Instant::now();
    cluster.kill(VICTIM).await;
    let after = settled(&cluster, names.len()).await;
    let settled_after = killed.elapsed();
    println!(
        "{} names registered after {registered_after:.1?}; {on_victim} of a killed node ran again after {settled_after:.1?}",
        names.len()
    );
    assert_eq!(registered(&cluster["c"]).await, after);
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>(), "a name was lost");
    let totals = add_all(&cluster, &names).await;
    let wrong: Vec<_> = before
        .iter()
        .map(|(name, pid)| (name, pid, &after[name], totals[name]))
        .filter(|(_, before, after, total)| {
            if *before.node == *VICTIM {
                // Nothing was saved: it starts from its registered value.
                *after.node == *VICTIM || after.epoch <= before.epoch || *total != 1
            } else {
                after != before || *total != 2
            }
        })
        .take(SHOWN)
        .collect();
    assert!(wrong.is_empty(), "not exact: name, worker before, worker after, total: {wrong:#?}");
    assert_eq!(cluster.overlaps(), "", "a name ran twice");
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "the measured time is worth knowing, and is no condition")]
async fn thousands_of_workers_leave_a_node_with_their_states() {
    let mut cluster = Cluster::new(program!());
    let a = cluster.add("a").await;
    let names = names();
    for names in names.chunks(AT_A_TIME) {
        assert_eq!(a.register_all(Kind::Counter, names.to_vec()).await.expect("it lives"), []);
    }
    // In memory only: what an orderly leave must not lose.
    for names in names.chunks(AT_A_TIME) {
        let totals = a.add_all(Kind::Counter, names.to_vec(), 7).await.expect("it lives");
        assert!(totals.iter().all(|(_, total)| *total == Ok(7)), "{totals:?}");
    }
    cluster.add_all(&["b", "c"]).await;
    assert_eq!(settled(&cluster, names.len()).await.values().filter(|pid| *pid.node == *"a").count(), names.len());
    let began = Instant::now();
    cluster.leave("a").await;
    println!("{} workers have left after {:.1?}", names.len(), began.elapsed());
    cluster.all_run(names.len()).await;
    let asked = names.chunks(AT_A_TIME).enumerate().map(|(n, names)| {
        let node = &cluster[["b", "c"][n % 2]];
        async move { node.add_all(Kind::Counter, names.to_vec(), 1).await.expect("it lives") }
    });
    let totals: BTreeMap<_, _> = join_all(asked).await.into_iter().flatten().collect();
    let wrong: Vec<_> = totals.iter().filter(|(_, total)| **total != Ok(8)).take(SHOWN).collect();
    assert!(totals.len() == names.len() && wrong.is_empty(), "of {} names: {wrong:#?}", totals.len());
}
