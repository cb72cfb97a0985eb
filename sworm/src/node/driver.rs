//! Runs one core: feeds it what happens, and performs what it decides.

use std::future::{poll_fn, ready};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::Life;
use super::disk::Disk;
use super::sworm::{Look, Opened, SwormShared};
use super::unread::Unread;
use crate::core::{Core, Input, Now};
use crate::store::{StoreError, Ticket};
use crate::strategy::Exit;

mod performing;
mod telling;
mod workers;

/// How many inputs are taken before their effects are performed.
const BATCH: usize = 1024;
/// How often it is waited for what comes of that at once.
const ROUNDS: usize = 4;

/// What drives a core.
pub(crate) struct Driver {
    pub(crate) shared: Arc<SwormShared>,
    pub(crate) core: Core,
    pub(crate) disk: Disk,
    pub(crate) inputs: mpsc::UnboundedReceiver<Input>,
    pub(crate) unread: mpsc::UnboundedReceiver<Option<Unread>>,
    pub(crate) looks: mpsc::UnboundedReceiver<Look>,
    pub(crate) opened: watch::Sender<Opened>,
    pub(crate) syncs: mpsc::UnboundedSender<(u64, Ticket)>,
}

impl Driver {
    /// Runs until the node stops, or the sworm is closed because it could not be opened.
    pub(crate) async fn run(mut self) {
        let mut stopped = self.shared.node.stopping();
        loop {
            // A time span, not an instant: the runtime's clock may be a paused one, which runs ahead of the node's.
            let tick = self.shared.node.until(self.core.next_tick_ms());
            let input = tokio::select! {
                _ = stopped.wait_for(Life::is_over) => break,
                () = self.shared.closing.notified() => break,
                // A tick that is due waits for nothing that is there to be read.
                () = ready(()), if tick.is_zero() => Some(Input::Tick),
                input = self.inputs.recv(), if !tick.is_zero() => input,
                Some(look) = self.looks.recv() => {
                    self.shared.at_work.store(true, Relaxed);
                    look(&mut self.core);
                    self.shared.at_work.store(false, Relaxed);
                    continue;
                }
                () = sleep(tick), if !tick.is_zero() => Some(Input::Tick),
            };
            self.shared.at_work.store(true, Relaxed);
            if let Err(error) = self.take_all(input).await {
                self.shared.node.store_failed(error);
                break;
            }
            self.shared.at_work.store(false, Relaxed);
        }
        self.shared.stopped();
    }

    /// Takes what is there, and performs what comes of it. What that leads to at once, as the starts of workers, is taken along
    /// before anything is published, a few times: one message tells more than several.
    async fn take_all(&mut self, mut input: Option<Input>) -> Result<(), StoreError> {
        for _ in 0..ROUNDS {
            self.take_batch(input);
            let (effects, waits) = self.core.flush_some(self.now());
            self.perform(effects)?;
            if !waits {
                return Ok(());
            }
            lets_others_run().await;
            input = self.inputs.try_recv().ok();
            if input.is_none() {
                break;
            }
        }
        self.take_batch(input);
        let effects = self.core.flush(self.now());
        self.perform(effects)
    }

    fn take_batch(&mut self, mut input: Option<Input>) {
        let now = self.now();
        for _ in 0..BATCH {
            let Some(next) = input.take() else { return };
            self.take(now, next);
            input = self.inputs.try_recv().ok();
        }
        if let Some(last) = input {
            self.take(now, last);
        }
    }

    fn take(&mut self, now: Now, input: Input) {
        match &input {
            Input::Message { .. } => drop(self.unread.try_recv()),
            // The tasks of a node that stops are aborted and let go of: that is no end of their names.
            Input::Exited { exit: Exit::Killed(_), .. } | Input::Gone { .. } if self.shared.node.has_stopped() => {
                return;
            }
            Input::Exited { name, exit, .. } if !exit.is_normal() => {
                tracing::warn!(sworm = &*self.shared.name, name = &**name, %exit, "a worker has ended");
            }
            Input::Exited { name, exit, .. } | Input::Started { name, result: Err(exit), .. } => {
                tracing::debug!(sworm = &*self.shared.name, name = &**name, %exit, "a worker has ended");
            }
            Input::Gone { name, .. } if self.core.attached_for(name).is_some() => {
                tracing::debug!(sworm = &*self.shared.name, name = &**name, "no task has this attached name any more");
            }
            Input::Gone { name, .. } => {
                tracing::error!(sworm = &*self.shared.name, name = &**name, "the task of a worker is gone");
            }
            Input::GivenUp { name, why, .. } => {
                tracing::error!(sworm = &*self.shared.name, name = &**name, why = &**why, "a worker is given up");
            }
            _ => {}
        }
        if let Input::Exited { name, since, .. }
        | Input::Stopped { name, since }
        | Input::GivenUp { name, since, .. }
        | Input::Gone { name, since } = &input
        {
            let mut slots = self.shared.slots();
            if slots.get(name).is_some_and(|slot| slot.since == *since) {
                slots.remove(name);
            }
        }
        self.core.handle(now, input);
    }

    fn now(&self) -> Now {
        Now { mono_ms: self.shared.node.mono_ms(), unix_ms: super::unix_ms(), random: super::random_u32() }
    }
}

/// Goes to the end of what the runtime has to do, where any of its threads may take it up: with tokio's own `yield_now` it
/// would be this thread only, which people's code that comes next may block.
async fn lets_others_run() {
    let mut has_run = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_run, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Waits until what was written is on the disk, many waits at a time, and tells the core.
pub(crate) async fn sync(shared: Arc<SwormShared>, mut syncs: mpsc::UnboundedReceiver<(u64, Ticket)>) {
    while let Some((mut number, mut ticket)) = syncs.recv().await {
        while let Ok((next, upto)) = syncs.try_recv() {
            (number, ticket) = (next, upto.max(ticket));
        }
        if let Err(error) = shared.node.store.sync(ticket).await {
            return shared.node.store_failed(error);
        }
        shared.input(Input::Durable(number));
    }
}

/// Makes this node forget a worker of its own, which goes on, as a mistake in what it keeps of its workers would.
#[cfg(feature = "faults")]
pub fn forget_worker(sworm: &crate::Sworm, name: &str) {
    let name = name.to_owned();
    let look: super::sworm::Look = Box::new(move |core| core.forget_worker(&name));
    sworm.shared.senders.looks.send(look).expect("it runs");
}
