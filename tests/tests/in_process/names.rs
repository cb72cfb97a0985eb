//! Names that tasks of one's own have taken.

use std::sync::Mutex;

use serde::{Deserialize, Deserializer, Serialize};
use sworm::prelude::*;
use sworm::{CallError, RegisterError};
use tokio::task::{Id, try_id};

use super::{Room, gone, opened, running};

#[derive(Message, Serialize, Deserialize)]
#[message(reply = u32)]
struct Ping;

#[tokio::test(flavor = "multi_thread")]
async fn dropping_an_inbox_whose_name_was_taken_from_it_leaves_the_names_next_owner_alone() {
    let [(_a, on_a), (b, on_b)] = opened("s").await;
    let mut inbox = on_a.attach_name::<Ping>("name").await.expect("free");
    running(&on_b, "name").await;
    on_b.unregister_name("name").await.expect("it is there");
    assert!(inbox.recv().await.is_none());
    let room = on_b.register("name", Room).on(b.id()).await.expect("free");
    drop(inbox);
    // The decider of the name takes what one node asks for in order.
    let taken = on_a.register_name("name", Room).await.expect_err("the room has it");
    assert_eq!(taken, RegisterError::AlreadyRegistered { pid: room.pid(), worker_type: "room".into() });
    assert_eq!(running(&on_b, "name").await.pid, room.pid());
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_an_inbox_takes_its_own_name_away() {
    let [(_a, on_a), (_b, on_b)] = opened("s").await;
    let inbox = on_a.attach_name::<Ping>("name").await.expect("free");
    running(&on_b, "name").await;
    drop(inbox);
    gone(&on_b, "name").await;
}

/// Notes which task decodes it.
#[derive(Message, Serialize)]
#[message(id = "names.noting", reply = u32)]
struct Noting(u32);

static DECODED_BY: Mutex<Vec<Option<Id>>> = Mutex::new(Vec::new());

impl<'de> Deserialize<'de> for Noting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let n = u32::deserialize(deserializer)?;
        DECODED_BY.lock().expect("whole").push(try_id());
        assert_ne!(n, 1, "told to panic");
        if n == 2 { Err(serde::de::Error::custom("told to fail")) } else { Ok(Self(n)) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_from_another_node_is_decoded_by_the_task_that_takes_it() {
    let [(_a, on_a), (_b, on_b)] = opened("s").await;
    let mut inbox = on_b.attach_name::<Noting>("task").await.expect("free");
    running(&on_a, "task").await;
    let there = on_a.whereis_name::<Inbox<Noting>>("task").expect("it runs");
    let taking = tokio::spawn(async move {
        let (Noting(n), to) = inbox.recv().await.expect("one that can be decoded");
        to.send(n);
        (try_id(), inbox)
    });
    for (n, why) in [(1, "told to panic"), (2, "told to fail")] {
        let refused = there.call(Noting(n)).await.expect_err("it cannot be decoded");
        let said = matches!(&refused, CallError::Undecodable { why: said, .. } if said.contains(why));
        assert!(said && !refused.is_unknown_outcome(), "{refused}");
    }
    assert_eq!(there.call(Noting(3)).await, Ok(3));
    let (taker, _inbox) = taking.await.expect("it does not panic");
    assert_eq!(*DECODED_BY.lock().expect("whole"), [taker; 3], "nobody else runs its code");
}
