//! A node that links hardly any worker type: one, in an older version.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sworm::Explanation;
use sworm::prelude::*;
use sworm_tests::protocol::{Failure, Kind, TypedCommand};
use sworm_tests::server::{self, Typed};

/// The others have its version 2.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "newer", handoff)]
struct Older {
    total: i64,
}

struct Nothing;

impl Typed for Nothing {
    async fn typed(&self, _: Sworm, _: TypedCommand) -> Result<Value, Failure> {
        Err(server::missing("worker types"))
    }

    async fn explain(&self, sworm: Sworm, _: Kind, name: String) -> Explanation {
        sworm.explain(name).await
    }
}

fn main() {
    server::run(Nothing);
}
