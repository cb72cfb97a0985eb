//! Names are unique, known everywhere, and gone everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;
use sworm::Pid;
use sworm_tests::protocol::{Failure, Found, Kind, Say};
use sworm_tests::{Cluster, Process, Registering, eventually, program};

/// A hundred registrations at once, from all these nodes, each with another value.
async fn race(nodes: &[Arc<Process>], name: &str) -> Vec<Result<Pid, Failure>> {
    let each = 100_usize.div_ceil(nodes.len());
    let values: Vec<i64> = (0..100).collect();
    let races = nodes.iter().zip(values.chunks(each)).map(|(node, values)| node.race(name, values.to_vec()));
    join_all(races).await.into_iter().flatten().collect()
}

/// One `Ok`; all others say who has it.
fn check(name: &str, results: &[Result<Pid, Failure>]) {
    let winners: BTreeSet<&Pid> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
    assert_eq!(winners.len(), 1, "{name}: {results:?}");
    let won = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(won, 1, "{name}: {results:?}");
    for refused in results.iter().filter_map(|result| result.as_ref().err()) {
        assert_eq!((refused.kind.as_str(), refused.pid.as_ref()), ("AlreadyRegistered", winners.first().copied()));
    }
    assert_eq!(results.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_registrations_of_one_name_exactly_one_is_ok_also_while_a_node_joins() {
    let mut cluster = Cluster::start(program!(), &["a", "b", "c"]).await;
    let three: Vec<_> = cluster.nodes().cloned().collect();
    for n in 0..10 {
        let name = format!("quiet-{n}");
        check(&name, &race(&three, &name).await);
    }
    // The fourth comes up in the midst of the next ten.
    let names: Vec<String> = (0..10).map(|n| format!("joining-{n}")).collect();
    let races = async {
        let mut all = Vec::new();
        for name in &names {
            all.push(race(&three, name).await);
        }
        all
    };
    let (results, _) = tokio::join!(races, cluster.add("d"));
    for (name, results) in names.iter().zip(&results) {
        check(name, results);
    }
    // What the winner was told is what every node says, and there is one worker with the winner's value.
    cluster.all_see_all().await;
    for (name, results) in names.iter().zip(&results) {
        let winner = results.iter().find_map(|result| result.as_ref().ok()).expect("checked");
        let value = i64::try_from(results.iter().position(Result::is_ok).expect("checked")).expect("small");
        for node in cluster.nodes() {
            eventually("the name on every node", || async { node.find(name).await.filter(|f| f.pid == *winner) }).await;
            assert_eq!(node.call(Kind::Counter, name, Say::Get).await, Ok(value), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_found_on_every_node_and_disappear_from_every_node() {
    let cluster = Cluster::start(program!(), &["a", "b", "c"]).await;
    let [a, b, c] = ["a", "b", "c"].map(|id| cluster[id].clone());

    // Its own write is seen at once, the others see it without asking.
    let pid = a.register(Kind::Counter, "alice", 7).await.expect("free");
    assert_eq!(a.find_typed(Kind::Counter, "alice").await, Some(pid.clone()));
    for node in cluster.nodes() {
        eventually("alice", || async { node.find_typed(Kind::Counter, "alice").await.filter(|found| *found == pid) })
            .await;
        assert_eq!(node.call(Kind::Counter, "alice", Say::Get).await, Ok(7));
        assert_eq!(node.find_typed(Kind::Permanent, "alice").await, None, "of another type");
    }

    // The worker runs where its pid says, and where it was asked for.
    for on in ["a", "b", "c"] {
        let name = format!("on-{on}");
        let pid = c.register_on(Kind::Counter, &name, 0, on).await.expect("free");
        assert_eq!(pid.node.as_str(), on);
        for asker in [&a, &b, &c] {
            assert_eq!(asker.whereabouts(Kind::Counter, &name).await, Ok(on.into()), "from {}", asker.id());
        }
    }

    // Found or registered: the same worker from everywhere, and its value is the first one's.
    let all = join_all(cluster.nodes().map(|node| node.find_or_register(Kind::Counter, "bob", 3))).await;
    assert!(all.iter().all(|found| found.is_ok() && *found == all[0]), "{all:?}");
    let wrong = a.find_or_register(Kind::Permanent, "bob", 0).await.expect_err("another type has it");
    assert_eq!(wrong.kind, "WrongType");

    // Metadata is told with the name, and names come sorted.
    let carol = Registering { metadata: &[("shard", "7")], ..Registering::new(Kind::Counter, "carol", 0) };
    a.register_with(carol).await.expect("free");
    let runs = || async { c.find("carol").await.filter(|found| found.state == "Running") };
    let found = eventually("carol", runs).await;
    assert_eq!(found.worker_type, "counter");
    assert_eq!(found.metadata, BTreeMap::from([("shard".to_owned(), "7".to_owned())]));
    let expected = ["alice", "bob", "carol", "on-a", "on-b", "on-c"];
    let names = |all: Vec<Found>| all.into_iter().map(|found| found.name).collect::<Vec<_>>();
    for node in cluster.nodes() {
        eventually("all names", || async { (names(node.registered().await) == expected).then_some(()) }).await;
    }

    // Whoever unregisters, the worker stops and the name is gone: there at once, elsewhere soon.
    for (name, by) in [("alice", &c), ("bob", &a), ("carol", &b), ("on-a", &a), ("on-b", &a), ("on-c", &b)] {
        by.call(Kind::Counter, name, Say::Get).await.expect("registered");
        by.unregister(name).await.expect("registered");
        assert_eq!(by.find(name).await, None);
        let late = by.call(Kind::Counter, name, Say::Get).await.expect_err("it is gone");
        assert_eq!((late.kind.as_str(), late.unknown), ("NotRegistered", false), "{name}");
    }
    for node in cluster.nodes() {
        eventually("no names", || async { node.registered().await.is_empty().then_some(()) }).await;
    }
    assert_eq!(a.unregister("alice").await.expect_err("it is gone").kind, "NotRegistered");
    // A new lineage starts from its own value, not from what the old one counted.
    b.register(Kind::Counter, "alice", 1).await.expect("free again");
    assert_eq!(b.call(Kind::Counter, "alice", Say::Get).await, Ok(1));
}
