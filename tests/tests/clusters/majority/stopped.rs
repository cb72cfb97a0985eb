//! A process stands still, and goes on. Its links may come back one by one, and be gone around until then: what counts is that
//! all names run and are reached from everywhere.

use std::time::Duration;

use futures_util::future::join_all;
use sworm::Pid;
use sworm_tests::Process;
use sworm_tests::protocol::{Kind, Say};
use tokio::time::{Instant, sleep, sleep_until};

use super::voters::{LEASE_MS, Voters};

/// The shortest lease.
const SHORT_LEASE_MS: u64 = 1_000;
/// Longer than that, and shorter than the 2 s that its links live.
const SHORT: Duration = Duration::from_millis(1_500);
/// Shorter than the silence after which its names start elsewhere.
const UNMISSED: Duration = Duration::from_millis(4_000);
const LONG: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stood_still_for_longer_than_its_lease_goes_on_with_its_workers() {
    let mut voters = Voters::founded(&["a", "b", "c"], SHORT_LEASE_MS).await;
    let (a, c) = (voters.node("a").clone(), voters.node("c").clone());
    // On a machine that is busy it may stand still for too long: then once more.
    for _ in 0..10 {
        let before = on_c(&a).await;
        let began = Instant::now();
        c.freeze();
        sleep(SHORT).await;
        let meanwhile = on_c(&a).await;
        let stood = began.elapsed();
        c.resume();
        voters.add("c").await;
        voters.all_is_well(&["a", "b", "c"]).await;
        if stood < UNMISSED && !before.is_empty() {
            assert_eq!(meanwhile, before, "it was not missed: nobody else starts its workers");
            return;
        }
    }
    panic!("it never stood still for so short a time");
}

/// The workers on "c", as another node sees it.
async fn on_c(node: &Process) -> Vec<Pid> {
    let on_c = node.registered().await.into_iter().map(|found| found.pid).filter(|pid| pid.node.as_str() == "c");
    on_c.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stood_still_while_its_names_started_elsewhere_answers_nothing_from_an_old_state() {
    let mut voters = Voters::founded(&["a", "b", "c"], LEASE_MS).await;
    let until = Instant::now() + LONG;
    let c = voters.node("c").clone();
    c.freeze();
    voters.all_is_well(&["a", "b"]).await;
    voters.add("a").await;
    voters.add("b").await;
    sleep_until(until).await;
    // These wait at the door of the process: it carries them out as soon as it goes on.
    let totals = voters.totals();
    let asked = totals.iter().map(|(name, newest)| {
        let c = &c;
        async move {
            let (read, added) =
                tokio::join!(c.call(Kind::Held, name, Say::Get), c.call(Kind::Held, name, Say::AddDurable(1)));
            assert!(read.as_ref().map_or(true, |total| total >= newest), "{name}: {read:?} after {newest}");
            (name, added)
        }
    });
    let (answers, ()) = tokio::join!(join_all(asked), async {
        sleep(Duration::from_millis(200)).await; // so that they are there; nothing depends on it
        c.resume();
    });
    for (name, added) in answers {
        voters.record(name, &added);
    }
    voters.add("c").await;
    voters.all_is_well(&["a", "b", "c"]).await;
}
