//! Counters that differ in nothing but in how their states are saved.

use serde::{Deserialize, Serialize};
use sworm::prelude::*;

use super::Add;

macro_rules! counter {
    ($worker:ident, $name:literal, $keeps:literal $(, $($setting:tt)*)?) => {
        #[derive(Worker, Serialize, Deserialize, Default)]
        #[worker(name = $name, handles(Add) $(, $($setting)*)?)]
        pub(super) struct $worker {
            total: i64,
        }

        impl Handler<Add> for $worker {
            async fn handle(&mut self, Add(n): Add, ctx: &mut Context<Self>) -> i64 {
                self.total += n;
                // A reply to nothing but the sum saves nothing.
                if $keeps && n != 0 {
                    ctx.checkpoint().await.expect("it has handoff");
                }
                self.total
            }
        }
    };
}

counter!(Nothing, "saving.counters.none", false);
counter!(HandsOver, "saving.counters.handoff", false, handoff);
counter!(Checkpoints, "saving.counters.checkpoints", true, handoff);
counter!(LocalCheckpoints, "saving.counters.local-checkpoints", true, handoff, durable = "local");
counter!(Often, "saving.counters.often", false, snapshot = "10ms");
counter!(Every, "saving.counters.every", false, every = 1);
counter!(Each, "saving.counters.each", false, snapshot = "each");
counter!(LocalEach, "saving.counters.local-each", false, snapshot = "each", durable = "local");
