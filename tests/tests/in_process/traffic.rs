//! Calls and casts of several nodes while their workers move.

use std::time::Duration;

use sworm_tests::traffic::{self, Load};

use crate::opened;

/// With `SWORM_MESSAGES=1000000 SWORM_MOVES=1000` it is a million calls.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "how much there was is worth a look when all is well, too")]
async fn messages_to_workers_that_move_are_handled_once_in_order_and_every_reply_has_its_effect() {
    let limit = Duration::from_secs(40);
    let load =
        Load { calls: 5_000, moves: 20, workers: 12, senders: 4, together: 4, casts: true, hurry: 0, limit }.scaled();
    let report = traffic::run(&opened::<3>("s").await, load).await.unwrap_or_else(|why| panic!("{why}"));
    println!("{report}");
    assert!(
        report.errors.is_empty() && report.cast_errors.is_empty(),
        "where no node fails, a move fails no call: {report}"
    );
    assert!(report.calls >= load.calls && report.replies == report.calls, "{report}");
    assert!(report.moves >= load.moves && report.casts > 0, "{report}");
    assert_eq!(report.lost, 0, "casts do not follow their workers: {report}");
}
