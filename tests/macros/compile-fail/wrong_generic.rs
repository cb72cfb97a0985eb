use serde::{Deserialize, Serialize};
use sworm::prelude::*;

// Without the error of the derive all of this would stand, so nothing but the derive may complain.
#[derive(Worker, Serialize, Deserialize)]
#[worker(handles(Get))]
struct Cache<T> {
    items: Vec<T>,
}

impl<T> Handler<Get> for Cache<T>
where
    T: Serialize + for<'de> Deserialize<'de> + Send + 'static,
{
    async fn handle(&mut self, _get: Get, _ctx: &mut Context<Self>) {}
}

#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "ring")]
struct Ring<const N: usize> {
    items: Vec<u8>,
}

#[derive(Worker, Serialize)]
struct Borrowed<'a> {
    items: &'a [u8],
}

#[derive(Message, Serialize, Deserialize)]
struct Get;

#[derive(Message, Serialize, Deserialize)]
#[message(reply = bool)]
struct Put<T> {
    item: T,
}

async fn ask(cache: Ref<Cache<i64>>) {
    let _ = cache.call(Get).await;
}

fn main() {}
