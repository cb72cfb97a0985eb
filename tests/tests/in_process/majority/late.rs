//! A worker that does not stop in time when the majority is lost.

use std::future::pending;

use serde::{Deserialize, Serialize};
use sworm::Event;
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm_tests::eventually;

use super::{LONG, cut_off, id, opened};

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "majority-late", handles(Add, Wait), handoff, distribution = "local-first")]
struct Late {
    total: u32,
}

/// With its number, and whether it is saved.
#[derive(Message, Serialize, Deserialize)]
#[message(reply = u32, id = "majority-late-add")]
struct Add(u32, bool);

/// Is never handled to its end.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "majority-late-wait")]
struct Wait;

impl Handler<Add> for Late {
    async fn handle(&mut self, Add(n, save): Add, ctx: &mut Context<Self>) -> u32 {
        self.total += n;
        if save {
            ctx.checkpoint().await.expect("it saves its state");
        }
        self.total
    }
}

impl Handler<Wait> for Late {
    async fn handle(&mut self, _: Wait, _: &mut Context<Self>) {
        pending().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_does_not_stop_in_time_is_aborted_and_that_its_state_was_not_saved_is_told() {
    let network = MemoryNetwork::new();
    let all = opened(&network, &["a", "b", "c"], 3).await;
    let (on_a, on_c) = (&all[0].1, &all[2].1);
    let found = || async { on_c.whereis_or_register_name("alice", Late::default).await.ok() };
    let alice = eventually("its registration", found).await;
    let pid = alice.pid();
    assert_eq!(pid.node, id("c"));
    assert_eq!(alice.call(Add(5, true)).timeout(LONG).await, Ok(5));
    assert_eq!(alice.call(Add(1, false)).timeout(LONG).await, Ok(6));
    alice.cast(Wait).await.expect("it runs");
    let mut events = on_c.events();
    cut_off(&network, "c", &["a", "b"]);
    let mut unsaved = None;
    loop {
        match events.next().await.expect("it runs") {
            Event::SnapshotFailed { pid: of, reason } if of == pid => unsaved = Some(reason),
            Event::Parked { pid: of } if of == pid => break,
            _ => {}
        }
    }
    let unsaved = unsaved.expect("it is told before");
    assert!(unsaved.contains("aborted"), "{unsaved}");
    let there = on_a.whereis_name::<Late>("alice").expect("it is known");
    let total = eventually("the other side", || async { there.call(Add(0, false)).await.ok() }).await;
    assert_eq!(total, 5, "what was saved");
}
