//! A worker that takes in what another one of its name has done.

use serde::{Deserialize, Serialize};
use sworm::BoxError;
use sworm::prelude::*;
use sworm_tests::living::Living;

use crate::workers::*;

/// Counts, and adds the thousands of a state that it lacked to its own total.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(
    name = "merging",
    handoff,
    lifecycle,
    handles(Add, AddDurable, Get, Where, Crash, Fail, Stop, Sleep, Block, Wait)
)]
pub(crate) struct Merging {
    total: i64,
    #[serde(skip)]
    failing: bool,
    #[serde(skip)]
    living: Option<Living>,
}

impl Merging {
    pub(crate) fn new(total: i64) -> Self {
        Self { total, ..Self::default() }
    }
}

impl Lifecycle for Merging {
    async fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), BoxError> {
        self.living.get_or_insert_with(|| Living::new(ctx.pid().clone()));
        Ok(())
    }

    async fn run(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        run(self.failing).await
    }

    async fn on_diverged(&mut self, other: Self, ctx: &mut Context<Self>) {
        self.total += other.total / 1_000 * 1_000;
        ctx.checkpoint().await.expect("the type has handoff");
    }
}

handlers!(Merging);
