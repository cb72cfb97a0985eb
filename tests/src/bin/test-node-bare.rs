//! A node that links no worker type.

use serde_json::Value;
use sworm::{Explanation, Sworm};
use sworm_tests::protocol::{Failure, Kind, TypedCommand};
use sworm_tests::server::{self, Typed};

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
