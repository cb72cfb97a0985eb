//! A disk that fills up: nothing more is acknowledged, the node stops and says why, the others take its work over, and
//! nothing that was acknowledged is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::store::{Space, Store};
use sworm::transport::MemoryNetwork;
use sworm::{Error, GroupError, LeaveError, OpenError, UnregisterError};
use sworm_tests::{FaultyStore, eventually};

const WHY: &str = "no space left on device";
const NAMES: usize = 4;

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "tally", handles(Add, Get, Crash), handoff)]
struct Tally {
    total: i64,
}

/// Adds and makes that durable.
#[derive(Message, Serialize, Deserialize)]
#[message(reply = i64)]
struct Add;

#[derive(Message, Serialize, Deserialize)]
#[message(reply = i64)]
struct Get;

impl Handler<Add> for Tally {
    async fn handle(&mut self, _: Add, ctx: &mut Context<Self>) -> i64 {
        self.total += 1;
        ctx.checkpoint().await.expect("the type has handoff");
        self.total
    }
}

#[derive(Message, Serialize, Deserialize)]
struct Crash;

impl Handler<Crash> for Tally {
    async fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        panic!("told to crash")
    }
}

impl Handler<Get> for Tally {
    async fn handle(&mut self, _: Get, _: &mut Context<Self>) -> i64 {
        self.total
    }
}

async fn start(id: &str, network: &MemoryNetwork, store: std::sync::Arc<dyn Store>) -> (Node, Sworm) {
    let node = Node::builder(id).memory_network(network).store_with(store).start().await.expect("it starts");
    let sworm = node.sworm("s").await.expect("it opens");
    (node, sworm)
}

/// Registers a name on a node and counts on it until that fails. Gives what was acknowledged: nothing, or the total.
async fn work(sworm: &Sworm, name: &str, on: &NodeId) -> Option<i64> {
    let tally = sworm.register(name, Tally::default()).on(on).await.ok()?;
    let mut acknowledged = 0;
    while acknowledged < 5 {
        match tally.call(Add).await {
            Ok(total) => acknowledged = total,
            Err(error) => {
                assert!(error.is_unknown_outcome(), "{error}");
                break;
            }
        }
    }
    Some(acknowledged)
}

#[track_caller]
fn tells<E: std::fmt::Debug>(error: &E, is: bool) {
    assert!(is && format!("{error:?}").contains(WHY), "{error:?}");
}

