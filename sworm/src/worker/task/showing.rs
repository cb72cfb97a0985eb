//! With `snapshot = "each"` what a worker's code sends waits until the state that it shows is durable, whichever hook sends
//! it.

use std::future::{Future, pending, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Sleep, sleep};

use super::save::{Due, Unsaved};
use super::{Activity, Asked, End, Ran, Task};
use crate::worker::outbox::{self, Outbox, TooLarge};
use crate::worker::{BoxError, Lifecycle};

/// How long what `run` sends is held back at most before it is dropped so that the state can be taken.
const RUN_HOLDS: Duration = Duration::from_millis(50);

impl<W: Lifecycle> Task<W> {
    /// Whether there is nothing to be saved or sent before the task goes on: so it is for most workers, most of the time.
    pub(super) fn is_settled(&self) -> bool {
        self.outbox.is_none() && !self.ctx.asked.checkpoint()
    }

    /// Whether something waits that hooks have sent.
    pub(super) fn holds_something(&self) -> bool {
        self.outbox.as_ref().is_some_and(|outbox| !outbox.is_empty())
    }

    /// Forgets what waits: the state that it shows is lost, or is not this worker's to tell.
    pub(super) fn forget_outbox(&self) {
        if let Some(outbox) = &self.outbox {
            outbox.clear();
        }
    }

    /// Saves the state if hooks have sent something, and sends that; or if the worker has asked for it. What cannot be told
    /// to a caller is told as an event.
    pub(super) async fn settle(&mut self, worker: &mut W) -> Option<End> {
        let asked = self.ctx.asked.take_checkpoint();
        let holds = self.holds_something();
        let as_begun = match holds && self.fresh {
            true => self.is_as_begun(worker),
            false => Ok(false),
        };
        let Ok(as_begun) = as_begun else { return self.is_given_up() };
        // What it has started from is durable.
        let due = asked || holds && !(as_begun && self.saver.is_restored());
        let end = self.settled(worker, due).await;
        self.unchanged = holds && (as_begun || due && self.saver.was_the_same());
        end
    }

    /// The same, and also if hooks may have changed the state: a call of the handler that comes next is not held back, and
    /// shows what the worker was before.
    pub(super) async fn settle_before(&mut self, worker: &mut W) -> Option<End> {
        if self.stirred && self.fresh && !self.holds_something() {
            match self.is_as_begun(worker) {
                Ok(as_begun) => self.stirred = !as_begun,
                Err(_) => return self.is_given_up(),
            }
        }
        let stirred = self.outbox.is_some() && self.stirred;
        if stirred { self.settled(worker, true).await } else { self.settle(worker).await }
    }

    /// It is over, and what it would have sent is not this worker's to send.
    fn is_given_up(&self) -> Option<End> {
        self.forget_outbox();
        Some(End::Stopped)
    }

    async fn settled(&mut self, worker: &mut W, due: bool) -> Option<End> {
        let saved = self.checkpoint(worker, due).await;
        match saved {
            Ok(()) if self.ctx.sworm.shared.may_go_on() => self.send_outbox().await,
            _ => self.forget_outbox(),
        }
        saved.err().and_then(|unsaved| self.tell_unsaved(unsaved))
    }

    pub(super) async fn send_outbox(&self) {
        if let Some(outbox) = &self.outbox {
            outbox.send(&self.ctx.sworm.shared).await;
        }
    }

    /// The worker is gone from here and its state is durable elsewhere: what it has sent last leaves, without anybody waiting
    /// for that. It may be for the one that comes next.
    pub(super) fn send_outbox_aside(&self) {
        if let Some(outbox) = self.outbox.clone().filter(|outbox| !outbox.is_empty()) {
            let sworm = self.ctx.sworm.shared.clone();
            tokio::spawn(outbox::of_sworm(sworm.clone(), async move { outbox.send(&sworm).await }));
        }
    }

    /// Notes what became of the newest state: calls and requests leave only when what they show is durable.
    pub(super) fn note_saved(&mut self, saved: &Result<(), Unsaved>) {
        let Some(outbox) = &self.outbox else { return };
        (self.stirred, self.fresh) = (false, false);
        outbox.refuse_calls(match saved {
            Err(Unsaved::TooLarge { bytes, limit }) => Some(TooLarge { bytes: *bytes, limit: *limit }),
            _ => None,
        });
    }
}

/// Runs people's code; what it sends is held back if there is an outbox.
pub(super) async fn held<T>(outbox: Option<&Arc<Outbox>>, code: impl Future<Output = T>) -> T {
    match outbox {
        Some(outbox) => outbox.hold(code).await,
        None => code.await,
    }
}

/// One call of `run`.
#[derive(Default)]
pub(super) struct Polls {
    /// Whether what it sends before its first wait has left already.
    pub(super) repeats: bool,
    /// Whether it can have reached the worker.
    pub(super) touched: AtomicBool,
    /// Whether it went on after a wait.
    pub(super) stirred: AtomicBool,
}

impl Polls {
    pub(super) fn of(repeats: bool) -> Self {
        Self { repeats, ..Self::default() }
    }
}

/// Runs `run` to its end, or to its first wait after it has asked for something, or to when the state is to be saved. It may
/// wait as long as it likes, but not block its thread.
pub(super) async fn run_until_asked(
    asked: &Asked,
    activity: &Activity,
    outbox: Option<&Arc<Outbox>>,
    polls: &Polls,
    due: Due,
    run: impl Future<Output = Result<(), BoxError>>,
) -> Option<Ran> {
    // One that keeps nothing, as the default does, cannot reach the worker, and nobody looks how long it takes.
    let keeps = size_of_val(&run) > 0;
    polls.touched.store(keeps, Relaxed);
    let mut run = pin!(AssertUnwindSafe(held(outbox, run)).catch_unwind());
    let mut due_at = pin!(async move {
        match due.at {
            Some(at) => tokio::time::sleep_until(at).await,
            None => pending().await,
        }
    });
    let mut holds_until: Option<Pin<Box<Sleep>>> = None;
    let mut polled_before = false;
    poll_fn(|cx| {
        if keeps {
            activity.begins("`run`");
        }
        let polled = run.as_mut().poll(cx);
        if keeps {
            activity.ends();
        }
        match polled {
            Poll::Ready(ran) => Poll::Ready(Some(ran)),
            Poll::Pending if asked.anything() => Poll::Ready(None),
            Poll::Pending => {
                if std::mem::replace(&mut polled_before, true) {
                    polls.stirred.store(true, Relaxed);
                } else if let Some(outbox) = outbox.filter(|_| polls.repeats) {
                    outbox.clear();
                }
                // A reply that it waits for comes first: it would call again and again.
                if outbox.is_some_and(|outbox| !outbox.is_empty() && !outbox.is_calling()) {
                    let until = holds_until.get_or_insert_with(|| Box::pin(sleep(RUN_HOLDS)));
                    if until.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(None);
                    }
                }
                let changed = due.changed || polls.stirred.load(Relaxed);
                if changed { due_at.as_mut().poll(cx).map(|()| None) } else { Poll::Pending }
            }
        }
    })
    .await
}
