//! Exits that no strategy is asked about: a node leaves, a conflict is lost, a later state turns up, a majority is lost.

use std::time::Duration;

use futures_util::future::join4;
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{Cause, Event, Exit, Mode, NodeId};
use sworm_tests::eventually;

use super::{ASKED, Always, Do, LOST, Mostly, Never, Start, TOLD, kind, locked};
use crate::{LEASE, node, opened, running};

/// What takes long on a busy machine.
const LONG: Duration = Duration::from_secs(40);

/// What is done to a worker of each strategy, and what its name is to begin with.
macro_rules! of_each {
    ($row:expr, $done:ident($($with:expr),*)) => {
        $done::<Always>(&format!("permanent-{}", $row), $($with),*).await;
        $done::<Mostly>(&format!("transient-{}", $row), $($with),*).await;
        $done::<Never>(&format!("temporary-{}", $row), $($with),*).await;
    };
}

/// What the hook `stopping` was told, in order.
fn told_so_far(name: &str) -> Vec<String> {
    let told = locked(&TOLD).get(name).cloned().unwrap_or_default();
    told.iter().map(|exit| exit.as_ref().map_or_else(|| "nothing".to_owned(), kind)).collect()
}

/// In the end each of the three has been told just that.
async fn told(row: &str, all: &[&str]) {
    for name in ["permanent", "transient", "temporary"].map(|strategy| format!("{strategy}-{row}")) {
        let is_told = || async { (told_so_far(&name).len() >= all.len()).then_some(()) };
        eventually(&format!("{name} told {all:?}"), is_told).await;
        assert_eq!(told_so_far(&name), all, "{name}");
    }
}

async fn registered<W: Lifecycle + From<Start>>(name: &str, on: (&Sworm, &NodeId)) {
    on.0.register(name, W::from(Start::Fine)).on(on.1).timeout(LONG).await.expect("free");
}

/// Waits until it runs on one of those nodes, as one sworm sees it, and answers there.
async fn runs<W: Lifecycle>(name: &str, sworm: &Sworm, on: &[&NodeId])
where
    Do: Request<W>,
{
    let there = || async { sworm.whereis(name).filter(|found| on.contains(&&found.pid.node)) };
    eventually(&format!("{name} on {on:?}"), there).await;
    running(sworm, name).await;
    let worker = sworm.whereis_name::<W>(name).expect("it is there");
    worker.call(Do::Nothing).timeout(LONG).await.expect("it runs");
}

/// A node that leaves hands over, and the last one takes its workers with it.
async fn leaves() {
    let [(a, on_a), (b, on_b)] = opened("s").await;
    of_each!("left", registered((&on_a, a.id())));
    a.leave().await.expect("it leaves");
    of_each!("left", runs(&on_b, &[b.id()]));
    told("left", &["Moved"]).await;
    b.leave().await.expect("it leaves");
    told("left", &["Moved", "Shutdown"]).await;
}

/// One of two loses.
async fn loses() {
    let network = MemoryNetwork::new();
    let (a, b) = (node(&network, "a").await, node(&network, "b").await);
    let (on_a, on_b) = (a.sworm("s").await.expect("it opens"), b.sworm("s").await.expect("it opens"));
    let both = || async { (on_a.nodes().len() == 2 && on_b.nodes().len() == 2).then_some(()) };
    eventually("both", both).await;
    of_each!("twice", registered((&on_a, a.id())));
    network.cut("a", "b");
    of_each!("twice", runs(&on_a, &[a.id()]));
    of_each!("twice", runs(&on_b, &[b.id()]));
    network.heal("a", "b");
    told("twice", &["Conflict"]).await;
    for name in ["permanent-twice", "transient-twice", "temporary-twice"] {
        let lost = || async { locked(&LOST).get(name).cloned() };
        let (winner, exit) = eventually("the hook of who has lost", lost).await;
        assert_eq!(exit, Some(Exit::Conflict { winner }), "{name}");
    }
    of_each!("twice", runs(&on_a, &[a.id(), b.id()]));
}

/// A node that is cut off parks its workers, and they go on where the majority is.
async fn loses_the_majority() {
    let network = MemoryNetwork::new();
    let mut all = Vec::new();
    for id in ["a", "b", "c"] {
        let node = node(&network, id).await;
        let sworm =
            node.sworm(SwormSpec::new("s").mode(Mode::Majority).expect_nodes(3).lease(LEASE)).await.expect("it opens");
        all.push((node, sworm));
    }
    let [(a, on_a), (b, _), (c, on_c)] = &all[..] else { unreachable!("there are three") };
    eventually("the voters", || async { on_c.voters().await.expect("it runs") }).await;
    of_each!("cut", registered((on_c, c.id())));
    network.cut("c", "a");
    network.cut("c", "b");
    told("cut", &["MajorityLost"]).await;
    of_each!("cut", runs(on_a, &[a.id(), b.id()]));
}

/// A node that is alone takes over what goes on elsewhere, and finds out when it meets the later state.
async fn is_superseded() {
    let (network, directory) = (MemoryNetwork::new(), tempfile::tempdir().expect("a directory"));
    let stored = || Node::builder("b").store(directory.path()).memory_network(&network).start();
    let (a, b, c) = (node(&network, "a").await, stored().await.expect("it starts"), node(&network, "c").await);
    let on_a = a.sworm("s").await.expect("it opens");
    let (on_b, on_c) = (b.sworm("s").await.expect("it opens"), c.sworm("s").await.expect("it opens"));
    for sworm in [&on_a, &on_b, &on_c] {
        eventually("all", || async { (sworm.nodes().len() == 3).then_some(()) }).await;
    }
    of_each!("late", registered((&on_c, c.id())));
    network.cut("a", "b");
    network.cut("a", "c");
    of_each!("late", runs(&on_a, &[a.id()]));
    c.leave().await.expect("it leaves");
    of_each!("late", runs(&on_b, &[b.id()]));
    b.leave().await.expect("it leaves");
    told("late", &["Moved", "Shutdown"]).await;
    let mut events = on_a.events();
    network.heal("a", "b");
    let b = stored().await.expect("it starts");
    b.sworm("s").await.expect("it opens");
    told("late", &["Moved", "Shutdown", "Superseded"]).await;
    let mut again = 0;
    while again < 3 {
        if let Event::Restarted { from, pid, cause, .. } = events.next().await.expect("it runs") {
            assert_eq!((&from.node, &pid.node, cause), (a.id(), a.id(), Cause::Conflict), "{pid}");
            again += 1;
        }
    }
    of_each!("late", runs(&on_a, &[a.id()]));
}

/// The rows of what is settled: under every strategy the same, and none is asked.
pub(super) async fn rows() {
    locked(&ASKED).clear();
    join4(leaves(), loses(), loses_the_majority(), is_superseded()).await;
    assert_eq!(*locked(&ASKED), [], "what is settled was asked of a strategy");
}
