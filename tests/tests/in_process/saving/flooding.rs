//! With `snapshot = "each"` what a worker sends is held back until its state is durable: not without bound.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::GroupError;
use sworm::prelude::*;
use sworm_tests::eventually;

use super::{LONG, Life};

/// What is held back at most.
const THINGS: usize = 10_000;
const BYTES: usize = 32 << 20;

/// Casts more than it may.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "saving.talker", handles(Talk, Rest), snapshot = "each")]
struct Talker {
    count: u32,
}

/// Counts what comes.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "saving.listener", handles(Words, Count), mailbox = 20_000)]
struct Listener {
    count: usize,
}

#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.words")]
struct Words(#[serde(with = "serde_bytes")] Vec<u8>);

/// How many words have come.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.count", reply = usize)]
struct Count;

/// Casts words of so many bytes, until that is refused.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.talk", reply = Talked)]
struct Talk {
    bytes: usize,
}

/// Does nothing.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.rest")]
struct Rest;

/// How often it could, and what it was told of the rest.
#[derive(Debug, Serialize, Deserialize)]
struct Talked {
    casts: usize,
    refused: CallError,
    published: Result<usize, CallError>,
    joined: bool,
    set: bool,
}

impl Handler<Talk> for Talker {
    async fn handle(&mut self, Talk { bytes }: Talk, ctx: &mut Context<Self>) -> Talked {
        self.count += 1;
        let listener = ctx.sworm().whereis_name::<Listener>("listener").expect("it runs");
        let words = || Words(vec![7; bytes]);
        let mut casts = 0;
        let refused = loop {
            match listener.cast(words()).await {
                Ok(()) => casts += 1,
                Err(error) => break error,
            }
            assert!(casts <= THINGS, "all that is held back");
        };
        let published = ctx.sworm().publish("listeners", words()).await;
        let joined = ctx.join("talkers").await != Err(GroupError::Overloaded);
        let set = ctx.send_after(Duration::ZERO, Rest).is_pending();
        Talked { casts, refused, published, joined, set }
    }
}

impl Handler<Rest> for Talker {
    async fn handle(&mut self, _: Rest, _: &mut Context<Self>) {}
}

impl Handler<Words> for Listener {
    async fn handle(&mut self, _: Words, _: &mut Context<Self>) {
        self.count += 1;
    }
}

impl Handler<Count> for Listener {
    async fn handle(&mut self, _: Count, _: &mut Context<Self>) -> usize {
        self.count
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_sends_before_its_state_is_durable_is_bounded_and_it_is_told_what_does_not_leave() {
    let a = Life::alone().await;
    let listener = a.register("listener", Listener::default()).await;
    a.sworm.join("listeners", &listener).await.expect("it runs");
    let talker = a.register("talker", Talker::default()).await;
    let mut sent = 0;
    // Each time anew: what was held back has left.
    for round in 0..2 {
        let talked = talker.call(Talk { bytes: 8 }).timeout(LONG).await.expect("it is told, and goes on");
        assert_eq!((talked.casts, talked.refused), (THINGS, CallError::Overloaded), "round {round}");
        assert_eq!(talked.published, Err(CallError::Overloaded));
        assert!(!talked.joined && !talked.set, "as many are held back as may be");
        sent += talked.casts;
    }
    let talked = talker.call(Talk { bytes: 1 << 20 }).timeout(LONG).await.expect("it is told, and goes on");
    assert_eq!(
        (talked.casts, talked.refused),
        (BYTES / (1 << 20) - 1, CallError::Overloaded),
        "with what is around them"
    );
    assert_eq!(talked.published, Err(CallError::Overloaded));
    assert!(talked.joined && talked.set, "these are small");
    sent += talked.casts;
    eventually("all that was taken", || async { (listener.call(Count).await.ok()? >= sent).then_some(()) }).await;
    assert_eq!(listener.call(Count).await, Ok(sent), "and nothing that was refused");
    eventually("the group", || async { (a.sworm.members("talkers").len() == 1).then_some(()) }).await;
}
