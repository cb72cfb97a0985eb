//! What operators do while a majority decides: names are moved, nodes are emptied, voters come and go.

use sworm_tests::protocol::{Kind, Say, Voting};
use sworm_tests::relay::Way;
use sworm_tests::{Process, eventually};

use super::voters::{LEASE_MS, Voters};

/// Waits until a node knows that list.
async fn knows(node: &Process, number: u64, nodes: &[&str]) {
    let list = Voting { number, nodes: nodes.iter().map(|node| (*node).to_owned()).collect() };
    let what = format!("{} knowing {list:?}", node.id());
    eventually(&what, || async { (node.voters().await.as_ref() == Some(&list)).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_moved_and_a_node_is_emptied_where_the_majority_is_and_only_there() {
    let mut voters = Voters::founded(&["a", "b", "c"], LEASE_MS).await;
    let [a, b, c] = ["a", "b", "c"].map(|id| voters.node(id).clone());
    // A machine that stands still for as long as a lease is without a majority for a moment.
    eventually("the move", || async { c.move_name("a-0", "b").await.ok() }).await;
    let host = eventually("where it is", || async { a.whereabouts(Kind::Held, "a-0").await.ok() }).await;
    assert_eq!(host, "b");
    let total = eventually("its total", || async { a.call(Kind::Held, "a-0", Say::Get).await.ok() }).await;
    assert!(total >= 3, "its state has gone along, and is {total}");
    voters.add("c").await;

    voters.cut_off("c", Way::Silent);
    voters.refused("c").await;
    for (name, to) in [("c-0", "a"), ("a-0", "c")] {
        let refused = c.move_name(name, to).await.expect_err("it has no majority");
        assert_eq!((refused.kind.as_str(), refused.unknown), ("NoMajority", false), "{refused}");
    }
    voters.all_is_well(&["a", "b"]).await;
    // All that was on b, and what it has taken over.
    let emptied = b.drain().await.expect("a takes all");
    assert_eq!((emptied.stays.len(), emptied.moved > 4), (0, true), "{emptied:?}");
    assert!(b.living().await.is_empty());
    voters.all_is_well(&["a", "b"]).await;
    voters.add("b").await;

    voters.network.heal();
    voters.cluster.all_see_all().await;
    voters.all_is_well(&["a", "b", "c"]).await;
    b.undrain().await;
    eventually("b taking part again", || async { c.move_name("b-0", "b").await.ok() }).await;
    voters.add("c").await;
    voters.all_is_well(&["a", "b", "c"]).await;
}

/// Four voters with some workers on each, of which none has saved anything: nobody's state is waited for.
async fn four() -> Voters {
    const IDS: [&str; 4] = ["a", "b", "c", "d"];
    let mut voters = Voters::new(&IDS, LEASE_MS).await;
    voters.start(&IDS).await;
    voters.cluster.all_see_all().await;
    for id in IDS {
        for n in 0..3 {
            voters.register(&format!("{id}-{n}"), id).await;
        }
    }
    run_all(&voters, &IDS).await;
    voters
}

/// Waits until all names run on these nodes, once, and they know.
async fn run_all(voters: &Voters, on: &[&str]) {
    voters.all_run(on).await;
    for id in on {
        let running = || async {
            let all = voters.node(id).registered().await;
            (all.iter().filter(|found| found.state == "Running").count() >= 12).then_some(())
        };
        eventually(&format!("{id} knowing of all"), running).await;
    }
    assert_eq!(voters.cluster.overlaps(), "", "a name ran twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_four_voters_the_half_with_the_first_goes_on_and_the_other_half_parks_all() {
    let mut voters = four().await;
    for one in ["a", "d"] {
        for other in ["b", "c"] {
            voters.network.set(one, other, Way::Silent);
            voters.network.set(other, one, Way::Silent);
        }
    }
    for parked in ["b", "c"] {
        voters.refused(parked).await;
        voters.parked(parked).await;
    }
    run_all(&voters, &["a", "d"]).await;
    voters.register("meanwhile", "d").await;
    for parked in ["b", "c"] {
        assert_eq!(voters.node(parked).living().await, [], "{parked} has no majority");
    }
    voters.network.heal();
    voters.cluster.all_see_all().await;
    voters.register("afterwards", "b").await;
    run_all(&voters, &["a", "b", "c", "d"]).await;
    let found = eventually("what was registered", || async { voters.node("b").find("meanwhile").await }).await;
    assert_eq!((found.state.as_str(), &*found.pid.node), ("Running", "d"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voter_that_is_taken_away_is_not_counted_until_it_is_added_again() {
    let mut voters = four().await;
    let c = voters.node("c").clone();
    knows(&c, 1, &["a", "b", "c", "d"]).await;
    // Once more changes nothing.
    let list = eventually("the shorter list", || async { c.remove_voter("d").await.ok() }).await;
    assert_eq!((list.number, list.nodes), (2, ["a", "b", "c"].map(String::from).to_vec()));
    for id in ["a", "b", "d"] {
        knows(voters.node(id), 2, &["a", "b", "c"]).await;
    }
    // Two of four without the first would be none; two of three are a majority.
    voters.kill(&["a", "d"]).await;
    run_all(&voters, &["b", "c"]).await;
    voters.start(&["d"]).await;
    knows(voters.node("d"), 2, &["a", "b", "c"]).await;
    let list = eventually("the agreement of two of three", || async { c.add_voter("d").await.ok() }).await;
    assert_eq!((list.number, list.nodes.len()), (3, 4));
    for id in ["b", "d"] {
        knows(voters.node(id), 3, &["a", "b", "c", "d"]).await;
    }
    voters.register("afterwards", "d").await;
    run_all(&voters, &["b", "c", "d"]).await;
}
