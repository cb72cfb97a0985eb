//! What a node repairs that does not know any more what it runs.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::{BoxError, RegistrationState};
use sworm_tests::eventually;

use crate::{opened, running};

/// How many of them there are, and have been at a time.
static ALIVE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "repaired", handles(Total), lifecycle, handoff)]
struct Repaired {
    total: u32,
    #[serde(skip)]
    alive: Option<Alive>,
}

struct Alive;

impl Drop for Alive {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, SeqCst);
    }
}

impl Lifecycle for Repaired {
    async fn started(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        MOST.fetch_max(ALIVE.fetch_add(1, SeqCst) + 1, SeqCst);
        self.alive = Some(Alive);
        Ok(())
    }
}

#[derive(Message, Serialize, Deserialize)]
#[message(reply = u32, id = "repaired-total")]
struct Total(u32);

impl Handler<Total> for Repaired {
    async fn handle(&mut self, Total(more): Total, ctx: &mut Context<Self>) -> u32 {
        self.total += more;
        ctx.checkpoint().await.expect("it saves its state");
        self.total
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_of_whose_worker_its_node_knows_nothing_has_one_again_and_never_two() {
    let [(_a, on_a), (b, on_b)] = opened("s").await;
    let worker = on_a.register("x", Repaired::default()).on(b.id()).await.expect("free");
    assert_eq!(worker.call(Total(5)).await, Ok(5));
    let before = running(&on_b, "x").await.pid;
    sworm::internals::forget_worker(&on_b, "x");
    let again = eventually("another start", || async {
        let found = on_a.whereis("x")?;
        (found.state == RegistrationState::Running && found.pid.epoch > before.epoch).then_some(found)
    });
    assert_eq!(again.await.pid.node, *b.id());
    assert_eq!(worker.call(Total(1)).await, Ok(6));
    assert_eq!((ALIVE.load(SeqCst), MOST.load(SeqCst)), (1, 1));
}