/// Whoever asks the node that has stopped is told why.
async fn is_stopped(node: &Node, sworm: &Sworm) {
    let why = node.stopped().await.expect("it did not stop because it was told to");
    assert!(why.contains("the store failed") && why.contains(WHY), "{why}");
    assert_eq!(node.failure(), Some(why));
    let error = node.sworm("another").await.expect_err("it has stopped");
    tells(&error, matches!(error, OpenError::NodeFailed { .. }));
    let error = sworm.register_name("late", Tally::default()).await.expect_err("it has stopped");
    tells(&error, matches!(error, RegisterError::NodeFailed { .. }));
    let error = sworm.unregister_name("late").await.expect_err("it has stopped");
    tells(&error, matches!(error, UnregisterError::NodeFailed { .. }));
    if let Some(found) = sworm.registered().first().and_then(|found| sworm.whereis_name::<Tally>(&found.name)) {
        let error = found.call(Get).await.expect_err("it has stopped");
        tells(&error, matches!(error, CallError::NodeFailed { .. }));
        let error = sworm.join("group", &found).await.expect_err("it has stopped");
        tells(&error, matches!(error, GroupError::NodeFailed { .. }));
    }
    let error = node.leave().await.expect_err("it has stopped");
    tells(&error, matches!(error, Error::Leave(LeaveError::Store(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn whenever_the_disk_fills_up_nothing_acknowledged_is_lost_and_the_others_go_on() {
    let network = MemoryNetwork::new();
    let (a, at_a) = start("a", &network, FaultyStore::new()).await;
    let (_c, _at_c) = start("c", &network, FaultyStore::new()).await;
    let mut store = FaultyStore::new();
    let mut acknowledged: BTreeMap<String, i64> = BTreeMap::new();
    for steps in 0..16 {
        let (b, at_b) = start("b", &network, store.clone()).await;
        eventually("all three in the sworm", || async { (at_a.nodes().len() == 3).then_some(()) }).await;
        store.fail_after(steps);
        // Half of them are asked for where the disk fills up, half elsewhere.
        let names: Vec<String> = (0..NAMES).map(|n| format!("{steps}-{n}")).collect();
        let working = names.iter().enumerate().map(|(n, name)| work([&at_a, &at_b][n % 2], name, b.id()));
        let results = join_all(working).await;
        eventually("the full disk", || async { store.has_failed().then_some(()) }).await;
        is_stopped(&b, &at_b).await;
        eventually("b being gone", || async {
            let members = a.members();
            members.iter().any(|member| *member.id == *"b" && member.state == MemberState::Down).then_some(())
        })
        .await;
        acknowledged.extend(names.into_iter().zip(results).filter_map(|(name, result)| Some((name, result?))));
        for (name, least) in &mut acknowledged {
            let tally = at_a.whereis_name::<Tally>(name).unwrap_or_else(|| panic!("{name} is lost"));
            // A call that was on its way to b when it went may be repeated: it changes nothing.
            let total = loop {
                match tally.call(Get).timeout(Duration::from_secs(40)).await {
                    Ok(total) => break total,
                    Err(error) => assert!(error.is_unknown_outcome(), "{name}: {error}"),
                }
            };
            // What had an unknown outcome may have happened, once.
            assert!((*least..=*least + 1).contains(&total), "{name}: {least} was acknowledged, now {total}");
            *least = total;
        }
        store = store.next_life();
    }
    assert!(acknowledged.values().any(|total| *total > 0), "it never came so far: {acknowledged:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_registrations_that_wait_are_told_when_the_disk_fills_up() {
    let network = MemoryNetwork::new();
    let store = FaultyStore::new();
    let (b, at_b) = start("b", &network, store.clone()).await;
    let (a, at_a) = start("a", &network, FaultyStore::new()).await;
    let here = at_b.register("here", Tally::default()).on(b.id()).await.expect("free");
    let there = at_a.register("there", Tally::default()).on(a.id()).await.expect("free");
    drop(there);
    let there = eventually("the other name", || async { at_b.whereis_name::<Tally>("there") }).await;
    let remote = eventually("the name", || async { at_a.whereis_name::<Tally>("here") }).await;
    // All of these wait for a sync of b's, here or as the replica.
    store.hold(true);
    let registering = tokio::spawn({
        let (at_b, on) = (at_b.clone(), b.id().clone());
        async move { at_b.register("new", Tally::default()).on(&on).await }
    });
    let remote = tokio::spawn(async move { remote.call(Add).await });
    let [here, there] = [here, there].map(|to| tokio::spawn(async move { to.call(Add).await }));
    // The registration, two states of the one here, and the copy of the one there.
    eventually("all of them waiting", || async { (store.unsynced() >= 3).then_some(()) }).await;
    store.fail_after(0);
    store.hold(false);
    let error = here.await.expect("it does not panic").expect_err("nothing is acknowledged");
    assert!(error.is_unknown_outcome(), "{error}");
    let error = there.await.expect("it does not panic").expect_err("nobody brings the reply");
    tells(&error, matches!(error, CallError::NodeFailed { .. }));
    let error = registering.await.expect("it does not panic").expect_err("nothing is acknowledged");
    tells(&error, matches!(error, RegisterError::NodeFailed { .. }));
    let error = remote.await.expect("it does not panic").expect_err("nothing is acknowledged");
    assert!(error.is_unknown_outcome(), "{error}");
    is_stopped(&b, &at_b).await;
}

/// Two nodes that hold the state of a worker on the first.
async fn pair(network: &MemoryNetwork) -> [(Node, Sworm, std::sync::Arc<FaultyStore>); 2] {
    let stores = [FaultyStore::new(), FaultyStore::new()];
    let (a, at_a) = start("a", network, stores[0].clone()).await;
    let (b, at_b) = start("b", network, stores[1].clone()).await;
    eventually("both in the sworm", || async { (at_a.nodes().len() == 2).then_some(()) }).await;
    let tally = at_a.register("tally", Tally::default()).on(a.id()).await.expect("free");
    for total in 1..=3 {
        assert_eq!(tally.call(Add).await, Ok(total));
    }
    assert!(stores.iter().all(|store| store.has_any(Space::Snapshots)));
    let [of_a, of_b] = stores;
    [(a, at_a, of_a), (b, at_b, of_b)]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_a_node_lost_with_its_store_is_made_up_for_when_it_is_back() {
    let network = MemoryNetwork::new();
    let [(a, _, _), (b, ..)] = pair(&network).await;
    b.close().await.expect("it closes");
    let empty = FaultyStore::new();
    let (_b, at_b) = start("b", &network, empty.clone()).await;
    eventually("the copy", || async { empty.has_any(Space::Snapshots).then_some(()) }).await;
    a.close().await.expect("it closes");
    eventually("it running there", || async {
        at_b.whereis("tally").is_some_and(|found| found.pid.node == "b").then_some(())
    })
    .await;
    assert_eq!(at_b.whereis_name::<Tally>("tally").expect("it is there").call(Get).await, Ok(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_own_copy_is_damaged_starts_from_another_one() {
    let network = MemoryNetwork::new();
    let [(_a, at_a, store), (_b, ..)] = pair(&network).await;
    store.damage(Space::Snapshots);
    let tally = at_a.whereis_name::<Tally>("tally").expect("it runs");
    let before = tally.pid();
    tally.call(Crash).await.expect_err("it crashes");
    eventually("its next start", || async { (tally.pid() != before).then_some(()) }).await;
    assert_eq!(tally.call(Get).await, Ok(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_cannot_be_read_at_first_is_read_again_and_is_not_taken_for_gone() {
    let store = FaultyStore::new();
    let (_node, sworm) = start("a", &MemoryNetwork::new(), store.clone()).await;
    let tally = sworm.register_name("tally", Tally::default()).await.expect("free");
    for total in 1..=3 {
        assert_eq!(tally.call(Add).await, Ok(total));
    }
    let before = tally.pid();
    store.fail_reads(2);
    tally.call(Crash).await.expect_err("it crashes");
    eventually("its next start", || async { (tally.pid() != before).then_some(()) }).await;
    assert_eq!(tally.call(Get).await, Ok(3));
    assert_eq!(store.reads_to_fail(), 0, "it was tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_told_to_stop_gives_no_reason() {
    let (node, sworm) = start("a", &MemoryNetwork::new(), FaultyStore::new()).await;
    let waiting = tokio::spawn({
        let node = node.clone();
        async move { node.stopped().await }
    });
    node.close().await.expect("it closes");
    assert_eq!(waiting.await.expect("it does not panic"), None);
    let error = sworm.register_name("late", Tally::default()).await.expect_err("it has stopped");
    assert!(matches!(error, RegisterError::Stopped), "{error}");
}
