//! Names that tasks of one's own have taken.

use serde::{Deserialize, Serialize};
use sworm::RegisterError;
use sworm::prelude::*;

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
