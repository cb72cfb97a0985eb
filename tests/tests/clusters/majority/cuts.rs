//! The network is cut between a node and the others.

use sworm_tests::protocol::{Kind, Say};
use sworm_tests::relay::Way;

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
