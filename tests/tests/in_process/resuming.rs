//! A worker that was to go stays, and its `started` fails when it goes on.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};
use sworm::transport::MemoryNetwork;
use sworm::{BoxError, Event, prelude::*};

use crate::node;

/// Ends for good with any end that its strategy is asked about.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "resuming", handles(Add), handoff, lifecycle, restart = "temporary")]
struct Reluctant {
    #[serde(serialize_with = "unless_it_cannot")]
    total: u32,
}

static CANNOT_BE_SAVED: AtomicBool = AtomicBool::new(false);
static STARTS_TO_FAIL: AtomicU32 = AtomicU32::new(0);

fn unless_it_cannot<S: Serializer>(total: &u32, to: S) -> Result<S::Ok, S::Error> {
    if CANNOT_BE_SAVED.load(SeqCst) { Err(S::Error::custom("not now")) } else { to.serialize_u32(*total) }
}

#[derive(Message, Serialize, Deserialize)]
#[message(reply = u32, id = "resuming.add")]
struct Add(u32);

impl Handler<Add> for Reluctant {
    async fn handle(&mut self, Add(n): Add, ctx: &mut Context<Self>) -> u32 {
        self.total += n;
        ctx.checkpoint().await.expect("it can be saved");
        self.total
    }
}

impl Lifecycle for Reluctant {
    async fn started(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        let fails = STARTS_TO_FAIL.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        if fails { Err("not yet".into()) } else { Ok(()) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_could_not_go_and_does_not_start_then_is_started_until_it_works_whatever_its_strategy() {
    let network = MemoryNetwork::new();
    let (a, b) = (node(&network, "a").await, node(&network, "b").await);
    let (on_a, _on_b) = (a.sworm("s").await.expect("it opens"), b.sworm("s").await.expect("it opens"));
    let worker = on_a.register("x", Reluctant::default()).on(a.id()).await.expect("free");
    let pid = worker.pid();
    assert_eq!(worker.call(Add(5)).await, Ok(5));
    let mut events = on_a.events();
    CANNOT_BE_SAVED.store(true, SeqCst);
    STARTS_TO_FAIL.store(2, SeqCst);
    on_a.move_name("x", b.id()).await.expect_err("nothing is given away without its state");
    CANNOT_BE_SAVED.store(false, SeqCst);
    for _ in 0..2 {
        loop {
            match events.next().await.expect("it runs") {
                Event::StartFailed { pid, reason, .. } if *pid.name == *"x" => {
                    assert!(reason.contains("not yet"), "{reason}");
                    break;
                }
                Event::Unregistered { .. } | Event::Failed { .. } => panic!("it is to be started again"),
                _ => {}
            }
        }
    }
    assert_eq!(worker.call(Add(1)).timeout(Duration::from_secs(60)).await, Ok(6), "from what was saved");
    let now = worker.pid();
    assert!(now.node == pid.node && now.epoch > pid.epoch, "{now}");
}
