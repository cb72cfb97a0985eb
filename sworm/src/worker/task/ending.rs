//! How a worker pauses and ends, and what becomes of the messages that it has not handled.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;

use super::save::Unsaved;
use super::showing::held;
use super::{Control, End, STOPPING_LIMIT, Task, beside, guarded};
use crate::core::Input;
use crate::core::ids::Peer;
use crate::error::CallError;
use crate::node::order::{Order, Stay};
use crate::strategy::Exit;
use crate::worker::Lifecycle;
use crate::worker::context::Place;
use crate::worker::mailbox::{Parcel, RemoteParcel};
use crate::worker::pausing::Pausing;

impl<W: Lifecycle> Task<W> {
    /// Saves the state for whoever takes over, and waits for what becomes of that.
    pub(super) async fn pause(&mut self, worker: &mut W, pausing: Arc<Pausing>, why: Exit) -> Option<End> {
        let outbox = self.outbox.clone();
        held(outbox.as_ref(), self.stopping(worker, why)).await;
        let state = if self.ctx.handoff {
            self.pausing = Some(pausing.clone());
            let place = self.place().await;
            let taken = match beside(|| self.take(worker, place)) {
                Ok(taken) => self.send_chunks(worker, taken).await,
                Err(unsaved) => Err(unsaved),
            };
            self.pausing = None;
            match taken {
                Ok(state) => Ok(Some(state)),
                // Nor does it listen to what it was told meanwhile.
                Err(Unsaved::GivenUp) => return Some(End::Stopped),
                Err(unsaved) => Err(unsaved.to_string()),
            }
        } else {
            Ok(None)
        };
        let (name, since) = (self.ctx.pid.name.clone(), self.ctx.pid.epoch);
        let mut is_given = false;
        if pausing.answers() {
            is_given = state.is_ok();
            self.saver.is_replaced();
            self.send(Input::Paused { name, since, state });
        } else {
            self.send(Input::UnsentState { name, since });
        }
        loop {
            match self.control.recv().await.map(|control| *control) {
                Some(Control::Resume) => {
                    self.saver.stirs();
                    // `started` sets them again.
                    self.ctx.timers.clear();
                    let resumed = self.started(worker).await;
                    self.fresh = false;
                    return resumed.err().map(|exit| End::Exit(exit.into_start()));
                }
                Some(Control::Stop { why }) => {
                    self.loses(&why);
                    if is_given && self.lost_to.is_none() {
                        self.send_outbox_aside();
                    }
                    return Some(End::Stopped);
                }
                None => return Some(End::Stopped),
                Some(Control::Diverged { snapshot }) => self.diverged_due.push_back(snapshot),
                Some(Control::Checkpointed { number, .. }) => self.saver.arrived(number),
                Some(Control::Pause { .. }) => {}
            }
        }
    }

    /// Ends a worker that wants to end. What `stopping` sends leaves when the state that it shows is durable: it may be
    /// started again from that.
    pub(super) async fn finishes(&mut self, worker: &mut W) -> End {
        let outbox = self.outbox.clone();
        held(outbox.as_ref(), self.stopping(worker, Exit::Normal)).await;
        match self.settle(worker).await {
            Some(End::Stopped) => End::Stopped,
            Some(End::Exit(_)) | None => End::Exit(Exit::Normal),
        }
    }

    pub(super) async fn stopping(&mut self, worker: &mut W, why: Exit) {
        tracing::debug!(pid = %self.ctx.pid, %why, "a worker stops");
        self.ctx.place = Place::Hook;
        self.ctx.exit = Some(Box::new(why));
        self.activity.begins("`stopping`");
        let failed = limited(worker.stopping(&mut self.ctx)).await;
        self.hook_ends("stopping", failed);
        self.ctx.exit = None;
        self.ctx.place = Place::Work;
    }

    /// A hook has ended without which the worker ends all the same: what went wrong is told.
    fn hook_ends(&self, hook: &'static str, failed: Option<String>) {
        self.activity.ends();
        if let Some(why) = failed {
            let (name, since) = (self.ctx.pid.name.clone(), self.ctx.pid.epoch);
            self.send(Input::HookFailed { name, since, hook, why: why.into() });
        }
    }

