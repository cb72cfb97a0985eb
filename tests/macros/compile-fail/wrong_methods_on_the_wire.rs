use std::rc::Rc;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;

#[derive(Worker, Serialize, Deserialize)]
#[worker(methods)]
struct Counter {
    total: i64,
}

struct NoSerde;

#[sworm::handlers]
impl Counter {
    async fn take(&mut self, _given: String) {}

    async fn give(&mut self) -> NoSerde {
        NoSerde
    }

    async fn hold(&mut self) {
        let held = Rc::new(1);
        std::future::ready(()).await;
        drop(held);
    }
}

fn called(counter: Ref<Counter>) {
    drop(counter.take(7));
}

fn main() {}
