//! A worker that never gives its state is given up: the next one starts from what was saved last, while the thread of the first
//! is still blocked.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::{join, ready};
use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::{Event, Events};
use sworm_tests::eventually;

use super::{Add, LONG, Life, sum};
use crate::events::next;
use crate::running;

/// How long saving may take in these tests.
const LIMIT: Duration = Duration::from_secs(3);

/// Makes the state durable.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.hanging.keep")]
struct Keep;

/// Adds two, and does not give the state from then on before that gate opens.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "saving.hanging.hang")]
struct Hang(usize);

/// What is saved.
#[derive(Serialize, Deserialize)]
struct Total(i64);

/// Where those who save are held up, and what has become of them.
struct Gate {
    is_open: AtomicBool,
    held: AtomicUsize,
    dropped: AtomicUsize,
}

static GATES: [Gate; 5] =
    [const { Gate { is_open: AtomicBool::new(false), held: AtomicUsize::new(0), dropped: AtomicUsize::new(0) } }; 5];

impl Gate {
    fn blocks(&self) {
        self.held.fetch_add(1, Relaxed);
        while !self.is_open.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Somebody is held up.
    async fn holds(&self) {
        eventually("that it saves", || ready((self.held.load(Relaxed) > 0).then_some(()))).await;
    }
}

/// Opens a gate in the end, also when the test has failed: the runtime waits for its threads.
struct Opens(&'static Gate);

impl Drop for Opens {
    fn drop(&mut self) {
        self.0.is_open.store(true, Relaxed);
    }
}

macro_rules! workers {
    ($($name:literal $worker:ident $([$($option:tt)*])?,)*) => {$(
        #[derive(Worker, Serialize, Deserialize, Default)]
        #[worker(name = $name, handles(Add, Keep, Hang), handoff = Total $(, $($option)*)?)]
        struct $worker {
            total: i64,
            gate: Option<usize>,
        }

        impl Handoff<Total> for $worker {
            fn save(&self) -> Total {
                if let Some(gate) = self.gate {
                    GATES[gate].blocks();
                }
                Total(self.total)
            }

            fn restore(&mut self, Total(total): Total) {
                self.total = total;
            }
        }

        impl Drop for $worker {
            fn drop(&mut self) {
                if let Some(gate) = self.gate {
                    GATES[gate].dropped.fetch_add(1, Relaxed);
                }
            }
        }

        impl Handler<Add> for $worker {
            async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> i64 {
                self.total += n;
                self.total
            }
        }

        impl Handler<Keep> for $worker {
            async fn handle(&mut self, _: Keep, ctx: &mut Context<Self>) {
                ctx.checkpoint().await.expect("it saves its state");
            }
        }

        impl Handler<Hang> for $worker {
            async fn handle(&mut self, Hang(gate): Hang, _: &mut Context<Self>) {
                self.total += 2;
                self.gate = Some(gate);
            }
        }
    )*};
}

workers!(
    "saving.hanging" Asked,
    "saving.hanging.paced" Paced [snapshot = "50ms"],
    "saving.hanging.each" Each [snapshot = "each"],
);

/// Waits for the event of which something is wanted.
async fn told<T>(events: &mut Events, of: impl Fn(&Event) -> Option<T>) -> T {
    loop {
        if let Some(told) = of(&next(events).await) {
            return told;
        }
    }
}

/// A worker that has saved 5 and has 7 by now hangs while its state is taken, for which something is done. It is followed by one
/// that goes on from 5 and can be unregistered, as others can follow it; and when the first one comes back that harms none.
async fn is_followed<W>(gate: usize, then: impl AsyncFnOnce(&[Life; 2], &Ref<W>))
where
    W: Lifecycle + Default + Handler<Add> + Handler<Keep> + Handler<Hang>,
    Add: Request<W>,
    Keep: Request<W>,
    Hang: Request<W>,
{
    let lives = Life::pair().await;
    let [a, _] = &lives;
    sworm::internals::limit_saves(&a.sworm, LIMIT);
    let worker = a.register("x", W::default()).await;
    assert_eq!(worker.call(Add(5)).timeout(LONG).await, Ok(5));
    worker.call(Keep).timeout(LONG).await.expect("it is durable");
    let (before, mut events) = (worker.pid(), a.sworm.events());
    let (gate, opens) = (&GATES[gate], Opens(&GATES[gate]));
    let goes_on = async {
        gate.holds().await;
        let why = told(&mut events, |event| match event {
            Event::SnapshotFailed { pid, reason } if *pid == before => Some(reason.to_string()),
            _ => None,
        });
        assert_eq!(why.await, "its state was not given within 3s");
        let next = told(&mut events, |event| match event {
            Event::RestoredOlder { pid, reason, .. } if reason.contains("could not be saved") => Some(pid.clone()),
            _ => None,
        });
        let next = next.await;
        assert!(next.node == *a.node.id() && next.epoch > before.epoch, "{next} follows {before}");
        assert_eq!(sum(&worker).await, 5, "it goes on from what was saved last");
        a.sworm.unregister_name("x").await.expect("nothing of it hangs");
        let anew = a.register("x", W::default()).await;
        assert_eq!(anew.call(Add(1)).timeout(LONG).await, Ok(1));

        let mut events = a.sworm.events();
        assert_eq!(gate.dropped.load(Relaxed), 0, "it is still held up");
        drop(opens);
        eventually("the end of the first", || ready((gate.dropped.load(Relaxed) == 1).then_some(()))).await;
        assert_eq!((sum(&anew).await, running(&a.sworm, "x").await.pid), (1, anew.pid()));
        // What was told before this has been told by then.
        drop(a.register("another", W::default()).await);
        told(&mut events, |event| {
            assert!(event.name().is_none_or(|name| **name == *"another"), "{event:?}");
            matches!(event, Event::Started { .. }).then_some(())
        })
        .await;
    };
    join(then(&lives, &worker), goes_on).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_is_to_move_is_followed_by_one_from_the_last_checkpoint() {
    is_followed::<Asked>(0, async |[a, b], worker| {
        worker.call(Hang(0)).timeout(LONG).await.expect("it runs");
        // The next one may be moved in its place.
        let _ = a.sworm.move_name("x", b.node.id()).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_was_asked_for_a_checkpoint_is_followed_and_does_not_acknowledge_it_later() {
    is_followed::<Asked>(1, async |_, worker| {
        worker.call(Hang(1)).timeout(LONG).await.expect("it runs");
        let kept = worker.call(Keep).timeout(LONG).await.expect_err("its state is not given");
        assert!(kept.is_unknown_outcome(), "{kept}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_is_saved_after_each_message_is_followed_and_does_not_reply_later() {
    is_followed::<Each>(2, async |_, worker| {
        let hung = worker.call(Hang(2)).timeout(LONG).await.expect_err("its state is not given");
        assert!(hung.is_unknown_outcome(), "{hung}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_that_is_saved_in_the_background_is_followed() {
    is_followed::<Paced>(3, async |_, worker| worker.call(Hang(3)).timeout(LONG).await.expect("it runs")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_name_whose_worker_does_not_give_its_state_can_be_unregistered() {
    let life = Life::alone().await;
    let (gate, opens) = (&GATES[4], Opens(&GATES[4]));
    let worker = life.register("x", Paced::default()).await;
    worker.call(Hang(4)).timeout(LONG).await.expect("it runs");
    gate.holds().await;
    // Nobody looks whether it gets on in the next seconds but who stops it.
    crate::ended(&life.sworm, "x").await;
    let anew = life.register("x", Paced::default()).await;
    assert_eq!(anew.call(Add(1)).timeout(LONG).await, Ok(1));
    assert_eq!(gate.dropped.load(Relaxed), 0, "it is still held up");
    drop(opens);
    eventually("the end of the first", || ready((gate.dropped.load(Relaxed) == 1).then_some(()))).await;
    assert_eq!((sum(&anew).await, running(&life.sworm, "x").await.pid), (1, anew.pid()));
}
