//! Two workers of one name meet when a cut heals: the loser is told, once, and can give the winner what it has.

use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm_tests::eventually;

use super::{node, running};

/// Counts, and gives what it counted to the worker that it lost against.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "merging counter", handles(Add), lifecycle)]
struct Counter {
    total: u64,
}

#[derive(Message, Serialize, Deserialize)]
#[message(reply = u64)]
struct Add(u64);

impl Handler<Add> for Counter {
    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> u64 {
        self.total += n;
        self.total
    }
}

/// Who was told that it has lost, and against whom.
static TOLD: Mutex<Vec<(Pid, Pid)>> = Mutex::new(Vec::new());

impl Lifecycle for Counter {
    async fn on_conflict(&mut self, other: Pid, ctx: &mut Context<Self>) {
        assert_eq!(ctx.this().pid(), other, "a call goes to the winner");
        ctx.this().call(Add(self.total)).await.expect("the winner takes it");
        TOLD.lock().expect("nobody panics").push((ctx.pid().clone(), other));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_loser_of_a_conflict_is_told_once_and_can_give_its_state_to_the_winner() {
    const NAMES: u64 = 12;
    let network = MemoryNetwork::new();
    let (a, b) = (node(&network, "a").await, node(&network, "b").await);
    let sides = [a.sworm("counters").await.expect("it opens"), b.sworm("counters").await.expect("it opens")];
    let both = || async { sides.iter().all(|side| side.nodes().len() == 2).then_some(()) };
    eventually("both", both).await;
    for n in 0..NAMES {
        sides[0].register_name(format!("name-{n}"), Counter::default()).await.expect("free");
    }
    network.cut("a", "b");
    // Each side goes on alone with all of the names.
    for (side, node, adds) in [(&sides[0], "a", 1), (&sides[1], "b", 100)] {
        for n in 0..NAMES {
            let name = format!("name-{n}");
            let here = || async { side.whereis(&name).filter(|found| found.pid.node == *node) };
            eventually("its own worker", here).await;
            running(side, &name).await;
            let counter = side.whereis_name::<Counter>(&name).expect("it runs");
            counter.call(Add(adds)).await.expect("it counts");
        }
    }
    network.heal("a", "b");
    for n in 0..NAMES {
        let name = format!("name-{n}");
        let sum = || async {
            let counter = sides[0].whereis_name::<Counter>(&name)?;
            counter.call(Add(0)).await.ok().filter(|total| *total == 101)
        };
        eventually("the sum of both sides", sum).await;
        let agreed = || async { (sides[0].whereis(&name)?.pid == sides[1].whereis(&name)?.pid).then_some(()) };
        eventually("one worker", agreed).await;
    }
    // They note it when the winner has answered them.
    let told = || async { Some(TOLD.lock().expect("nobody panics").clone()).filter(|told| told.len() >= 12) };
    let told = eventually("all losers being told", told).await;
    let names: std::collections::BTreeSet<String> = told.iter().map(|(loser, _)| loser.name.to_string()).collect();
    assert_eq!((told.len(), names.len()), (12, 12), "{told:?}");
    for (loser, winner) in &told {
        assert!(loser.name == winner.name && loser.node != winner.node, "{loser} against {winner}");
        assert_eq!(sides[1].whereis(&loser.name).expect("it runs").pid, *winner);
    }
}
