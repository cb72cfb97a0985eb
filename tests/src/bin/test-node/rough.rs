//! A worker that panics in its hooks.

use serde::{Deserialize, Serialize};
use sworm::BoxError;
use sworm::prelude::*;
use sworm_tests::living::Living;

use crate::workers::*;

/// Counts, and panics in the hook that its name begins with: `started`, `stopping`, `saving` or `restoring`.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "rough", handoff = Saved, lifecycle, handles(Add, AddDurable, Get, Where, Crash, Fail, Stop, Sleep, Block, Wait))]
pub(crate) struct Rough {
    total: i64,
    #[serde(skip)]
    name: String,
    #[serde(skip)]
    failing: bool,
    #[serde(skip)]
    living: Option<Living>,
}

/// What is handed over of it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Saved {
    total: i64,
    name: String,
}

fn is_in(hook: &str, name: &str) {
    assert!(!name.starts_with(hook), "told to panic in {hook}");
}

impl Rough {
    pub(crate) fn new(total: i64) -> Self {
        Self { total, ..Self::default() }
    }
}

impl Handoff<Saved> for Rough {
    fn save(&self) -> Saved {
        is_in("saving", &self.name);
        Saved { total: self.total, name: self.name.clone() }
    }

    fn restore(&mut self, Saved { total, name }: Saved) {
        is_in("restoring", &name);
        self.total = total;
    }
}

impl Lifecycle for Rough {
    async fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), BoxError> {
        self.living.get_or_insert_with(|| Living::new(ctx.pid().clone()));
        self.name = ctx.name().to_owned();
        is_in("started", &self.name);
        Ok(())
    }

    async fn run(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        run(self.failing).await
    }

    async fn stopping(&mut self, _: &mut Context<Self>) {
        is_in("stopping", &self.name);
    }
}

handlers!(Rough);
