//! The last state of a worker cannot be had when its node leaves: the next one starts from what was saved, and that is told.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use sworm::prelude::*;
use sworm::{Event, Events};

use super::{Add, Life, sum};
use crate::running;

/// How saving it goes.
#[derive(Serialize, Deserialize, Default, Clone, Copy, PartialEq, Eq)]
enum How {
    #[default]
    Well,
    Fails,
    Panics,
    Hangs,
}

/// Adds, and can be told how saving it goes from now on.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "saving.fragile", handles(Add, Keep, Break), handoff = Part)]
struct Fragile {
    total: i64,
    how: How,
}

#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.fragile.keep")]
struct Keep;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.fragile.break")]
struct Break(How);

impl Handler<Add> for Fragile {
    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> i64 {
        self.total += n;
        self.total
    }
}

impl Handler<Keep> for Fragile {
    async fn handle(&mut self, _: Keep, ctx: &mut Context<Self>) {
        ctx.checkpoint().await.expect("it saves its state");
    }
}

impl Handler<Break> for Fragile {
    async fn handle(&mut self, Break(how): Break, _: &mut Context<Self>) {
        self.how = how;
    }
}

#[derive(Serialize, Deserialize)]
struct Part {
    total: i64,
    #[serde(serialize_with = "or_fails")]
    fails: bool,
}

fn or_fails<S: Serializer>(fails: &bool, to: S) -> Result<S::Ok, S::Error> {
    if *fails { Err(serde::ser::Error::custom("it cannot be saved now")) } else { to.serialize_bool(false) }
}

/// Whoever hangs may go on.
static OVER: AtomicBool = AtomicBool::new(false);

impl Handoff<Part> for Fragile {
    fn save(&self) -> Part {
        assert!(self.how != How::Panics, "told to panic");
        while self.how == How::Hangs && !OVER.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
        Part { total: self.total, fails: self.how == How::Fails }
    }

    fn restore(&mut self, part: Part) {
        self.total = part.total;
    }
}

async fn told(events: &mut Events, matching: impl Fn(&Event) -> bool) {
    let told = async {
        while let Some(event) = events.next().await {
            if matching(&event) {
                return;
            }
        }
        panic!("it was not told");
    };
    tokio::time::timeout(Duration::from_secs(60), told).await.expect("it is told");
}

/// A worker that has saved 5 and has 7 by now, whose node leaves.
async fn leaves(how: How) {
    let [a, b] = Life::pair().await;
    let fragile = a.register("x", Fragile::default()).await;
    assert_eq!(fragile.call(Add(5)).await, Ok(5));
    fragile.call(Keep).await.expect("it is durable");
    assert_eq!(fragile.call(Add(2)).await, Ok(7));
    fragile.call(Break(how)).await.expect("it runs");
    let before = fragile.pid();
    let (mut on_a, mut on_b) = (a.sworm.events(), b.sworm.events());
    let left = tokio::spawn(async move { a.node.leave_within(Duration::from_secs(1)).await });
    told(&mut on_a, |event| matches!(event, Event::SnapshotFailed { pid, .. } if *pid == before)).await;
    told(&mut on_b, |event| matches!(event, Event::RestoredOlder { name, reason, .. } if **name == *"x" && reason.contains("could not be saved"))).await;
    assert_eq!(running(&b.sworm, "x").await.pid.node, *b.node.id());
    let next = b.sworm.whereis_name::<Fragile>("x").expect("it runs");
    assert_eq!(sum(&next).await, 5, "the last that is durable");
    OVER.fetch_or(how == How::Hangs, Relaxed);
    let _ = left.await.expect("it does not panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_cannot_be_encoded_when_its_node_leaves_is_told_on_both_sides() {
    leaves(How::Fails).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_panicked_over_when_its_node_leaves_is_told_on_both_sides() {
    leaves(How::Panics).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_never_given_when_its_node_leaves_is_told_on_both_sides() {
    leaves(How::Hangs).await;
}
