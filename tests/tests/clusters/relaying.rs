//! The link between two processes is missing for longer than the grace time, and a third one is linked to both: they go
//! on with each other over that one, and nobody is disturbed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sworm::Pid;
use sworm_tests::protocol::{Kind, Say};
use sworm_tests::relay::{Network, Way};
use sworm_tests::{Cluster, Process, Registering, ensure, eventually, program, while_looking};
use tokio::time::sleep;

const IDS: [&str; 3] = ["a", "b", "c"];
/// Longer than a node whose link is lost and whom nobody hears is suspect.
const LONG: Duration = Duration::from_secs(7);
/// Half as long as what a node says of another one counts.
const STANDS_STILL: Duration = Duration::from_secs(1);
/// What is asked for while the link is missing may take.
const PATIENCE_MS: Option<u64> = Some(40_000);
const NAMES: usize = 30;

async fn state(at: &Process, of: &str) -> Option<String> {
    at.members().await.remove(of)
}

/// The worker of each name, as that node sees it.
async fn registered(at: &Process) -> BTreeMap<String, Pid> {
    at.registered().await.into_iter().map(|found| (found.name, found.pid)).collect()
}

/// Waits until all nodes know the same worker for each name, which are so many, and gives them.
async fn agreed(cluster: &Cluster, names: usize) -> BTreeMap<String, Pid> {
    eventually("all names everywhere", || async {
        let first = registered(&cluster["a"]).await;
        for node in cluster.nodes() {
            if registered(node).await != first {
                return None;
            }
        }
        (first.len() == names).then_some(first)
    })
    .await
}

/// A machine that stands still makes a node silent for all others: then once more.
async fn missing_link(way: Way) {
    for _ in 0..5 {
        match round(way).await {
            (Ok(()), _) => return,
            (Err(why), longest) => assert!(longest > STANDS_STILL, "{why}"),
        }
    }
    panic!("the machine stood still each time");
}

/// What is not as it should be, and for how long at most nobody looked.
async fn round(way: Way) -> (Result<(), String>, Duration) {
    let mut cluster = Cluster::new(program!()).as_strangers();
    let mut network = Network::new(cluster.host(), &IDS).await;
    let mut specs = Vec::new();
    for id in IDS {
        specs.push(network.connect(cluster.spec(id)).await);
    }
    cluster.launch_all(&specs).await;
    cluster.all_see_all().await;
    let names: Vec<String> = (0..NAMES).map(|n| format!("name-{n}")).collect();
    assert_eq!(cluster["a"].register_all(Kind::Held, names).await, Ok(Vec::new()));
    for id in IDS {
        cluster["c"].register_on(Kind::Counter, &format!("on-{id}"), 0, id).await.expect("free");
    }
    let look = async || {
        for node in cluster.nodes() {
            node.members().await;
        }
    };
    while_looking(is_gone_around(&cluster, &network, way), look).await
}

async fn is_gone_around(cluster: &Cluster, network: &Network, way: Way) -> Result<(), String> {
    let before = agreed(cluster, NAMES + IDS.len()).await;
    network.set("a", "b", way);
    network.set("b", "a", way);
    let (a, b) = (cluster["a"].clone(), cluster["b"].clone());
    let suspect = || async {
        let both = [state(&a, "b").await, state(&b, "a").await];
        both.iter().all(|state| state.as_deref() == Some("Suspect"))
    };
    let lost = || async {
        let both = [state(&a, "b").await, state(&b, "a").await];
        both.iter().all(|state| state.as_deref() != Some("Up")).then_some(())
    };
    eventually("the loss of the link", lost).await;
    let since = Instant::now();
    while since.elapsed() < LONG {
        ensure(suspect().await, || "they are not suspect any more".to_owned())?;
        sleep(Duration::from_millis(20)).await;
    }
    // From each node, to each node.
    for (n, from) in IDS.into_iter().enumerate() {
        for to in IDS {
            let through = &cluster[from];
            let total = i64::try_from(n).expect("there are three") + 1;
            let added = through.call_within(Kind::Counter, &format!("on-{to}"), Say::Add(1), PATIENCE_MS).await;
            ensure(added == Ok(total), || format!("{from} to {to}: {added:?}"))?;
            let name = format!("from-{from}-on-{to}");
            let registering = Registering { on: Some(to), ..Registering::new(Kind::Counter, &name, 5) };
            let pid = through.register_with(registering).await;
            ensure(pid.as_ref().is_ok_and(|pid| *pid.node == *to), || format!("{name} is placed: {pid:?}"))?;
            let added = through.call_within(Kind::Counter, &name, Say::Add(2), PATIENCE_MS).await;
            ensure(added == Ok(7), || format!("{name}: {added:?}"))?;
        }
    }
    let all = agreed(cluster, NAMES + IDS.len() + IDS.len() * IDS.len()).await;
    let undisturbed = |all: &BTreeMap<String, Pid>| before.iter().all(|(name, pid)| all.get(name) == Some(pid));
    ensure(undisturbed(&all), || format!("{before:#?}\n{all:#?}"))?;
    ensure(suspect().await, || "the link was missing all the time".to_owned())?;
    network.heal();
    cluster.all_see_all().await;
    let healed = agreed(cluster, all.len()).await;
    ensure(healed == all, || format!("{all:#?}\n{healed:#?}"))?;
    let overlaps = cluster.overlaps();
    ensure(overlaps.is_empty(), || format!("a name ran twice: {overlaps}"))?;
    for to in IDS {
        let total = cluster["b"].call_within(Kind::Counter, &format!("on-{to}"), Say::Get, PATIENCE_MS).await;
        ensure(total == Ok(3), || format!("on-{to}: {total:?}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_carries_nothing_is_gone_around() {
    missing_link(Way::Silent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_closed_is_gone_around() {
    missing_link(Way::Closed).await;
}
