//! A node that links no worker type.

use serde_json::Value;
use sworm::Sworm;
use sworm_tests::protocol::{Failure, TypedCommand};
use sworm_tests::server::{self, Typed};

struct Nothing;

impl Typed for Nothing {
    async fn typed(&self, _: Sworm, _: TypedCommand) -> Result<Value, Failure> {
        Err(server::missing("worker types"))
    }
}

fn main() {
    server::run(Nothing);
}
