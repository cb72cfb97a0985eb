//! The link between two processes is missing for longer than the grace time, and a third one is linked to both: they go
//! on with each other over that one, and nobody is disturbed.

use std::collections::BTreeMap;
use std::time::Duration;

use sworm::Pid;
use sworm_tests::protocol::{Kind, Say};
use sworm_tests::relay::{Network, Way};
use sworm_tests::{Cluster, Process, Registering, eventually, holds_for, program};

const IDS: [&str; 3] = ["a", "b", "c"];
/// Longer than a node whose link is lost and whom nobody hears is suspect.
const LONG: Duration = Duration::from_secs(7);
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

async fn missing_link(way: Way) {
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
    let before = agreed(&cluster, NAMES + IDS.len()).await;
    network.set("a", "b", way);
    network.set("b", "a", way);
    let (a, b) = (cluster["a"].clone(), cluster["b"].clone());
    let suspect = || async {
        let both = [state(&a, "b").await, state(&b, "a").await];
        both.iter().all(|state| state.as_deref() == Some("Suspect"))
    };
    eventually("the loss of the link", || async { suspect().await.then_some(()) }).await;
    holds_for(LONG, "they are suspect and no more", suspect).await;
    // From each node, to each node.
    for (n, from) in IDS.into_iter().enumerate() {
        for to in IDS {
            let through = &cluster[from];
            let total = i64::try_from(n).expect("there are three") + 1;
            assert_eq!(
                through.call(Kind::Counter, &format!("on-{to}"), Say::Add(1)).await,
                Ok(total),
                "{from} to {to}"
            );
            let name = format!("from-{from}-on-{to}");
            let registering = Registering { on: Some(to), ..Registering::new(Kind::Counter, &name, 5) };
            let pid = through.register_with(registering).await.expect("it is placed");
            assert_eq!(&*pid.node, to);
            assert_eq!(through.call(Kind::Counter, &name, Say::Add(2)).await, Ok(7), "{from} to {to}");
        }
    }
    let all = agreed(&cluster, NAMES + IDS.len() + IDS.len() * IDS.len()).await;
    let undisturbed = |all: &BTreeMap<String, Pid>| before.iter().all(|(name, pid)| all.get(name) == Some(pid));
    assert!(undisturbed(&all), "{before:#?}\n{all:#?}");
    assert!(suspect().await, "the link was missing all the time");
    network.heal();
    cluster.all_see_all().await;
    assert_eq!(agreed(&cluster, all.len()).await, all);
    assert_eq!(cluster.overlaps(), "", "a name ran twice");
    for to in IDS {
        assert_eq!(cluster["b"].call(Kind::Counter, &format!("on-{to}"), Say::Get).await, Ok(3));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_carries_nothing_is_gone_around() {
    missing_link(Way::Silent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_closed_is_gone_around() {
    missing_link(Way::Closed).await;
}
