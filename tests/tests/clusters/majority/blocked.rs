//! Workers that cannot be stopped: they block their threads for ever.

use std::os::unix::process::ExitStatusExt;

use sworm_tests::eventually;
use sworm_tests::protocol::{Command, Kind, Say};
use sworm_tests::relay::Way;

use super::voters::{LEASE_MS, Voters};

const SIGABRT: i32 = 6;

const CUT_OFF: &str = "this node has no majority any more";
const STOPPED: &str = "this node has stopped, its majority has ended since";

/// A worker of node c blocks its thread.
async fn blocked(voters: &Voters) {
    voters.node("a").cast(Kind::Held, "c-0", Say::Block).await.expect("it is sent");
    let node = voters.node("a").clone();
    let probe = || async {
        // That it is slow is not enough: another worker there answers.
        node.call_within(Kind::Held, "c-1", Say::Get, Some(1_000)).await.ok()?;
        node.call_within(Kind::Held, "c-0", Say::Get, Some(1_000)).await.err()
    };
    eventually("its thread being blocked", probe).await;
}

async fn ends_before_the_others_start_it(voters: &mut Voters, why: &str) {
    let ended = voters.node("c").gone().await;
    assert_eq!(ended.signal(), Some(SIGABRT), "{ended}");
    let log = voters.node("c").log();
    assert!(log.contains(&format!("{why}, and a worker did not stop within 3s")), "{log}");
    voters.cluster.bury("c");
    voters.network.gone("c").await;
    voters.all_is_well(&["a", "b"]).await;
    voters.add("b").await;
    voters.network.heal();
    voters.start(&["c"]).await;
    voters.cluster.all_see_all().await;
    voters.add("c").await;
    voters.all_is_well(&["a", "b", "c"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_cut_off_with_a_worker_that_does_not_stop_ends_before_the_others_start_it() {
    let mut voters = Voters::founded(&["a", "b", "c"], LEASE_MS).await;
    blocked(&voters).await;
    voters.cut_off("c", Way::Silent);
    ends_before_the_others_start_it(&mut voters, CUT_OFF).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_node_stops_while_a_worker_does_not_ends_before_the_others_start_it() {
    let mut voters = Voters::founded(&["a", "b", "c"], LEASE_MS).await;
    blocked(&voters).await;
    voters.node("c").ask(Command::Close).await.expect("it waits for no worker for ever");
    ends_before_the_others_start_it(&mut voters, STOPPED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_threads_are_all_blocked_ends_before_the_others_start_its_names() {
    let mut voters = Voters::founded(&["a", "b", "c"], LEASE_MS).await;
    // More than it has threads; links and heartbeats of the network's own threads go on.
    voters.block_all("c").await;
    ends_before_the_others_start_it(&mut voters, CUT_OFF).await;
}
