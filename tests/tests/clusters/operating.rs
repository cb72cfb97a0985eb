//! What operators see and do: events, names that have failed, and why a name is where it is.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use sworm_tests::protocol::{Considered, Explained, Happened, Kind, NodeSpec, Say};
use sworm_tests::{Cluster, eventually, program};

#[tokio::test(flavor = "multi_thread")]
async fn a_third_node_sees_what_happens_to_a_name_whose_restarts_move_along_until_somebody_starts_it_again() {
    let mut cluster = Cluster::start(program!(), &["a", "b", "c"]).await;
    let [a, b, c] = ["a", "b", "c"].map(|id| cluster[id].clone());
    c.watch().await;
    let mut seen = 0;
    let (kind, name) = (Kind::Twice, "watched");
    let named = format!("{name:?}");
    let first = a.register_on(kind, name, 0, "b").await.expect("free");
    c.sees(&mut seen, "Registered", &[&named, "node: b,"]).await;
    c.sees(&mut seen, "Started", &[&named]).await;
    assert_eq!(a.call(kind, name, Say::AddDurable(5)).await, Ok(5));
    for _ in 0..2 {
        let died = a.call(kind, name, Say::Crash).await.expect_err("it panics");
        assert_eq!(died.kind, "WorkerDied", "{died}");
        c.sees(&mut seen, "Restarted", &[&named]).await;
        c.sees(&mut seen, "Started", &[&named]).await;
    }
    let moved = eventually("a move", || async { c.move_name(name, "a").await.ok() }).await;
    assert_eq!((&*moved.node, moved.epoch > first.epoch), ("a", true));
    c.sees(&mut seen, "Moved", &[&named, "node: a,"]).await;
    c.sees(&mut seen, "Started", &[&named]).await;
    assert_eq!(b.call(kind, name, Say::Get).await, Ok(5));

    // It was restarted twice where it was before, which is all that it may be.
    b.call(kind, name, Say::Crash).await.expect_err("it panics");
    c.sees(&mut seen, "Failed", &[&named, "told to crash"]).await;
    let refused = b.call(kind, name, Say::Get).await.expect_err("it has failed");
    assert_eq!((refused.kind.as_str(), refused.unknown), ("Failed", false), "{refused}");
    let explained = b.explain(kind, name).await;
    assert!(explained.runs.is_none() && explained.failed.is_some_and(|why| why.contains("told to crash")));

    // Somebody else starts it again, from its state, and its restarts begin anew.
    let again = c.restart_name(name).await.expect("it has failed");
    assert!(again.epoch > moved.epoch);
    c.sees(&mut seen, "Started", &[&named]).await;
    let total = eventually("an answer", || async { b.call(kind, name, Say::Get).await.ok() }).await;
    assert_eq!(total, 5);
    a.call(kind, name, Say::Crash).await.expect_err("it panics");
    c.sees(&mut seen, "Restarted", &[&named]).await;
    c.sees(&mut seen, "Started", &[&named]).await;
    assert_eq!(c.restart_name("nobody").await.map_err(|failure| failure.kind), Err("NotRegistered".into()));

    // Its node dies.
    eventually("it running on a", || async { c.move_name(name, "a").await.ok() }).await;
    cluster.kill("a").await;
    c.sees(&mut seen, "NodeDown", &["node: a,"]).await;
    eventually("its new node", || async { c.find(name).await.filter(|found| *found.pid.node != *"a") }).await;
    let told = |event: &Happened| event.kind == "Moved" && event.text.contains("cause: NodeDown");
    eventually("the reason", || async { c.events().await.iter().any(told).then_some(()) }).await;
    assert_eq!(c.total(kind, name).await, Ok(5));
    c.unregister(name).await.expect("it runs");
    c.sees(&mut seen, "Unregistered", &[&named]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_and_weights_decide_where_names_run_and_every_node_explains_it_alike() {
    let mut cluster = Cluster::new(program!());
    let fast = BTreeMap::from([("disk".to_owned(), "fast".to_owned())]);
    cluster.launch(NodeSpec { labels: fast.clone(), ..cluster.spec("a") }).await.expect("it starts");
    cluster.launch(NodeSpec { weight: Some(3), ..cluster.spec("b") }).await.expect("it starts");
    cluster.add("c").await;
    cluster.all_see_all().await;
    let [a, b, c] = ["a", "b", "c"].map(|id| cluster[id].clone());
    let names: Vec<String> = (0..100).map(|n| format!("name-{n}")).collect();
    let failed = b.register_all(Kind::Counter, names.clone()).await.expect("it runs");
    assert_eq!(failed, []);
    join_all((0..10).map(|n| {
        let c = &c;
        async move { c.register(Kind::Fast, &format!("fast-{n}"), 1).await.expect("a can run it") }
    }))
    .await;

    let mut hosts: BTreeMap<String, usize> = BTreeMap::new();
    for name in names.iter().map(String::as_str).chain(["fast-0", "fast-9"]) {
        let kind = if name.starts_with("fast") { Kind::Fast } else { Kind::Counter };
        let explained = eventually("one explanation", || async {
            let all = join_all([&a, &b, &c].map(|node| node.explain(kind, name))).await;
            let alike = all.iter().all(|explained| *explained == all[0] && explained.runs.is_some());
            alike.then(|| all.into_iter().next()).flatten()
        })
        .await;
        let Explained { choice, runs, failed, candidates } = explained;
        assert_eq!((choice.clone().ok(), failed), (runs, None), "{name} runs where it would be placed again");
        let host = choice.expect("there is one");
        assert_eq!(candidates.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(candidates.values().map(|of| of.weight).collect::<Vec<_>>(), [1, 3, 1]);
        assert_eq!(candidates["a"].labels, fast);
        let able = |of: &&Considered| of.excluded.is_none();
        let best = candidates.values().filter(able).map(|of| of.score).max();
        assert_eq!(best, Some(candidates[&host].score), "{name}: {candidates:?}");
        if kind == Kind::Fast {
            assert_eq!(host, "a");
            assert!(candidates["b"].excluded.as_ref().is_some_and(|why| why.contains("no label \"disk\"")));
        } else {
            *hosts.entry(host).or_default() += 1;
        }
    }
    // Three shares of five; by chance one node has 60 ± 15 of 100.
    assert!((45..=75).contains(&hosts["b"]), "{hosts:?}");
    assert_eq!(hosts.values().sum::<usize>(), 100);

    // Nobody else may run what needs the label; when its node is back it goes on.
    assert_eq!(b.call(Kind::Fast, "fast-0", Say::AddDurable(1)).await, Ok(2));
    cluster.kill("a").await;
    let refused = eventually("a refusal", || async {
        let refused = b.register(Kind::Fast, "more", 0).await.expect_err("nobody can run it");
        (refused.kind == "NoCandidate").then_some(refused)
    })
    .await;
    assert!(refused.text.contains("b is left out") && refused.text.contains("c is left out"), "{refused}");
    let waits = c.explain(Kind::Fast, "fast-0").await;
    assert!(waits.runs.is_none() && waits.choice.is_err(), "{waits:?}");
    cluster.launch(NodeSpec { labels: fast, ..cluster.spec("a") }).await.expect("it starts");
    eventually("its return", || async { c.explain(Kind::Fast, "fast-0").await.runs.filter(|host| host == "a") }).await;
    assert_eq!(c.total(Kind::Fast, "fast-0").await, Ok(2));
}
