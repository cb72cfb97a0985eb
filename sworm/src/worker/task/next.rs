//! What a worker's task waits for, beside `run`: it is told something, a message comes, a timer is due.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context as Polling, Poll};

use tokio::sync::mpsc;
use tokio::time::Sleep;

use super::showing::{Polls, run_until_asked};
use super::{Control, Ran, Task};
use crate::worker::Lifecycle;
use crate::worker::mailbox::Parcel;
use crate::worker::timers::Timers;

/// What the task does next.
pub(super) enum Next<W> {
    Message(Parcel<W>),
    Control(Option<Control>),
    Ran(Ran),
    /// `run` asked for something that it has to be dropped for.
    Asked,
}

/// The messages of the mailbox and those of timers, by turns where both have some.
pub(super) struct Incoming<W> {
    receiver: mpsc::Receiver<Parcel<W>>,
    timers: Timers<W>,
    /// Whether the last message was that of a timer.
    ticked: bool,
    wake: Option<Pin<Box<Sleep>>>,
}

impl<W> Incoming<W> {
    pub(super) fn new(receiver: mpsc::Receiver<Parcel<W>>, timers: Timers<W>) -> Self {
        Self { receiver, timers, ticked: false, wake: None }
    }

    /// Nothing is taken any more; gives what waits in the mailbox, one by one.
    pub(super) fn close(&mut self) -> Option<Parcel<W>> {
        self.receiver.close();
        self.receiver.try_recv().ok()
    }

    fn poll(&mut self, cx: &mut Polling<'_>) -> Poll<Option<Parcel<W>>> {
        let tick_first = self.timers.any() && !self.ticked;
        if tick_first && let Poll::Ready(parcel) = self.poll_timers(cx) {
            return Poll::Ready(Some(parcel));
        }
        if let Poll::Ready(parcel) = self.receiver.poll_recv(cx) {
            self.ticked = false;
            return Poll::Ready(parcel);
        }
        if tick_first { Poll::Pending } else { self.poll_timers(cx).map(Some) }
    }

    fn poll_timers(&mut self, cx: &mut Polling<'_>) -> Poll<Parcel<W>> {
        self.timers.poll_due(cx, &mut self.wake).map(|parcel| {
            self.ticked = true;
            Parcel::Local(parcel)
        })
    }
}

impl<W: Lifecycle> Task<W> {
    /// Lets the worker run until something is to be done. Says beside it whether `run` has repeated what it had sent before, and
    /// has not gone on since.
    pub(super) async fn next(&mut self, worker: &mut W) -> (Next<W>, bool) {
        let (due, polls) = (self.saver.due(), Polls::of(std::mem::take(&mut self.repeats)));
        let Self { control, incoming, activity, outbox, ctx, .. } = self;
        let asked = Arc::clone(&ctx.asked);
        let run = worker.run(ctx);
        let run = run_until_asked(&asked, activity, outbox.as_ref(), &polls, due, run);
        let mut run = pin!(run);
        let next = poll_fn(|cx| {
            if let Poll::Ready(control) = control.poll_recv(cx) {
                return Poll::Ready(Next::Control(control.map(|control| *control)));
            }
            loop {
                if let Poll::Ready(parcel) = incoming.poll(cx) {
                    return Poll::Ready(parcel.map_or(Next::Control(None), Next::Message));
                }
                if let Poll::Ready(ran) = run.as_mut().poll(cx) {
                    return Poll::Ready(ran.map_or(Next::Asked, Next::Ran));
                }
                // `run` may have set one that is due before all others.
                if !incoming.timers.has_news() {
                    return Poll::Pending;
                }
            }
        });
        let next = next.await;
        let stirred = polls.stirred.load(Relaxed);
        if stirred {
            self.saver.stirs();
        }
        self.stirred |= polls.touched.load(Relaxed);
        (next, polls.repeats && !stirred)
    }
}
