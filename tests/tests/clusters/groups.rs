//! Groups: joined and left from anywhere, seen and called everywhere.

use sworm_tests::protocol::{Kind, Say};
use sworm_tests::{Cluster, Process, eventually, program};

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_joined_and_left_from_any_node_as_often_as_one_likes_and_seen_on_every_node() {
    let cluster = Cluster::start(program!(), &["a", "b", "c"]).await;
    let [a, b, c] = ["a", "b", "c"].map(|id| cluster[id].clone());
    for (name, on) in [("one", "a"), ("two", "b"), ("three", "c")] {
        a.register_on(Kind::Counter, name, 0, on).await.expect("free");
        for node in [&b, &c] {
            eventually("the name", || node.find(name)).await;
        }
    }
    // Twice is the same as once, whoever does it.
    for node in [&a, &b, &c, &a] {
        for name in ["one", "two", "three"] {
            node.join("numbers", name).await.expect("it runs");
        }
    }
    b.join("odd", "three").await.expect("it runs");
    assert_eq!(b.group("odd").await, ["three"], "its own write");
    for node in cluster.nodes() {
        eventually("all in", || async { (node.group("numbers").await == ["one", "three", "two"]).then_some(()) }).await;
        eventually("one in", || async { (node.group("odd").await == ["three"]).then_some(()) }).await;
        assert_eq!(node.group("nobody").await, [""; 0]);
    }
    for node in [&c, &a, &c] {
        node.leave_group("numbers", "two").await.expect("it runs");
    }
    c.leave_group("never-joined", "two").await.expect("that is fine");
    for node in cluster.nodes() {
        eventually("one out", || async { (node.group("numbers").await == ["one", "three"]).then_some(()) }).await;
    }
    // A restart in place keeps them; the end of the name ends them.
    let _ = a.call(Kind::Counter, "one", Say::Crash).await;
    b.call(Kind::Counter, "one", Say::Get).await.expect("it runs again");
    assert_eq!(a.group("numbers").await, ["one", "three"]);
    b.unregister("three").await.expect("it runs");
    for node in cluster.nodes() {
        eventually("its end", || async { (node.group("numbers").await == ["one"]).then_some(()) }).await;
        eventually("its end", || async { node.group("odd").await.is_empty().then_some(()) }).await;
    }
    assert_eq!(b.join("numbers", "three").await.expect_err("it is gone").kind, "NotRegistered");
    assert_eq!(b.leave_group("numbers", "three").await.expect_err("it is gone").kind, "NotRegistered");
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_go_along_when_a_node_leaves() {
    let mut cluster = Cluster::start(program!(), &["a", "b"]).await;
    let a = cluster["a"].clone();
    a.register_on(Kind::Counter, "one", 0, "b").await.expect("free");
    eventually("the join", || async { a.join("numbers", "one").await.ok() }).await;
    cluster.leave("b").await;
    a.call(Kind::Counter, "one", Say::Get).await.expect("it runs here");
    assert_eq!(a.group("numbers").await, ["one"]);
    a.leave_group("numbers", "one").await.expect("it runs here");
    assert_eq!(a.group("numbers").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_called_on_all_nodes_after_moves_after_a_failover_and_after_a_restart_of_all() {
    let mut cluster = Cluster::start(program!(), &["a", "b", "c"]).await;
    let a = cluster["a"].clone();
    for (name, on) in [("one", "a"), ("two", "b"), ("three", "c")] {
        a.register_on(Kind::Counter, name, 0, on).await.expect("free");
        a.call(Kind::Counter, name, Say::AddDurable(1)).await.expect("it runs");
        eventually("the join", || async { a.join("numbers", name).await.ok() }).await;
    }
    let all = |total| [("one".to_owned(), Ok(total)), ("three".to_owned(), Ok(total)), ("two".to_owned(), Ok(total))];
    let sees_all = async |node: &Process| {
        eventually("all in", || async { (node.group("numbers").await.len() == 3).then_some(()) }).await;
    };
    for node in cluster.nodes() {
        sees_all(node).await;
        assert_eq!(node.add_to_group("numbers", 0).await, all(1));
        assert_eq!(node.publish_to_group("numbers", 1).await, Ok(3));
        eventually("what was published", || async { (node.add_to_group("numbers", 0).await == all(2)).then_some(()) })
            .await;
        node.publish_to_group("numbers", -1).await.expect("it leaves");
        eventually("the same", || async { (node.add_to_group("numbers", 0).await == all(1)).then_some(()) }).await;
    }
    eventually("the move", || async { a.move_name("two", "c").await.ok() }).await;
    assert_eq!(a.add_to_group("numbers", 0).await, all(1));
    cluster.kill("c").await;
    for node in cluster.nodes() {
        // A call that was on its way to the dead node has an unknown outcome.
        eventually("the failover", || async { (node.add_to_group("numbers", 0).await == all(1)).then_some(()) }).await;
    }
    cluster.kill_all().await;
    cluster.add_all(&["a", "b", "c"]).await;
    for node in cluster.nodes() {
        sees_all(node).await;
        assert_eq!(node.add_to_group("numbers", 0).await, all(1));
    }
}
