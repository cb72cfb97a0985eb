//! A node that is being emptied: what it says when that is not over in time or is called off, and what it opens meanwhile.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::internals::drain_within;
use sworm::prelude::*;
use sworm::{Drained, MoveError, RegisterError};
use sworm_tests::eventually;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::{Room, opened, running};

/// Does not let go of a message before it may.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "holding", handles(Hold))]
struct Holding;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "drains-hold")]
struct Hold;

static HOLDS: Semaphore = Semaphore::const_new(0);
static MAY_END: Semaphore = Semaphore::const_new(0);

impl Handler<Hold> for Holding {
    async fn handle(&mut self, _: Hold, _: &mut Context<Self>) {
        HOLDS.add_permits(1);
        MAY_END.acquire().await.expect("it is open").forget();
    }
}

/// The names that are still there, each with what is said of it.
fn stays(drained: &Drained) -> Vec<(&str, &str)> {
    drained.stays.iter().map(|stays| (&*stays.name, &*stays.why)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_is_late_or_called_off_says_what_has_gone_and_what_has_not_and_why() {
    let [(a, on_a), (b, on_b)] = opened("s").await;
    for name in ["room-1", "room-2"] {
        on_a.register(name, Room).on(a.id()).await.expect("free");
    }
    let _inbox = on_a.attach_name::<Hold>("task").await.expect("free");
    let holding = on_a.register("slow", Holding).on(a.id()).await.expect("free");
    holding.cast(Hold).await.expect("it runs");
    HOLDS.acquire().await.expect("it is open").forget();
    let draining = tokio::spawn({
        let a = a.clone();
        async move { a.drain().await }
    });
    for name in ["room-1", "room-2"] {
        eventually("its move", || async { (running(&on_a, name).await.pid.node == *b.id()).then_some(()) }).await;
    }
    let limit = Duration::from_millis(300);
    let late = drain_within(&a, limit).await;
    let Err(MoveError::NotEmptied { after, drained }) = late else { panic!("{late:?}") };
    assert_eq!((after, drained.moved), (limit, 2), "{drained:?}");
    let [("slow", slow), ("task", task)] = stays(&drained)[..] else { panic!("{drained:?}") };
    assert!(slow.starts_with("it is being handed to b") && task.contains("stays where it is"), "{drained:?}");
    // At once.
    a.undrain();
    let off = timeout(Duration::from_secs(20), draining).await.expect("in time").expect("it does not panic");
    let Err(MoveError::Undrained { drained }) = off else { panic!("{off:?}") };
    assert_eq!(drained.moved, 2, "{drained:?}");
    let [("slow", _), ("task", _)] = stays(&drained)[..] else { panic!("{drained:?}") };
    eventually("it taking part", || async { on_b.register("room-3", Room).on(a.id()).await.ok() }).await;
    // What is called off can be begun anew.
    MAY_END.add_permits(1);
    let drained = a.drain().await.expect("in time");
    let [("task", _)] = stays(&drained)[..] else { panic!("{drained:?}") };
    assert_eq!(running(&on_a, "slow").await.pid.node, *b.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_handed_over_is_reported_with_what_went_wrong() {
    let [(a, on_a), (_b, _on_b)] = opened("s").await;
    on_a.register("broken", Unsaved).on(a.id()).await.expect("free");
    let late = drain_within(&a, Duration::from_secs(5)).await;
    let Err(MoveError::NotEmptied { drained, .. }) = late else { panic!("{late:?}") };
    assert_eq!(drained.moved, 0);
    let [("broken", why)] = stays(&drained)[..] else { panic!("{drained:?}") };
    assert!(why.contains("cannot be saved now"), "{why}");
}

/// Has a state that cannot be encoded.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "unsaved", handoff = Part)]
struct Unsaved;

#[derive(Deserialize)]
struct Part;

impl Serialize for Part {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("cannot be saved now"))
    }
}

impl Handoff<Part> for Unsaved {
    fn save(&self) -> Part {
        Part
    }

    fn restore(&mut self, _: Part) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sworm_that_a_drained_node_opens_runs_nothing_there_until_it_is_undrained() {
    let [(a, _), (b, _)] = opened("s").await;
    a.drain().await.expect("in time");
    let [on_a, on_b] = [a.sworm("late").await.expect("it opens"), b.sworm("late").await.expect("it opens")];
    for sworm in [&on_a, &on_b] {
        eventually("the other", || async { (sworm.nodes().len() == 2).then_some(()) }).await;
    }
    match on_b.register("x", Room).on(a.id()).await {
        Err(RegisterError::NoCandidate { why }) => assert!(why.contains("a is being emptied"), "{why}"),
        other => panic!("{other:?}"),
    }
    for n in 0..20 {
        let room = on_a.register_name(format!("room-{n}"), Room).await.expect("free");
        assert_eq!(room.pid().node, *b.id());
    }
    assert_eq!(a.drain().await, Ok(Drained::default()), "it has nothing");
    a.undrain();
    let room = eventually("it taking part", || async { on_b.register("x", Room).on(a.id()).await.ok() }).await;
    assert_eq!(room.pid().node, *a.id());
    // One that is opened now is not drained.
    let again = a.sworm("again").await.expect("it opens");
    assert_eq!(again.register("x", Room).on(a.id()).await.expect("free").pid().node, *a.id());
}
