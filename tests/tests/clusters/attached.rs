//! Tasks of one's own under a name.

use sworm_tests::protocol::{Command, Kind};
use sworm_tests::{Cluster, eventually, program};

#[tokio::test(flavor = "multi_thread")]
async fn an_attached_task_is_found_and_answers_from_every_node_until_it_is_dropped() {
    let cluster = Cluster::start(program!(), &["a", "b"]).await;
    let (a, b) = (cluster["a"].clone(), cluster["b"].clone());
    let pid = a.attach("task").await.expect("free");
    assert_eq!(pid.node.as_str(), "a");
    let found = eventually("the name", || b.find("task")).await;
    assert!(found.pid == pid && found.attached && found.state == "Running", "{found:?}");
    for n in 0..5 {
        assert_eq!(a.call_inbox("task", n).await, Ok(n + 1));
        assert_eq!(b.call_inbox("task", n).await, Ok(n + 1));
    }
    // The name is taken as any other, and groups hold it.
    let taken = b.attach("task").await.expect_err("it is taken");
    assert_eq!((taken.kind.as_str(), a.find("task").await.map(|found| found.pid)), ("AlreadyRegistered", Some(pid)));
    assert_eq!(b.register(Kind::Counter, "task", 0).await.expect_err("it is taken").kind, "AlreadyRegistered");
    assert_eq!(b.find_or_register(Kind::Counter, "task", 0).await.expect_err("it is no counter").kind, "WrongType");

    a.ask(Command::Detach { name: "task".into() }).await.expect("it is attached");
    for node in [&a, &b] {
        eventually("its end", || async { node.find("task").await.is_none().then_some(()) }).await;
    }
    b.register(Kind::Counter, "task", 0).await.expect("the name is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn unregistering_an_attached_name_from_another_node_ends_its_inbox() {
    let cluster = Cluster::start(program!(), &["a", "b"]).await;
    let (a, b) = (cluster["a"].clone(), cluster["b"].clone());
    a.attach("task").await.expect("free");
    eventually("the name", || b.find("task")).await;
    b.unregister("task").await.expect("it is there");
    a.ask(Command::AwaitInboxEnd { name: "task".into() }).await.expect("`recv` gives `None`");
    assert_eq!(b.find("task").await, None);
    a.attach("task").await.expect("free again");
    assert_eq!(a.call_inbox("task", 1).await, Ok(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attached_name_goes_with_its_node_and_is_not_started_elsewhere() {
    let mut cluster = Cluster::start(program!(), &["a", "b", "c"]).await;
    let a = cluster["a"].clone();
    for (node, name) in [("b", "killed"), ("c", "left")] {
        cluster[node].attach(name).await.expect("free");
        eventually("the name", || a.find(name)).await;
    }
    cluster.kill("b").await;
    cluster.leave("c").await;
    for name in ["killed", "left"] {
        eventually("its end", || async { a.find(name).await.is_none().then_some(()) }).await;
        a.register(Kind::Counter, name, 0).await.expect("the name is free");
    }
}
