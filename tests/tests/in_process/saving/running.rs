//! With `snapshot = "each"` what `run` sends waits, too, and is sent once.

use std::future::pending;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::{BoxError, Inbox};

use super::{Add, Life};
use crate::running;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.cry")]
struct Cry(i64);

/// Cries its sum whenever `run` is called, and then waits; or each time that this has passed.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "saving.crier", handles(Add), snapshot = "each", lifecycle)]
struct Crier {
    total: i64,
    period: Option<Duration>,
}

impl Lifecycle for Crier {
    async fn run(&mut self, ctx: &mut Context<Self>) -> Result<(), BoxError> {
        loop {
            ctx.sworm().whereis_name::<Inbox<Cry>>("log").ok_or("no log")?.cast(Cry(self.total)).await?;
            match self.period {
                Some(period) => tokio::time::sleep(period).await,
                None => pending().await,
            }
        }
    }
}

impl Handler<Add> for Crier {
    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> i64 {
        self.total += n;
        self.total
    }
}

async fn cry(log: &mut Inbox<Cry>) -> i64 {
    let cry = tokio::time::timeout(Duration::from_secs(40), log.recv()).await.expect("it comes");
    cry.expect("the node runs").0.0
}

#[tokio::test(flavor = "multi_thread")]
async fn what_run_sends_before_its_first_wait_is_sent_once_by_each_call_of_it() {
    let [a, b] = Life::pair().await;
    let mut log = b.sworm.attach_name::<Cry>("log").await.expect("free");
    running(&a.sworm, "log").await;
    let crier = a.register("x", Crier { total: 0, period: None }).await;
    assert_eq!(cry(&mut log).await, 0);
    for total in 1..=3 {
        let again = tokio::time::timeout(Duration::from_millis(500), log.recv()).await;
        assert!(again.is_err(), "it is sent again, though nothing has happened: {:?}", again.map(|_| ()));
        // `run` is called anew after a message.
        assert_eq!(crier.call(Add(1)).await, Ok(total));
        assert_eq!(cry(&mut log).await, total);
    }
    // So it is when it starts from what was saved.
    drop(a);
    assert_eq!(cry(&mut log).await, 3);
    let again = tokio::time::timeout(Duration::from_millis(500), log.recv()).await;
    assert!(again.is_err(), "it is sent again, though nothing has happened");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_run_sends_now_and_then_is_sent_no_sooner_for_being_saved() {
    const PERIOD: Duration = Duration::from_millis(300);
    let [a, b] = Life::pair().await;
    let mut log = b.sworm.attach_name::<Cry>("log").await.expect("free");
    running(&a.sworm, "log").await;
    let began = Instant::now();
    a.register("x", Crier { total: 0, period: Some(PERIOD) }).await;
    for periods in 0..4 {
        assert_eq!(cry(&mut log).await, 0);
        let took = began.elapsed();
        assert!(took >= PERIOD * periods, "{periods} periods have passed in {took:?}");
    }
}
