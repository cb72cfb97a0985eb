use serde::{Deserialize, Serialize};
use sworm::prelude::*;

#[derive(Worker, Serialize, Deserialize)]
#[worker(methods)]
struct Counter {
    total: i64,
}

#[sworm::handlers]
impl Counter {
    async fn add<T>(&mut self, n: T) -> i64
    where
        T: Into<i64>,
    {
        self.total += n.into();
        self.total
    }

    async fn label(&mut self, _text: &str, _any: impl Into<String>) -> &str {
        "label"
    }

    async fn pair(&mut self, (a, b): (i64, i64)) -> impl Sized {
        a + b
    }

    async fn end(self) {}

    async fn boxed(self: Box<Self>) {}

    async fn tell(&mut self, _ctx: &mut Context<Self>, _n: i64) {}

    async fn call(&self, n: i64) -> i64 {
        n
    }

    #[message(reply = i64, id = "")]
    async fn total(&self) -> i64 {
        self.total
    }

    #[message(id = "now")]
    fn now(&self) -> i64 {
        self.total
    }

    #[message(name = "later")]
    async fn later(&self) {}
}

#[derive(Worker, Serialize, Deserialize)]
#[worker(methods)]
struct Silent;

#[derive(Worker, Serialize, Deserialize)]
struct Once;

#[sworm::handlers]
impl Once {
    async fn ask(&self) {}
}

#[sworm::handlers]
impl Once {
    async fn tell(&self) {}
}

#[derive(Worker, Serialize, Deserialize)]
#[worker(methods)]
struct Empty;

#[sworm::handlers(id = "empty")]
impl Empty {
    fn nothing(&self) {}
}

#[sworm::handlers]
impl Handler<CounterTotal> for Silent {
    async fn handle(&mut self, _: CounterTotal, _: &mut Context<Self>) {}
}

struct Generic<T>(T);

#[sworm::handlers]
impl<T> Generic<T> {
    async fn first(&self) -> &T {
        &self.0
    }
}

#[sworm::handlers]
struct NoBlock;

fn main() {}