    /// Notes against whom it has lost, if that is why it is stopped.
    pub(super) fn loses(&mut self, why: &Exit) {
        if let Exit::Conflict { winner } = why {
            self.lost_to = Some(winner.clone());
        }
    }

    /// Tells a worker that it has lost a conflict, if it has and does not know it yet. It takes nothing any more: what
    /// waits goes to the winner.
    pub(super) async fn conflict(&mut self, worker: &mut W) {
        let Some(winner) = self.lost_to.take() else { return };
        self.give_everything_back();
        self.ctx.place = Place::Hook;
        self.ctx.exit = Some(Box::new(Exit::Conflict { winner: winner.clone() }));
        self.activity.begins("`on_conflict`");
        let failed = limited(worker.on_conflict(winner, &mut self.ctx)).await;
        self.hook_ends("on_conflict", failed);
        self.ctx.exit = None;
        self.ctx.place = Place::Work;
    }
}

impl<W> Task<W> {
    /// What was not handled goes back to its callers, who look for the worker anew; casts are sent on.
    pub(super) fn give_everything_back(&mut self) {
        while let Some(parcel) = self.incoming.close() {
            self.give_back(parcel);
        }
    }

    fn order(&self) -> &Arc<Order> {
        &self.ctx.sworm.shared.order
    }

    fn me(&self) -> Peer {
        Peer { node: self.ctx.pid.node.clone(), incarnation: self.ctx.pid.incarnation }
    }

    fn stay(&self) -> Stay {
        Stay { host: self.me(), since: self.ctx.pid.epoch }
    }

    pub(super) fn give_back(&self, parcel: Parcel<W>) {
        let name = &self.ctx.pid.name;
        let parcel = match parcel {
            Parcel::Remote(parcel) => RemoteParcel { stay: self.ctx.pid.epoch, load: None, ..*parcel },
            Parcel::Local(parcel) => {
                match parcel.give_back(&|number| self.order().comes_back(name, &self.stay(), number)) {
                    None => return,
                    Some((message, Ok(payload))) => {
                        self.order().passes_on(name, &self.stay());
                        self.own_cast(message, payload)
                    }
                    Some((message, Err(error))) => {
                        tracing::error!(pid = %self.ctx.pid, message, %error, "a cast cannot be encoded and is lost");
                        return;
                    }
                }
            }
        };
        self.tell.replies.clone().give_back(name, parcel);
    }

    /// A cast of this node, as one of another node would be.
    fn own_cast(&self, message: &'static str, payload: Vec<u8>) -> RemoteParcel {
        RemoteParcel {
            from: self.me(),
            number: 0,
            cast: true,
            hops: 0,
            stay: self.ctx.pid.epoch,
            limit: Duration::MAX,
            alone: false,
            message: message.into(),
            payload: payload.into(),
            load: None,
        }
    }
}

impl<W> Drop for Task<W> {
    /// One that was aborted, and has not come to its end, answers all the same: whoever has sent what it handled, and whoever
    /// has sent what waited.
    fn drop(&mut self) {
        // Where a runtime ends, or a node, those hear of that.
        if Handle::try_current().is_err() || self.ctx.sworm.shared.node.has_stopped() {
            return;
        }
        if let Some(parcel) = self.in_hand.take() {
            let reason = "its task was aborted".to_owned();
            self.tell.replies.reply(&parcel, Err(CallError::WorkerDied { reason }));
        }
        self.give_everything_back();
    }
}

/// Runs a hook that must not hold up the end of its worker. Gives what went wrong.
async fn limited(run: impl Future<Output = ()>) -> Option<String> {
    match timeout(STOPPING_LIMIT, guarded(run)).await {
        Err(_) => Some(format!("it did not return in {STOPPING_LIMIT:?}")),
        Ok(Err(panic)) => Some(format!("it panicked: {panic}")),
        Ok(Ok(())) => None,
    }
}
