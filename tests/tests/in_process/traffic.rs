//! Calls and casts of several nodes while their workers move.

use crate::load::{self, Load};
use crate::opened;

/// With `SWORM_MESSAGES=1000000 SWORM_MOVES=1000` it is a million.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "how much there was is worth a look when all is well, too")]
async fn messages_to_workers_that_move_are_handled_once_in_order_and_every_reply_has_its_effect() {
    let number = |name, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (messages, moves) = (number("SWORM_MESSAGES", 10_000), number("SWORM_MOVES", 20));
    let nodes = opened::<3>("s").await;
    let load = Load { messages, moves, workers: 12, senders: 4, together: 4 };
    match load::run(&nodes, load).await {
        Ok(report) => {
            println!("{report}");
            assert!(report.errors.is_empty(), "where no node fails, a move fails no call: {report}");
            assert!(report.sent >= messages && report.moves >= moves, "{report}");
            assert_eq!(report.lost, 0, "nobody moved so often that its casts could not follow: {report}");
        }
        Err(why) => panic!("{why}"),
    }
}
