//! The network is cut between a node and the others.

use std::sync::Arc;

use sworm_tests::protocol::{Kind, Say};
use sworm_tests::relay::Way;
use sworm_tests::{Process, eventually};

use super::voters::{LEASE_MS, Voters};

async fn one_of_three(way: Way) {
    let mut voters = Voters::founded(&["a", "b", "c"], LEASE_MS).await;
    voters.cut_off("c", way);
    let refused = voters.refused("c").await;
    voters.parked("c").await;
    let call = voters.node("c").call(Kind::Held, "c-0", Say::Get).await.expect_err("it is parked");
    assert_eq!((call.kind.as_str(), call.unknown), ("NoMajority", false), "{call}");
    // The others have its states; they start its names only now, or the locks tell.
    voters.all_is_well(&["a", "b"]).await;
    voters.add("a").await;
    voters.add("b").await;
    voters.register("meanwhile", "b").await;
    assert_eq!(voters.node("c").living().await, [], "it is still cut off");
    voters.network.heal();
    voters.cluster.all_see_all().await;
    voters.all_is_well(&["a", "b", "c"]).await;
    voters.add("c").await;
    voters.all_is_well(&["a", "b", "c"]).await;
    for id in ["a", "b", "c"] {
        assert_eq!(voters.node(id).find(&refused).await, None, "{id}");
        assert!(voters.node(id).find("meanwhile").await.is_some_and(|found| found.state == "Running"), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_links_carry_nothing_parks_its_workers_before_the_others_start_them() {
    one_of_three(Way::Silent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_links_are_closed_parks_its_workers_before_the_others_start_them() {
    one_of_three(Way::Closed).await;
}

/// What a worker of c has done beside what it had saved is there when its node was cut off. `None` when that was not so: its node
/// had no majority for a moment before.
async fn merged(voters: &Voters, name: &str) -> Option<()> {
    let [a, b, c] = ["a", "b", "c"].map(|id| voters.node(id).clone());
    let kind = Kind::Merging;
    eventually("its registration", || async {
        let registered = c.register_on(kind, name, 0, "c").await;
        registered.map_or_else(|failure| failure.kind == "AlreadyRegistered", |_| true).then_some(())
    })
    .await;
    if (c.call(kind, name, Say::AddDurable(1)).await, c.call(kind, name, Say::Add(1_000)).await) != (Ok(1), Ok(1_001)) {
        return None;
    }
    for node in [&a, &b, &c] {
        node.watch().await;
    }
    voters.cut_off("c", Way::Silent);
    voters.parked("c").await;
    let get = |of: Arc<Process>| async move { of.call_within(kind, name, Say::Get, Some(2_000)).await.ok() };
    let before = eventually("it on the other side", || get(a.clone())).await;
    voters.network.heal();
    voters.cluster.all_see_all().await;
    if before == 1_001 {
        return None;
    }
    assert_eq!(before, 1, "it is not exact: it goes on from what was saved");
    for node in [&a, &b, &c] {
        let merged = || async {
            let total = get(node.clone()).await?;
            assert!([1, 1_001].contains(&total), "it is not exact: {total}");
            (total == 1_001).then_some(())
        };
        eventually(&format!("all of it, asked from {}", node.id()), merged).await;
    }
    let seen = |node: Arc<Process>| async move {
        let all = node.events().await.into_iter().filter(|happened| happened.text.contains(name));
        all.map(|happened| happened.kind).collect::<Vec<_>>()
    };
    let (on_c, mut elsewhere) = (seen(c).await, seen(a.clone()).await);
    elsewhere.extend(seen(b).await);
    assert!(on_c.iter().any(|kind| kind == "Parked"), "{on_c:?}");
    assert!(elsewhere.iter().any(|kind| kind == "StateDiverged"), "{elsewhere:?}");
    let total = a.call(kind, name, Say::AddDurable(2)).await;
    assert!(total.as_ref().map_or_else(|failure| failure.unknown, |total| *total == 1_003), "twice? {total:?}");
    Some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_parked_worker_had_done_and_not_saved_is_given_to_the_one_that_goes_on() {
    const IDS: [&str; 3] = ["a", "b", "c"];
    let mut voters = Voters::new(&IDS, LEASE_MS).await;
    voters.start(&IDS).await;
    voters.cluster.all_see_all().await;
    for n in 0..5 {
        if merged(&voters, &format!("merging-{n}")).await.is_some() {
            return;
        }
    }
    panic!("c had no majority for a moment each time");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_voters_the_first_in_order_of_ids_goes_on_alone_and_the_other_does_not() {
    let mut voters = Voters::founded(&["a", "b"], LEASE_MS).await;
    voters.cut_off("b", Way::Silent);
    voters.refused("b").await;
    voters.parked("b").await;
    voters.all_is_well(&["a"]).await;
    voters.add("a").await;
    voters.register("meanwhile", "a").await;
    assert_eq!(voters.node("b").living().await, []);
    voters.network.heal();
    voters.cluster.all_see_all().await;
    voters.all_is_well(&["a", "b"]).await;

    voters.kill(&["a"]).await;
    voters.refused("b").await;
    voters.parked("b").await;
    voters.start(&["a"]).await;
    voters.all_is_well(&["a", "b"]).await;

    voters.kill(&["b"]).await;
    voters.all_is_well(&["a"]).await;
    voters.add("a").await;
    voters.all_is_well(&["a"]).await;
}
